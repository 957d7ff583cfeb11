//! `inject`: a command in a container that runs.
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use tests::{Root, Run, Running, Terminal, Who, as_root, as_user, both, eventually, mark, marked};

/// A container that runs, and its root.
fn container(who: &Who, options: &[&str]) -> (Root, Running) {
    let root = who.busybox();
    root.file("etc/mine", "mine\n");
    let running = Running::ready(&mut who.contain(&root, options, "echo ready; while read x; do :; done"));
    (root, running)
}

/// `inject PID ARGS`.
fn inject(who: &Who, running: &Running, args: &[&str]) -> Command {
    let mut command = who.tool("inject");
    command.arg(running.pid().to_string()).args(args);
    command
}

#[test]
fn it_joins_every_namespace_and_the_root() {
    both(|who| {
        for options in [&[][..], &["--init"], &["-e"]] {
            let (_root, running) = container(who, options);
            for namespace in ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time"] {
                let link = format!("/proc/self/ns/{namespace}");
                let there = inject(who, &running, &["readlink", &link]).ran().out();
                assert_ne!(Path::new(&there), fs::read_link(&link).unwrap());
            }
            let shown = inject(
                who,
                &running,
                &["sh", "-c", "id -u; id -g; pwd; cat /etc/mine; ls /proc/1/ns >/dev/null && echo one"],
            );
            assert_eq!(
                { shown }.ran().text().lines().take(4).collect::<Vec<_>>(),
                ["0", "0", "/", "mine"],
                "{options:?}"
            );
        }
    });
}

#[test]
fn the_namespaces_are_those_of_the_command() {
    both(|who| {
        let (_root, running) = container(who, &[]);
        for namespace in ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time"] {
            let link = |pid: &str| format!("/proc/{pid}/ns/{namespace}");
            let script = format!("readlink {}; readlink {}; true", link("self"), link("1"));
            let shown = inject(who, &running, &["sh", "-c", &script]).ran().out();
            let (own, first) = shown.split_once('\n').unwrap();
            assert_eq!(own, first);
        }
    });
}

#[test]
fn a_process_names_its_namespaces_too() {
    both(|who| {
        let mut command = who.tool("isolate");
        let running = Running::ready(command.args(["sh", "-c", "echo ready; read x; exit"]));
        let there = fs::read_link(format!("/proc/{}/ns/net", running.pid())).unwrap();
        let shown = inject(who, &running, &["sh", "-c", "readlink /proc/self/ns/net; id -u"]).ran().out();
        assert_eq!(shown, format!("{}\n{}", there.display(), who.uid));
    });
}

#[test]
fn environment_and_working_directory() {
    both(|who| {
        let (_root, running) = container(who, &["--env", "INSIDE=1"]);
        let script = "echo $MINE $INSIDE $HOME; pwd";
        let shown = inject(who, &running, &["sh", "-c", script]).env("MINE", "caller's").ran().out();
        assert_eq!(shown, format!("caller's {}\n/", who.home.display()));
        assert_eq!(inject(who, &running, &["--cwd", "/tmp", "pwd"]).ran().out(), "/tmp");
        assert!(inject(who, &running, &["--cwd", "/nowhere", "pwd"]).ran().fails(125).contains("\"/nowhere\""));
    });
}

#[test]
fn statuses() {
    both(|who| {
        let (root, running) = container(who, &[]);
        assert_eq!(inject(who, &running, &["sh", "-c", "exit 42"]).ran().code(), 42);
        assert_eq!(inject(who, &running, &["sh", "-c", "kill -TERM $$"]).ran().code(), 128 + 15);
        assert_eq!(inject(who, &running, &["sh", "-c", "kill -KILL $$"]).ran().code(), 128 + 9);
        assert!(
            inject(who, &running, &["no-such"]).ran().fails(127).starts_with("inject: cannot execute \"no-such\": ")
        );
        root.file("etc/text", "");
        assert!(inject(who, &running, &["/etc/text"]).ran().fails(126).contains("Permission denied"));
    });
}

