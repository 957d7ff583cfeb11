//! `--learn`: a policy made from what a command does.
#![forbid(unsafe_code)]

mod attempts;

use std::fs;

use attempts::{Attempts, told};
use nix::sys::signal::Signal;
use tests::{Run, Running, both, eventually, mark, marked};

/// How often a learned policy says a call was made.
fn count(policy: &str, name: &str) -> Option<u64> {
    let line = policy.lines().find(|line| line.trim().split([',', ' ']).next() == Some(name))?;
    line.rsplit("// ").next()?.parse().ok()
}

#[test]
fn what_was_learned_is_enough() {
    both(|who| {
        let attempts = Attempts::new(who);
        for script in [
            "printf '%s\\n' b a c | sort | tr a-z A-Z; (exit 3)",
            "for i in 1 2 3; do /bin/echo $i; done >file; cat file | cat | wc -l; rm file",
            "python3 -c 'import threading; t = threading.Thread(target=print, args=[1]); t.start(); t.join()'",
        ] {
            let run = |option: &str| {
                let mut command = who.tool("seal");
                command.args([option, "policy", "sh", "-c", script]).current_dir(attempts.dir());
                command.ran()
            };
            let learning = run("--learn");
            let under = run("--syscalls");
            assert!(!learning.stdout.is_empty() && learning.stderr.is_empty(), "{learning:?}");
            assert_eq!((told(&learning), &learning.stderr), (told(&under), &under.stderr), "{script}");
            fs::remove_file(attempts.dir().join("policy")).unwrap();
        }
    });
}

#[test]
fn each_call_is_counted() {
    both(|who| {
        let attempts = Attempts::new(who);
        let steps = ["getppid", "getppid", "child:getppid", "getuid", "lseek(99,0,0)", "9999"];
        let ran = attempts.seal(&["--learn", "policy"], &steps).ran();
        assert_eq!(told(&ran), "ok, ok, ok, ok, EBADF, ENOSYS");
        let policy = attempts.read("policy");
        assert!(
            policy.starts_with("// Learned: the system calls that were used, and how often.\nALLOW {\n"),
            "{policy}"
        );
        assert!(policy.ends_with("}\nDEFAULT ERRNO(38) // ENOSYS\n"), "{policy}");
        for (name, times) in [
            ("getppid", Some(3)),
            ("getuid", Some(1)),
            ("lseek", Some(1)),
            ("SYSCALL[9999]", Some(1)),
            ("getgid", None),
        ] {
            assert_eq!(count(&policy, name), times, "{name}: {policy}");
        }
        // It allows that, and nothing else, and cannot be undone.
        let steps = [&steps[..], &["getgid", "permit", "again", "getgid"]].concat();
        let ran = attempts.seal(&["--syscalls", "policy"], &steps).ran();
        assert_eq!(told(&ran), "ok, ok, ok, ok, EBADF, ENOSYS, ENOSYS, ENOSYS, ENOSYS");
    });
}

#[test]
fn a_second_time_adds_to_the_first() {
    both(|who| {
        let attempts = Attempts::new(who);
        attempts.seal(&["--learn", "policy"], &["getppid", "getuid"]).ran().out();
        attempts.seal(&["--learn", "policy"], &["getppid", "getgid"]).ran().out();
        let policy = attempts.read("policy");
        for (name, times) in [("getppid", 2), ("getuid", 1), ("getgid", 1), ("execve", 2)] {
            assert_eq!(count(&policy, name), Some(times), "{name}: {policy}");
        }
        assert_eq!(policy.matches("ALLOW {").count(), 1);
        let ran = attempts.seal(&["--syscalls", "policy"], &["getppid", "getuid", "getgid", "getegid"]).ran();
        assert_eq!(told(&ran), "ok, ok, ok, ENOSYS");
    });
}

