//! Join the cgroups of a process, so that its limits hold for what is injected
//! too (cgroups(7), v1 and v2).

use std::os::fd::OwnedFd;

use isolate::cgroup::{Membership, memberships, mounts};
use rustix::fs::{Mode, OFlags, open};
use seal::{Context, Error};

/// The `cgroup.procs` files to write to: one for each hierarchy in which the
/// process is not where we are. They are opened here, where the host's
/// hierarchies are to be seen.
pub fn open_procs(pid: i32) -> Result<Vec<OwnedFd>, Error> {
    let own = memberships("self")?;
    let elsewhere: Vec<_> = memberships(&pid.to_string())?.into_iter().filter(|its| !own.contains(its)).collect();
    if elsewhere.is_empty() {
        return Ok(Vec::new());
    }
    let mounts = mounts()?;
    elsewhere.iter().map(|its| open_one(its, &mounts)).collect()
}

/// Moves this process to the cgroups of [`open_procs`].
pub fn join(procs: &[OwnedFd]) -> Result<(), Error> {
    for file in procs {
        rustix::io::write(file, b"0").tried(|| "cannot join a cgroup of the process")?;
    }
    Ok(())
}

fn open_one(its: &Membership, mounts: &str) -> Result<OwnedFd, Error> {
    let mounted = its.mounted(mounts).ok_or_else(|| {
        let which = if its.is_v2() { "version 2" } else { &its.controllers };
        Error::new(format!("cannot join the cgroup {:?}: the hierarchy {which} is not mounted", its.path))
    })?;
    let file = mounted.dir.join("cgroup.procs");
    open(&file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).tried(|| format!("cannot join the cgroup of {file:?}"))
}
