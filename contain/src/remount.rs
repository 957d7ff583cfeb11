//! Attributes of mounts where the kernel has no mount_setattr(2), which is
//! since Linux 5.12: by mount(2), which changes one mount at a time, and none
//! that is detached. The guard does this before the container sees anything.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::AsFd;
use std::path::PathBuf;

use isolate::inside;
use nix::errno::Errno;
use rustix::fs::{AtFlags, StatxFlags, statx};
use rustix::mount::{MountAttrFlags, MountFlags, MountPropagationFlags, mount_change, mount_remount};

use crate::ephemeral::Work;
use crate::mount::{attach, errno, fd_path, is_dir, unescape};

/// A line of mountinfo (proc_pid_mountinfo(5)).
struct Mount {
    parent: u64,
    point: PathBuf,
    flags: MountFlags,
}

/// Sets attributes of the mount `tree` besides those that each has, and makes
/// mounts private; with `recursive` those below it too. A detached mount is
/// attached in `work` first, from where it can be moved.
pub fn set_attributes(work: &Work, tree: impl AsFd, recursive: bool, set: MountAttrFlags) -> Result<(), Errno> {
    let id = mount_id(&tree)?;
    if !mounts(work)?.contains_key(&id) {
        let place = work.place(is_dir(&tree)).map_err(|error| Errno::from_raw(error.errno()))?;
        attach(&tree, &place).map_err(errno)?;
    }
    // First, so that the host cannot add to the tree while it is walked.
    let rec = if recursive { MountPropagationFlags::REC } else { MountPropagationFlags::empty() };
    mount_change(fd_path(&tree), MountPropagationFlags::PRIVATE | rec).map_err(errno)?;
    let mounts = mounts(work)?;
    let top = mounts.get(&id).ok_or(Errno::EINVAL)?;
    remount(&tree, top.flags, set)?;
    for (&below, mount) in mounts.iter().filter(|&(&below, _)| recursive && is_below(&mounts, below, id)) {
        let path = mount.point.strip_prefix(&top.point).map_err(|_| Errno::EINVAL)?;
        if path.as_os_str().is_empty() {
            // Over the whole of the tree, where no path in it leads.
            return Err(Errno::EBUSY);
        }
        match inside::open(&tree, path) {
            Ok(found) if mount_id(&found)? == below => remount(&found, mount.flags, set)?,
            // The container's mounts are locked together, so that it stays covered there.
            _ if is_covered(&mounts, below, id) => {}
            // Moved meanwhile, or out of our reach, but perhaps not for ever out of the container's.
            Ok(_) => return Err(Errno::EBUSY),
            Err(error) => return Err(errno(error)),
        }
    }
    Ok(())
}

/// The flags that it has stay, of which it may not lose those that are locked.
fn remount(mount: impl AsFd, flags: MountFlags, set: MountAttrFlags) -> Result<(), Errno> {
    // What set_attributes() is asked for has the same numbers there.
    let set = MountFlags::from_bits_retain(set.bits() as _);
    mount_remount(fd_path(mount), MountFlags::BIND | flags | set, "").map_err(errno)
}

fn mount_id(fd: impl AsFd) -> Result<u64, Errno> {
    let stat = statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).map_err(errno)?;
    let told = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::MNT_ID);
    if told { Ok(stat.stx_mnt_id) } else { Err(Errno::ENOSYS) }
}

fn is_below(mounts: &HashMap<u64, Mount>, mut id: u64, top: u64) -> bool {
    // The parent of the outermost is none that we see, or itself.
    while let Some(mount) = mounts.get(&id).filter(|mount| mount.parent != id) {
        if mount.parent == top {
            return true;
        }
        id = mount.parent;
    }
    false
}

/// Whether another mount is on `id`, or on the way to it from `top`.
fn is_covered(mounts: &HashMap<u64, Mount>, mut id: u64, top: u64) -> bool {
    let covers = |on: u64, way: &Mount, but: u64| {
        mounts.iter().any(|(&other, mount)| mount.parent == on && other != but && way.point.starts_with(&mount.point))
    };
    if mounts.get(&id).is_some_and(|mount| covers(id, mount, id)) {
        return true;
    }
    while let Some(mount) = mounts.get(&id).filter(|_| id != top) {
        if covers(mount.parent, mount, id) {
            return true;
        }
        id = mount.parent;
    }
    false
}

/// Every mount of the guard's namespace by its id.
fn mounts(work: &Work) -> Result<HashMap<u64, Mount>, Errno> {
    let mut text = Vec::with_capacity(1 << 14);
    let mut file: &File = work.mountinfo();
    let read = file.rewind().and_then(|()| file.read_to_end(&mut text));
    read.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))?;
    text.split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| parse(line).ok_or(Errno::EIO))
        .collect()
}

fn parse(line: &[u8]) -> Option<(u64, Mount)> {
    let fields: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
    let number = |field: &[u8]| std::str::from_utf8(field).ok()?.parse().ok();
    let flag = |name: &[u8]| match name {
        b"ro" => MountFlags::RDONLY,
        b"nosuid" => MountFlags::NOSUID,
        b"nodev" => MountFlags::NODEV,
        b"noexec" => MountFlags::NOEXEC,
        b"nosymfollow" => MountFlags::from_bits_retain(libc::MS_NOSYMFOLLOW as _),
        // A remount that names none of the times' flags leaves them.
        _ => MountFlags::empty(),
    };
    let flags = fields.get(5)?.split(|&byte| byte == b',').map(flag).collect();
    let point = unescape(fields.get(4)?).into();
    Some((number(fields.first()?)?, Mount { parent: number(fields.get(1)?)?, point, flags }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_line_of_mountinfo() {
        let line = br"36 35 98:0 /sub /a\040b ro,nosuid,noexec,relatime shared:1 - ext4 /dev/root rw,errors=continue";
        let (id, mount) = parse(line).unwrap();
        assert_eq!((id, mount.parent, mount.point), (36, 35, "/a b".into()));
        assert_eq!(mount.flags, MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NOEXEC);
        assert!(parse(b"36 35 98:0 / /a").is_none());
    }

    #[test]
    fn knows_what_is_covered() {
        let lines = [
            "1 1 0:1 / / rw",
            "2 1 0:1 / /top rw",
            "3 2 0:1 / /top/a/b rw",
            "4 3 0:1 / /top/a/b/c rw",
            "5 2 0:1 / /top/twice rw",
            "6 5 0:1 / /top/twice rw",
            "7 6 0:1 / /top/twice/c rw",
            "8 2 0:1 / /top/ab rw",
            "9 1 0:1 / /topmost rw",
        ];
        let mut mounts: HashMap<_, _> = lines.iter().map(|line| parse(line.as_bytes()).unwrap()).collect();
        let below = |mounts: &_| (1..12).filter(|&id| is_below(mounts, id, 2)).collect::<Vec<_>>();
        let covered =
            |mounts: &_| below(mounts).into_iter().filter(|&id| is_covered(mounts, id, 2)).collect::<Vec<_>>();
        assert_eq!(below(&mounts), [3, 4, 5, 6, 7, 8]);
        assert_eq!(covered(&mounts), [5]);
        mounts.extend(parse(b"10 2 0:1 / /top/a rw"));
        mounts.extend(parse(b"11 10 0:1 / /top/a/b rw"));
        assert_eq!(covered(&mounts), [3, 4, 5]);
    }
}