#[test]
fn bytes_pass_untouched() {
    both(|who| {
        let (_root, running) = container(who, &[]);
        let bytes = tests::noise(1 << 20);
        let ran = inject(who, &running, &["sh", "-c", "cat | cat; echo told >&2"]).ran_with(&bytes);
        assert!(ran.stdout == bytes, "{} bytes came back", ran.stdout.len());
        assert_eq!(ran.stderr, "told\n");
    });
}

#[test]
fn the_default_command_is_the_login_shell_of_root() {
    both(|who| {
        let (root, running) = container(who, &[]);
        assert_eq!(inject(who, &running, &[]).ran_with(b"echo $0\n").out(), "/bin/sh");
        root.file("etc/passwd", "other:x:5:5::/:/bin/false\nroot:x:0:0:root:/root:/bin/ash\n");
        assert_eq!(inject(who, &running, &[]).ran_with(b"echo $0\n").out(), "/bin/ash");
    });
}

#[test]
fn what_is_left_behind_ends_with_the_command() {
    both(|who| {
        let (_root, running) = container(who, &[]);
        let mark = mark();
        let script = format!("setsid sh -c 'sleep 1000; : {mark}' >/dev/null 2>&1 & echo left");
        assert_eq!(inject(who, &running, &["sh", "-c", &script]).ran().code(), 0);
        eventually("what it left is gone", || marked(&mark).is_empty());
    });
}

#[test]
fn its_processes_die_with_it() {
    both(|who| {
        let (_root, running) = container(who, &[]);
        let mark = mark();
        let script = format!("setsid sh -c 'sleep 1000; : {mark}' & echo ready; sleep 1000; : {mark}");
        let mut injected = Running::ready(&mut inject(who, &running, &["sh", "-c", &script]));
        injected.signal(Signal::SIGKILL);
        assert_eq!(injected.end(), -9);
        eventually("every process is gone", || marked(&mark).is_empty());
        assert_eq!(inject(who, &running, &["echo", "still"]).ran().out(), "still");
    });
}

#[test]
fn the_container_takes_it_along() {
    both(|who| {
        let (_root, mut running) = container(who, &[]);
        let mark = mark();
        let script = format!("echo ready; sleep 1000; : {mark}");
        let mut injected = Running::ready(&mut inject(who, &running, &["sh", "-c", &script]));
        running.signal(Signal::SIGKILL);
        running.end();
        assert_eq!(injected.end(), 128 + 9);
        eventually("every process is gone", || marked(&mark).is_empty());
    });
}

#[test]
fn signals_are_forwarded() {
    both(|who| {
        let (_root, running) = container(who, &[]);
        for signal in
            [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2]
        {
            let trap = format!("trap 'echo got; exit 5' {}; echo ready; while :; do read x; done", signal as i32);
            let mut injected = Running::ready(&mut inject(who, &running, &["sh", "-c", &trap]));
            injected.signal(signal);
            injected.hang_up();
            assert_eq!(injected.end(), 5, "{signal}");
            // What it repeats shows that it runs: a shell of busybox ignores SIGQUIT until its exec.
            let mut injected = Running::start(&mut inject(who, &running, &["cat"]));
            injected.say("ready");
            assert_eq!(injected.line(), "ready");
            injected.signal(signal);
            assert_eq!(injected.end(), 128 + signal as i32, "{signal}");
        }
    });
}

#[test]
fn a_terminal_of_its_own() {
    both(|who| {
        let (_root, running) = container(who, &[]);
        let mut terminal = Terminal::new(who);
        let mut injected =
            terminal.run(who, &inject(who, &running, &["sh", "-c", "tty; stty size; read x; echo \"<$x>\"; exit 3"]));
        terminal.expect("/dev/pts/0\r\n24 80\r\n");
        assert!(!terminal.is_cooked());
        terminal.write("keys\r");
        terminal.expect("<keys>");
        assert_eq!(injected.end(), 3);
        assert!(terminal.is_cooked());
        let mut without = who.tool("inject");
        without.arg("--no-console").arg(running.pid().to_string()).args([
            "sh",
            "-c",
            "ls /dev/pts; test -t 0 && echo terminal",
        ]);
        let mut injected = terminal.run(who, &without);
        terminal.expect("ptmx\r\nterminal\r\n");
        assert_eq!(injected.end(), 0);
        let forced = inject(who, &running, &["--console", "sh", "-c", "tty"]).ran();
        assert!(forced.text().starts_with("/dev/pts/"), "{forced:?}");
    });
}

