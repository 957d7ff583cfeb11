//! Whom to join: the container that a PID supervises, or the process itself.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;

use isolate::named::{Named, gone};
use isolate::namespace::{self, Namespace};
use isolate::{inside, process};
use nix::sched::{CloneFlags, setns};
use pseudo::IdMap;
use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags, fstatfs, open, openat, statx};
use rustix::process::{chroot, fchdir};
use seal::{Context, Error};

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
