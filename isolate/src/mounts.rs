//! What a new mount namespace is made to show.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;

use pseudo::userns_hint;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags, fsconfig_create,
    fsmount, fsopen, mount, mount_change, move_mount,
};
use rustix::process::{chdir, chroot};
use seal::{Context, Error};

/// Sets the propagation of all mounts.
pub fn propagate(how: MountPropagationFlags) -> Result<(), Error> {
    mount_change("/", how | MountPropagationFlags::REC).map_err(|errno| {
        let hint = match errno {
            Errno::INVAL => {
                Some("\"/\" is no mount, as in a chroot: --propagation unchanged leaves mounts as they are")
            }
            // AppArmor lets a user namespace be made, and takes its rights away.
            errno => userns_hint(errno.raw_os_error()),
        };
        Error::new("cannot change the propagation of \"/\"").because(errno).maybe_hint(hint)
    })
}

/// Changes the root, then the working directory, which is by default the new root.
pub fn enter(root: Option<&Path>, cwd: Option<&Path>) -> Result<(), Error> {
    if let Some(root) = root {
        chroot(root).map_err(|errno| {
            let hint = (errno == Errno::PERM).then_some("to change the root takes CAP_SYS_CHROOT, as -r gives it");
            Error::new(format!("cannot change the root to {root:?}")).because(errno).maybe_hint(hint)
        })?;
    }
    let cwd = cwd.or_else(|| root.map(|_| Path::new("/")));
    cwd.map_or(Ok(()), |cwd| chdir(cwd).tried(|| format!("cannot change to the working directory {cwd:?}")))
}

/// Mounts a proc of this PID namespace on `dir`, where it stays private.
pub fn proc(dir: &Path, is_private: bool) -> Result<(), Error> {
    if !is_private {
        match mount_change(dir, MountPropagationFlags::PRIVATE | MountPropagationFlags::REC) {
            // Nothing is mounted there yet.
            Err(Errno::INVAL) => {}
            changed => changed.tried(|| format!("cannot change the propagation of {dir:?}"))?,
        }
    }
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::NODEV;
    mount("proc", dir, "proc", flags, None).map_err(|errno| {
        Error::new(format!("cannot mount proc on {dir:?}"))
            .because(errno)
            .maybe_hint((errno == Errno::PERM).then(proc_hint))
    })
}

/// Where a binfmt_misc is by default.
pub const BINFMT: &str = "/proc/sys/fs/binfmt_misc";

/// Why a proc was refused with EPERM.
fn proc_hint() -> String {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    // This one covers a directory that is always empty, and is no mask.
    match points.into_iter().find(|&point| point.starts_with("/proc/") && point != BINFMT) {
        Some(point) => format!(
            "{point:?} is mounted over a part of /proc, and the kernel shows no one more than that in a user \
             namespace: unmask /proc where this was started (docker run --security-opt systempaths=unconfined)"
        ),
        None => "the PID namespace must belong to this user namespace: add --pid --fork".to_owned(),
    }
}

/// A binfmt_misc of the new user namespace (Documentation/admin-guide/binfmt-misc.rst).
pub struct Binfmt(OwnedFd);

impl Binfmt {
    /// A new one, attached nowhere.
    pub fn new() -> Result<Self, Error> {
        let cannot = || "cannot make a binfmt_misc";
        let context = fsopen("binfmt_misc", FsOpenFlags::FSOPEN_CLOEXEC).tried(cannot)?;
        fsconfig_create(&context).map_err(|errno| {
            let old = errno == Errno::PERM;
            Error::new(cannot())
                .because(errno)
                .maybe_hint(old.then_some("user namespaces have one of their own since Linux 6.7"))
        })?;
        let attributes =
            MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).map(Self).tried(cannot)
    }

    /// Registers an interpreter, which is opened now, from this root, if the
    /// flag F is among its flags.
    pub fn register(&self, interpreter: &OsStr) -> Result<(), Error> {
        let cannot = || format!("cannot register the interpreter {interpreter:?}");
        let file = openat(&self.0, "register", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).tried(cannot)?;
        rustix::io::write(&file, interpreter.as_encoded_bytes()).map_err(|errno| {
            let hint = match errno {
                Errno::INVAL => Some("it is :NAME:TYPE:OFFSET:MAGIC:MASK:INTERPRETER:FLAGS"),
                _ => None,
            };
            Error::new(cannot()).because(errno).maybe_hint(hint)
        })?;
        Ok(())
    }

    /// Mounts it on `dir`.
    pub fn attach(&self, dir: &Path) -> Result<(), Error> {
        move_mount(&self.0, "", CWD, dir, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .tried(|| format!("cannot mount binfmt_misc on {dir:?}"))
    }
}
