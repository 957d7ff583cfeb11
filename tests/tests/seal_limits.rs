//! `seal`: what a command starts with, and who may look into it.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use nix::sys::signal::Signal;
use tests::{Report, Run, Running, TempDir, Who, both, report};

const PYTHON: &str = "/usr/bin/python3";

/// The probe, where every user may execute it.
fn probe(who: &Who) -> (TempDir, PathBuf) {
    who.program_for_all(env!("CARGO_BIN_EXE_probe"))
}

#[test]
fn fds_that_were_not_named_are_closed() {
    both(|who| {
        let (_dir, probe) = probe(who);
        let opened = |redirections: &str, options: &[&str]| {
            let script = format!("{redirections} exec seal \"$@\"");
            let mut command = who.command("sh");
            command.args(["-c", &script, "sh"]).args(options).arg(&probe);
            command
        };
        let many = "exec 5</dev/null 7</dev/null 9</dev/null;";
        let cases = [
            ("0,1,2,5", &[0, 1, 2, 5][..]),
            ("5,2,1,0,5", &[0, 1, 2, 5]),
            ("1", &[1]),
            ("1,9", &[1, 9]),
            ("0,1,2", &[0, 1, 2]),
        ];
        let fds = |report: &Report| {
            let numbers = report.keys().filter_map(|key| key.strip_prefix("fd.")?.parse::<i32>().ok());
            let mut numbers: Vec<_> = numbers.collect();
            numbers.sort_unstable();
            numbers
        };
        for (list, open) in cases {
            for more in [&[][..], &["--caps", "none", "--no-userns"], &["--binary"], &["--dumpable", "no"]] {
                let options = [&["--fds", list][..], more].concat();
                assert_eq!(fds(&report(&mut opened(many, &options))), open, "{options:?}");
            }
        }
        let without = fds(&report(&mut opened(many, &["--umask", "022"])));
        assert!([0, 1, 2, 5, 7, 9].iter().all(|fd| without.contains(fd)), "{without:?}");
        let none = who.seal(&["--fds", "none", "sh", "-c", "[ -e /proc/$$/fd/1 ] || exit 7"]).ran();
        assert_eq!(none.code(), 7);
        let refused = |redirections: &str, list: &str| opened(redirections, &["--fds", list]).ran();
        assert_eq!(refused("", "0,1,2,8").fails(125), "seal: --fds 8: no such fd is open\n");
        for (list, word) in [("", ""), ("0,", ""), ("x", "x"), ("-1", "-1")] {
            assert_eq!(refused("", list).fails(125), format!("seal: --fds {word:?} is no fd\n"));
        }
    });
}

#[test]
fn a_standard_fd_that_is_closed_is_missing_too() {
    both(|who| {
        for (closed, fd) in [("<&-", 0), (">&-", 1)] {
            let script = format!("exec seal --fds 0,1,2 sh -c 'exit 3' {closed}");
            let ran = who.command("sh").args(["-c", &script]).ran();
            assert_eq!(ran.fails(125), format!("seal: --fds {fd}: no such fd is open\n"));
        }
    });
}

#[test]
fn a_sealed_script_runs_with_few_fds() {
    both(|who| {
        let dir = who.dir();
        let script = dir.join("script");
        who.script(&script, "#!/bin/sh\necho ran\n");
        // Its interpreter reads it through an fd, which is the tool's doing.
        assert_eq!(who.seal(&["--binary", "--fds", "0,1,2"]).arg(&script).ran().out(), "ran");
    });
}

