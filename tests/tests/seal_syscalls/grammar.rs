//! Everything that Kafel's grammar has, seen to act.

use tests::{Run, both};

use crate::attempts::{Attempts, told};

/// A condition on `lseek(fd, offset, whence)`; offset and whence that meet it, and that do not.
const CONDITIONS: [(&str, &[&str], &[&str]); 33] = [
    ("offset == 16", &["16"], &["17", "0x100000010", "0"]),
    ("offset != 16", &["17", "0x100000010"], &["16"]),
    ("offset < 16", &["15", "0"], &["16", "17", "0x100000000", "-1"]),
    ("offset <= 16", &["16", "0"], &["17", "0x100000001"]),
    ("offset > 16", &["17", "0x100000000", "-1"], &["16", "0"]),
    ("offset >= 16", &["16", "0x100000000"], &["15"]),
    ("16 < offset", &["17"], &["16", "15"]),
    ("offset > 0xffffffff", &["0x100000000"], &["0xffffffff"]),
    ("offset >= 0x200000001", &["0x200000001", "0x300000000"], &["0x200000000", "0x1ffffffff"]),
    ("offset < 0x200000001", &["0x200000000", "0x1ffffffff"], &["0x200000001", "0x300000000"]),
    ("offset <= 0x200000001", &["0x200000001"], &["0x200000002", "0x300000000"]),
    ("offset == -2", &["-2", "0xfffffffffffffffe"], &["0xfffffffe", "2"]),
    ("offset == 0xfF", &["255"], &["254"]),
    ("offset == 0b101", &["5"], &["101"]),
    ("offset == 010", &["8"], &["10"]),
    ("(offset & 0xf0) == 0x30", &["0x30", "0xf3f"], &["0x70", "3"]),
    ("offset & 3 == 2", &["2", "6"], &["3", "0"]),
    ("(offset & 0x100000000) != 0", &["0x100000000", "-1"], &["1"]),
    ("(offset | 1) == 7", &["6", "7"], &["5", "0x100000007"]),
    ("offset | whence & 2 == 7", &["5,2", "7,0"], &["5,1", "4,2"]),
    ("(offset | whence) & 2 == 2", &["2", "1,2"], &["1,1"]),
    ("offset == whence", &["3,3"], &["3,4", "0x100000003,3"]),
    ("offset > whence", &["4,3", "0x100000000,3"], &["3,3", "2,3"]),
    ("offset == 1 && whence == 2", &["1,2"], &["1,1", "2,2"]),
    ("offset == 1 || whence == 2", &["1,1", "2,2"], &["2,1"]),
    ("offset == 1, whence == 2", &["1,1", "2,2"], &["2,1"]),
    ("offset == 1 && whence == 2, offset == 3", &["1,2", "3,1"], &["1,1"]),
    ("offset == 3 || offset == 1 && whence == 2", &["3,1", "1,2"], &["1,1"]),
    ("(offset == 3 || offset == 1) && whence == 2", &["3,2", "1,2"], &["3,1"]),
    ("whence == 2 && (offset == 3, offset == 1)", &["3,2", "1,2"], &["3,1"]),
    ("!(offset == 1)", &["2"], &["1"]),
    ("!offset == 1", &["2", "0"], &["1"]),
    ("!(offset < 4 && !(whence == 2))", &["4", "1,2"], &["1,1"]),
];

#[test]
fn every_operator() {
    both(|who| {
        let attempts = Attempts::new(who);
        for (condition, meets, does_not) in CONDITIONS {
            let policy = format!("ERRNO(5) {{ lseek {{ {condition} }} }} DEFAULT ALLOW");
            for (list, expected) in [(meets, "EIO"), (does_not, "EBADF")] {
                let steps: Vec<String> = list.iter().map(|rest| format!("lseek(99,{rest})")).collect();
                let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
                let ran = attempts.seal(&["--syscalls-string", &policy], &steps).ran();
                assert_eq!(told(&ran), vec![expected; steps.len()].join(", "), "{condition}: {list:?}");
            }
        }
    });
}

