//! `--syscalls-log`, and the action that logs.

use tests::{Run, Running, as_root, both};

use crate::attempts::Attempts;

/// Says which system calls of a program the kernel logs: what all who read the kernel's audit messages are sent, whether or not they
/// come to its log besides (NETLINK_AUDIT, AUDIT_NLGRP_READLOG).
const READER: &str = "import re, socket, sys
log = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 9)
log.setsockopt(socket.SOL_SOCKET, 33, 1 << 22)
log.bind((0, 1))
print('ready', flush=True)
while True:
    message = log.recv(1 << 16)
    text = message[16:].decode(errors='replace')
    # AUDIT_SECCOMP
    if int.from_bytes(message[4:6], 'little') == 1326 and sys.argv[1] in text:
        found = re.search(r' pid=(\\d+).* syscall=(\\d+).* code=(\\w+)', text)
        print(*found.groups(), flush=True)
";

#[test]
fn what_is_refused_is_logged_if_asked_for() {
    // Root alone may read it; whoever asks, it is written.
    as_root(|root| {
        both(|who| {
            let attempts = Attempts::new(who);
            let exe = attempts.sh("pwd").ran().out();
            let mut reader = root.command("python3");
            let log = Running::ready(reader.args(["-c", READER, &format!("{exe}/attempt")]));
            let policy = "ERRNO(5) { getppid, getuid }, LOG { getgid, getegid } DEFAULT ALLOW";
            let run = |options: &str, step: &str| {
                let script = format!("echo $$; exec seal {options} --syscalls-string '{policy}' ./attempt {step}");
                let text = attempts.sh(&script).ran().out();
                text.lines().next().unwrap().to_owned()
            };
            let [quiet, logged, last] =
                [run("", "getuid getsid"), run("--syscalls-log", "getppid getsid"), run("", "getegid")];
            // The kernel leaves the data out.
            let errno = format!("{logged} {} 0x50000", libc::SYS_getppid);
            assert_eq!(log.line(), errno, "not of {quiet}");
            assert_eq!(log.line(), format!("{last} {} 0x7ffc0000", libc::SYS_getegid));
        });
    });
}
