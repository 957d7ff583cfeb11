//! Every action acts, and holds against whoever wants to undo it.

use tests::{Run, Running, both};

use crate::attempts::{Attempts, told};

/// What a call comes to under each action, alone and in a child that it may kill.
const ACTIONS: [(&str, &str, &str); 10] = [
    ("ALLOW", "ok", "ok"),
    ("LOG", "ok", "ok"),
    ("KILL", "= 159", "child killed by 31"),
    ("KILL_THREAD", "= 159", "child killed by 31"),
    ("DENY", "= 159", "child killed by 31"),
    ("KILL_PROCESS", "= 159", "child killed by 31"),
    ("USER_NOTIF", "ENOSYS", "ENOSYS"),
    ("ERRNO(5)", "EIO", "EIO"),
    ("TRAP(77)", "= 159", "child killed by 31"),
    ("TRACE(3)", "ENOSYS", "ENOSYS"),
];

#[test]
fn every_action() {
    both(|who| {
        let attempts = Attempts::new(who);
        for (action, alone, in_child) in ACTIONS {
            let policy = format!("{action} {{ getppid }} DEFAULT ALLOW");
            let try_it = |steps: &[&str]| told(&attempts.seal(&["--syscalls-string", &policy], steps).ran());
            assert_eq!(try_it(&["getppid"]), alone, "{action}");
            // What is not named is not affected.
            assert_eq!(try_it(&["getuid", "child:getppid", "getuid"]), format!("ok, {in_child}, ok"), "{action}");
        }
    });
}

#[test]
fn every_action_as_the_default() {
    both(|who| {
        let attempts = Attempts::new(who);
        // What a program needs to start and to say something.
        let rest = "execve, brk, arch_prctl, set_tid_address, set_robust_list, rseq, prlimit64, readlink, readlinkat,
            getrandom, mprotect, mmap, munmap, clone, wait4, write, exit_group, rt_sigprocmask, newfstatat, fstat";
        for (action, alone, in_child) in ACTIONS {
            let policy = format!("ALLOW {{ {rest} }} DEFAULT {action}");
            let try_it = |steps: &[&str]| told(&attempts.seal(&["--syscalls-string", &policy], steps).ran());
            assert_eq!(try_it(&["getppid"]), alone, "{action}");
            assert_eq!(try_it(&["child:getuid"]), in_child, "{action}");
        }
    });
}

#[test]
fn a_thread_alone_or_all_of_the_process() {
    both(|who| {
        let attempts = Attempts::new(who);
        for (action, expected) in [
            ("KILL", "thread killed, ok"),
            ("KILL_THREAD", "thread killed, ok"),
            ("DENY", "thread killed, ok"),
            ("KILL_PROCESS", "= 159"),
            ("TRAP(1)", "= 159"),
            ("ERRNO(5)", "EIO, ok"),
        ] {
            let policy = format!("{action} {{ getppid }} DEFAULT ALLOW");
            let ran = attempts.seal(&["--syscalls-string", &policy], &["thread:getppid", "getuid"]).ran();
            assert_eq!(told(&ran), expected, "{action}");
        }
    });
}

#[test]
fn a_trap_can_be_handled_and_a_kill_cannot() {
    both(|who| {
        let attempts = Attempts::new(who);
        let number = libc::SYS_getppid;
        for (action, expected) in [
            ("TRAP(0)", format!("ok, SIGSYS 0 by {number}, ok")),
            ("TRAP(77)", format!("ok, SIGSYS 77 by {number}, ok")),
            ("TRAP(65535)", format!("ok, SIGSYS 65535 by {number}, ok")),
            ("KILL", "ok, = 159".to_owned()),
            ("KILL_PROCESS", "ok, = 159".to_owned()),
        ] {
            let policy = format!("{action} {{ getppid }} DEFAULT ALLOW");
            let ran = attempts.seal(&["--syscalls-string", &policy], &["handle", "getppid", "getuid"]).ran();
            assert_eq!(told(&ran), expected, "{action}");
        }
    });
}

#[test]
fn an_errno_of_zero_is_success_without_the_call() {
    both(|who| {
        let attempts = Attempts::new(who);
        let policy = "ERRNO(0) { lseek } ERRNO(4095) { getppid }, ERRNO(65535) { getuid } DEFAULT ALLOW";
        let ran = attempts.seal(&["--syscalls-string", policy], &["lseek(99,0,0)", "getppid", "getuid"]).ran();
        assert_eq!(told(&ran), "ok, UnknownErrno, UnknownErrno");
    });
}