#[test]
fn a_signal_when_the_parent_ends() {
    both(|who| {
        let program = "import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
print('ready', flush=True)
signal.sigwait([signal.SIGUSR1])
print('told', flush=True)";
        // Each change of credentials makes the kernel forget it.
        let user = ["--as", "nstools-test"];
        for more in [&[][..], &["--caps", "none"], &["--binary"], &["--dumpable", "no"], &user] {
            if more == user && !who.is_root() {
                continue;
            }
            let mut command = who.command("sh");
            let script = "seal --parent-death USR1 \"$@\" & wait";
            command.args(["-c", script, "sh"]).args(more).args([PYTHON, "-c", program]);
            let mut running = Running::ready(&mut command);
            running.signal(Signal::SIGKILL);
            assert_eq!(running.end(), -9);
            assert_eq!(running.line(), "told", "{more:?}");
        }
        let (_dir, probe) = probe(who);
        for (name, number) in [("KILL", "9"), ("sigterm", "15"), ("RTMIN+3", "37")] {
            assert_eq!(report(who.seal(&["--parent-death", name]).arg(&probe))["pdeathsig"], number);
        }
        for name in ["NOSUCH", "", "15"] {
            let refused = who.seal(&["--parent-death", name, "true"]).ran();
            assert_eq!(refused.fails(125), format!("seal: --parent-death {name:?} is no name of a signal\n"));
        }
    });
}

#[test]
fn the_umask() {
    both(|who| {
        let (_dir, probe) = probe(who);
        for (text, shown) in [("027", "027"), ("0", "000"), ("777", "777"), ("0077", "077")] {
            assert_eq!(report(who.seal(&["--umask", text]).arg(&probe))["umask"], shown);
        }
        for text in ["1000", "8", "", "-1", "u=rwx", "0o22"] {
            let refused = who.seal(&["--umask", text, "true"]).ran();
            assert_eq!(refused.fails(125), format!("seal: --umask {text:?} is no octal number up to 777\n"));
        }
    });
}

#[test]
fn the_personality() {
    both(|who| {
        let cases = [
            ("linux32", "00000008"),
            ("uname26", "00020000"),
            ("addr-no-randomize", "00040000"),
            ("ADDR_NO_RANDOMIZE", "00040000"),
            ("fdpic-funcptrs", "00080000"),
            ("mmap-page-zero", "00100000"),
            ("addr-compat-layout", "00200000"),
            // The kernel takes it back at the exec of a program of 64 bits.
            ("read-implies-exec", "00000000"),
            ("addr-limit-32bit", "00800000"),
            ("short-inode", "01000000"),
            ("whole-seconds", "02000000"),
            ("sticky-timeouts", "04000000"),
            ("addr-limit-3gb", "08000000"),
            ("linux", "00000000"),
            ("linux32,uname26", "00020008"),
            ("0x60000", "00060000"),
            ("262144", "00040000"),
            ("short-inode,0x8", "01000008"),
        ];
        let show = ["cat", "/proc/self/personality"];
        for (list, shown) in cases {
            assert_eq!(who.seal(&["--personality", list]).args(show).ran().out(), shown, "{list}");
        }
        // It is set, not added to.
        let mut nested = who.seal(&["--personality", "uname26", "seal", "--personality", "linux"]);
        assert_eq!(nested.args(show).ran().out(), "00000000");
        let near = "seal: hint: did you mean addr-no-randomize?\n";
        for (list, word, hint) in [
            ("addr-no-randomise", "addr-no-randomise", near),
            ("nosuch", "nosuch", "seal: hint: there are linux, linux32, "),
            ("", "", "seal: hint: there are linux, linux32, "),
            ("linux32,", "", "seal: hint: there are linux, linux32, "),
            ("0x100000000", "0x100000000", "seal: hint: there are linux, linux32, "),
        ] {
            let said = who.seal(&["--personality", list, "true"]).ran().fails(125).to_owned();
            let start = format!("seal: --personality: unknown name {word:?}\n{hint}");
            assert!(said.starts_with(&start), "{said}");
        }
    });
}

#[test]
fn numbers_that_are_not_taken() {
    both(|who| {
        // personality(2) takes this one for a question.
        for list in ["0xffffffff", "4294967295", "0xfffffffe,1"] {
            let ran = who.seal(&["--personality", list, "echo", "ran"]).ran();
            assert_eq!((ran.code(), ran.text()), (125, String::new()), "{list}");
        }
        let refused = who.seal(&["--umask", "+7", "echo", "ran"]).ran();
        assert_eq!(refused.fails(125), "seal: --umask \"+7\" is no octal number up to 777\n");
    });
}

