//! A cgroup of ours: made, locked for as long as someone of ours lives, swept
//! by the next run if nobody does.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use seal::{Context, Error};

/// How the names of our cgroups start.
pub const PREFIX: &str = "limit-nstools-";

/// For how long to wait for what SIGKILL has ended: only a process that waits
/// for a broken device takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Likewise for what others have left.
const SHORT: Duration = Duration::from_secs(2);

/// A directory of a hierarchy.
pub struct Group {
    /// Where it is.
    pub dir: PathBuf,
    /// Shared with every process that was forked from this one: the flock(2)
    /// ends with the last.
    lock: OwnedFd,
}

impl Group {
    /// Makes one in the cgroup `parent`, locked. A sweep that takes it before it
    /// is locked is no harm: then there is another name.
    pub fn create(parent: &Path) -> Result<Self, Error> {
        let own = std::process::id();
        for attempt in 0..10_000 {
            let name = if attempt == 0 { format!("{PREFIX}{own}") } else { format!("{PREFIX}{own}.{attempt}") };
            let dir = parent.join(name);
            match fs::create_dir(&dir) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                made => made.map_err(|error| cannot_create(parent, &error))?,
            }
            let lock = match lock(&dir) {
                Ok(Some(lock)) => lock,
                Ok(None) => {
                    let _ = fs::remove_dir(&dir);
                    continue;
                }
                Err(error) => {
                    let _ = fs::remove_dir(&dir);
                    return Err(Error::new(format!("cannot lock the cgroup {dir:?}")).because(error));
                }
            };
            return Ok(Self { dir, lock });
        }
        Err(Error::new(format!("cannot create a cgroup in {parent:?}")).because(Errno::EXIST))
    }

    /// Writes to a control file.
    pub fn write(&self, file: &str, value: &str) -> Result<(), Error> {
        let path = self.dir.join(file);
        write(&path, value).map_err(|error| {
            let hint = match (error.raw_os_error(), file) {
                (Some(libc::ENOENT), "memory.memsw.limit_in_bytes" | "memory.swap.max") => {
                    Some("the kernel was started without swapaccount=1")
                }
                (Some(libc::ENOENT), _) => Some("this kernel has no such control file here"),
                (Some(libc::ERANGE | libc::EINVAL | libc::EACCES), "cpuset.cpus" | "cpuset.mems") => {
                    Some("not all of these are there: /sys/devices/system/cpu/online and node/online list what is")
                }
                (Some(libc::ENODEV), _) => Some("lsblk lists the devices, MAJ:MIN"),
                _ => None,
            };
            Error::new(format!("cannot write {value:?} to {path:?}")).because(error).maybe_hint(hint)
        })
    }

    /// What a control file holds, if it is there.
    pub fn read(&self, file: &str) -> Option<String> {
        // A Take asks for no length, which a control file does not know.
        let mut text = String::with_capacity(1 << 10);
        File::open(self.dir.join(file)).ok()?.take(u64::MAX).read_to_string(&mut text).ok()?;
        Some(text)
    }

    /// The number in a control file, or after `key` in one of its lines.
    pub fn number(&self, file: &str, key: Option<&str>) -> Option<u64> {
        let text = self.read(file)?;
        match key {
            None => text.trim().parse().ok(),
            Some(key) => text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok()),
        }
    }

    /// Sends a signal to every process in it.
    pub fn signal(&self, signal: Signal) {
        members(&self.dir).iter().for_each(|member| {
            let _ = pidfd_send_signal(member, signal);
        });
    }

    /// Kills every process in it and in those below it, however fast they fork.
    pub fn kill(&self) -> Result<(), Error> {
        kill(&self.place(), PATIENCE)
    }

    /// Removes it and those below it, and whoever has come into one meanwhile.
    pub fn remove(&self) -> Result<(), Error> {
        remove(&self.place())
    }

    /// Where it is now: in version 1 it may have been renamed.
    fn place(&self) -> PathBuf {
        fs::read_link(format!("/proc/self/fd/{}", self.lock.as_raw_fd())).unwrap_or_else(|_| self.dir.clone())
    }
}

fn cannot_create(parent: &Path, error: &io::Error) -> Error {
    let failed = Error::new(format!("cannot create a cgroup in {parent:?}"));
    let hint = match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => {
            let tasks = ["tasks", "cgroup.procs"].map(|file| parent.join(file)).into_iter().find(|file| file.exists());
            let tasks = tasks.unwrap_or_default();
            Some(format!("{parent:?} and {tasks:?} would have to be yours: have them delegated to you, that is chown"))
        }
        Some(libc::EROFS) => Some("the cgroup file system is mounted read-only here".to_owned()),
        _ => None,
    };
    failed.because(io::Error::from_raw_os_error(error.raw_os_error().unwrap_or(libc::EIO))).maybe_hint(hint)
}

/// One write, which does not create the file.
pub fn write(path: &Path, value: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.write_all(value.as_bytes())
}

