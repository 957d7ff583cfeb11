//! The process tree below this process, a subreaper: whoever in it loses his
//! parent, however he has detached himself, becomes our child (prctl(2),
//! PR_SET_CHILD_SUBREAPER).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::unistd::{SysconfVar, sysconf};
use rustix::fs::{Dir, DirEntry, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitOptions, WaitStatus, pidfd_open, pidfd_send_signal, wait,
    waitid,
};
use seal::{Context, Error};

use crate::sys::{self, SchedAttr};

/// For how long to look for processes that are there and not to be found.
const PATIENCE: Duration = Duration::from_secs(10);

/// The tree below the process that calls its methods.
pub struct Tree {
    /// By which processes are found, numbered and signalled: a directory of
    /// /proc serves as a pidfd, whichever PID namespace its number is of.
    proc: OwnedFd,
}

/// A process that is below us.
struct Process {
    dir: OwnedFd,
    /// The number may have become another's before the directory was opened:
    /// then this tells.
    parent: i32,
    is_child: bool,
    /// Of its own and of the children that it has waited for, in clock ticks.
    ticks: u64,
}

impl Tree {
    /// Becomes its subreaper.
    pub fn adopt() -> Result<Self, Error> {
        let cannot = || "cannot become a subreaper";
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).tried(cannot)?;
        let tree = Self { proc: isolate::process::proc().tried(|| "cannot open \"/proc\"")? };
        // Without it nobody could be found, and nothing be ended.
        let own = tree.own();
        read(&tree.proc, &format!("{own}/task/{own}/children")).map(|_| tree).ok_or_else(|| {
            Error::new("cannot find processes by \"/proc\"")
                .hint("a proc has to be mounted there, of a kernel with CONFIG_PROC_CHILDREN")
        })
    }

    /// Makes the calling process, a fork of the one that adopted, its subreaper.
    pub fn take_over(&self) {
        // It worked before.
        let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    }

    /// Sends a signal to all.
    pub fn signal(&self, signal: Signal) {
        for process in self.processes().values() {
            let _ = pidfd_send_signal(&process.dir, signal);
        }
    }

    /// The CPU time of all, and of those that have been.
    pub fn cpu_time(&self) -> Duration {
        let ticks: u64 = self.processes().values().map(|process| process.ticks).sum();
        let a_second = sysconf(SysconfVar::CLK_TCK).ok().flatten().map_or(100, |ticks| ticks as u64);
        let (user, system, _) = reaped();
        Duration::from_millis(ticks * 1000 / a_second) + user + system
    }

    /// Kills all, however fast they fork, and waits for their ends; gives that
    /// of the child `command`, if it was left. Fails if one may not be killed,
    /// being another user's.
    pub fn end(&self, command: i32) -> Result<Option<WaitStatus>, Error> {
        let mut ending = None;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match reap() {
                Reaped::NoChildren => return Ok(ending),
                Reaped::One(pid, status) => {
                    ending = Some(status).filter(|_| pid == command).or(ending);
                    continue;
                }
                Reaped::Nothing => {}
            }
            let stopped = self.stop();
            if stopped.is_empty() {
                // Just forked, or hidden from us.
                if Instant::now() > deadline {
                    return Err(Error::new("cannot find the processes that are left in \"/proc\""));
                }
                std::thread::sleep(Duration::from_millis(1));
                continue;
            }
            let mut immune = Vec::new();
            let mut ends = false;
            for (pid, process) in &stopped {
                match pidfd_send_signal(&process.dir, Signal::KILL) {
                    Err(Errno::PERM) => immune.push(pid.to_string()),
                    sent => ends |= sent.is_ok() && process.is_child,
                }
            }
            if !ends && !immune.is_empty() {
                let error = Error::new(format!("cannot kill the process {}", immune.join(", "))).because(Errno::PERM);
                return Err(error.hint("it became another user's by a set-uid program"));
            }
            // An end of a child is near, and may leave us more children.
            if let Ok(Some((pid, status))) = wait(WaitOptions::empty()) {
                ending = Some(status).filter(|_| pid.as_raw_nonzero().get() == command).or(ending);
            }
        }
    }

    /// Stops all, until no scan finds another: a kill that comes earlier makes
    /// room for a fork where their number is limited.
    fn stop(&self) -> BTreeMap<i32, Process> {
        let mut stopped = BTreeMap::new();
        loop {
            let before = stopped.len();
            for (pid, process) in self.processes() {
                stopped.entry(pid).or_insert_with(|| {
                    let _ = pidfd_send_signal(&process.dir, Signal::STOP);
                    process
                });
            }
            if stopped.len() == before {
                return stopped;
            }
        }
    }

    /// Our number there, 0 if there is none.
    fn own(&self) -> i32 {
        let own = rustix::fs::readlinkat(&self.proc, "self", Vec::new());
        own.ok().and_then(|own| own.to_str().ok()?.parse().ok()).unwrap_or(0)
    }

    /// All that are below us now. Those that change parents meanwhile may be missed.
    fn processes(&self) -> BTreeMap<i32, Process> {
        let own = self.own();
        let mut found = BTreeMap::new();
        let mut parents = vec![own];
        while let Some(parent) = parents.pop() {
            for pid in self.children(parent) {
                let new = self.process(pid, parent, own).filter(|process| [own, parent].contains(&process.parent));
                if let Some(process) = new.filter(|_| !found.contains_key(&pid)) {
                    found.insert(pid, process);
                    parents.push(pid);
                }
            }
        }
        found
    }

    /// The children of all threads of a process (CONFIG_PROC_CHILDREN).
    fn children(&self, of: i32) -> Vec<i32> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let path = format!("{of}/task");
        let threads =
            openat(&self.proc, &path, flags, Mode::empty()).and_then(Dir::new).into_iter().flatten().flatten();
        let list =
            |thread: DirEntry| read(&self.proc, &format!("{path}/{}/children", thread.file_name().to_string_lossy()));
        let lists: Vec<_> = threads.filter_map(list).collect();
        lists.iter().flat_map(|list| list.split_ascii_whitespace()).filter_map(|pid| pid.parse().ok()).collect()
    }

    /// The process `pid`, a child of `parent` a moment ago.
    fn process(&self, pid: i32, parent: i32, own: i32) -> Option<Process> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let Ok(dir) = openat(&self.proc, pid.to_string(), flags, Mode::empty()) else {
            // Hidden (proc(5), hidepid). The number of a child is its own until we wait for it.
            let is_ours = parent == own && own == rustix::process::getpid().as_raw_nonzero().get();
            let dir = pidfd_open(Pid::from_raw(pid).filter(|_| is_ours)?, PidfdFlags::empty()).ok()?;
            return Some(Process { dir, parent, is_child: true, ticks: 0 });
        };
        // proc_pid_stat(5): the name may hold anything; what follows it is field 3.
        let stat = read(&dir, "stat")?;
        let fields: Vec<_> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let parent = fields.get(1)?.parse().ok()?;
        let ticks = (11..15).filter_map(|index| fields.get(index)?.parse::<u64>().ok()).sum();
        Some(Process { dir, parent, is_child: parent == own, ticks })
    }
}