#[test]
fn interrupt_at_its_terminal() {
    both(|who| {
        let (_root, running) = container(who, &[]);
        let mut terminal = Terminal::new(who);
        let mut injected = terminal.run(who, &inject(who, &running, &["sh", "-c", "echo ready; exec sleep 1000"]));
        terminal.expect("ready");
        eventually("the terminal is raw", || !terminal.is_cooked());
        terminal.write("\x03");
        assert_eq!(injected.end(), 130);
        assert!(terminal.is_cooked());
    });
}

#[test]
fn only_the_fds_that_are_asked_for() {
    both(|who| {
        let (_root, running) = container(who, &[]);
        let outer = "exec 4</etc/passwd 5</etc/group 9</; exec inject --pass-fd 5 $0 sh -c 'ls /proc/$$/fd; true'";
        let ran = who.command("sh").args(["-c", outer, &running.pid().to_string()]).ran();
        assert_eq!(ran.out(), "0\n1\n2\n5");
    });
}

#[test]
fn carry_runs_a_static_program_where_there_is_none() {
    both(|who| {
        // A root with one program, that is no shell.
        let root = who.busybox();
        fs::remove_dir_all(root.join("bin")).unwrap();
        root.dir("bin");
        root.copy("/bin/busybox", "bin/cat");
        let mut command = who.tool("contain");
        let mut running = Running::start(command.arg(&*root).arg("cat"));
        running.say("ready");
        assert_eq!(running.line(), "ready");
        assert!(inject(who, &running, &["sh", "-c", "true"]).ran().fails(127).contains("\"sh\""));
        let script = "ls /bin; id -u; readlink /proc/self/exe; cat /proc/1/cmdline | tr '\\0' ' '";
        let shown = inject(who, &running, &["--carry", "busybox", "sh", "-c", script]).ran().out();
        assert_eq!(shown, "cat\n0\n/memfd:busybox (deleted)\ncat");
        let write = "exec 3>>/proc/self/exe && echo written";
        assert!(!inject(who, &running, &["--carry", "busybox", "sh", "-c", write]).ran().text().contains("written"));
    });
}

#[test]
fn carry_explains_what_it_cannot_carry() {
    both(|who| {
        let (_root, running) = container(who, &[]);
        let ran = inject(who, &running, &["--carry", "/usr/bin/env"]).ran();
        assert!([125, 126].contains(&ran.code()), "{ran:?}");
        assert!(ran.stderr.contains("/usr/bin/env") && ran.stderr.contains("dynamic"), "{ran:?}");
        assert!(inject(who, &running, &["--carry", "no-such"]).ran().fails(127).contains("\"no-such\""));
    });
}

#[test]
fn carry_gives_proc_where_there_is_none() {
    both(|who| {
        let root = who.busybox();
        for script in ["mount -t tmpfs none /proc", "umount -l /proc"] {
            let running = Running::ready(&mut who.contain(&root, &[], &format!("{script}; echo ready; read x")));
            let shown =
                inject(who, &running, &["--carry", "busybox", "sh", "-c", "readlink /proc/self/exe; ls -d /proc/1"])
                    .ran()
                    .out();
            assert_eq!(shown, "/memfd:busybox (deleted)\n/proc/1");
            // The container itself has none after that either.
            assert_eq!(inject(who, &running, &["ls", "/proc"]).ran().out(), "");
        }
    });
}