/// Opens a cgroup of the caller's and locks it; `None` if it is another's or
/// gone meanwhile.
fn lock(dir: &Path) -> io::Result<Option<OwnedFd>> {
    let fd = match open(dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        opened => opened?,
    };
    match flock(&fd, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => return Ok(None),
        locked => locked?,
    }
    let own = rustix::process::geteuid().as_raw();
    let is_same = |there: &fs::Metadata| rustix::fs::fstat(&fd).is_ok_and(|ours| ours.st_ino == there.ino());
    let same = fs::metadata(dir).is_ok_and(|there| there.uid() == own && is_same(&there));
    Ok(same.then_some(fd))
}

/// Removes what runs left in `parent` that could not do so themselves: those
/// cgroups of ours that nobody holds. What is not the caller's to remove stays.
pub fn sweep(parent: &Path) {
    // Itself and its entry above: there are none below.
    if fs::metadata(parent).is_ok_and(|parent| parent.nlink() == 2) {
        return;
    }
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let dir = entry.path();
        if entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes())
            && let Ok(Some(_lock)) = lock(&dir)
            && kill(&dir, SHORT).is_ok()
        {
            let _ = remove(&dir);
        }
    }
}

/// The cgroups below this one.
pub fn below(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}

/// The processes in a cgroup and in those below it.
fn members(dir: &Path) -> Vec<OwnedFd> {
    let open = |pid: String| {
        let pidfd = pidfd_open(Pid::from_raw(pid.parse().ok()?)?, PidfdFlags::empty()).ok()?;
        Some((pid, pidfd))
    };
    let opened: Vec<_> = listed(dir).into_iter().filter_map(open).collect();
    // A number may have become another's before it was opened: then it is listed no more.
    let still = listed(dir);
    let here = opened.into_iter().filter(|(pid, _)| still.contains(pid)).map(|(_, pidfd)| pidfd);
    here.chain(below(dir).iter().flat_map(|dir| members(dir))).collect()
}

/// The PIDs in a cgroup, 0 for those of other PID namespaces.
fn listed(dir: &Path) -> BTreeSet<String> {
    // A threaded one has a list of threads alone.
    let text = fs::read_to_string(dir.join("cgroup.procs")).or_else(|_| fs::read_to_string(dir.join("cgroup.threads")));
    text.unwrap_or_default().lines().map(str::to_owned).collect()
}

/// Whether there is any process in it or below.
fn is_populated(dir: &Path) -> bool {
    let has = |file: &str| fs::read(dir.join(file)).is_ok_and(|list| !list.is_empty());
    has("cgroup.procs") || has("cgroup.threads") || below(dir).iter().any(|dir| is_populated(dir))
}

fn kill(dir: &Path, patience: Duration) -> Result<(), Error> {
    let deadline = Instant::now() + patience;
    // Linux 5.14; it reaches those that are just being forked.
    if write(&dir.join("cgroup.kill"), "1").is_ok() {
        return until_empty(dir, deadline);
    }
    if !is_populated(dir) {
        return Ok(());
    }
    // Nothing more is forked; neither keeps a process from being killed.
    let _ = write(&dir.join("pids.max"), "0");
    let _ = write(&dir.join("cgroup.freeze"), "1");
    loop {
        let members = members(dir);
        let killed = members.iter().filter(|member| pidfd_send_signal(member, Signal::KILL).is_ok()).count();
        if !is_populated(dir) {
            return Ok(());
        }
        if Instant::now() > deadline || killed == 0 && !members.is_empty() {
            return Err(Error::new(format!("cannot kill the processes of the cgroup {dir:?}")));
        }
        match members.first() {
            // Whoever has been killed is gone before long.
            Some(one) => drop(poll(&mut [PollFd::new(one, PollFlags::IN)], Some(&Timespec { tv_sec: 1, tv_nsec: 0 }))),
            // Just gone, or of another PID namespace.
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// Waits until the kernel says that nobody is in a cgroup of version 2.
fn until_empty(dir: &Path, deadline: Instant) -> Result<(), Error> {
    let path = dir.join("cgroup.events");
    let cannot = || format!("cannot wait for the processes of the cgroup {dir:?}");
    loop {
        // To read it anew is what the next change is told by (kernfs_notify).
        let events = File::open(&path).tried(cannot)?;
        let text = io::read_to_string(&events).tried(cannot)?;
        if text.lines().any(|line| line == "populated 0") {
            return Ok(());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Error::new(cannot()).because(Errno::TIMEDOUT));
        }
        let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        let _ = poll(&mut [PollFd::new(&events, PollFlags::PRI)], Some(&left));
    }
}

fn remove(dir: &Path) -> Result<(), Error> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match fs::remove_dir(dir) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && Instant::now() < deadline => {
                let below = below(dir);
                below.iter().try_for_each(|dir| remove(dir))?;
                if below.is_empty() && is_populated(dir) {
                    kill(dir, PATIENCE)?;
                } else if below.is_empty() {
                    // Nothing tells when the kernel has taken the last process out,
                    // which it may do some time after the end that others see.
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            removed => return removed.tried(|| format!("cannot remove the cgroup {dir:?}")),
        }
    }
}
