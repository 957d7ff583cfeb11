//! Changes that vanish, for a caller whose mounts are locked together.
//!
//! The kernel refuses an overlay whose lower layer has locked mounts below it.
//! So a directory that has none gets an overlay, and one that has some is
//! built anew on a tmpfs, entry by entry. What the caller may write outside is
//! writable; the rest is read-only. Everything is an overlay, since a bind
//! would let the host's unix sockets answer.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use isolate::inside;
use nix::errno::Errno;
use rustix::fs::{
    Access, AtFlags, CWD, FileType, Mode, OFlags, accessat, chmodat, fstat, mkdirat, open, openat, symlinkat,
};
use rustix::mount::MountAttrFlags;
use seal::{Context, Error};

use crate::ephemeral::{self, Top, Work, overlay_error};
use crate::mount::{self, Target};
use crate::options::Options;

struct Skeleton<'a> {
    work: &'a Work,
    /// The host's ROOT.
    path: PathBuf,
    /// Mount points below it.
    below: Vec<PathBuf>,
    /// Directories that the caller works in, wherever they are.
    own: Vec<PathBuf>,
    /// Where mounts will go: a missing mount point needs a top to be made in.
    dests: Vec<PathBuf>,
    /// Whether the whole is to be read-only.
    all_read_only: bool,
    /// The new root, and which file systems in it are ours.
    root: Option<OwnedFd>,
    ours: Vec<u64>,
    read_only: &'a mut Vec<OwnedFd>,
}

/// Builds ROOT. Mounts that must become read-only once the rest is mounted are
/// added to `read_only`.
pub fn mount(options: &Options, work: &Work, source: &OwnedFd, read_only: &mut Vec<OwnedFd>) -> Result<Target, Error> {
    let path = mount::real_path(source)?;
    let own = ["HOME", "PWD", "TMPDIR"].iter().filter_map(std::env::var_os);
    let own = own.filter_map(|dir| fs::canonicalize(dir).ok()).filter_map(|dir| topmost_writable(&dir)).collect();
    let inside = |dest: &Path| path.join(dest.strip_prefix("/").unwrap_or(dest));
    let mut skeleton = Skeleton {
        work,
        below: mount::mounts_below(&path)?.into_iter().map(|mounted| mounted.point).collect(),
        own,
        dests: options.mounts.iter().map(|spec| inside(&spec.dest)).collect(),
        path: path.clone(),
        all_read_only: options.read_only,
        root: None,
        ours: Vec::new(),
        read_only,
    };
    let leaf = skeleton.is_leaf(&path);
    let root = if leaf { skeleton.overlay(&path)? } else { skeleton.tmpfs_like(&path)? };
    skeleton.root = Some(root.try_clone().tried(|| "cannot duplicate an fd")?);
    if !leaf {
        skeleton.fill(&path, &root)?;
    } else if !writable(&path) {
        skeleton.writable_below(&path)?;
    }
    Ok(Target::new(root, skeleton.ours, &options.root))
}

/// The highest directory on the way to `dir` that the caller may write.
fn topmost_writable(dir: &Path) -> Option<PathBuf> {
    let ancestors: Vec<&Path> = dir.ancestors().collect();
    ancestors.into_iter().rev().find(|dir| writable(dir)).map(Path::to_path_buf)
}

/// What the guard may write is what the caller may write outside: its ids are
/// his, and its capabilities reach no others.
fn writable(dir: &Path) -> bool {
    accessat(CWD, dir, Access::WRITE_OK, AtFlags::EACCESS).is_ok()
}

/// Those that we may see.
fn subdirectories(dir: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path())
}

