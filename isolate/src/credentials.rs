//! The ids and capabilities that a command is given at the end.

use nix::errno::Errno;
use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, configure_capability_in_ambient_set, set_capabilities,
    set_keep_capabilities,
};
use seal::{Context, Error};

/// Changes the user and the group ids to those given. With a group id the
/// supplementary groups are dropped, unless `groups_dropped` before, where that
/// may be allowed no more. With `keep_caps` what is permitted stays so.
pub fn set(uid: Option<u32>, gid: Option<u32>, groups_dropped: bool, keep_caps: bool) -> Result<(), Error> {
    if let Some(gid) = gid {
        match setgroups(&[]) {
            Err(errno) if !groups_dropped => {
                return Err(Error::new("cannot drop the supplementary groups (setgroups)")
                    .because(errno)
                    .maybe_hint((errno == Errno::EPERM).then(denied).flatten()));
            }
            _ => {}
        }
        setgid(Gid::from_raw(gid)).map_err(|errno| refused("group", gid, errno))?;
    }
    if let Some(uid) = uid {
        if keep_caps {
            // From uid 0 to another the kernel drops them else.
            set_keep_capabilities(true).tried(|| "cannot keep the capabilities")?;
        }
        setuid(Uid::from_raw(uid)).map_err(|errno| refused("user", uid, errno))?;
    }
    Ok(())
}

fn denied() -> Option<&'static str> {
    let denied = std::fs::read_to_string("/proc/self/setgroups").is_ok_and(|text| text.trim() == "deny");
    denied.then_some(
        "setgroups is denied in this user namespace, as a gid map that its own creator wrote requires: \
         unlike one that newgidmap wrote (--map-auto, --map-groups of unshare)",
    )
}

fn refused(kind: &str, id: u32, errno: Errno) -> Error {
    // EINVAL is what the kernel says of an id that the user namespace does not map.
    let hint = (errno == Errno::EINVAL).then(|| format!("this user namespace does not map {id}"));
    Error::new(format!("cannot set the {kind} id to {id}")).because(errno).maybe_hint(hint)
}

/// Passes what is permitted on to the command, whatever its uid: permitted
/// becomes inheritable and ambient (capabilities(7)).
pub fn keep_capabilities() -> Result<(), Error> {
    let cannot = || "cannot keep the capabilities";
    let permitted = capabilities(None).tried(cannot)?.permitted;
    set_capabilities(None, CapabilitySets { effective: permitted, permitted, inheritable: permitted }).tried(cannot)?;
    for bit in 0..64 {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        if permitted.contains(capability) {
            configure_capability_in_ambient_set(capability, true).tried(cannot)?;
        }
    }
    Ok(())
}
