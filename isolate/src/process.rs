//! Child processes: fork into new namespaces, and how they end.

use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, openat};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};
use seal::{Context, Error};

use crate::sys;

/// Which side of a [`fork`] this is.
pub enum Forked {
    /// The new process.
    Child,
    /// The one that called.
    Parent(Child),
}

/// A child of ours. It is not killed when this is dropped.
pub struct Child {
    pid: i32,
    pidfd: OwnedFd,
}

/// What has become of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It exited with this status.
    Exited(u8),
    /// This signal killed it.
    Killed(i32),
    /// It is stopped.
    Stopped,
}

impl Status {
    /// The exit status that says so: its own, or 128 and the signal.
    pub fn code(self) -> u8 {
        match self {
            Self::Exited(status) => status,
            Self::Killed(signal) => 128 + signal as u8,
            Self::Stopped => 128 + libc::SIGSTOP as u8,
        }
    }
}

/// Forks into the namespaces of `flags` (CLONE_NEW*).
pub fn fork(flags: u64) -> Result<Forked, Errno> {
    fork_into(flags, None)
}

fn fork_into(flags: u64, cgroup: Option<BorrowedFd>) -> Result<Forked, Errno> {
    Ok(match sys::clone3(flags, cgroup)? {
        None => Forked::Child,
        Some((pid, pidfd)) => Forked::Parent(Child { pid, pidfd }),
    })
}

/// Starts a child that runs `child` and exits with what that gives, unless it
/// becomes another program; until then this process stands still and shares its
/// memory, which costs a third of a fork.
pub(crate) fn vfork(mut child: impl FnMut() -> u8) -> Result<Child, Errno> {
    sys::vfork(&mut child).map(|(pid, pidfd)| Child { pid, pidfd })
}

/// Starts a child that runs `child` and exits with what that gives, unless it
/// becomes another program. If there is a `cgroup` of version 2 it is born in it
/// (CLONE_INTO_CGROUP, Linux 5.7). If there is none, and this process may stand
/// still until the exec, that spares two thirds of a fork.
pub fn start_in(
    cgroup: Option<BorrowedFd>,
    may_stand_still: bool,
    mut child: impl FnMut() -> u8,
) -> Result<Child, Errno> {
    if cgroup.is_none() && may_stand_still {
        return vfork(child);
    }
    match fork_into(0, cgroup)? {
        Forked::Child => seal::exit(child()),
        Forked::Parent(child) => Ok(child),
    }
}

impl Child {
    /// Its process id, here.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Its process id as the /proc that is mounted here numbers it.
    pub fn pid_in_proc(&self) -> io::Result<u32> {
        pid_in(proc()?, &self.pidfd)
    }

    /// Waits for its end.
    pub fn wait(&self) -> rustix::io::Result<Status> {
        self.wait_for(WaitIdOptions::EXITED).map(|status| status.expect("waitid without WNOHANG tells something"))
    }

    /// What has become of it since the last call, `None` if nothing has.
    pub fn changed(&self) -> rustix::io::Result<Option<Status>> {
        self.wait_for(WaitIdOptions::EXITED | WaitIdOptions::STOPPED | WaitIdOptions::NOHANG)
    }

    /// Waits until it ends or stops.
    pub(crate) fn next_change(&self) -> rustix::io::Result<Status> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::STOPPED;
        self.wait_for(options).map(|status| status.expect("waitid without WNOHANG tells something"))
    }

    /// Whether it goes on after a stop, and that was not told yet.
    pub fn was_continued(&self) -> bool {
        let options = WaitIdOptions::CONTINUED | WaitIdOptions::NOHANG;
        waitid(WaitId::PidFd(self.pidfd.as_fd()), options).is_ok_and(|changed| changed.is_some())
    }

    fn wait_for(&self, options: WaitIdOptions) -> rustix::io::Result<Option<Status>> {
        loop {
            let changed = match waitid(WaitId::PidFd(self.pidfd.as_fd()), options) {
                Err(rustix::io::Errno::INTR) => continue,
                changed => changed?,
            };
            return Ok(changed.map(|status| match (status.exit_status(), status.terminating_signal()) {
                (Some(status), _) => Status::Exited(status as u8),
                (_, Some(signal)) => Status::Killed(signal),
                _ => Status::Stopped,
            }));
        }
    }
}

impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// The /proc that is mounted here now.
pub fn proc() -> rustix::io::Result<OwnedFd> {
    rustix::fs::open("/proc", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// The process id of a pidfd as the /proc that is mounted here numbers it
/// (pidfd_open(2), "Pid" in fdinfo).
pub fn pid_in_proc(pidfd: impl AsFd) -> io::Result<u32> {
    pid_in(proc()?, pidfd)
}

/// Likewise as this proc numbers it.
pub fn pid_in(proc: impl AsFd, pidfd: impl AsFd) -> io::Result<u32> {
    let path = format!("self/fdinfo/{}", pidfd.as_fd().as_raw_fd());
    let mut file = fs::File::from(openat(proc, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?);
    // One read is enough for these few lines.
    let mut info = [0; 512];
    let length = file.read(&mut info)?;
    let pid = String::from_utf8_lossy(&info[..length]);
    let pid = pid.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok());
    pid.filter(|&pid| pid != 0).ok_or_else(|| Errno::ESRCH.into())
}

/// The real user id of process `pid`. The owner of its directory in /proc would
/// be root if it is not dumpable.
pub fn user(pid: i32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_ascii_whitespace().next()?.parse().ok()
}

/// A pidfd for this process.
pub fn own_pidfd() -> rustix::io::Result<OwnedFd> {
    pidfd_open(rustix::process::getpid(), PidfdFlags::empty())
}

/// A pidfd for process `pid`, or for thread `pid` since Linux 6.9.
pub fn pidfd(pid: i32) -> rustix::io::Result<OwnedFd> {
    let thread = PidfdFlags::from_bits_retain(libc::O_EXCL as u32);
    let pid = Pid::from_raw(pid).ok_or(rustix::io::Errno::SRCH)?;
    match pidfd_open(pid, PidfdFlags::empty()) {
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => pidfd_open(pid, thread),
        opened => opened,
    }
}

/// Whether the process of a pidfd has ended.
pub fn has_ended(pidfd: impl AsFd) -> bool {
    is_readable(pidfd)
}

/// Whether a read would not block.
pub(crate) fn is_readable(fd: impl AsFd) -> bool {
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    matches!(poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(1))
}

/// Ends this process with `signal` when its parent ends. The kernel forgets it
/// at every change of credentials and at the exec of a set-uid program.
pub fn die_with_parent(signal: i32) {
    // It takes any signal there is.
    let _ = seal::set_parent_death_signal(signal);
}

/// Closes every fd but the standard ones, those to be passed on to the command
/// and those that we `need` until the exec (CVE-2024-21626). Whoever owns one of
/// the others must not use it any more.
pub fn close_other_fds(need: &[BorrowedFd], pass: &[i32]) -> Result<(), Error> {
    let keep = need.iter().map(AsRawFd::as_raw_fd).chain(pass.iter().copied());
    for (first, last) in seal::fds_but(keep, 3) {
        sys::close_range(first, last).tried(|| "cannot close the caller's fds")?;
    }
    for &fd in pass {
        sys::keep_over_exec(fd).tried(|| format!("cannot pass fd {fd}"))?;
    }
    Ok(())
}

/// Leaves the caller's session keyring behind, whose keys the command could
/// else read (keyrings(7)). Fails with EDQUOT where the user has too many.
pub fn leave_session_keyring() -> Result<(), Error> {
    match sys::join_session_keyring() {
        // A kernel without keyrings has none to leave.
        Err(Errno::ENOSYS) => Ok(()),
        Err(Errno::EDQUOT) => Err(Error::new("cannot create a session keyring")
            .because(Errno::EDQUOT)
            .hint("each container takes one: sysctl kernel.keys.maxkeys")),
        result => result.tried(|| "cannot create a session keyring"),
    }
}