/// What another process of the same user tries: open what is of a process, map
/// an fd of it to itself (pidfd_getfd(2)), trace it (PTRACE_SEIZE).
const LOOK: &str = "import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
pid = int(sys.argv[1])
def call(*arguments):
    if libc.syscall(*map(ctypes.c_ulong, arguments)) < 0: raise OSError(ctypes.get_errno(), '')
for attempt in (
    lambda: open(f'/proc/{pid}/environ').read(),
    lambda: os.open(f'/proc/{pid}/mem', os.O_RDWR),
    lambda: os.readlink(f'/proc/{pid}/exe'),
    lambda: os.readlink(f'/proc/{pid}/fd/0'),
    lambda: call(438, os.pidfd_open(pid), 0, 0),
    lambda: call(101, 0x4206, pid, 0, 0),
):
    try: attempt(); print('works', end=' ')
    except PermissionError: print('refused', end=' ')";

#[test]
fn nobody_looks_into_an_undumpable_command() {
    both(|who| {
        // prctl(2): PR_GET_DUMPABLE is 3.
        let program = "import ctypes
print('ready', flush=True)
input()
print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), flush=True)";
        // The capabilities of root would open all.
        let none = &["--caps", "none"][..];
        for (options, seen, dumpable) in [
            (&[][..], "works works works works works works", "1"),
            (&["--dumpable", "no"], "refused refused refused refused refused refused", "0"),
        ] {
            let mut victim = who.seal(&[none, options].concat());
            let mut running = Running::ready(victim.args([PYTHON, "-c", program]));
            let mut other = who.seal(none);
            other.args([PYTHON, "-c", LOOK, &running.pid().to_string()]);
            assert_eq!(other.ran().out(), seen, "{options:?}");
            running.say("");
            assert_eq!(running.line(), dumpable, "{options:?}");
        }
    });
}

#[test]
fn undumpable_with_and_without_rights() {
    both(|who| {
        let ask = "import ctypes
libc = ctypes.CDLL(None)
print(libc.prctl(3, 0, 0, 0, 0))";
        let root: &[&[&str]] = &[&["--caps", "all"], &["--caps", "chown"], &["--as", "nstools-test"]];
        let user: &[&[&str]] = &[&[], &["--caps", "none"], &["--no-userns", "--files", "rx:/"], &["--fds", "0,1,2"]];
        for options in user.iter().chain(root.iter().filter(|_| who.is_root())) {
            let mut command = who.seal(&["--dumpable", "no"]);
            assert_eq!(command.args(*options).args([PYTHON, "-c", ask]).ran().out(), "0", "{options:?}");
        }
        // PR_SET_DUMPABLE is 4. What it starts in its place is dumpable again.
        let undo = format!("{ask}\nlibc.prctl(4, 1, 0, 0, 0)\nprint(libc.prctl(3, 0, 0, 0, 0))");
        assert_eq!(who.seal(&["--dumpable", "no", PYTHON, "-c", &undo]).ran().out(), "0\n0");
        let again = ["--dumpable", "no", "sh", "-c", "exec \"$@\"", "sh", PYTHON, "-c", ask];
        assert_eq!(who.seal(&again).ran().out(), "1");
    });
}

#[test]
fn what_cannot_be_made_undumpable() {
    both(|who| {
        let dir = who.dir();
        let script = dir.join("script");
        who.script(&script, "#!/bin/sh\necho ran\n");
        let said = format!(
            "seal: --dumpable no: {script:?} is a script\n\
             seal: hint: its interpreter would be dumpable: name that, and the script as its argument\n"
        );
        assert_eq!(who.seal(&["--dumpable", "no"]).arg(&script).ran().fails(125), said);
        assert_eq!(who.seal(&["--dumpable", "no", "sh"]).arg(&script).ran().out(), "ran");
        for value in ["yes", "", "No"] {
            let refused = who.seal(&["--dumpable", value, "true"]).ran();
            assert_eq!(refused.fails(125), format!("seal: --dumpable {value:?}\nseal: hint: there is only no\n"));
        }
    });
}
