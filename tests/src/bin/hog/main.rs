//! A command that takes what it can get, or does not want to go.
//!
//! | Arguments | What it does |
//! |---|---|
//! | `memory BYTES` | touches as much memory, says `held`, waits until its input ends |
//! | `burn COUNT` | as many processes that compute, for ever |
//! | `forks COUNT` | as many children at once; says how many there are, and why no more |
//! | `bomb` | forks for ever, and so does each child, deaf to SIGTERM; says `ready` when one is refused |
//! | `daemon` | leaves a process behind, twice forked, in a session of its own, deaf to what can be ignored |
//! | `deaf` | says `ready`, and stays, deaf to what can be ignored |
//! | `signals` | says `ready`, and each signal that comes; SIGUSR2 ends it with status 5 |
//! | `tsc` | reads the time-stamp counter and says `read` |
//! | `core` | makes a core scheduling cookie and says `ok` or the error |
//! | `cookie` | says its core scheduling cookie |
//!
//! Arguments that follow these are ignored: they mark a process.
//!
//! `job CMD [ARG]...` runs CMD as a shell runs a job: in a process group of its
//! own with a parent outside of it, without which the kernel stops nobody at
//! SIGTSTP, and hangs up on all when one of them is stopped (credentials(7)).
//!
//! `enter UID GID FILE... -- CMD [ARG]...` is what puts commands into cgroups: it
//! writes itself to the files and becomes CMD of that user.

mod sys;

use std::ffi::OsString;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{self, Command};
use std::str::FromStr;
use std::{env, fs};

use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{ForkResult, pause, setsid};

use sys::fork;

fn main() {
    let words: Vec<OsString> = env::args_os().skip(1).collect();
    let count = || words.get(1).map(number).expect("a number follows");
    match words.first().and_then(|word| word.to_str()).unwrap_or_default() {
        "memory" => memory(count()),
        "burn" => burn(count()),
        "forks" => forks(count()),
        "bomb" => bomb(),
        "daemon" => daemon(),
        "deaf" => {
            deaf();
            stay("ready");
        }
        "signals" => signals(),
        "tsc" => {
            sys::read_tsc();
            say("read");
        }
        "core" => say(&sys::core_scheduling_create().map_or_else(|errno| format!("{errno:?}"), |()| "ok".to_owned())),
        "cookie" => say(&sys::core_scheduling_cookie().map_or_else(|errno| format!("{errno:?}"), |id| id.to_string())),
        "enter" => enter(&words[1..]),
        "job" => job(&words[1..]),
        word => panic!("{word:?} is nothing that a hog does"),
    }
}

fn number<N: FromStr>(word: &OsString) -> N {
    let number = word.to_str().and_then(|word| word.parse().ok());
    number.unwrap_or_else(|| panic!("{word:?} is no number"))
}

fn enter(words: &[OsString]) {
    let end = words.iter().position(|word| word == "--").expect("a command follows");
    for file in &words[2..end] {
        fs::write(file, process::id().to_string()).unwrap_or_else(|error| panic!("{file:?}: {error}"));
    }
    // Of no other groups.
    let mut command = Command::new(&words[end + 1]);
    panic!("{}", command.args(&words[end + 2..]).uid(number(&words[0])).gid(number(&words[1])).exec());
}

fn job(words: &[OsString]) {
    let status = Command::new(&words[0]).args(&words[1..]).process_group(0).status().expect("it starts");
    process::exit(status.code().unwrap_or(125));
}

/// With one write(2) at once: what follows may be the end.
fn say(line: &str) {
    let _ = nix::unistd::write(std::io::stdout(), format!("{line}\n").as_bytes());
}

fn stay(line: &str) -> ! {
    say(line);
    loop {
        pause();
    }
}

fn memory(bytes: usize) {
    let mut held = vec![0_u8; bytes];
    for page in held.chunks_mut(4096) {
        page[0] = 1;
    }
    std::hint::black_box(&held);
    say("held");
    let _ = std::io::stdin().read(&mut [0]);
}

fn burn(count: usize) {
    for _ in 1..count {
        if let Ok(ForkResult::Child) = fork() {
            break;
        }
    }
    loop {
        std::hint::spin_loop();
    }
}

fn forks(count: usize) {
    for number in 0..count {
        match fork() {
            Ok(ForkResult::Child) => loop {
                pause();
            },
            Ok(ForkResult::Parent { .. }) => (),
            Err(errno) => return say(&format!("{number} {errno:?}")),
        }
    }
    say(&format!("{count}"));
}

fn bomb() -> ! {
    deaf();
    let first = process::id();
    let mut said = false;
    loop {
        if fork().is_err() {
            if process::id() == first && !said {
                say("ready");
                said = true;
            }
            // Refused: the others are to have the processor, too.
            std::thread::yield_now();
        }
    }
}

fn daemon() {
    // The child says nothing before it is deaf: its parent ends, and with it the shell's wait.
    let (end, told) = nix::unistd::pipe().expect("fds are left");
    if let Ok(ForkResult::Child) = fork() {
        setsid().expect("a child leads no group");
        if let Ok(ForkResult::Child) = fork() {
            deaf();
            drop((end, told));
            loop {
                pause();
            }
        }
        process::exit(0);
    }
    drop(told);
    let _ = nix::unistd::read(end, &mut [0]);
    say("ready");
}

/// Ignores whatever can be ignored.
fn deaf() {
    for signal in Signal::iterator() {
        sys::ignore(signal);
    }
}

fn signals() {
    let all = SigSet::all();
    all.thread_block().expect("a thread may");
    say("ready");
    loop {
        let signal = all.wait().expect("all are blocked");
        say(signal.as_str());
        if signal == Signal::SIGUSR2 {
            process::exit(5);
        }
    }
}