#[test]
fn the_list() {
    both(|who| {
        let (root, running) = container(who, &[]);
        let list = who.tool("inject").arg("--list").ran().out();
        let pid = running.pid().to_string();
        let line =
            list.lines().find(|line| line.split_whitespace().next() == Some(&pid)).unwrap_or_else(|| panic!("{list}"));
        let words: Vec<_> = line.split_whitespace().collect();
        assert_eq!(words[1], running.init().unwrap().to_string(), "{line}");
        for word in [&*who.name, root.to_str().unwrap(), "sh", "-c"] {
            assert!(words.contains(&word), "{word}: {line}");
        }
        let json = who.tool("inject").args(["--list", "--json"]).ran().out();
        let program = "import json, sys
for c in json.load(sys.stdin):
    if c['pid'] == int(sys.argv[1]): print(c['init'], c['user'], c['root'], c['command'][0], type(c['since']).__name__)";
        let ran = who.command("python3").args(["-c", program, &pid]).ran_with(json.as_bytes()).out();
        let expected = format!("{} {} {} sh", running.init().unwrap(), who.name, root.display());
        assert!(ran.starts_with(&expected), "{json}");
    });
}

#[test]
fn the_list_has_only_what_runs() {
    both(|who| {
        let (_root, mut running) = container(who, &[]);
        let pid = running.pid().to_string();
        let listed =
            || {
                who.tool("inject").arg("--list").ran().out().lines().any(|line| {
                    line.starts_with(&format!("{pid} ")) || line.trim_start().starts_with(&format!("{pid} "))
                })
            };
        assert!(listed());
        running.hang_up();
        running.end();
        assert!(!listed());
    });
}

#[test]
fn what_cannot_be_entered_is_told_apart() {
    both(|who| {
        let (_root, mut running) = container(who, &[]);
        let plain = Running::ready(who.command("sh").args(["-c", "echo ready; read x"]));
        let said = |pid: &str| who.tool("inject").args([pid, "true"]).ran().fails(125).to_owned();
        let none = said(&plain.pid().to_string());
        assert!(none.contains("no container"), "{none}");
        running.hang_up();
        running.end();
        let gone = said(&running.pid().to_string());
        assert!(gone.contains("no process"), "{gone}");
        for wrong in ["0", "-5", "x", "1x", "99999999999"] {
            let ran = who.tool("inject").args(["--", wrong, "true"]).ran();
            assert!(ran.fails(125).starts_with("inject: ") && ran.stderr.contains(wrong), "{ran:?}");
        }
    });
}

#[test]
fn what_is_not_yours_is_told() {
    // Everything is root's.
    let held = std::cell::RefCell::new(None);
    as_root(|who| *held.borrow_mut() = Some(container(who, &[])));
    let pid = held.borrow().as_ref().map(|(_, running)| running.pid().to_string()).unwrap();
    as_user(|who| {
        let ran = who.tool("inject").args([&pid, "true"]).ran();
        assert!(ran.fails(125).contains("not yours"), "{ran:?}");
        assert!(!who.tool("inject").arg("--list").ran().out().contains(&pid));
    });
}

#[test]
fn a_pid_with_its_inode_cannot_be_recycled() {
    both(|who| {
        let (_root, running) = container(who, &[]);
        let program = "import os, sys; print(os.fstat(os.pidfd_open(int(sys.argv[1]))).st_ino)";
        let inode: u64 =
            who.command("python3").args(["-c", program, &running.pid().to_string()]).ran().out().parse().unwrap();
        let with = |inode: u64| who.tool("inject").args([&format!("{}:{inode}", running.pid()), "echo", "in"]).ran();
        assert_eq!(with(inode).out(), "in");
        assert!(with(inode + 1).fails(125).contains(&running.pid().to_string()));
    });
}

#[test]
fn it_refuses_to_run_setuid() {
    as_user(|who| {
        let (_root, running) = container(who, &[]);
        let dir = who.dir();
        let copy = dir.join("inject");
        tests::copy_program(who.tool("inject").get_program(), &copy);
        fs::set_permissions(&copy, std::os::unix::fs::PermissionsExt::from_mode(0o4755)).unwrap();
        assert_eq!(fs::metadata(&copy).unwrap().uid(), 0);
        let ran = who.command(&copy).args([&running.pid().to_string(), "true"]).ran();
        assert!(ran.fails(125).contains("set"), "{ran:?}");
    });
}

