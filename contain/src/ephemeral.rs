//! Changes that vanish: overlays over the host's trees, their upper
//! directories in a tmpfs that goes with the container.

use std::cell::Cell;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use isolate::inside;
use nix::errno::Errno;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid, chmodat, chownat, fstat, mkdirat, openat};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen,
};
use seal::{Context, Error};

use crate::mount::{self, Mounted, Target};
use crate::options::Options;
use crate::root::{self, Tree};

/// A tmpfs out of the container's sight, where its root and what overlays need
/// are attached.
///
/// It takes the place of the host's `/`, which moves to [`OLD`] in it: had the
/// container's root been stacked on the host's, the init could not leave that
/// behind, since every path to it would end on the locked mount on top.
pub struct Work {
    fd: OwnedFd,
    mountinfo: File,
    used: Cell<u32>,
    options: &'static str,
}

/// Where the host's `/` is in it.
pub const OLD: &CStr = c"/old";

/// What the top of an overlay is like.
pub enum Top {
    /// Writable; the changes go to the tmpfs.
    Writable,
    /// Read-only.
    ReadOnly,
}

impl Work {
    /// Mounts it and moves this process back into the host's `/`, so that
    /// absolute paths mean what they did. Overlays of a user namespace other than the initial one keep
    /// their notes in user.* attributes; then a directory of the lower layer
    /// cannot be renamed (overlayfs.rst, "User xattr").
    pub fn new(initial: bool) -> Result<Self, Error> {
        let cannot = || "cannot mount a tmpfs to build the root on";
        let fd = tmpfs("mode", "755").tried(cannot)?;
        let here = mount::open_path(Path::new("/")).tried(cannot)?;
        mount::attach(&fd, &here).tried(cannot)?;
        mkdirat(&fd, "old", Mode::from_raw_mode(0o755)).tried(cannot)?;
        rustix::process::fchdir(&fd).tried(cannot)?;
        rustix::process::pivot_root(".", "old").tried(|| "cannot move the host's root aside")?;
        // With every mount, which one opened from within the host's `/` would not show.
        let mountinfo = File::open("old/proc/self/mountinfo").tried(|| "cannot open /proc/self/mountinfo")?;
        rustix::process::chdir("old").tried(cannot)?;
        rustix::process::chroot(".").tried(cannot)?;
        Ok(Self { fd, mountinfo, used: Cell::new(0), options: if initial { "redirect_dir=on" } else { "userxattr" } })
    }

    /// A new directory in it.
    pub fn dir(&self) -> Result<OwnedFd, Error> {
        let cannot = || "cannot create a directory to build the root on";
        let name = self.used.get().to_string();
        self.used.set(self.used.get() + 1);
        mkdirat(&self.fd, &name, Mode::from_raw_mode(0o755)).tried(cannot)?;
        openat(&self.fd, &name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).tried(cannot)
    }

    /// A new mount point in it, a directory or else a file.
    pub fn place(&self, dir: bool) -> Result<OwnedFd, Error> {
        let place = self.dir()?;
        if dir {
            return Ok(place);
        }
        let file = openat(&place, "file", OFlags::CREATE | OFlags::CLOEXEC, Mode::RUSR);
        file.tried(|| "cannot create a file to build the root on")
    }

    /// The mountinfo of this namespace, seen from the top of it.
    pub fn mountinfo(&self) -> &File {
        &self.mountinfo
    }

    /// A new mount of an empty, read-only directory.
    pub fn nothing(&self) -> Result<OwnedFd, Error> {
        let cannot = || "cannot mount an empty tmpfs";
        let empty = tmpfs("mode", "555").tried(cannot)?;
        mount::attach(&empty, self.dir()?).tried(cannot)?;
        mount::set_attributes(self, &empty, false, MountAttrFlags::MOUNT_ATTR_RDONLY, None).tried(cannot)?;
        Ok(empty)
    }

    /// A new mount of an overlay over the directory `lower`, its top with the
    /// mode and the owner of that: a /tmp that has lost its sticky bit is a hole.
    pub fn overlay(&self, lower: &OwnedFd, top: &Top) -> Result<OwnedFd, Errno> {
        let dir = self.dir().map_err(|error| Errno::from_raw(error.errno()))?;
        let make = |name: &CStr| mkdirat(&dir, name, Mode::from_raw_mode(0o755)).map_err(mount::errno);
        make(c"m")?;
        make(c"u")?;
        let lower_fd = lower.as_raw_fd();
        let (flags, data) = match top {
            Top::Writable => {
                make(c"w")?;
                like(lower, &dir, c"u").map_err(mount::errno)?;
                let layers = format!("lowerdir=/proc/self/fd/{lower_fd},upperdir=u,workdir=w");
                (MountFlags::NODEV, format!("{layers},{}", self.options))
            }
            // Two lower layers, one of them empty, make an overlay that has no upper.
            Top::ReadOnly => (
                MountFlags::NODEV | MountFlags::RDONLY,
                format!("lowerdir=/proc/self/fd/{lower_fd}:u,{}", self.options),
            ),
        };
        rustix::process::fchdir(&dir).map_err(mount::errno)?;
        let data = CString::new(data).map_err(|_| Errno::EINVAL)?;
        rustix::mount::mount(c"overlay", c"m", c"overlay", flags, Some(data.as_c_str())).map_err(mount::errno)?;
        openat(&dir, c"m", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(mount::errno)
    }
}

/// A detached tmpfs.
pub fn tmpfs(key: &str, value: &str) -> rustix::io::Result<OwnedFd> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, key, value)?;
    fsconfig_create(&context)?;
    fsmount(
        &context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV,
    )
}

