//! /dev: a tmpfs with the host's harmless devices bound into it.

use std::path::Path;

use isolate::inside;
use nix::unistd::{Gid, Uid, setfsgid, setfsuid};
use rustix::fs::{FileType, Mode, OFlags, fstat, major, minor, mkdirat, open, openat, symlinkat};
use rustix::mount::{MountAttrFlags, MountFlags};
use seal::{Context, Error};

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
/// init; /dev/console is /dev/null until it has a terminal to put there.
pub fn populate(target: &mut Target, ids: &Ids) -> Result<(), Error> {
    let (uid, gid) = ids.root;
    let point = target.point(Path::new("dev"), true)?;
    mount::mount_on(&point, "tmpfs", MountFlags::NOSUID | MountFlags::NOEXEC, &format!("mode=755,uid={uid},gid={gid}"))
        .tried(|| r#"cannot mount tmpfs on "dev""#)?;
    let dev = inside::open(target.root(), Path::new("dev")).tried(|| r#"cannot open "dev""#)?;
    target.is_ours(&dev);
    as_container_root(ids, || {
        let made = |name: &str| format!("cannot create \"dev/{name}\"");
        for (name, _, _) in NODES.iter().chain(&[("console", 0, 0)]) {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            openat(&dev, *name, flags, Mode::from_raw_mode(0o666)).tried(|| made(name))?;
        }
        for (name, to) in LINKS {
            symlinkat(to, &dev, name).tried(|| made(name))?;
        }
        mkdirat(&dev, "pts", Mode::from_raw_mode(0o755)).tried(|| made("pts"))?;
        mkdirat(&dev, "shm", Mode::empty()).tried(|| made("shm"))?;
        rustix::fs::chmodat(&dev, "shm", Mode::from_raw_mode(0o1777), rustix::fs::AtFlags::empty())
            .tried(|| made("shm"))
    })?;
    for (name, number_major, number_minor) in NODES {
        bind_node(&dev, name, name, (number_major, number_minor))?;
    }
    bind_node(&dev, "null", "console", (1, 3))
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

fn bind_node(dev: &std::os::fd::OwnedFd, source: &str, name: &str, number: (u32, u32)) -> Result<(), Error> {
    let cannot = || format!("cannot bind \"/dev/{source}\" on \"dev/{name}\"");
    let host = open(format!("/dev/{source}"), OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
        .tried(cannot)?;
    let stat = fstat(&host).tried(cannot)?;
    let is_device = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
    if !is_device || (major(stat.st_rdev), minor(stat.st_rdev)) != number {
        let (major, minor) = number;
        return Err(Error::new(format!("{}: it is not the character device {major}:{minor}", cannot())));
    }
    let node = mount::clone_tree(&host, false).tried(cannot)?;
    // Read-only keeps chmod and chown from the host's inode; a device's data is not the file system's.
    let set = MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    mount::set_attributes(&node, false, set, None).tried(cannot)?;
    let point = openat(dev, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).tried(cannot)?;
    mount::attach(&node, &point).tried(cannot)
}
