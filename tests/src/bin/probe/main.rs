//! Says what it finds itself in, one `key value` a line. It needs neither /proc
//! nor a library, and goes after whatever a tool does before it starts a command.
//!
//! Inodes and process ids are told as they are: whoever runs it knows which of
//! them are his.
#![no_main]

mod sys;

use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::{env, fs, process};

use nix::sys::signal::SigSet;
use rustix::process::{Gid, Pid, PidfdFlags, Resource};
use rustix::thread::CapabilitySet;

/// By its name under /proc/self/ns and its request in linux/pidfd.h.
const NAMESPACES: [(&str, u8); 10] = [
    ("cgroup", 1),
    ("ipc", 2),
    ("mnt", 3),
    ("net", 4),
    ("pid", 5),
    ("pid_for_children", 6),
    ("time", 7),
    ("time_for_children", 8),
    ("user", 9),
    ("uts", 10),
];

fn observe() {
    // Before anything is opened.
    let fds: Vec<_> = (0..256).filter(|fd| sys::is_open(*fd)).collect();
    let mut text = String::from("probe\n");
    let mut say = |key: &str, value: String| text += &format!("{key} {}\n", value.trim_end());
    arguments(&mut say);
    process(&mut say);
    ids(&mut say);
    capabilities(&mut say);
    signals(&mut say);
    for fd in fds {
        say(&format!("fd.{fd}"), kind(fd));
    }
    files(&mut say);
    namespaces(&mut say);
    mounts(&mut say);
    // No one may be there to read it.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn arguments(say: &mut impl FnMut(&str, String)) {
    let mut arguments = env::args_os().map(|argument| argument.to_string_lossy().into_owned());
    say("argv0", arguments.next().unwrap_or_default());
    say("args", arguments.collect::<Vec<_>>().join(" "));
    for (name, value) in env::vars_os() {
        say(&format!("env.{}", name.to_string_lossy()), value.to_string_lossy().into_owned());
    }
}

fn process(say: &mut impl FnMut(&str, String)) {
    let number = |pid: Option<Pid>| Pid::as_raw(pid).to_string();
    say("pid", process::id().to_string());
    say("ppid", number(rustix::process::getppid()));
    // Zero is a session or group outside the pid namespace, which rustix has no name for.
    say("sid", nix::unistd::getsid(None).map_or_else(|error| error.to_string(), |pid| pid.to_string()));
    say("pgid", nix::unistd::getpgrp().to_string());
    let signal = rustix::process::parent_process_death_signal();
    say(
        "pdeathsig",
        signal.map_or_else(|error| error.to_string(), |signal| signal.map_or(0, |signal| signal.as_raw()).to_string()),
    );
    let limit = rustix::process::getrlimit(Resource::Nofile);
    say("nofile", format!("{:?} {:?}", limit.current, limit.maximum));
    let nice = rustix::process::getpriority_process(None);
    say("nice", nice.map_or_else(|error| error.to_string(), |nice| nice.to_string()));
    say("umask", format!("{:03o}", rustix::process::umask(rustix::fs::Mode::empty()).as_raw_mode()));
}

fn ids(say: &mut impl FnMut(&str, String)) {
    let uid = nix::unistd::getresuid().expect("it takes three pointers");
    let gid = nix::unistd::getresgid().expect("it takes three pointers");
    say("uid", format!("{} {} {}", uid.real, uid.effective, uid.saved));
    say("gid", format!("{} {} {}", gid.real, gid.effective, gid.saved));
    let groups = rustix::process::getgroups().unwrap_or_default();
    say("groups", format!("{:?}", groups.into_iter().map(Gid::as_raw).collect::<Vec<_>>()));
}