/// Gives the directory `name` in `dir` the mode and the owner of `model`.
pub fn like(model: &OwnedFd, dir: &OwnedFd, name: &CStr) -> rustix::io::Result<()> {
    let stat = fstat(model)?;
    let owner = (Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)));
    match chownat(dir, name, owner.0, owner.1, AtFlags::empty()) {
        // The owner is not mapped here, and stays the container's root.
        Ok(()) | Err(rustix::io::Errno::INVAL) => {}
        Err(errno) => return Err(errno),
    }
    chmodat(dir, name, Mode::from_raw_mode(stat.st_mode & 0o7777), AtFlags::empty())
}

/// ROOT and each file system mounted below it, for a caller whose mounts are
/// not locked: all of it writable.
/// With `--ro` each of them is added to `read_only`.
pub fn mount(
    options: &Options,
    work: &Work,
    tree: &Tree,
    source: &OwnedFd,
    read_only: &mut Vec<OwnedFd>,
) -> Result<Target, Error> {
    let path = mount::real_path(source)?;
    let below = mount::mounts_below(&path)?;
    let mut keep_read_only = |overlay: &OwnedFd| -> Result<(), Error> {
        if options.read_only {
            read_only.push(overlay.try_clone().tried(|| "cannot duplicate an fd")?);
        }
        Ok(())
    };
    let root = over(work, tree, source, &options.root, &Top::Writable, true)?;
    keep_read_only(&root)?;
    let ours = fstat(&root).tried(|| "cannot look at an overlay")?.st_dev;
    let mut target = Target::new(root, vec![ours], &options.root);
    for Mounted { point, fstype, .. } in below {
        // Not a file system of files, but a namespace or a promise of a mount.
        if root::is_replaced(&point, &path) || fstype == "nsfs" || fstype == "autofs" {
            continue;
        }
        let Some(source) = mount::open_visible(&point)? else { continue };
        let place = point.strip_prefix(&path).expect("it is below");
        let mounted = if mount::is_dir(&source) {
            let overlay = submount(work, tree, &source, &point)?;
            target.is_ours(&overlay);
            keep_read_only(&overlay)?;
            overlay
        } else if fstat(&source).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_file()) {
            tree.read_only_copy(&source, &point)?
        } else {
            // A socket or a pipe mounted on a file: not for the container.
            continue;
        };
        let on = inside::open(target.root(), place).tried(|| format!("cannot open {place:?}"))?;
        mount::attach(&mounted, &on).tried(|| format!("cannot mount on {place:?}"))?;
    }
    Ok(target)
}

/// What stands for the file system mounted at `point`: an overlay; a read-only
/// one, its ids not ours, where it cannot be idmapped; nothing where it takes no
/// overlay at all, since a bind would let its unix sockets answer.
fn submount(work: &Work, tree: &Tree, source: &OwnedFd, point: &Path) -> Result<OwnedFd, Error> {
    let refused = |error: &Error| error.errno() == libc::EINVAL;
    match over(work, tree, source, point, &Top::Writable, true) {
        Err(error) if refused(&error) => {}
        made => return made,
    }
    match over(work, tree, source, point, &Top::ReadOnly, false) {
        Err(error) if refused(&error) => work.nothing(),
        made => made,
    }
}

/// An overlay over a copy of `source`, idmapped if trees are: an idmapped
/// mount must be attached before it can be a lower layer.
fn over(work: &Work, tree: &Tree, source: &OwnedFd, name: &Path, top: &Top, idmap: bool) -> Result<OwnedFd, Error> {
    let lower = tree.copy(source, name, MountAttrFlags::MOUNT_ATTR_NODEV, idmap)?;
    let place = work.dir()?;
    mount::attach(&lower, &place).tried(|| format!("cannot attach {name:?}"))?;
    work.overlay(&lower, top).map_err(|errno| overlay_error(name, errno))
}

/// Why there is no overlay over `name`.
pub fn overlay_error(name: &Path, errno: Errno) -> Error {
    let hint = match errno {
        Errno::EPERM => Some("overlays in a user namespace need Linux 5.11"),
        Errno::ENODEV => Some("the kernel has no overlayfs: modprobe overlay"),
        Errno::EINVAL => {
            Some("its file system cannot be the lower layer of an overlay, or has mounts below that are locked")
        }
        _ => None,
    };
    Error::new(format!("cannot mount an overlay over {name:?}")).because(errno).maybe_hint(hint)
}