#[test]
fn a_policy_by_hand_stays_as_it_is() {
    both(|who| {
        let attempts = Attempts::new(who);
        let ours = "// Mine.\n#define EIO 5\nERRNO(EIO) { getuid },\nALLOW { getppid /* often */ }\n";
        attempts.file("policy", ours);
        attempts.seal(&["--learn", "policy"], &["getppid", "getgid", "getgid"]).ran().out();
        let policy = attempts.read("policy");
        let added = policy.strip_suffix(ours).unwrap();
        assert_eq!((count(added, "getgid"), count(added, "getppid")), (Some(2), None), "{added}");
        let ran = attempts.seal(&["--syscalls", "policy"], &["getppid", "getgid", "getuid", "getegid"]).ran();
        // The default of a policy that names none.
        assert_eq!(told(&ran), "ok, ok, EIO, = 159");
        // Nothing new, nothing changed.
        attempts.seal(&["--learn", "policy"], &["getppid", "getgid"]).ran().out();
        assert_eq!(attempts.read("policy"), policy);
        // What was refused, or allowed at times, and is used now.
        attempts.file("policy", "ERRNO(5) { getuid, lseek { whence == 7 } } DEFAULT ALLOW");
        for _ in 0..2 {
            attempts.seal(&["--learn", "policy"], &["getuid", "lseek(0,0,7)"]).ran().out();
        }
        assert_eq!(attempts.read("policy").matches("ALLOW {").count(), 1);
        let ran = attempts.seal(&["--syscalls", "policy"], &["getuid", "lseek(99,0,7)"]).ran();
        assert_eq!(told(&ran), "ok, EBADF");
    });
}

#[test]
fn files_that_it_does_not_add_to() {
    both(|who| {
        let attempts = Attempts::new(who);
        let json = "{\"defaultAction\": \"SCMP_ACT_ALLOW\"}\n";
        for (text, said) in [
            (json, "seal: --learn \"policy\": that is a profile in JSON\nseal: hint: it adds to policies in Kafel\n"),
            (
                "ALLOW { opne }\n",
                "seal: policy:1:9: unknown system call \"opne\"; did you mean \"open\"?\n    ALLOW { opne }\n            ^\n",
            ),
        ] {
            attempts.file("policy", text);
            let ran = attempts.seal(&["--learn", "policy"], &["getppid"]).ran();
            assert_eq!((ran.fails(125), &*ran.text()), (said, ""));
            assert_eq!(attempts.read("policy"), text);
        }
        let ran = attempts.seal(&["--learn", "no/such/policy"], &["getppid"]).ran();
        let said = "seal: cannot write the policy \"no/such/policy\": No such file or directory\n";
        assert_eq!((ran.fails(125), &*ran.text()), (said, ""));
        let ran = attempts.seal(&["--learn", "new", "--deny-syscalls", "getppid"], &["getppid"]).ran();
        assert!(ran.fails(125).starts_with("seal: --learn and another policy of system calls exclude each other\n"));
        assert!(!attempts.dir().join("new").exists());
    });
}

#[test]
fn a_command_that_does_not_start_writes_nothing() {
    both(|who| {
        let attempts = Attempts::new(who);
        for (command, status) in [("nowhere", 127), ("/etc/passwd", 126)] {
            let ran = attempts.sh(&format!("exec seal --learn policy {command}")).ran();
            let reason = if status == 127 { "No such file or directory" } else { "Permission denied" };
            assert_eq!(ran.fails(status), format!("seal: cannot execute \"{command}\": {reason}\n"));
            assert!(!attempts.dir().join("policy").exists());
        }
    });
}

#[test]
fn statuses_and_signals_pass_through() {
    both(|who| {
        let attempts = Attempts::new(who);
        assert_eq!(attempts.sh("exec seal --learn policy sh -c 'exit 42'").ran().code(), 42);
        assert_eq!(attempts.sh("exec seal --learn policy sh -c 'kill -KILL $$'").ran().code(), 137);
        for (signal, script, status) in [
            (Signal::SIGTERM, "trap 'echo got; exit 7' TERM; echo ready; while :; do read x; done", 7),
            (Signal::SIGUSR1, "trap 'echo got; exit 8' USR1; echo ready; while :; do read x; done", 8),
            (Signal::SIGTERM, "echo ready; while :; do read x; done", 143),
        ] {
            let mut command = attempts.sh("exec seal --learn policy sh -c \"$0\"");
            let mut running = Running::ready(command.arg(script));
            running.signal(signal);
            if status < 128 {
                assert_eq!(running.line(), "got");
            }
            assert_eq!(running.end(), status, "{script}");
            assert!(count(&attempts.read("policy"), "write").is_some());
        }
    });
}

