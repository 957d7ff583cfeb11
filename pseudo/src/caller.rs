//! Who runs this: ids, privilege, and what the user namespace maps.

use std::fs;

use rustix::thread::CapabilitySet;
use seal::{Context, Error};

use crate::{Extent, IdMap};

/// The ids and the privilege of this process.
pub struct Caller {
    /// The effective user id.
    pub uid: u32,
    /// The effective group id.
    pub gid: u32,
    /// Whether it may write id maps and make namespaces: CAP_SYS_ADMIN,
    /// CAP_SETUID and CAP_SETGID in its user namespace.
    pub privileged: bool,
    /// Whether its user namespace is the initial one.
    pub initial: bool,
    /// What its user namespace maps.
    pub uids: IdMap,
    /// What its user namespace maps.
    pub gids: IdMap,
}

impl Caller {
    /// This process, now.
    pub fn current() -> Result<Self, Error> {
        let cannot = || "cannot look at /proc/self/ns/user";
        let initial = rustix::fs::stat("/proc/self/ns/user").tried(cannot)?.st_ino == PROC_USER_INIT_INO;
        let map = |file: &str| {
            if initial {
                return Ok(IdMap::new(vec![Extent { inside: 0, outside: 0, count: u32::MAX }]));
            }
            fs::read_to_string(file).map(|text| IdMap::from_proc(&text)).tried(|| format!("cannot read {file}"))
        };
        let effective = rustix::thread::capabilities(None).tried(|| "cannot read the capabilities")?.effective;
        let needed = CapabilitySet::SYS_ADMIN | CapabilitySet::SETUID | CapabilitySet::SETGID;
        Ok(Self {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            privileged: effective.contains(needed),
            initial,
            uids: map("/proc/self/uid_map")?,
            gids: map("/proc/self/gid_map")?,
        })
    }
}

/// The inode of the initial user namespace (linux/proc_ns.h). That it maps
/// every id onto itself is true of others too.
const PROC_USER_INIT_INO: u64 = 0xEFFF_FFFD;
