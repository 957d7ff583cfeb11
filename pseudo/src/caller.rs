//! Who runs this: ids, privilege, and what the user namespace maps.

use std::fs;

use caps::{CapSet, Capability};
use seal::{Context, Error};

use crate::IdMap;

/// The ids and the privilege of this process.
pub struct Caller {
    /// The effective user id.
    pub uid: u32,
    /// The effective group id.
    pub gid: u32,
    /// Whether it may write id maps and make namespaces: CAP_SYS_ADMIN,
    /// CAP_SETUID and CAP_SETGID in its user namespace.
    pub privileged: bool,
    /// What its user namespace maps.
    pub uids: IdMap,
    /// What its user namespace maps.
    pub gids: IdMap,
}

impl Caller {
    /// This process, now.
    pub fn current() -> Result<Self, Error> {
        let map = |file: &str| {
            fs::read_to_string(file).map(|text| IdMap::from_proc(&text)).tried(|| format!("cannot read {file}"))
        };
        let has = |cap| caps::has_cap(None, CapSet::Effective, cap).unwrap_or(false);
        Ok(Self {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            privileged: [Capability::CAP_SYS_ADMIN, Capability::CAP_SETUID, Capability::CAP_SETGID]
                .into_iter()
                .all(has),
            uids: map("/proc/self/uid_map")?,
            gids: map("/proc/self/gid_map")?,
        })
    }

    /// Whether it is in the initial user namespace, the only one that maps
    /// every id onto itself in one extent.
    pub fn in_initial_namespace(&self) -> bool {
        matches!(self.uids.extents(), [all] if all.inside == 0 && all.outside == 0 && all.count == u32::MAX)
    }
}