#[test]
fn it_waits_for_whoever_is_left() {
    both(|who| {
        let attempts = Attempts::new(who);
        // The shell that was started ends at once; its grandchild goes on until it is told to.
        let script = "mkfifo go; (./left & ) ; echo started";
        attempts.file("left", "#!/bin/sh\nread x <go\n./attempt getsid getsid >said\n");
        let prepare = "chmod +x left";
        attempts.sh(prepare).ran().out();
        let mut command = attempts.sh("exec seal --learn policy sh -c \"$0\"");
        let mut running = Running::start(command.arg(script));
        assert_eq!(running.line(), "started");
        attempts.sh("echo >go").ran().out();
        assert_eq!(running.end(), 0);
        assert_eq!(attempts.read("said"), "ok\nok\n");
        assert_eq!(count(&attempts.read("policy"), "getsid"), Some(2));
    });
}

#[test]
fn nothing_outlives_it() {
    both(|who| {
        let attempts = Attempts::new(who);
        let mark = mark();
        let mut command = attempts.sh("exec seal --learn policy sh -c 'echo ready; read x; : '$0");
        let mut running = Running::ready(command.arg(&mark));
        running.signal(Signal::SIGKILL);
        assert_eq!(running.end(), -9);
        eventually("the command is killed", || marked(&mark).is_empty());
    });
}

#[test]
fn in_containers() {
    both(|who| {
        let attempts = Attempts::new(who);
        let root = who.busybox();
        let program = root.copy(env!("CARGO_BIN_EXE_attempt"), "bin/attempt");
        assert!(program.exists());
        // The file is the host's.
        let contain = |option: &str, steps: &str| {
            let mut command = who.contain(&root, &[option, "policy"], &format!("attempt {steps} | cat"));
            command.current_dir(attempts.dir()).ran()
        };
        assert_eq!(contain("--learn", "getppid getsid getsid").out(), "ok\nok\nok");
        assert_eq!(count(&attempts.read("policy"), "getsid"), Some(2));
        assert_eq!(told(&contain("--syscalls", "getppid getgid permit")), "ok, ENOSYS, ENOSYS");
        let mut container = Running::ready(&mut who.contain(&root, &[], "echo ready; read x"));
        let inject = |option: &str, steps: &str| {
            let mut command = who.tool("inject");
            command.args([option, "injected"]).arg(container.pid().to_string());
            command.args(["sh", "-c", &format!("attempt {steps} | cat")]).current_dir(attempts.dir()).ran()
        };
        assert_eq!(inject("--learn", "getppid getsid getsid").out(), "ok\nok\nok");
        assert_eq!(count(&attempts.read("injected"), "getsid"), Some(2));
        assert_eq!(told(&inject("--syscalls", "getppid getgid permit")), "ok, ENOSYS, ENOSYS");
        container.say("end");
        assert_eq!(container.end(), 0);
    });
}

#[test]
fn it_is_the_parent_itself() {
    both(|who| {
        let attempts = Attempts::new(who);
        let ran = attempts.seal(&["--learn", "new", "--parent-death", "TERM"], &["getppid"]).ran();
        let said = "seal: --learn is the parent itself that --parent-death would watch\n";
        assert!(ran.fails(125).starts_with(said) && ran.text().is_empty());
        assert!(!attempts.dir().join("new").exists());
    });
}

/// A static program that does nothing uses no fd: what seal does is not learned.
#[test]
fn nothing_but_the_command_is_learned() {
    both(|who| {
        let attempts = Attempts::new(who);
        attempts.seal(&["--learn", "policy"], &["getppid"]).ran().out();
        let policy = attempts.read("policy");
        for name in ["close", "sendmsg", "seccomp", "prctl"] {
            assert_eq!(count(&policy, name), None, "{policy}");
        }
    });
}
