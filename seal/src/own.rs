//! Run this very program from where nothing in a container can write to it.
//!
//! A process that enters a container leads to the file it runs through
//! /proc/PID/exe, and so does a command there that is a link, a script or a
//! loader named /proc/self/exe (CVE-2019-5736).

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, SealFlags, StatVfsMountFlags, fcntl_get_seals, fstatvfs, open, readlinkat};
use rustix::mount::{MountAttrFlags, OpenTreeFlags, open_tree};

use crate::exec::{Environment, Image};
use crate::{Context, Error, memfd, sys};

const EXE: &str = "/proc/self/exe";

/// Makes sure that this program runs from a sealed memfd or, where the caller
/// may mount, from a detached read-only mount of its file, which costs half:
/// returns if it does, else executes it from there with the same arguments.
pub fn ensure_sealed() -> Result<(), Error> {
    if is_sealed()? {
        return Ok(());
    }
    let argv: Vec<OsString> = std::env::args_os().collect();
    let environment = Environment::inherited();
    match detached() {
        Ok(own) => {
            let image = Image::in_memory(own.as_fd(), false, Path::new(EXE), &argv, &environment)?;
            Err(image.exec().told("cannot execute a read-only mount of this program").status(125))
        }
        // Not privileged, or a kernel before 5.12.
        Err(_) => {
            let name = argv.first().and_then(|name| Path::new(name).file_name()).unwrap_or(OsStr::new("sealed"));
            Err(memfd::sealed_as(Path::new(EXE), name)?.exec_with(&argv, &environment).status(125))
        }
    }
}

/// Whether someone who may be any of these users and groups could write to this
/// program's file, if he found it in /proc.
pub fn is_exposed(has_uid: impl Fn(u32) -> bool, has_gid: impl Fn(u32) -> bool) -> Result<bool, Error> {
    let own = rustix::fs::stat(EXE).tried(|| "cannot look at /proc/self/exe")?;
    let writable = |bit| own.st_mode & bit != 0;
    Ok(writable(0o002) || has_uid(own.st_uid) || writable(0o020) && has_gid(own.st_gid))
}

/// Whether what /proc/self/exe leads to can be written by nobody: a memfd with
/// its seals, or a read-only mount that is in no mount namespace. The link of
/// such a mount of a single file reads "/".
fn is_sealed() -> Result<bool, Error> {
    let cannot = || "cannot open /proc/self/exe";
    let own = open(EXE, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).tried(cannot)?;
    if let Ok(seals) = fcntl_get_seals(&own) {
        return Ok(seals.contains(SealFlags::WRITE | SealFlags::SEAL));
    }
    let read_only = fstatvfs(&own).tried(cannot)?.f_flag.contains(StatVfsMountFlags::RDONLY);
    Ok(read_only && readlinkat(CWD, EXE, Vec::new()).tried(cannot)?.as_bytes() == b"/")
}

/// A mount of this program's file alone, read-only and attached nowhere, so
/// that no remount can reach it.
fn detached() -> rustix::io::Result<OwnedFd> {
    let own = open_tree(CWD, EXE, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)?;
    sys::mount_setattr(own.as_fd(), false, MountAttrFlags::MOUNT_ATTR_RDONLY, 0, None)
        .map_err(|errno| rustix::io::Errno::from_raw_os_error(errno as i32))?;
    Ok(own)
}
