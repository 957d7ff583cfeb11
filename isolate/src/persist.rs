//! Keep namespaces alive without a process in them: each is bound on a file
//! (namespaces(7)).

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, mount_bind, unmount};
use seal::Error;

use crate::namespace::{self, Namespace};

/// A namespace and the file that it is to be bound on, which must exist.
pub type File = (&'static Namespace, PathBuf);

/// Binds the namespaces of process `pid`, those that its children have, on
/// their files: all or none.
pub fn bind(pid: u32, files: &[File]) -> Result<(), Error> {
    for (index, (namespace, file)) in files.iter().enumerate() {
        if let Err(errno) = mount_bind(format!("/proc/{pid}/ns/{}", for_children(namespace)), file) {
            for (_, bound) in &files[..index] {
                let _ = unmount(bound, UnmountFlags::DETACH);
            }
            let hint = hint(namespace, file, errno);
            return Err(Error::new(format!("cannot bind the {} namespace on {file:?}", namespace.name))
                .because(errno)
                .maybe_hint(hint));
        }
    }
    Ok(())
}

/// The process itself stays in the old ones of these types.
fn for_children(namespace: &Namespace) -> &'static str {
    match namespace.name {
        "pid" => "pid_for_children",
        "time" => "time_for_children",
        name => name,
    }
}

fn hint(namespace: &Namespace, file: &Path, errno: Errno) -> Option<String> {
    match errno {
        Errno::NOENT => Some(format!("create it first: touch {file:?}")),
        Errno::PERM => Some("mounts need root, or a user and a mount namespace of one's own (isolate -Urm)".into()),
        Errno::INVAL if namespace.flag == namespace::MNT.flag && is_shared(file)? => {
            let dir = file.parent()?;
            Some(format!(
                "the mount that {file:?} is on is shared, and a mount namespace may only be bound where it does not \
                 spread: mount --bind {dir:?} {dir:?} && mount --make-private {dir:?}"
            ))
        }
        Errno::INVAL if namespace.flag == namespace::MNT.flag => Some(
            "a mount namespace is bound only in an older one, and Linux 6.18 may take the wrong one for the older \
             where they were made on different CPUs: try again, or taskset -c 0 for both"
                .into(),
        ),
        _ => None,
    }
}

/// Whether mounts on `file` would appear elsewhere too (mount_namespaces(7)).
fn is_shared(file: &Path) -> Option<bool> {
    let id = statx(CWD, file.as_os_str().as_bytes(), AtFlags::empty(), StatxFlags::MNT_ID).ok()?.stx_mnt_id.to_string();
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let line = mounts.lines().find(|line| line.split(' ').next() == Some(&id))?;
    Some(line.split(" - ").next()?.split(' ').any(|field| field.starts_with("shared:")))
}