#[test]
fn four_bytes_are_the_low_ones() {
    both(|who| {
        let attempts = Attempts::new(who);
        for (filter, call, met, not_met) in [
            ("ioctl { cmd == 0x5412 }", "ioctl(99", "0x5412)", "0x5413)"),
            ("ioctl { cmd != 0x5413 }", "ioctl(99", "0x5412)", "0x5413)"),
            ("prctl { option == 22 }", "prctl(", "22)", "39)"),
            ("personality { personality == 0xffffffff }", "personality(", "0xffffffff)", "0)"),
            ("personality { personality == -1 }", "personality(", "0xffffffff)", "0)"),
            ("lseek { fd == 99 }", "lseek(", "99)", "98)"),
            ("lseek { whence > 0xfffffff0 }", "lseek(99,0", "0xfffffff1)", "2)"),
            ("lseek(a, b, c) { c == 7 }", "lseek(99,0", "7)", "2)"),
        ] {
            let policy = format!("ERRNO(5) {{ {filter} }} DEFAULT ALLOW");
            let comma = if call.ends_with('(') { "" } else { "," };
            // What the kernel cuts off the register does not help.
            for high in ["", "0x1", "0xffffffff", "0x80000000"] {
                let step = |low: &str| match (high, low.strip_prefix("0x")) {
                    ("", _) => format!("{call}{comma}{low}"),
                    (_, Some(digits)) => format!("{call}{comma}{high}{digits:0>9}"),
                    (_, None) => {
                        format!("{call}{comma}{high}{:08x})", low.trim_end_matches(')').parse::<u32>().unwrap())
                    }
                };
                let (met, not_met) = (step(met), step(not_met));
                let ran = attempts.seal(&["--syscalls-string", &policy], &[&met, &not_met]).ran();
                let told = told(&ran);
                let words: Vec<&str> = told.split(", ").collect();
                assert_eq!(words[0], "EIO", "{filter}: {met}");
                assert!(words.len() == 2 && words[1] != "EIO", "{filter}: {not_met}: {told}");
            }
        }
    });
}

/// `{ARCH}` is this architecture, `{OTHER}` another one, `{N}` the number of getppid, `{L}` of lseek.
const POLICIES: [(&str, &[&str], &str); 34] = [
    ("#define X 5\nERRNO(X) { getppid } DEFAULT ALLOW", &["getppid"], "EIO"),
    ("ERRNO(EIO) { getppid } DEFAULT ALLOW", &["getppid"], "EIO"),
    ("#define EIO 6\nERRNO(EIO) { getppid } DEFAULT ALLOW", &["getppid"], "ENXIO"),
    (
        "#define X 0x10\nERRNO(5) { lseek { offset == X } } DEFAULT ALLOW",
        &["lseek(99,16)", "lseek(99,1)"],
        "EIO, EBADF",
    ),
    ("#define N {N}\nERRNO(5) { SYSCALL[N] } DEFAULT ALLOW", &["getppid", "getuid"], "EIO, ok"),
    ("ERRNO(5) { SYSCALL[{N}] } DEFAULT ALLOW", &["getppid", "getuid"], "EIO, ok"),
    (
        "ERRNO(5) { SYSCALL[{L}](a, b) { b == 0x100000003 } } DEFAULT ALLOW",
        &["lseek(99,0x100000003)", "lseek(99,3)"],
        "EIO, EBADF",
    ),
    ("ERRNO(5) { SYSCALL[9999] } DEFAULT ALLOW", &["9999", "9998"], "EIO, ENOSYS"),
    (
        "ERRNO(5) { lseek(a, b, c) { b == 3 && c == 1 } } DEFAULT ALLOW",
        &["lseek(99,3,1)", "lseek(99,1,3)"],
        "EIO, EBADF",
    ),
    ("ERRNO(5) { lseek(whence, fd) { fd == 3 } } DEFAULT ALLOW", &["lseek(99,3)", "lseek(3,99)"], "EIO, EBADF"),
    ("ERRNO(5) { getppid() } DEFAULT ALLOW", &["getppid"], "EIO"),
    ("ERRNO(5) { lseek {} } DEFAULT ALLOW", &["lseek(99)"], "EIO"),
    ("ERRNO(5) { getppid ON {ARCH} } DEFAULT ALLOW", &["getppid"], "EIO"),
    ("ERRNO(5) { getppid ON {OTHER} } DEFAULT ALLOW", &["getppid"], "ok"),
    ("ERRNO(5) { getppid ON { {OTHER}, {ARCH} } } DEFAULT ALLOW", &["getppid"], "EIO"),
    ("ERRNO(5) { getppid ON { {OTHER}, i386, arm } } DEFAULT ALLOW", &["getppid"], "ok"),
    ("ERRNO(5) { lseek ON {ARCH} { offset == 3 } } DEFAULT ALLOW", &["lseek(99,3)", "lseek(99,4)"], "EIO, EBADF"),
    ("ERRNO(5) { nosuch(a) ON {OTHER} { a == 1 }, getppid } DEFAULT ALLOW", &["getppid"], "EIO"),
    ("POLICY a { ERRNO(5) { getppid } } USE a DEFAULT ALLOW", &["getppid"], "EIO"),
    ("POLICY a { ERRNO(5) { getppid } } DEFAULT ALLOW", &["getppid"], "ok"),
    (
        "POLICY a { ERRNO(5) { getppid } } POLICY b { USE a, ERRNO(6) { getuid } } POLICY c { USE b } USE c DEFAULT ALLOW",
        &["getppid", "getuid", "getgid"],
        "EIO, ENXIO, ok",
    ),
    ("POLICY a {} USE a DEFAULT ALLOW", &["getppid"], "ok"),
    ("POLICY a { ERRNO(5) { getppid } } ERRNO(6) { getppid }, USE a DEFAULT ALLOW", &["getppid"], "ENXIO"),
    ("POLICY a { ERRNO(5) { getppid } } USE a, ERRNO(6) { getppid } DEFAULT ALLOW", &["getppid"], "EIO"),
    ("ERRNO(5) { getppid } ERRNO(6) { getppid } DEFAULT ALLOW", &["getppid"], "EIO"),
    ("ALLOW { getppid } ERRNO(6) { getppid } DEFAULT ALLOW", &["getppid"], "ok"),
    (
        "ERRNO(5) { lseek { offset == 1 } }, ERRNO(6) { lseek { offset <= 2 } }, ERRNO(7) { lseek { offset <= 3 } } DEFAULT ALLOW",
        &["lseek(99,1)", "lseek(99,2)", "lseek(99,3)", "lseek(99,4)"],
        "EIO, ENXIO, E2BIG, EBADF",
    ),
    ("DEFAULT ALLOW ERRNO(5) { getppid, getuid }", &["getppid", "getuid", "getgid"], "EIO, EIO, ok"),
    ("ERRNO(5) {} DEFAULT ALLOW", &["getppid"], "ok"),
    ("// none { of this }\nERRNO(5) { /* nor\n this */ getppid } DEFAULT ALLOW // end", &["getppid"], "EIO"),
    ("ERRNO(5) { uname } DEFAULT ALLOW", &["uname"], "EIO"),
    ("ERRNO(5) { newuname } DEFAULT ALLOW", &["uname"], "EIO"),
    ("ERRNO(5) { getuid } DEFAULT ALLOW", &["getuid", "getppid"], "EIO, ok"),
    ("ALLOW { execve }", &["getppid"], "= 159"),
];

