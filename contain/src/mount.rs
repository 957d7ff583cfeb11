//! Mounts by file descriptor, and where they go: every target is resolved
//! inside the new root (CVE-2021-30465 and kin).

use std::ffi::{CString, OsStr};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use isolate::inside;
use nix::errno::Errno;
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Uid, chownat, fstat, mkdirat, mknodat, open};
use rustix::mount::{MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags, mount, move_mount, open_tree};
use seal::{Context, Error};

use crate::ephemeral::Work;
use crate::remount;

/// An O_PATH fd for a file or directory of the host.
pub fn open_path(path: &Path) -> rustix::io::Result<OwnedFd> {
    open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

/// As [`open_path`]; `None` for a mount point that is covered by another mount,
/// or not for us to see.
pub fn open_visible(path: &Path) -> Result<Option<OwnedFd>, Error> {
    match open_path(path) {
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::ACCESS) => Ok(None),
        result => result.map(Some).tried(|| format!("cannot open {path:?}")),
    }
}

/// The path of an fd, for the calls that take no fd.
pub fn fd_path(fd: impl AsFd) -> PathBuf {
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()).into()
}

/// A detached copy of the mount or mounts at `fd`.
pub fn clone_tree(fd: impl AsFd, recursive: bool) -> rustix::io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    open_tree(fd, "", flags)
}

/// Attaches a detached mount, or moves one, on top of the file or directory that `target` is.
pub fn attach(tree: impl AsFd, target: impl AsFd) -> rustix::io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(tree, "", target, "", flags)
}

/// Sets attributes and makes mounts private, so that what the host mounts
/// below the source later does not appear in the container. Before Linux 5.12 a
/// detached tree is attached in `work` for it; and no ids then.
pub fn set_attributes(
    work: &Work,
    tree: impl AsFd,
    recursive: bool,
    set: MountAttrFlags,
    idmap: Option<BorrowedFd>,
) -> Result<(), Errno> {
    match seal::mount_setattr(tree.as_fd(), recursive, set, libc::MS_PRIVATE, idmap) {
        Err(Errno::ENOSYS) if idmap.is_none() => remount::set_attributes(work, tree, recursive, set),
        result => result,
    }
}

/// Mounts a new file system on the directory that `target` is.
pub fn mount_on(target: impl AsFd, fstype: &str, flags: MountFlags, data: &str) -> Result<(), Errno> {
    // "." is the one path that no one can redirect.
    rustix::process::fchdir(target).map_err(errno)?;
    let data = CString::new(data).map_err(|_| Errno::EINVAL)?;
    mount(fstype, ".", fstype, flags, Some(data.as_c_str())).map_err(errno)
}

/// rustix's errno as nix's.
pub fn errno(errno: rustix::io::Errno) -> Errno {
    Errno::from_raw(errno.raw_os_error())
}

