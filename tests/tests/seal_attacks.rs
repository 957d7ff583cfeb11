//! Attempts to get around what `seal` does, and around `--learn`'s own processes.
#![forbid(unsafe_code)]

mod attempts;

use std::fs;
use std::os::unix::fs::symlink;

use attempts::Attempts;
use nix::sys::signal::Signal;
use tests::{Run, Running, as_root, both, eventually, mark, marked};

const PYTHON: &str = "/usr/bin/python3";

/// Becomes the supervisor of a filter of its own, and lets itself go on.
fn supervise_oneself() -> String {
    format!(
        "import ctypes, errno, fcntl, os, struct, threading
libc = ctypes.CDLL(None, use_errno=True)
def call():
    result = libc.syscall({getppid})
    return 'ok' if result > 0 else errno.errorcode[ctypes.get_errno()]
print(call(), end=' ')
# Load the number; is it getppid? then USER_NOTIF, else ALLOW.
program = struct.pack('HBBI' * 4, 0x20, 0, 0, 0, 0x15, 0, 1, {getppid}, 6, 0, 0, 0x7fc00000, 6, 0, 0, 0x7fff0000)
code = ctypes.create_string_buffer(program)
header = struct.pack('HxxxxxxQ', 4, ctypes.addressof(code))
listener = libc.syscall({seccomp}, 1, 8, ctypes.create_string_buffer(header))
assert listener >= 0
def answer():
    told = fcntl.ioctl(listener, 0xc0502100, bytes(80))
    fcntl.ioctl(listener, 0xc0182101, struct.pack('QqiI', struct.unpack('Q', told[:8])[0], 0, 0, 1))
threading.Thread(target=answer, daemon=True).start()
print(call(), flush=True)
os._exit(0)",
        getppid = libc::SYS_getppid,
        seccomp = libc::SYS_seccomp
    )
}

#[test]
fn what_asks_a_supervisor_cannot_be_answered_from_inside() {
    both(|who| {
        let seal = |options: &[&str]| who.tool("seal").args(options).args([PYTHON, "-c", &supervise_oneself()]).ran();
        assert_eq!(seal(&["--no-new-privs"]).out(), "ok ok");
        let policy = "USER_NOTIF { getppid } DEFAULT ALLOW";
        assert_eq!(seal(&["--syscalls-string", policy]).out(), "ENOSYS ENOSYS");
    });
}

#[test]
fn the_command_does_not_choose_what_is_written() {
    both(|who| {
        let attempts = Attempts::new(who);
        let learn = |script: &str| attempts.seal(&["--learn", "policy", "sh", "-c", script], &[]).ran();
        let elsewhere = attempts.dir().join("elsewhere");
        let said = learn("ln -s elsewhere policy").fails(125).to_owned();
        assert_eq!(said, "seal: cannot write the policy \"policy\": Too many levels of symbolic links\n");
        assert!(!elsewhere.exists());
        // A secret that only who learns could read would stand in an error.
        let said = learn("rm policy; echo '#include \"secret\"' > policy").fails(125).to_owned();
        assert_eq!(said, "seal: the policy \"policy\" was changed while CMD ran, and is left so\n");
        attempts.file("policy", "DEFAULT ALLOW\n");
        let said = learn("echo '#include \"secret\"' > policy").fails(125).to_owned();
        assert_eq!(said, "seal: the policy \"policy\" was changed while CMD ran, and is left so\n");
        // What was there before is what the caller named, a link included.
        fs::remove_file(attempts.dir().join("policy")).unwrap();
        attempts.file("elsewhere", "");
        symlink("elsewhere", attempts.dir().join("policy")).unwrap();
        learn("true").out();
        assert!(attempts.read("elsewhere").contains("ALLOW {"));
    });
}

#[test]
fn none_of_its_processes_leaves_the_others() {
    both(|who| {
        let attempts = Attempts::new(who);
        // The one that was started, the one in the middle, and the first while that is stopped.
        for (script, signal, status) in [
            ("echo ready; WAIT & WAIT; :", Some(Signal::SIGKILL), -9),
            ("WAIT & kill -KILL $PPID; WAIT; :", None, 137),
            ("kill -STOP $PPID; WAIT; :", Some(Signal::SIGKILL), -9),
        ] {
            let mark = mark();
            let script = script.replace("WAIT", "sh -c 'read x; : '$0 <>pipe");
            let mut command = attempts.sh("mkfifo pipe; exec seal --learn new sh -c \"$1\" $0");
            command.arg(&mark).arg(&script);
            let mut running = Running::start(&mut command);
            if let Some(signal) = signal {
                match script.starts_with("echo") {
                    true => assert_eq!(running.line(), "ready"),
                    // It stops when the one in the middle has.
                    false => eventually("it stops", || running.state() == 'T'),
                }
                running.signal(signal);
            }
            assert_eq!(running.end(), status, "{script}");
            eventually("nothing is left", || marked(&mark).is_empty());
            fs::remove_file(attempts.dir().join("pipe")).unwrap();
        }
    });
}