impl Skeleton<'_> {
    fn is_leaf(&self, dir: &Path) -> bool {
        !self.below.iter().any(|point| point != dir && point.starts_with(dir))
    }

    fn is_ours(&mut self, fd: &OwnedFd) {
        self.ours.extend(fstat(fd).map(|stat| stat.st_dev));
    }

    /// Where the directory `dir` of the host is in the new root.
    fn place(&self, dir: &Path) -> Result<OwnedFd, Error> {
        let path = dir.strip_prefix(&self.path).expect("it is below ROOT");
        inside::open(self.root.as_ref().expect("the root comes first"), path).tried(|| format!("cannot open {path:?}"))
    }

    /// A mount that stands for `dir`, which has no mounts below.
    fn overlay(&mut self, dir: &Path) -> Result<OwnedFd, Error> {
        let lower = mount::open_path(dir).tried(|| format!("cannot open {dir:?}"))?;
        let writable = writable(dir);
        let needs_top = |dest: &PathBuf| dest.starts_with(dir) && rustix::fs::stat(dest).is_err();
        let top = if writable || self.dests.iter().any(needs_top) { Top::Writable } else { Top::ReadOnly };
        match self.work.overlay(&lower, &top) {
            Ok(overlay) => {
                self.is_ours(&overlay);
                if self.all_read_only || !writable && matches!(top, Top::Writable) {
                    self.read_only.push(overlay.try_clone().tried(|| "cannot duplicate an fd")?);
                }
                Ok(overlay)
            }
            // The file system takes no overlay, and a bind would let its unix sockets answer.
            Err(Errno::EINVAL) => self.work.nothing(),
            Err(errno) => Err(overlay_error(dir, errno)),
        }
    }

    /// A new tmpfs like `dir`, read-only in the end if the caller may not write there.
    fn tmpfs_like(&mut self, dir: &Path) -> Result<OwnedFd, Error> {
        let cannot = || format!("cannot mount a tmpfs for {dir:?}");
        let place = self.work.dir()?;
        let tmpfs = ephemeral::tmpfs("mode", "755").tried(cannot)?;
        mount::attach(&tmpfs, &place).tried(cannot)?;
        let model = mount::open_path(dir).tried(cannot)?;
        ephemeral::like(&model, &tmpfs, c".").tried(cannot)?;
        self.is_ours(&tmpfs);
        if self.all_read_only || !writable(dir) {
            self.read_only.push(tmpfs.try_clone().tried(cannot)?);
        }
        Ok(tmpfs)
    }

    /// Fills `into` with what stands for the entries of `dir`.
    fn fill(&mut self, dir: &Path, into: &OwnedFd) -> Result<(), Error> {
        let entries = match fs::read_dir(dir) {
            // One that we may not list is empty here.
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return Ok(()),
            entries => entries.tried(|| format!("cannot list {dir:?}"))?,
        };
        for entry in entries {
            let entry = entry.tried(|| format!("cannot list {dir:?}"))?;
            let host = entry.path();
            let cannot = || format!("cannot recreate {host:?}");
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_symlink() {
                let to = fs::read_link(&host).tried(cannot)?;
                symlinkat(&to, into, entry.file_name()).tried(cannot)?;
            } else if kind.is_file() {
                self.file(&host, into)?;
            } else if kind.is_dir() {
                mkdirat(into, entry.file_name(), Mode::from_raw_mode(0o755)).tried(cannot)?;
                self.directory(&host, into)?;
            }
            // Sockets, pipes and devices of the host are not for the container.
        }
        Ok(())
    }

    /// A single file: bound, read-only.
    fn file(&mut self, host: &Path, into: &OwnedFd) -> Result<(), Error> {
        let cannot = || format!("cannot bind {host:?}");
        let name = host.file_name().unwrap_or_default();
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        openat(into, name, flags, Mode::from_raw_mode(0o444)).tried(cannot)?;
        let point = openat(into, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).tried(cannot)?;
        let file = open(host, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).tried(cannot)?;
        if !fstat(&file).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_file()) {
            // A socket or a pipe mounted on a file: not for the container.
            return Ok(());
        }
        let copy = mount::clone_tree(&file, true).tried(cannot)?;
        let set = MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_RDONLY;
        mount::set_attributes(self.work, &copy, true, set, None).tried(cannot)?;
        mount::attach(&copy, &point).tried(cannot)
    }

    /// A directory, whose mount point in `into` exists.
    fn directory(&mut self, host: &Path, into: &OwnedFd) -> Result<(), Error> {
        let cannot = || format!("cannot mount on {host:?}");
        let name = host.file_name().unwrap_or_default();
        if host.parent() == Some(&self.path) && [&b"proc"[..], b"sys", b"dev"].contains(&name.as_bytes()) {
            return Ok(());
        }
        let point = openat(into, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).tried(cannot)?;
        if self.is_leaf(host) {
            // One that we may not enter is empty here.
            if accessat(CWD, host, Access::EXEC_OK, AtFlags::EACCESS).is_err() {
                let mode = Mode::from_raw_mode(rustix::fs::stat(host).tried(cannot)?.st_mode & 0o7777);
                return chmodat(into, name, mode, AtFlags::empty()).tried(cannot);
            }
            let overlay = self.overlay(host)?;
            mount::attach(&overlay, &point).tried(cannot)?;
            return if writable(host) { Ok(()) } else { self.writable_below(host) };
        }
        if writable(host) {
            let tmpfs = self.tmpfs_like(host)?;
            mount::attach(&tmpfs, &point).tried(cannot)?;
            return self.fill(host, &tmpfs);
        }
        ephemeral::like(&mount::open_path(host).tried(cannot)?, &point, c".").tried(cannot)?;
        self.fill(host, &point)
    }

    /// Overlays of their own for what the caller may write below the read-only
    /// directory `dir`: to copy one up, an overlay would have to copy its
    /// parent, whose owner is not mapped.
    fn writable_below(&mut self, dir: &Path) -> Result<(), Error> {
        let mut found = Vec::new();
        for child in subdirectories(dir) {
            if writable(&child) {
                found.push(child);
            } else {
                found.extend(subdirectories(&child).filter(|path| writable(path)));
            }
        }
        found.extend(self.own.iter().filter(|own| own.starts_with(dir) && *own != dir).cloned());
        found.sort();
        found.dedup();
        for path in found {
            let overlay = self.overlay(&path)?;
            let place = self.place(&path)?;
            mount::attach(&overlay, &place).tried(|| format!("cannot mount on {path:?}"))?;
        }
        Ok(())
    }
}