#[test]
fn the_container_cannot_reach_the_hosts_program() {
    // CVE-2019-5736: /proc/PID/exe of a process that enters.
    both(|who| {
        let root = who.busybox();
        let watch = "echo ready; while read x; do for p in /proc/[0-9]*; do
            echo owned 2>/dev/null >>$p/exe && echo \"wrote $(readlink $p/exe)\"; done; echo done; done";
        let mut running = Running::ready(&mut who.contain(&root, &[], watch));
        let program = who.tool("inject").get_program().to_owned();
        let before = fs::read(&program).unwrap();
        let mut injected = Vec::new();
        for _ in 0..20 {
            injected.push(Running::start(&mut inject(who, &running, &["sleep", "1000"])));
            running.say("look");
            // Busybox is the container's own, and busy.
            assert_eq!(running.line(), "done");
        }
        drop(injected);
        assert_eq!(fs::read(&program).unwrap(), before);
    });
}

#[test]
fn it_enters_debian() {
    both(|who| {
        let mut command = who.contain(who.debian(), &["-e"], "echo ready; read x");
        let running = Running::ready(&mut command);
        let shown = inject(who, &running, &["bash", "-c", "id -un; stat -c %U:%G /etc/shadow"]).ran().out();
        assert_eq!(shown, "root\nroot:shadow");
    });
}

#[test]
fn a_stopped_one_does_not_keep_the_container() {
    both(|who| {
        let (_root, mut running) = container(who, &[]);
        let mut injected = Running::ready(&mut inject(who, &running, &["sh", "-c", "echo ready; sleep 1000"]));
        injected.signal(Signal::SIGSTOP);
        eventually("it stops", || injected.state() == 'T');
        running.hang_up();
        assert_eq!(running.end(), 0);
        injected.signal(Signal::SIGCONT);
        assert_eq!(injected.end(), 128 + 9);
    });
}

#[test]
fn it_joins_the_cgroups() {
    both(|who| {
        let (_root, mut running) = container(who, &[]);
        // Version 1 of the controller if that is mounted, else version 2.
        let pids = Path::new("/sys/fs/cgroup/pids");
        let hierarchy = if pids.exists() { pids } else { Path::new("/sys/fs/cgroup") };
        let name = mark();
        let group = hierarchy.join(&name);
        fs::create_dir(&group).unwrap();
        fs::write(group.join("cgroup.procs"), running.init().unwrap().to_string()).unwrap();
        let script = "cat /proc/self/cgroup";
        let joined = inject(who, &running, &["sh", "-c", script]).ran();
        if who.is_root() {
            assert!(joined.out().contains(&name), "{joined:?}");
        } else {
            // What holds for the container must not be left out in silence.
            let said = joined.fails(125);
            assert!(said.contains(&name) && said.contains("hint: --no-cgroup"), "{said}");
        }
        let stayed = inject(who, &running, &["--no-cgroup", "sh", "-c", script]).ran().out();
        assert!(!stayed.contains(&name), "{stayed}");
        running.hang_up();
        assert_eq!(running.end(), 0);
        eventually("the cgroup is empty", || fs::remove_dir(&group).is_ok());
    });
}

#[test]
fn a_realtime_signal_is_a_death_like_others() {
    both(|who| {
        let (_root, running) = container(who, &[]);
        assert_eq!(inject(who, &running, &["sh", "-c", "kill -40 $$"]).ran().code(), 128 + 40);
        let root = who.busybox();
        assert_eq!(who.contain(&root, &["--init"], "kill -40 $$").ran().code(), 128 + 40);
    });
}

#[test]
fn ids_environment_and_directory_of_the_command() {
    both(|who| {
        let (_root, running) = container(who, &["--env", "ITS=own"]);
        let pid = running.pid().to_string();
        let shown = |options: &[&str], script: &str| {
            who.tool("inject").args(options).args([&pid, "sh", "-c", script]).ran().out()
        };
        assert_eq!(shown(&["-S", "7", "-G", "8"], "id -u; id -g"), "7\n8");
        assert_eq!(shown(&["-e"], "echo $ITS"), "own");
        assert_eq!(shown(&["-W", "/bin"], "pwd"), "/bin");
        assert_eq!(shown(&["-w"], "pwd"), "/");
    });
}
