//! `seal`: a program run from memory that nothing can write to.
#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use tests::{Run, TempDir, Who, both};

/// An executable script of `who`.
fn script(who: &Who, dir: &TempDir, name: &str, text: &str) -> std::path::PathBuf {
    let path = dir.join(name);
    who.script(&path, text);
    path
}

#[test]
fn the_program_is_a_memfd() {
    both(|who| {
        let sealed = who.tool("seal").args(["readlink", "/proc/self/exe"]).ran().out();
        assert_eq!(sealed, "/memfd:readlink (deleted)");
        let plain = who.command("readlink").arg("/proc/self/exe").ran().out();
        assert!(plain.ends_with("/readlink"), "{plain}");
    });
}

#[test]
fn every_seal_is_on_it() {
    both(|who| {
        // F_GET_SEALS; F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW and F_SEAL_WRITE are 1, 2, 4 and 8.
        let program = "import fcntl; print(fcntl.fcntl(open('/proc/self/exe'), 1034) & 15)";
        assert_eq!(who.tool("seal").args(["python3", "-c", program]).ran().out(), "15");
    });
}

#[test]
fn it_cannot_be_written() {
    both(|who| {
        let open = "exec 3>>/proc/self/exe && echo written";
        let refused = who.tool("seal").args(["busybox", "sh", "-c", open]).ran();
        let said = refused.fails(1);
        assert!(said.contains("Text file busy") || said.contains("not permitted"), "{said}");
        assert_eq!(refused.text(), "");
        // Nor when it does not run, which is when text files are not busy.
        let later = "import os, sys; fd = os.open('/proc/self/exe', os.O_RDONLY); \
                     os.dup2(fd, 9); os.execv('/usr/bin/python3', ['python3', '-c', '''
import os
try: os.write(os.open('/proc/self/fd/9', os.O_RDWR), b'x')
except PermissionError as error: print(error.strerror)
'''])";
        assert_eq!(who.tool("seal").args(["python3", "-c", later]).ran().out(), "Operation not permitted");
    });
}

#[test]
fn scripts_run_with_their_arguments() {
    both(|who| {
        let dir = who.dir();
        let path = script(who, &dir, "hello", "#!/bin/sh\necho \"$1, $2\"\nexit 3\n");
        let ran = who.tool("seal").arg(path).args(["a b", "c"]).ran();
        assert_eq!((ran.code(), ran.text()), (3, "a b, c".to_owned()));
    });
}

#[test]
fn found_on_the_path() {
    both(|who| {
        let dir = who.dir();
        script(who, &dir, "only-here", "#!/bin/sh\necho found\n");
        assert_eq!(who.tool("seal").arg("only-here").env("PATH", &*dir).ran().out(), "found");
        assert!(who.tool("seal").arg("only-here").ran().fails(127).contains("only-here"));
    });
}

#[test]
fn a_missing_program_is_127() {
    both(|who| {
        let said = "seal: cannot execute \"no-such-program\": No such file or directory\n";
        assert_eq!(who.tool("seal").arg("no-such-program").ran().fails(127), said);
        let said = "seal: cannot execute \"/no/such/program\": No such file or directory\n";
        assert_eq!(who.tool("seal").arg("/no/such/program").ran().fails(127), said);
    });
}

#[test]
fn one_that_is_not_executable_is_126() {
    both(|who| {
        let said = "seal: cannot execute \"/etc/passwd\": Permission denied\n";
        assert_eq!(who.tool("seal").arg("/etc/passwd").ran().fails(126), said);
        assert!(who.tool("seal").arg("/etc").ran().fails(126).contains("\"/etc\""));
    });
}

#[test]
fn a_program_without_its_interpreter_is_named() {
    both(|who| {
        let dir = who.dir();
        let path = script(who, &dir, "orphan", "#!/no/such/interpreter\n");
        let ran = who.tool("seal").arg(path).ran();
        let said = ran.fails(126);
        assert!(said.contains("orphan") && said.contains("seal: hint: its interpreter is missing"), "{said}");
    });
}

#[test]
fn statuses_and_signals_are_its_own() {
    both(|who| {
        assert_eq!(who.tool("seal").args(["sh", "-c", "exit 42"]).ran().code(), 42);
        // It becomes the program, so that the signal is the caller's to see.
        let outer = format!("{} sh -c 'kill -TERM $$'; echo $?", who.tool("seal").get_program().to_str().unwrap());
        assert_eq!(who.command("sh").args(["-c", &outer]).ran().text(), "143");
    });
}

#[test]
fn sigpipe_stays_as_it_was() {
    both(|who| {
        let ignored = |launcher: &str, ignore: bool| {
            let trap = if ignore { "trap '' PIPE; " } else { "" };
            let script = format!("{trap}exec {launcher} grep SigIgn /proc/self/status");
            let mask = who.command("sh").args(["-c", &script]).ran().out();
            u64::from_str_radix(mask.split_whitespace().last().unwrap(), 16).unwrap() & 1 << 12 != 0
        };
        for tool in ["seal", "pseudo", "isolate"] {
            assert!(!ignored(tool, false), "{tool}");
            assert!(ignored(tool, true), "{tool}");
        }
    });
}

#[test]
fn arguments_need_not_be_utf8() {
    both(|who| {
        let bytes = b"\xff\xfe x";
        let ran = who.tool("seal").arg("printf").arg("%s").arg(OsStr::from_bytes(bytes)).ran();
        assert_eq!(ran.stdout, bytes);
    });
}