fn read(dir: impl AsFd, path: &str) -> Option<String> {
    let file = openat(dir, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut bytes = Vec::with_capacity(1 << 10);
    File::from(file).take(u64::MAX).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Goes ahead of all that is to be ended, however many they are. Only root may;
/// others have at least a session of their own.
pub fn hurry() {
    let _ = sys::sched_setattr(&SchedAttr { policy: libc::SCHED_FIFO as u32, priority: 1, ..SchedAttr::default() });
}

/// Whether this process has a child, of which nothing is told.
pub fn has_child() -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    waitid(WaitId::All, options).is_ok()
}

/// What [`reap`] found.
pub enum Reaped {
    /// The change of a child: its end or a stop.
    One(i32, WaitStatus),
    /// No change.
    Nothing,
    /// There are no children.
    NoChildren,
}

/// Takes note of one child that has ended or stopped.
pub fn reap() -> Reaped {
    // Not nix's: that fails for a child that a realtime signal killed.
    loop {
        match wait(WaitOptions::NOHANG | WaitOptions::UNTRACED) {
            Err(Errno::INTR) => {}
            Ok(Some((pid, status))) => return Reaped::One(pid.as_raw_nonzero().get(), status),
            Ok(None) => return Reaped::Nothing,
            Err(_) => return Reaped::NoChildren,
        }
    }
}

/// The user and system time of the children that were waited for and of theirs,
/// and the largest resident set of one of them in bytes (getrusage(2)).
pub fn reaped() -> (Duration, Duration, u64) {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else { return Default::default() };
    let time = |time: nix::sys::time::TimeVal| Duration::from_micros(time.num_microseconds() as u64);
    (time(usage.user_time()), time(usage.system_time()), usage.max_rss() as u64 * 1024)
}
