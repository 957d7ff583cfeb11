//! Named network namespaces, as `ip netns` makes them (ip-netns(8)): files in
//! /run/netns that namespaces are mounted upon.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use nix::sched::{CloneFlags, unshare};
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_bind, mount_bind_recursive, mount_change, unmount};
use seal::{Context, Error};

use crate::net::{NAMED, Net, named};

/// Makes a namespace of this name, in which this process then is.
pub fn make(name: &OsStr) -> Result<Net, Error> {
    let path = named(name)?;
    let cannot = || format!("cannot create the network namespace {name:?}");
    let create = || File::options().write(true).create_new(true).mode(0o444).open(&path);
    match create() {
        // It may be there without a namespace, where one who made it was killed.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && !Net::is_there(&path)? => {
            fs::remove_file(&path).and_then(|()| create().map(drop)).tried(cannot)?;
        }
        created => drop(created.tried(cannot)?),
    }
    let made = unshare(CloneFlags::CLONE_NEWNET).map_err(std::io::Error::from);
    if let Err(error) = made.and_then(|()| Ok(mount_bind("/proc/thread-self/ns/net", &path)?)) {
        let _ = fs::remove_file(&path);
        return Err(Error::new(cannot()).because(error));
    }
    Net::open(path.as_os_str()).map(|net| net.called(name)).inspect_err(|_| drop(delete(name)))
}

/// Deletes a name; the namespace goes with the last process in it.
pub fn delete(name: &OsStr) -> Result<(), Error> {
    let path = named(name)?;
    let cannot = || format!("cannot delete the network namespace {name:?}");
    unmount(&path, UnmountFlags::DETACH).tried(cannot)?;
    fs::remove_file(&path).tried(cannot)
}

/// The directory is a mount point that is shared, so that other mount
/// namespaces see names come and go.
pub fn directory() -> Result<(), Error> {
    let dir = Path::new(NAMED);
    let cannot = || format!("cannot make {NAMED} a place for network namespaces");
    let share = || mount_change(dir, MountPropagationFlags::SHARED | MountPropagationFlags::REC);
    if share().is_ok() {
        return Ok(());
    }
    if let Err(error) = fs::create_dir(dir)
        && error.kind() != std::io::ErrorKind::AlreadyExists
    {
        let hint = (error.kind() == std::io::ErrorKind::PermissionDenied).then_some(
            "a directory of one's own takes a mount namespace: pseudo isolate -m sh -c 'mount -t tmpfs tmpfs /run; …'",
        );
        return Err(Error::new(cannot()).because(error).maybe_hint(hint));
    }
    fs::set_permissions(dir, Permissions::from_mode(0o755)).tried(cannot)?;
    mount_bind_recursive(dir, dir).and_then(|()| share()).tried(cannot)
}