#[test]
fn every_part_of_a_policy() {
    let (arch, other) = match std::env::consts::ARCH {
        "aarch64" => ("aarch64", "x86_64"),
        _ => ("x86_64", "aarch64"),
    };
    both(|who| {
        let attempts = Attempts::new(who);
        for (policy, steps, expected) in POLICIES {
            let policy = policy.replace("{ARCH}", arch).replace("{OTHER}", other);
            let policy =
                policy.replace("{N}", &libc::SYS_getppid.to_string()).replace("{L}", &libc::SYS_lseek.to_string());
            let ran = attempts.seal(&["--syscalls-string", &policy], steps).ran();
            assert_eq!(told(&ran), expected, "{policy}: {}", ran.stderr);
        }
    });
}

#[test]
fn files_that_include_others() {
    both(|who| {
        let attempts = Attempts::new(who);
        attempts.sh("mkdir -p deep/er").ran().out();
        attempts.file("leaf", "ERRNO(5) { getppid }");
        attempts.file("other", "ERRNO(6) { getuid }\n");
        attempts.file("deep/er/middle", "#include \"../../leaf\"\n#define UID 7\n");
        attempts.file("deep/top", "#include \"er/middle\" \"../other\"\nERRNO(UID) { getgid } DEFAULT ALLOW");
        attempts.file("one-line", "#include \"leaf\" \"other\"; ERRNO(7) { getgid } DEFAULT ALLOW");
        let steps = ["getppid", "getuid", "getgid", "getegid"];
        for options in [
            ["--syscalls", "deep/top"],
            ["--syscalls", "one-line"],
            // There it is the working directory.
            ["--syscalls-string", "#include \"deep/top\""],
        ] {
            assert_eq!(told(&attempts.seal(&options, &steps).ran()), "EIO, ENXIO, E2BIG, ok", "{options:?}");
        }
        // It does not depend on where one is.
        let ran = attempts.sh("cd deep/er && exec seal --syscalls ../top ../../attempt getppid getgid").ran();
        assert_eq!(told(&ran), "EIO, E2BIG");
    });
}

#[test]
fn a_policy_from_a_pipe() {
    both(|who| {
        let attempts = Attempts::new(who);
        for policy in [
            "ERRNO(5) { getppid } DEFAULT ALLOW",
            "{\"defaultAction\": \"SCMP_ACT_ALLOW\",
            \"syscalls\": [{\"names\": [\"getppid\"], \"action\": \"SCMP_ACT_ERRNO\", \"errnoRet\": 5}]}",
        ] {
            let script = format!("printf %s '{policy}' | seal --syscalls - ./attempt getppid getuid");
            assert_eq!(told(&attempts.sh(&script).ran()), "EIO, ok");
        }
    });
}