#[test]
fn it_cannot_be_undone_from_inside() {
    both(|who| {
        let attempts = Attempts::new(who);
        let undo = [
            // PR_SET_SECCOMP to none, PR_SET_NO_NEW_PRIVS to 0.
            "prctl(22,0)",
            "prctl(38,0)",
            // SECCOMP_SET_MODE_STRICT has no meaning beside a filter.
            "seccomp(0,0,0)",
            // The strictest filter counts, not the last.
            "permit",
            "child:getppid",
            "thread:getppid",
            "again",
            "child:getppid",
        ];
        let failed = ["EINVAL", "EINVAL", "EINVAL", "ok"];
        for (action, then) in [
            ("ERRNO(5)", ["EIO"; 3]),
            ("KILL", ["child killed by 31", "thread killed", "child killed by 31"]),
            ("USER_NOTIF", ["ENOSYS"; 3]),
            ("TRACE(1)", ["ENOSYS"; 3]),
        ] {
            let policy = format!("{action} {{ getppid }} DEFAULT ALLOW");
            let ran = attempts.seal(&["--syscalls-string", &policy], &undo).ran();
            assert_eq!(told(&ran), [&failed[..], &then].concat().join(", "), "{action}");
        }
    });
}

#[test]
fn in_containers() {
    both(|who| {
        let root = who.busybox();
        root.copy(env!("CARGO_BIN_EXE_attempt"), "bin/attempt");
        let mut container = Running::ready(&mut who.contain(&root, &[], "echo ready; read x"));
        let policy = "KILL { getuid }, ERRNO(5) { getppid } DEFAULT ALLOW";
        for (steps, expected) in [
            (&["getppid", "permit", "child:getuid", "again", "getppid"][..], "EIO, ok, child killed by 31, EIO"),
            (&["child:x32:getgid", "child:i386:20", "prctl(22,0)"], "child killed by 31, child killed by 31, EINVAL"),
            (&["getgid", "getuid"], "ok, = 159"),
        ] {
            for (tool, target) in [("contain", root.display().to_string()), ("inject", container.pid().to_string())] {
                let mut command = who.tool(tool);
                command.args(["--syscalls-string", policy, &target, "attempt"]).args(steps);
                assert_eq!(told(&command.ran()), expected, "{tool}");
            }
        }
        container.say("end");
        assert_eq!(container.end(), 0);
    });
}

#[test]
fn no_other_way_into_the_kernel() {
    both(|who| {
        let attempts = Attempts::new(who);
        let outside = ["child:x32:getppid", "child:x32:lseek(99,0,0)", "child:i386:20", "-1", "child:getppid"];
        let killed = "child killed by 31, child killed by 31, child killed by 31";
        for (options, rest) in [
            (["--syscalls-string", "DEFAULT ALLOW"], "ENOSYS, ok"),
            (["--syscalls-string", "ERRNO(5) { getppid } DEFAULT LOG"], "ENOSYS, EIO"),
            (["--deny-syscalls", "getppid"], "ENOSYS, EPERM"),
            (["--syscalls-string", "ERRNO(5) { SYSCALL[-1] } DEFAULT ALLOW"], "EIO, ok"),
        ] {
            let ran = attempts.seal(&options, &outside).ran();
            assert_eq!(told(&ran), format!("{killed}, {rest}"), "{options:?}");
        }
    });
}

#[test]
fn lists_of_names() {
    both(|who| {
        let attempts = Attempts::new(who);
        let denied = ["--deny-syscalls", "getppid,newuname"];
        assert_eq!(told(&attempts.seal(&denied, &["getppid", "uname", "getuid"]).ran()), "EPERM, EPERM, ok");
        // The names of a policy that was learned are those that it needs.
        let learned = attempts.seal(&["--learn", "learned"], &["getuid"]).ran();
        assert_eq!(learned.out(), "ok");
        let names = "sed -n 's/^    \\([a-z0-9_]*\\).*/\\1/p' learned | paste -sd,";
        let names = attempts.sh(names).ran().out();
        let ran = attempts.seal(&["--allow-syscalls", &names], &["getppid", "getuid", "permit", "getppid"]).ran();
        assert_eq!(told(&ran), "EPERM, ok, EPERM, EPERM");
        for (option, list, said) in [
            ("--allow-syscalls", "read,wirte", "unknown system call \"wirte\"\nseal: hint: did you mean write?\n"),
            ("--deny-syscalls", "xyzzy", "unknown system call \"xyzzy\"\n"),
            ("--deny-syscalls", "read,,write", "unknown system call \"\"\n"),
        ] {
            let ran = attempts.seal(&[option, list], &["getppid"]).ran();
            assert_eq!((ran.fails(125), ran.text()), (&*format!("seal: {option}: {said}"), String::new()));
        }
    });
}
