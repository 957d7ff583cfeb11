//! A process, or a container by its supervisor, as users name it: `PID` or
//! `PID:INODE`.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{fstat, fstatfs};
use seal::{Context, Error};

use crate::container::{self, Container};
use crate::options::number;
use crate::process;

const OVERFLOW: u32 = 65534;

/// The file system of pidfds, whose inodes are unique since Linux 6.9.
const PIDFS_MAGIC: u64 = 0x5049_4446;

/// A process as it was named.
pub struct Named {
    /// Its PID.
    pub pid: i32,
    /// What it is known by from here on.
    pub pidfd: OwnedFd,
}

impl Named {
    /// Parses `PID` or `PID:INODE`; fails where that process is gone.
    pub fn parse(text: &OsStr) -> Result<Self, Error> {
        let bad = || Error::new(format!("{text:?} is no PID"));
        let text = text.to_str().ok_or_else(bad)?;
        let (pid, inode) = text.split_once(':').map_or((text, None), |(pid, inode)| (pid, Some(inode)));
        let pid = number(pid).and_then(|pid| pid.try_into().ok()).filter(|&pid: &i32| pid > 0).ok_or_else(bad)?;
        let pidfd = process::pidfd(pid).map_err(|errno| match errno {
            rustix::io::Errno::SRCH => gone(pid),
            errno => Error::new(format!("cannot open a pidfd of process {pid}")).because(errno),
        })?;
        if let Some(inode) = inode {
            is_incarnation(&pidfd, pid, inode.parse().map_err(|_| bad())?)?;
        }
        Ok(Self { pid, pidfd })
    }

    /// The processes that may stand for what was named: of a container its
    /// init, whose child it is if that is a reaper, which lets nobody look into it.
    pub fn candidates(&self) -> Result<Vec<i32>, Error> {
        match container::supervised_by(self.pid) {
            Ok(Some(Container { init, .. })) => Ok(with_children(init)),
            Ok(None) => Ok(vec![self.pid]),
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Err(not_yours(self.pid)),
            Err(_) => Err(gone(self.pid)),
        }
    }

    /// Why nothing of it could be opened.
    pub fn refused(&self, error: Error) -> Error {
        match error.errno() {
            libc::EACCES | libc::EPERM => not_yours(self.pid),
            libc::ENOENT | libc::ESRCH => gone(self.pid),
            _ => error,
        }
    }
}

/// That there is no such process.
pub fn gone(pid: i32) -> Error {
    Error::new(format!("there is no process {pid}"))
}

/// Why a process may not be looked into.
pub fn not_yours(pid: i32) -> Error {
    let uid = process::user(pid);
    if uid == Some(rustix::process::geteuid().as_raw()) {
        return Error::new(format!("cannot look into process {pid}"))
            .because(nix::errno::Errno::EACCES)
            .hint("it has made itself undumpable: a container is named by the PID of its supervisor");
    }
    let name = uid.map_or("another user".into(), |uid| {
        // What the kernel shows for an id that is not mapped (/proc/sys/kernel/overflowuid).
        if uid == OVERFLOW {
            return "a user who has no id here".into();
        }
        seal::passwd::by_uid(Path::new("/etc/passwd"), uid).map_or(format!("uid {uid}"), |entry| entry.name)
    });
    Error::new(format!("process {pid} is not yours but belongs to {name}")).because(nix::errno::Errno::EPERM)
}

fn with_children(pid: i32) -> Vec<i32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    std::iter::once(pid).chain(children.split_ascii_whitespace().filter_map(|child| child.parse().ok())).collect()
}

/// A PID is used again; the inode of its pidfd is not.
fn is_incarnation(pidfd: &OwnedFd, pid: i32, inode: u64) -> Result<(), Error> {
    let cannot = || format!("cannot look at process {pid}");
    if fstatfs(pidfd).tried(cannot)?.f_type as u64 != PIDFS_MAGIC {
        return Err(Error::new("PID:INODE cannot be told").hint("pidfds have inodes of their own since Linux 6.9"));
    }
    let found = fstat(pidfd).tried(cannot)?.st_ino;
    if found == inode {
        return Ok(());
    }
    Err(Error::new(format!("process {pid}:{inode} is gone; {pid} is now another, {pid}:{found}")))
}
