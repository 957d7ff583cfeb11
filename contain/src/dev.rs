//! /dev: a tmpfs with the host's harmless devices bound into it.

use std::os::fd::OwnedFd;
use std::path::Path;

use isolate::inside;
use nix::unistd::{Gid, Uid, fchown, setfsgid, setfsuid};
use rustix::fs::{CWD, FileType, Mode, fstat, fstatfs, major, minor, mkdirat, mknodat, symlinkat};
use rustix::mount::{MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use rustix::stdio::{stderr, stdin, stdout};
use seal::{Context, Error};

use crate::ephemeral::Work;
use crate::ids::Ids;
use crate::mount::{self, Target};

/// Name, major and minor number (the kernel's admin-guide/devices.txt): what is
/// bound must be the device, not what someone has put in its place.
const NODES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

const LINKS: [(&str, &str); 5] = [
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// Mounts and fills `dev` of the new root. /dev/pts is left to the container's
/// init, and a console to be mounted on /dev/console if there is to be one.
pub fn populate(target: &mut Target, work: &Work, ids: &Ids, console: bool) -> Result<(), Error> {
    let (uid, gid) = ids.root;
    let point = target.point(Path::new("dev"), true)?;
    mount::mount_on(&point, "tmpfs", MountFlags::NOSUID | MountFlags::NOEXEC, &format!("mode=755,uid={uid},gid={gid}"))
        .tried(|| r#"cannot mount tmpfs on "dev""#)?;
    let dev = inside::open(target.root(), Path::new("dev")).tried(|| r#"cannot open "dev""#)?;
    target.is_ours(&dev);
    as_container_root(ids, || {
        let made = |name: &str| format!("cannot create \"dev/{name}\"");
        let file =
            |name| mknodat(&dev, name, FileType::RegularFile, Mode::from_raw_mode(0o666), 0).tried(|| made(name));
        NODES.iter().try_for_each(|&(name, _, _)| file(name))?;
        if console {
            file("console")?;
        }
        for (name, to) in LINKS.into_iter().chain((!console).then_some(("console", "null"))) {
            symlinkat(to, &dev, name).tried(|| made(name))?;
        }
        mkdirat(&dev, "pts", Mode::from_raw_mode(0o755)).tried(|| made("pts"))?;
        mkdirat(&dev, "shm", Mode::empty()).tried(|| made("shm"))?;
        rustix::fs::chmodat(&dev, "shm", Mode::from_raw_mode(0o1777), rustix::fs::AtFlags::empty())
            .tried(|| made("shm"))
    })?;
    NODES.iter().try_for_each(|&(name, major, minor)| bind_node(work, &dev, name, (major, minor), ids))
}

/// Runs `make` with the file system ids of the container's root.
pub fn as_container_root<T>(ids: &Ids, make: impl FnOnce() -> T) -> T {
    let own = (Uid::effective(), Gid::effective());
    // Cannot fail for ids that are mapped, and tmpfs refuses those that are not.
    setfsgid(Gid::from_raw(ids.root.1));
    setfsuid(Uid::from_raw(ids.root.0));
    let made = make();
    setfsuid(own.0);
    setfsgid(own.1);
    made
}

fn bind_node(work: &Work, dev: &OwnedFd, name: &str, number: (u32, u32), ids: &Ids) -> Result<(), Error> {
    let cannot = || format!("cannot bind \"/dev/{name}\"");
    let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    let node = open_tree(CWD, format!("/dev/{name}"), clone).tried(cannot)?;
    let stat = fstat(&node).tried(cannot)?;
    let is_device = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
    if !is_device || (major(stat.st_rdev), minor(stat.st_rdev)) != number {
        let (major, minor) = number;
        return Err(Error::new(format!("{}: it is not the character device {major}:{minor}", cannot())));
    }
    if ids.may_own(&stat) {
        // Keeps chmod and chown from the host's inode; a device's data is not the file system's.
        mount::set_attributes(work, &node, false, MountAttrFlags::MOUNT_ATTR_RDONLY, None).tried(cannot)?;
    }
    // Nobody else has been in this directory, so its names are what we made them.
    move_mount(&node, "", dev, name, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).tried(cannot)
}

const PIPEFS_MAGIC: u64 = 0x5049_5045;

/// Gives pipes on the standard fds to the container's root, who could else use
/// but not open them: /dev/stdout is where many programs log to. A pipe that
/// has a name is a file of the host and stays as it is.
pub fn own_pipes(ids: &Ids) -> Result<(), Error> {
    let uid = Uid::from_raw(ids.root.0);
    if uid == Uid::effective() {
        return Ok(());
    }
    for fd in [stdin(), stdout(), stderr()] {
        if fstatfs(fd).is_ok_and(|fs| fs.f_type as u64 == PIPEFS_MAGIC) {
            fchown(fd, Some(uid), None).tried(|| "cannot give a pipe to the container's root")?;
        }
    }
    Ok(())
}
