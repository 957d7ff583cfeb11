//! Move this process into a new user namespace.

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use seal::{Context, Error};

use crate::{Caller, Maps, sys, userns_hint};

/// Makes a user namespace with `maps` and moves this process into it, as its
/// root. A child holds the namespace while its maps are written from outside:
/// who is inside has no right to write them.
pub fn enter(caller: &Caller, maps: &Maps) -> Result<(), Error> {
    let holder = sys::hold_user_namespace().map_err(|errno| {
        Error::new("cannot create a user namespace").because(errno).maybe_hint(userns_hint(errno as i32))
    })?;
    maps.write(caller, holder.pid())?;
    setns(holder.pidfd(), CloneFlags::CLONE_NEWUSER).tried(|| "cannot enter the new user namespace")?;
    drop(holder);
    // Those of a privileged caller are ids of the host that nothing maps.
    become_root(caller.privileged)
}

/// Becomes 0:0 of the user namespace that this process is in, and drops the
/// supplementary groups if that is asked for and permitted.
pub fn become_root(drop_groups: bool) -> Result<(), Error> {
    if drop_groups {
        match setgroups(&[]) {
            // We have CAP_SETGID here, so this is setgroups "deny": who wrote the
            // map had no privilege, and could have dropped none outside either.
            Err(Errno::EPERM) => {}
            result => result.tried(|| "cannot drop the supplementary groups")?,
        }
    }
    let (uid, gid) = (Uid::from_raw(0), Gid::from_raw(0));
    setresgid(gid, gid, gid).tried(|| "cannot set the group id to 0")?;
    setresuid(uid, uid, uid).tried(|| "cannot set the user id to 0")
}