#[test]
fn what_cannot_be_written_leaves_nothing() {
    both(|who| {
        let attempts = Attempts::new(who);
        let mark = mark();
        let script = "exec seal --learn dir/policy sh -c 'rm -r dir; sh -c \"read x; : $0\" <>pipe & exit 0' $0";
        let mut command = attempts.sh(&format!("mkdir dir; mkfifo pipe; {script}"));
        let mut running = Running::start(command.arg(&mark));
        eventually("the directory is gone", || !attempts.dir().join("dir").exists() && !marked(&mark).is_empty());
        running.signal(Signal::SIGTERM);
        running.end();
        eventually("nothing is left", || marked(&mark).is_empty());
    });
}

#[test]
fn a_limit_leaves_a_file_as_it_is() {
    both(|who| {
        let attempts = Attempts::new(who);
        for (options, before) in
            [("--deny-syscalls mkdir --emit-bpf", "precious"), ("--learn", "DEFAULT ALLOW\nERRNO(1) { getppid }\n")]
        {
            attempts.file("file", before);
            let ran = attempts.sh(&format!("ulimit -f 0; exec seal {options} file ./attempt getppid")).ran();
            assert!(ran.fails(125).contains("\"file\": File too large\n"), "{options}: {}", ran.stderr);
            assert_eq!(attempts.read("file"), before);
        }
    });
}

#[test]
fn a_stdout_that_is_closed_is_no_place_for_a_table() {
    both(|who| {
        let attempts = Attempts::new(who);
        for option in ["--explain", "--emit-bpf -", "--help"] {
            let ran = attempts.sh(&format!("exec seal --deny-syscalls mkdir {option} >&-")).ran();
            assert_eq!(ran.fails(125), "seal: cannot write to stdout: it is closed\n", "{option}");
        }
    });
}

/// CVE-2016-3697: a user of the container whose name is a number.
#[test]
fn a_number_is_an_id() {
    both(|who| {
        let root = who.busybox();
        root.file("etc/passwd", "1000:x:0:0::/:/bin/sh\nme:x:1000:7::/:/bin/sh\n");
        root.file("etc/group", "8:x:0:me\n");
        let id = |user: &str| who.contain(&root, &["--as", user], "id -u; id -g").ran().out();
        assert_eq!((id("1000"), id("me:8")), ("1000\n7".into(), "1000\n8".into()));
        assert!(who.contain(&root, &["--as", "+5:6"], "true").ran().fails(125).contains("no user \"+5\""));
    });
}

/// More of /etc/passwd than is read, so that a line is cut.
#[test]
fn half_a_line_is_none() {
    as_root(|who| {
        let root = who.busybox();
        let line = "bob:x:1001:1234567::/:\n";
        let padding = "#".repeat((1 << 20) - "bob:x:1001:1".len() - 1);
        root.file("etc/passwd", &format!("{padding}\n{line}"));
        let ran = who.contain(&root, &["--as", "bob"], "id -g").ran();
        assert_eq!(ran.fails(125), "contain: --as \"bob\": no user \"bob\" in /etc/passwd\n");
    });
}

#[test]
fn what_a_container_runs_ends_with_the_one_who_learns() {
    both(|who| {
        let root = who.busybox();
        let mut contained = Running::ready(&mut who.contain(&root, &[], "echo ready; read x"));
        let dir = who.dir();
        let mark = mark();
        let script = format!("sh -c 'echo ready; read x; : {mark}' & sh -c 'sleep 1000; : {mark}'; :");
        let mut command = who.tool("inject");
        command.args(["--learn", "policy"]).arg(contained.pid().to_string()).args(["sh", "-c", &script]);
        let mut running = Running::start(command.current_dir(&*dir));
        eventually("both run", || marked(&mark).len() > 2);
        running.signal(Signal::SIGKILL);
        running.end();
        eventually("nothing is left", || marked(&mark).is_empty());
        contained.say("end");
        assert_eq!(contained.end(), 0);
    });
}