fn capabilities(say: &mut impl FnMut(&str, String)) {
    let sets = rustix::thread::capabilities(None).expect("a process may ask about itself");
    say("cap.permitted", format!("{:x}", sets.permitted.bits()));
    say("cap.effective", format!("{:x}", sets.effective.bits()));
    say("cap.inheritable", format!("{:x}", sets.inheritable.bits()));
    let gather = |has: fn(CapabilitySet) -> rustix::io::Result<bool>| {
        let bits = (0..64).map(|bit| 1 << bit);
        let held = bits.filter(|bit| has(CapabilitySet::from_bits_retain(*bit)).unwrap_or(false));
        format!("{:x}", held.fold(0, |all: u64, bit| all | bit))
    };
    say("cap.bounding", gather(rustix::thread::capability_is_in_bounding_set));
    say("cap.ambient", gather(rustix::thread::capability_is_in_ambient_set));
    let bits = rustix::thread::capabilities_secure_bits();
    say("securebits", bits.map_or_else(|error| error.to_string(), |bits| format!("{:x}", bits.bits())));
    say("no_new_privs", format!("{:?}", rustix::thread::no_new_privs()));
}

fn signals(say: &mut impl FnMut(&str, String)) {
    let blocked = SigSet::thread_get_mask().expect("a thread has a mask");
    say("sig.blocked", format!("{:?}", blocked.iter().collect::<Vec<_>>()));
    let ignored: Vec<_> = (1..=64).filter(|signal| sys::disposition(*signal) == Some(libc::SIG_IGN)).collect();
    say("sig.ignored", format!("{ignored:?}"));
}

/// What an fd is on; numbers of pipes and sockets differ from run to run.
fn kind(fd: i32) -> String {
    match fs::read_link(format!("/proc/self/fd/{fd}")) {
        Ok(target) => {
            let target = target.to_string_lossy();
            target.split_once(":[").map_or(&*target, |(kind, _)| kind).to_owned()
        }
        Err(_) => "open".to_owned(),
    }
}

fn files(say: &mut impl FnMut(&str, String)) {
    let file = |path: &str| {
        fs::metadata(path).map_or_else(|error| error.to_string(), |meta| format!("{}:{}", meta.dev(), meta.ino()))
    };
    say("cwd", env::current_dir().map_or_else(|error| error.to_string(), |path| path.display().to_string()));
    say("cwd.file", file("."));
    say("root.file", file("/"));
    say(
        "proc",
        match fs::read_link("/proc/self") {
            Ok(pid) if pid.as_os_str().as_bytes() == process::id().to_string().as_bytes() => "own".to_owned(),
            Ok(_) => "another's".to_owned(),
            Err(_) if fs::metadata("/proc/version").is_ok() => "without it".to_owned(),
            Err(_) => "none".to_owned(),
        },
    );
    for name in ["uid_map", "gid_map", "setgroups", "timens_offsets", "cgroup", "oom_score_adj"] {
        let text = fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_else(|_| "none".to_owned());
        let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        say(name, lines.collect::<Vec<_>>().join("|"));
    }
    let children = fs::read_to_string(format!("/proc/self/task/{}/children", process::id())).unwrap_or_default();
    say("children", children.split_whitespace().count().to_string());
    let routes = fs::read_to_string("/proc/self/net/fib_trie").unwrap_or_default();
    say("lo", if routes.contains("127.0.0.1") { "up" } else { "not up" }.to_owned());
}

fn namespaces(say: &mut impl FnMut(&str, String)) {
    let pidfd = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty());
    for (name, number) in NAMESPACES {
        let by_pidfd = pidfd.as_ref().ok().and_then(|pidfd| sys::namespace(pidfd.as_fd(), number));
        let meta = by_pidfd.map_or_else(|| fs::metadata(format!("/proc/self/ns/{name}")), |file| file.metadata());
        say(&format!("ns.{name}"), meta.map_or_else(|_| "none".to_owned(), |meta| meta.ino().to_string()));
    }
}

/// The mounts on / and on and under /proc: type, options and propagation.
fn mounts(say: &mut impl FnMut(&str, String)) {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for line in text.lines() {
        // 27 1 254:0 / / rw,relatime shared:1 master:2 - ext4 /dev/vda rw
        let fields: Vec<_> = line.split(' ').collect();
        let Some(dash) = fields.iter().position(|field| *field == "-") else { continue };
        let (point, options) = (fields[4], fields[5]);
        if point == "/" || point.starts_with("/proc") {
            let propagation: Vec<_> = fields[6..dash].iter().filter_map(|field| field.split(':').next()).collect();
            say(&format!("mount.{point}"), format!("{} {options} {}", fields[dash + 1], propagation.join(",")));
        }
    }
}
