//! Whom to join: the container that a PID supervises, or the process itself.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;

use isolate::container::{self, Container};
use isolate::namespace::{self, Namespace};
use isolate::options::number;
use isolate::{inside, process};
use nix::sched::{CloneFlags, setns};
use pseudo::IdMap;
use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags, fstat, fstatfs, open, openat, statx};
use rustix::process::{chroot, fchdir};
use seal::{Context, Error};

/// The file system of pidfds, whose inodes are unique since Linux 6.9.
const PIDFS_MAGIC: u64 = 0x5049_4446;
const PROC_SUPER_MAGIC: u64 = 0x9fa0;

/// A process to join.
pub struct Target {
    /// Its PID.
    pub pid: i32,
    pub pidfd: OwnedFd,
    /// Its directory in /proc.
    pub dir: OwnedFd,
    /// Its root.
    pub root: OwnedFd,
    /// The namespaces that it does not share with us.
    pub namespaces: Vec<&'static Namespace>,
    /// Whether they have a uid 0 that is not ours.
    pub has_other_root: bool,
}

/// A process as it was named.
pub struct Named {
    pub pid: i32,
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

fn gone(pid: i32) -> Error {
    Error::new(format!("there is no process {pid}"))
}

impl Target {
    /// Finds what `text` names: `PID` or `PID:INODE`.
    ///
    /// Fails with an error that tells a process that is gone from one that is
    /// another's and from one that is in no container.
    pub fn find(text: &OsStr) -> Result<Self, Error> {
        let list = |error: Error| error.or_hint("inject --list shows the containers that run");
        let named = Named::parse(text).map_err(list)?;
        let pid = named.pid;
        let gone = || list(gone(pid));
        let candidates = named.candidates().map_err(list)?;
        let mut refused = None;
        for candidate in candidates {
            match Self::open(candidate) {
                // What was read was of the process that was named only if that still runs.
                Ok(target) if process::has_ended(&named.pidfd) || process::has_ended(&target.pidfd) => {
                    return Err(gone());
                }
                Ok(target) if target.is_elsewhere() => return Ok(target),
                Ok(_) => {
                    refused = Some(Error::new(format!(
                        "process {pid} is in no container: it shares every namespace with you"
                    )))
                }
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        Err(refused.map_or_else(gone, |error| list(named.refused(error))))
    }

    fn open(pid: i32) -> Result<Self, Error> {
        let cannot = || format!("cannot look at process {pid}");
        let pidfd = process::pidfd(pid).tried(cannot)?;
        let mut namespaces = Vec::new();
        for namespace in namespace::ALL {
            if namespace.inode(Some(pid.unsigned_abs())).tried(cannot)? != namespace.inode(None).tried(cannot)? {
                namespaces.push(namespace);
            }
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = open(format!("/proc/{pid}"), flags, Mode::empty()).tried(cannot)?;
        let root = openat(&dir, "root", flags, Mode::empty()).tried(cannot)?;
        let maps = fs::read_to_string(format!("/proc/{pid}/uid_map")).tried(cannot)?;
        let has_other_root = namespaces.iter().any(|namespace| namespace.flag == namespace::USER.flag)
            && IdMap::from_proc(&maps).outside(0).is_some();
        Ok(Self { pid, pidfd, dir, root, namespaces, has_other_root })
    }

    /// Joins these of its namespaces, all at once.
    pub fn join(&self, namespaces: &[&Namespace]) -> Result<(), Error> {
        let flags = namespaces.iter().fold(0, |flags, namespace| flags | namespace.flag);
        if flags == 0 {
            return Ok(());
        }
        setns(&self.pidfd, CloneFlags::from_bits_retain(flags as i32)).map_err(|errno| {
            let denied = errno == nix::errno::Errno::EPERM;
            Error::new(format!("cannot join the {} of process {}", namespace::names(flags), self.pid))
                .because(errno)
                .maybe_hint(denied.then_some("only root, or who owns the user namespace above them, may do that"))
        })
    }

    /// Enters its root, with its mount namespace joined.
    pub fn enter_root(&self) -> Result<(), Error> {
        fchdir(&self.root).tried(|| "cannot enter the root")?;
        // Joined by now, a mount namespace has taken us to its own root.
        let slash = open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        if slash.is_ok_and(|slash| identity(&slash) == identity(&self.root)) {
            return Ok(());
        }
        chroot(".").tried(|| "cannot change to the root of the process")
    }

    /// Whether its root has a proc mounted.
    pub fn has_proc(&self) -> bool {
        let proc = inside::open(&self.root, Path::new("proc"));
        proc.is_ok_and(|proc| fstatfs(&proc).is_ok_and(|fs| fs.f_type as u64 == PROC_SUPER_MAGIC))
    }

    /// Whether there is anything to enter.
    fn is_elsewhere(&self) -> bool {
        let here = open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let same_root = here.is_ok_and(|here| identity(&here) == identity(&self.root));
        !self.namespaces.is_empty() || !same_root
    }
}

/// Which directory of which mount an fd is.
fn identity(fd: &OwnedFd) -> Option<(u64, u64)> {
    statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID | StatxFlags::INO)
        .ok()
        .map(|stat| (stat.stx_mnt_id, stat.stx_ino))
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
