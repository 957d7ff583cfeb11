//! Makes the system calls that its arguments name, one after another, and says
//! on a line each what came of it: `ok`, the name of the error, or how it ended.
//!
//! | Argument | What it tries |
//! |---|---|
//! | `NAME(A, …)`, `NUMBER(A, …)` | the system call; all 64 bits of each argument |
//! | `x32:CALL` | likewise by its number in x32 |
//! | `i386:NUMBER` | the 32-bit system call of this number, by `int 0x80` |
//! | `child:STEP`, `thread:STEP` | the step in a child or in another thread, and what killed that |
//! | `handle` | to handle SIGSYS from now on |
//! | `permit` | to load a filter that allows everything |
//! | `again` | to execute this program anew for the arguments that follow |
#![no_main]

mod sys;

use std::ffi::CString;
use std::os::unix::ffi::OsStringExt;

use nix::errno::Errno;

/// Those that the tests name.
const CALLS: [(&str, i64); 23] = [
    ("clone", libc::SYS_clone),
    ("close", libc::SYS_close),
    ("dup3", libc::SYS_dup3),
    ("getegid", libc::SYS_getegid),
    ("geteuid", libc::SYS_geteuid),
    ("getgid", libc::SYS_getgid),
    ("getpgid", libc::SYS_getpgid),
    ("getppid", libc::SYS_getppid),
    ("getsid", libc::SYS_getsid),
    ("getuid", libc::SYS_getuid),
    ("ioctl", libc::SYS_ioctl),
    ("kill", libc::SYS_kill),
    ("lseek", libc::SYS_lseek),
    ("madvise", libc::SYS_madvise),
    ("openat", libc::SYS_openat),
    ("personality", libc::SYS_personality),
    ("prctl", libc::SYS_prctl),
    ("sched_yield", libc::SYS_sched_yield),
    ("seccomp", libc::SYS_seccomp),
    ("socket", libc::SYS_socket),
    ("umask", libc::SYS_umask),
    ("uname", libc::SYS_uname),
    ("unshare", libc::SYS_unshare),
];

/// On x86-64 numbers with this bit are those of x32.
const X32: i64 = 0x4000_0000;

fn attempt() -> i32 {
    let steps: Vec<CString> = std::env::args_os()
        .skip(1)
        .map(|step| CString::new(step.into_vec()).expect("an argument has no NUL"))
        .collect();
    for (index, step) in steps.iter().enumerate() {
        if step.as_bytes() == b"again" {
            say(&outcome(sys::execute_again(&steps[index + 1..])));
        } else {
            taken(&step.to_string_lossy());
        }
    }
    0
}

/// Tries one step, and tells what came of it.
fn taken(step: &str) {
    let came = match step.split_once(':') {
        Some(("x32", call)) => made(call, X32),
        Some(("i386", number)) => outcome(sys::int80(argument(number) as u32)),
        Some(("child", step)) => return sys::in_child(|| taken(step)).iter().for_each(|end| say(end)),
        Some(("thread", step)) => return sys::in_thread(step.to_owned()).iter().for_each(|end| say(end)),
        None if step == "handle" => outcome(sys::handle_sigsys()),
        None if step == "permit" => outcome(sys::load_permissive_filter()),
        _ => made(step, 0),
    };
    say(&came);
}

/// Makes a call, `openat(-100, 0)` or `getppid`.
fn made(call: &str, bit: i64) -> String {
    let (name, rest) = call.split_once('(').unwrap_or((call, ")"));
    let known = CALLS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    let number = known.unwrap_or_else(|| argument(name) as i64);
    let mut arguments = [0; 6];
    let words = rest.trim_end_matches(')').split(',').filter(|word| !word.is_empty());
    for (slot, word) in arguments.iter_mut().zip(words) {
        *slot = argument(word.trim());
    }
    let result = sys::call(number | bit, arguments);
    sys::handled().map_or_else(|| outcome(result), |(errno, call)| format!("SIGSYS {errno} by {call}"))
}

fn argument(word: &str) -> u64 {
    let number = match (word.strip_prefix("0x"), word.strip_prefix('-')) {
        (Some(digits), _) => u64::from_str_radix(digits, 16).ok(),
        (_, Some(digits)) => digits.parse().ok().map(u64::wrapping_neg),
        _ => word.parse().ok(),
    };
    number.unwrap_or_else(|| panic!("{word:?} is neither a number nor a call that is known here"))
}

fn outcome(result: Result<i64, Errno>) -> String {
    result.map_or_else(|errno| format!("{errno:?}"), |_| "ok".to_owned())
}

/// With one write(2) at once: what follows may be the end.
fn say(line: &str) {
    let _ = nix::unistd::write(std::io::stdout(), format!("{line}\n").as_bytes());
}