/// Whether `fd` is a directory.
pub fn is_dir(fd: impl AsFd) -> bool {
    fstat(fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

/// Where mounts go: the new root, and which of its file systems are ours, so
/// that to create a file there changes nothing on the host.
pub struct Target {
    root: OwnedFd,
    ours: Vec<u64>,
    name: PathBuf,
    /// Who is to own what is created there.
    pub owner: (u32, u32),
}

impl Target {
    /// The root that `root` is, the devices of those file systems in it that
    /// are ours, and what the user called it.
    pub fn new(root: OwnedFd, ours: Vec<u64>, name: &Path) -> Self {
        Self { root, ours, name: name.to_owned(), owner: (0, 0) }
    }

    /// The root.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Gives the root away.
    pub fn into_root(self) -> OwnedFd {
        self.root
    }

    /// Remembers that the file system at `fd` was made by us.
    pub fn is_ours(&mut self, fd: impl AsFd) {
        self.ours.extend(fstat(fd).map(|stat| stat.st_dev));
    }

    /// The mount point `path`, a directory or else a file; created if it is
    /// missing and that changes nothing on the host.
    pub fn point(&self, path: &Path, dir: bool) -> Result<OwnedFd, Error> {
        let cannot = |what: &str| format!("cannot {what} the mount point {path:?} in {:?}", self.name);
        let path = path.strip_prefix("/").unwrap_or(path);
        match inside::open(&self.root, path) {
            Err(rustix::io::Errno::NOENT) => {}
            result => return result.tried(|| cannot("open")),
        }
        let mut parent = inside::open(&self.root, Path::new(".")).tried(|| cannot("open"))?;
        let mut so_far = PathBuf::new();
        let parts: Vec<&OsStr> = path.iter().collect();
        for (index, part) in parts.iter().enumerate() {
            so_far.push(part);
            let next = match inside::open(&self.root, &so_far) {
                Err(rustix::io::Errno::NOENT) => {
                    if !fstat(&parent).is_ok_and(|stat| self.ours.contains(&stat.st_dev)) {
                        return Err(Error::new(cannot("find"))
                            .because(Errno::ENOENT)
                            .hint("it would have to be made on the host: make it yourself, or use --ephemeral"));
                    }
                    let last = index + 1 == parts.len();
                    create(&parent, part, dir || !last, self.owner).tried(|| cannot("create"))?;
                    inside::open(&self.root, &so_far)
                }
                result => result,
            };
            parent = next.tried(|| cannot("open"))?;
        }
        Ok(parent)
    }
}

fn create(parent: &OwnedFd, name: &OsStr, dir: bool, owner: (u32, u32)) -> rustix::io::Result<()> {
    if dir {
        mkdirat(parent, name, Mode::from_raw_mode(0o755))?;
    } else {
        mknodat(parent, name, FileType::RegularFile, Mode::from_raw_mode(0o644), 0)?;
    }
    let (uid, gid) = (Uid::from_raw(owner.0), Gid::from_raw(owner.1));
    chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
}

/// A line of /proc/self/mountinfo, as far as it matters here.
pub struct Mounted {
    /// Where it is mounted.
    pub point: PathBuf,
    /// The type of the file system.
    pub fstype: String,
    /// Whether it is mounted somewhere else, too.
    pub elsewhere: bool,
}

/// The mounts strictly below `dir`, which must be canonical: each path once,
/// outer before inner.
pub fn mounts_below(dir: &Path) -> Result<Vec<Mounted>, Error> {
    let mut text = Vec::with_capacity(1 << 14);
    let file = std::fs::File::open("/proc/self/mountinfo");
    file.and_then(|mut file| file.read_to_end(&mut text)).tried(|| "cannot read /proc/self/mountinfo")?;
    let mut found: Vec<Mounted> = Vec::new();
    for line in text.split(|&byte| byte == b'\n') {
        let mut fields = line.split(|&byte| byte == b' ');
        let (Some(device), Some(point)) = (fields.nth(2), fields.nth(1)) else { continue };
        let point = PathBuf::from(unescape(point));
        if point == dir || !point.starts_with(dir) {
            continue;
        }
        let fstype = fields.skip_while(|field| *field != b"-").nth(1).unwrap_or_default();
        found.retain(|earlier| earlier.point != point);
        let same = |line: &&[u8]| line.split(|&byte| byte == b' ').nth(2) == Some(device);
        let elsewhere = text.split(|&byte| byte == b'\n').filter(same).count() > 1;
        found.push(Mounted { point, fstype: String::from_utf8_lossy(fstype).into_owned(), elsewhere });
    }
    found.sort_by(|a, b| a.point.cmp(&b.point));
    Ok(found)
}

/// Space, tab, newline and backslash stand as `\ooo` there (proc_pid_mountinfo(5)).
pub fn unescape(text: &[u8]) -> std::ffi::OsString {
    use std::os::unix::ffi::OsStringExt;
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        let octal = (byte == b'\\').then(|| tail.get(..3)).flatten();
        let value = octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(value.unwrap_or(byte));
        rest = if value.is_some() { &tail[3..] } else { tail };
    }
    std::ffi::OsString::from_vec(bytes)
}

/// The canonical path of an fd in this mount namespace.
pub fn real_path(fd: impl AsFd) -> Result<PathBuf, Error> {
    rustix::fs::readlinkat(CWD, fd_path(fd), Vec::new())
        .map(|path| PathBuf::from(OsStr::from_bytes(path.as_bytes())))
        .tried(|| "cannot read /proc/self/fd")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unescapes_mountinfo() {
        assert_eq!(unescape(br"/a\040b\134c\011\012"), "/a b\\c\t\n");
        assert_eq!(unescape(br"/a\04"), r"/a\04");
    }
}
