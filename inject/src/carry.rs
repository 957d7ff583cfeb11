//! A program of the host, carried into a container that may have none.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::sched::{CloneFlags, unshare};
use rustix::fs::CWD;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, fsconfig_create, fsmount, fsopen,
    mount_change, move_mount,
};
use seal::memfd::{self, Sealed};
use seal::{Context, Error};

/// Finds `program` on PATH and seals it; refused if it needs anything of the
/// host's files to run.
pub fn seal(program: &OsStr) -> Result<Sealed, Error> {
    let path = memfd::find(program)?;
    let sealed = memfd::sealed(&path)?;
    let refuse = |why: &str| {
        let hint = "a static program, busybox for one, needs no file of the container";
        Err(Error::new(format!("cannot carry {path:?}: {why}")).hint(hint).status(126))
    };
    if sealed.is_script() {
        return refuse("it is a script, whose interpreter would be the container's");
    }
    match interpreter(&sealed, &path)? {
        Elf::Static => Ok(sealed),
        Elf::Dynamic(loader) => {
            refuse(&format!("it is dynamically linked: it would load {loader:?} and libraries of the container's"))
        }
        Elf::Not => refuse("it is no ELF program"),
    }
}

enum Elf {
    Static,
    Dynamic(String),
    Not,
}

const PT_INTERP: u32 = 3;

/// The PT_INTERP of an ELF file (elf(5)) of this machine's byte order.
fn interpreter(sealed: &Sealed, path: &Path) -> Result<Elf, Error> {
    let cannot = || format!("cannot read {path:?}");
    let file = File::from(sealed.fd().as_fd().try_clone_to_owned().tried(cannot)?);
    let mut header = [0; 64];
    if file.read_exact_at(&mut header, 0).is_err() || header[..4] != *b"\x7fELF" {
        return Ok(Elf::Not);
    }
    let wide = header[4] == 2;
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0u64, |value, &byte| value << 8 | u64::from(byte));
    let field = |bytes: &[u8], narrow: std::ops::Range<usize>, wide_at: std::ops::Range<usize>| {
        number(&bytes[if wide { wide_at } else { narrow }])
    };
    let table = field(&header, 28..32, 32..40);
    let entry_size = field(&header, 42..44, 54..56);
    let count = field(&header, 44..46, 56..58);
    for index in 0..count {
        let mut entry = [0; 56];
        let entry = &mut entry[..if wide { 56 } else { 32 }];
        file.read_exact_at(entry, table + index * entry_size).tried(cannot)?;
        if number(&entry[..4]) as u32 == PT_INTERP {
            let mut name = vec![0; field(entry, 16..20, 32..40).min(4096) as usize];
            file.read_exact_at(&mut name, field(entry, 4..8, 8..16)).tried(cannot)?;
            return Ok(Elf::Dynamic(String::from_utf8_lossy(&name).trim_end_matches('\0').to_owned()));
        }
    }
    Ok(Elf::Static)
}

/// A proc of this process's PID namespace, for a container that has none:
/// busybox finds its applets through /proc/self/exe. To be called before the
/// container is entered, since the kernel makes one only where all of another
/// is visible, and leaves the caller in a mount namespace of its own.
pub fn detached_proc() -> Result<OwnedFd, Error> {
    let cannot = || "cannot make a proc for the container";
    let context = match fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC) {
        // Not privileged over the mounts, but in a copy of them.
        Err(rustix::io::Errno::PERM) => {
            unshare(CloneFlags::CLONE_NEWNS).tried(cannot)?;
            fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)
        }
        context => context,
    }
    .tried(cannot)?;
    fsconfig_create(&context).tried(cannot)?;
    let attributes =
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).tried(cannot)
}

/// Mounts it on /proc of this root, where only this process and its children see it.
pub fn attach_proc(proc: &OwnedFd) -> Result<(), Error> {
    unshare(CloneFlags::CLONE_NEWNS).tried(|| "cannot create a mount namespace for /proc")?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .tried(|| "cannot keep /proc from the container")?;
    move_mount(proc, "", CWD, "/proc", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .tried(|| "cannot mount proc on \"/proc\"")
}
