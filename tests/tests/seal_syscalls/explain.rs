//! `--explain`: what is decided, as a table.

use tests::{Run, both};

use crate::attempts::Attempts;

/// What the table says of a call; `name` may be one of its last rows.
fn row<'a>(table: &'a str, name: &str) -> &'a str {
    let found = table.lines().find(|line| line.split_whitespace().take(2).any(|word| word == name));
    found.unwrap_or_else(|| panic!("no {name} in {table}"))
}

#[test]
fn each_call_has_a_row() {
    both(|who| {
        let attempts = Attempts::new(who);
        let policy = "ERRNO(5) { getppid }, KILL { SYSCALL[9999] } DEFAULT ALLOW";
        let table = attempts.seal(&["--syscalls-string", policy, "--explain"], &["getppid"]).ran().out();
        // The command did not run.
        assert!(!table.contains("EIO") && !table.lines().any(|line| line == "ok"), "{table}");
        let number = libc::SYS_getppid;
        assert_eq!(row(&table, "getppid"), format!("{number:>5}  {:23}  ERRNO(5)", "getppid"));
        assert_eq!(row(&table, "read"), format!("{:>5}  {:23}  ALLOW", libc::SYS_read, "read"));
        assert_eq!(row(&table, "9999"), format!(" 9999  {:23}  KILL_THREAD", ""));
        assert_eq!(row(&table, "others"), format!("       {:23}  ALLOW", "others"));
        assert_eq!(row(&table, "32-bit"), format!("       {:23}  KILL_PROCESS", "32-bit"));
        if cfg!(target_arch = "x86_64") {
            assert_eq!(row(&table, "x32"), format!("       {:23}  KILL_PROCESS", "x32"));
        }
        // Without a command, too.
        let alone = attempts.sh(&format!("exec seal --syscalls-string '{policy}' --explain")).ran().out();
        assert_eq!(alone, table);
    });
}

#[test]
fn conditions_are_told_as_text() {
    both(|who| {
        let attempts = Attempts::new(who);
        for (rules, name, said) in [
            ("ERRNO(5) { lseek { offset == 1 } }", "lseek", "ERRNO(5) if offset == 1; else ALLOW"),
            ("ERRNO(5) { lseek { offset & 0x10 == 0 } }", "lseek", "ERRNO(5) if (offset & 0x10) == 0; else ALLOW"),
            (
                "KILL { lseek { (offset == 1 || offset > 2) && !(whence <= 1) } }",
                "lseek",
                "KILL_THREAD if (offset == 1 || offset > 2) && !(whence <= 1); else ALLOW",
            ),
            (
                "ERRNO(5) { lseek { offset == 1 } }, KILL { lseek { offset | whence != 3 } }",
                "lseek",
                "ERRNO(5) if offset == 1; KILL_THREAD if (offset | whence) != 3; else ALLOW",
            ),
            ("ERRNO(5) { lseek(a, b) { b == 1 } }", "lseek", "ERRNO(5) if offset == 1; else ALLOW"),
            ("ERRNO(5) { SYSCALL[9999](a) { a == 1 } }", "9999", "ERRNO(5) if arg0 == 1; else ALLOW"),
            ("ERRNO(5) { lseek { offset == 1 } }, ERRNO(5) { lseek }", "lseek", "ERRNO(5)"),
        ] {
            let policy = format!("{rules} DEFAULT ALLOW");
            let table = attempts.seal(&["--syscalls-string", &policy, "--explain"], &[]).ran().out();
            assert!(row(&table, name).ends_with(&format!("  {said}")), "{policy}: {}", row(&table, name));
        }
    });
}

#[test]
fn several_filters_are_told_as_one() {
    both(|who| {
        let attempts = Attempts::new(who);
        let options = [
            "--deny-syscalls",
            "getppid,getuid",
            "--no-tty-input",
            "--syscalls-string",
            "KILL { getuid }, ERRNO(6) { getgid } DEFAULT LOG",
            "--explain",
        ];
        let table = attempts.seal(&options, &[]).ran().out();
        for (name, said) in [
            ("getppid", "ERRNO(1)"),
            ("getuid", "KILL_THREAD"),
            ("getgid", "ERRNO(6)"),
            ("getegid", "LOG"),
            ("others", "LOG"),
            ("ioctl", "ERRNO(1) if cmd == 0x5412 || cmd == 0x541c; else LOG"),
        ] {
            assert!(row(&table, name).ends_with(&format!("  {said}")), "{}", row(&table, name));
        }
    });
}

#[test]
fn what_an_option_needs() {
    both(|who| {
        let attempts = Attempts::new(who);
        for options in [&["--explain"][..], &["--emit-bpf", "-"], &["--syscalls-log"]] {
            let said = format!(
                "seal: {} needs a filter of system calls\nseal: hint: seal --help lists the options\n",
                options[0]
            );
            let ran = attempts.seal(options, &["getppid"]).ran();
            assert_eq!((ran.fails(125), &*ran.text()), (&*said, ""), "{options:?}");
        }
    });
}
