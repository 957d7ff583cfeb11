//! Assemble the new root, in the guard: everything mounted here is locked in
//! the container's own mount namespace.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use isolate::inside;
use nix::errno::Errno;
use rustix::fs::{Mode, OFlags, fstat, open, openat};
use rustix::mount::{MountAttrFlags, MountFlags};
use seal::{Context, Error};

use crate::ephemeral::Work;
use crate::ids::Ids;
use crate::mount::{self, Mounted, Target};
use crate::options::Options;
use crate::spec::{Source, Spec};
use crate::{dev, ephemeral, skeleton};

/// Builds the root, with a place for a `console`, and gives an fd of it. `userns` is the container's user
/// namespace, whose ids idmapped trees take.
pub fn assemble(options: &Options, ids: &Ids, console: bool, userns: BorrowedFd) -> Result<OwnedFd, Error> {
    let source = open(&options.root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .tried(|| format!("cannot open the root {:?}", options.root))?;
    // What is bound is what the caller sees, whatever the mounts below cover.
    let sources = open_sources(&options.mounts)?;
    let work = Work::new(ids.unlocked())?;
    let userns = ids.idmap.then_some(userns);
    let tree = Tree { work: &work, userns, unlocked: ids.unlocked(), plants_root: ids.plants_root() };
    let mut read_only = Vec::new();
    let mut target = if options.ephemeral && ids.unlocked() {
        ephemeral::mount(options, &work, &tree, &source, &mut read_only)?
    } else if options.ephemeral {
        skeleton::mount(options, &work, &source, &mut read_only)?
    } else {
        plain(options, &work, &tree, source)?
    };
    target.owner = ids.root;
    for dir in ["proc", "sys"] {
        target.point(Path::new(dir), true)?;
    }
    dev::populate(&mut target, &work, ids, console)?;
    dev::own_pipes(ids)?;
    if options.host_net {
        bind_sys(&target, &work, ids)?;
    }
    for (spec, source) in options.mounts.iter().zip(sources) {
        match (&spec.source, source) {
            (Source::Bind(path), Some(fd)) => bind(&target, &tree, spec, path, fd)?,
            (Source::Tmpfs(data), _) => tmpfs(&mut target, ids, spec, data)?,
            _ => unreachable!("every bind was opened"),
        }
    }
    for mount in read_only {
        mount::set_attributes(&work, &mount, false, MountAttrFlags::MOUNT_ATTR_RDONLY, None)
            .tried(|| "cannot make the root read-only")?;
    }
    Ok(target.into_root())
}

/// How trees of the host are taken over.
pub struct Tree<'a> {
    /// Where they can be attached meanwhile.
    pub work: &'a Work,
    /// The user namespace to idmap them with, if they are.
    pub userns: Option<BorrowedFd<'a>>,
    /// Whether each mount can be taken by itself; else the kernel keeps them together.
    pub unlocked: bool,
    /// Whether a file left in one may be root's on the host.
    pub plants_root: bool,
}

impl Tree<'_> {
    /// A detached copy of `source` alone, or with all that is mounted below it
    /// where the kernel will not part them.
    pub fn copy(&self, source: &OwnedFd, name: &Path, set: MountAttrFlags, idmap: bool) -> Result<OwnedFd, Error> {
        let copy = mount::clone_tree(source, !self.unlocked).tried(|| format!("cannot bind {name:?}"))?;
        let userns = self.userns.filter(|_| idmap);
        mount::set_attributes(self.work, &copy, !self.unlocked, set, userns).map_err(|errno| {
            let error = Error::new(if userns.is_some() {
                format!("cannot idmap {name:?}")
            } else {
                format!("cannot set the attributes of {name:?}")
            });
            error.because(errno).maybe_hint(setattr_hint(errno, userns.is_some()))
        })?;
        Ok(copy)
    }

    /// A read-only copy of what cannot be an overlay, idmapped if it can be.
    pub fn read_only_copy(&self, source: &OwnedFd, name: &Path) -> Result<OwnedFd, Error> {
        let set = MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_RDONLY;
        self.copy(source, name, set, true).or_else(|_| self.copy(source, name, set, false))
    }
}

fn setattr_hint(errno: Errno, idmap: bool) -> Option<&'static str> {
    match errno {
        Errno::ENOSYS if idmap => Some(
            "to show ids other than those on disk needs Linux 5.12: --no-idmap leaves them as they are, for a tree \
             that was unpacked under pseudo",
        ),
        Errno::EACCES | Errno::EBUSY => Some("before Linux 5.12 all that is mounted below it must be within reach"),
        Errno::EINVAL if idmap => Some(
            "its file system cannot show ids other than those on disk: --no-idmap, or no-idmap in the options of \
             a bind, leaves them as they are, for a tree that was unpacked under pseudo",
        ),
        _ => None,
    }
}

/// ROOT itself, with what is mounted below it.
fn plain(options: &Options, work: &Work, tree: &Tree, source: OwnedFd) -> Result<Target, Error> {
    let mut set = MountAttrFlags::MOUNT_ATTR_NODEV;
    if options.read_only {
        set |= MountAttrFlags::MOUNT_ATTR_RDONLY;
    } else if tree.plants_root {
        // Its own mode does not count: the container's root may change that.
        let above = openat(&source, "..", OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        refuse_reachable(above.tried(|| "cannot look above the root")?, &options.root, "--ro, or -e")?;
    }
    let path = mount::real_path(&source)?;
    let below = mount::mounts_below(&path)?;
    let root = tree.copy(&source, &options.root, set, true)?;
    mount::attach(&root, work.dir()?).tried(|| format!("cannot attach {:?}", options.root))?;
    let target = Target::new(root, Vec::new(), &options.root);
    let (covered, below): (Vec<_>, Vec<_>) = below.into_iter().partition(|mounted| is_replaced(&mounted.point, &path));
    if tree.unlocked {
        return submounts(tree, &path, below, set, true, target);
    }
    // The copy has the host's own /proc and the like; with nothing between, an
    // umount in the container would bring them to light.
    for name in ["proc", "sys"] {
        if covered.iter().any(|mounted| mounted.point.starts_with(path.join(name))) {
            let point = target.point(Path::new(name), true)?;
            mount::mount_on(&point, "tmpfs", MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV, "mode=755")
                .tried(|| format!("cannot cover the host's {name:?}"))?;
        }
    }
    Ok(target)
}

/// Whether the container has a mount of its own where this one is.
pub fn is_replaced(point: &Path, root: &Path) -> bool {
    ["proc", "sys", "dev"].iter().any(|name| point.starts_with(root.join(name)))
}

/// Mounts copies of the mounts `below` the tree at `path` of the host at the
/// same places of `target`.
fn submounts(
    tree: &Tree,
    path: &Path,
    below: Vec<Mounted>,
    set: MountAttrFlags,
    idmap: bool,
    target: Target,
) -> Result<Target, Error> {
    for Mounted { point, elsewhere, .. } in below {
        if elsewhere && idmap && tree.plants_root && !set.contains(MountAttrFlags::MOUNT_ATTR_RDONLY) {
            return Err(Error::new(format!(
                "cannot bind {point:?}: its file system is mounted elsewhere too, where others may reach set-uid root \
                 programs that the container leaves"
            ))
            .hint("make it read-only, or unmount it"));
        }
        let Some(source) = mount::open_visible(&point)? else { continue };
        let copy = tree.copy(&source, &point, set, idmap)?;
        let below = point.strip_prefix(path).expect("it is below");
        let place = inside::open(target.root(), below).tried(|| format!("cannot open {below:?}"))?;
        mount::attach(&copy, &place).tried(|| format!("cannot bind {point:?}"))?;
    }
    Ok(target)
}

/// A container that can write a tree with ids as they stand on disk can leave
/// a set-uid root program there; whoever reaches it on the host becomes root.
/// Looked at from `source` upwards.
fn refuse_reachable(source: OwnedFd, name: &Path, others: &str) -> Result<(), Error> {
    let cannot = || format!("cannot look above {name:?}");
    if rustix::fs::fstatvfs(&source).tried(cannot)?.f_flag.bits() & libc::ST_NOSUID != 0 {
        return Ok(());
    }
    let above = |dir: &OwnedFd| openat(dir, "..", OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let mut dir = if mount::is_dir(&source) {
        source
    } else {
        let path = mount::real_path(&source)?;
        mount::open_path(path.parent().unwrap_or(Path::new("/"))).tried(cannot)?
    };
    let mut below = None;
    loop {
        let stat = fstat(&dir).tried(cannot)?;
        if stat.st_uid == 0 && stat.st_mode & 0o011 == 0 {
            return Ok(());
        }
        if below.replace((stat.st_dev, stat.st_ino)) == Some((stat.st_dev, stat.st_ino)) {
            break;
        }
        dir = above(&dir).tried(cannot)?;
    }
    Err(Error::new(format!(
        "other users of this host can reach {name:?}, where the container could leave set-uid root programs"
    ))
    .hint(format!("keep it in a directory of mode 700, or use {others}")))
}

fn open_sources(specs: &[Spec]) -> Result<Vec<Option<OwnedFd>>, Error> {
    let open = |spec: &Spec| match &spec.source {
        Source::Bind(path) => mount::open_path(path).tried(|| format!("cannot bind {path:?}")).map(Some),
        Source::Tmpfs(_) => Ok(None),
    };
    specs.iter().map(open).collect()
}

fn bind(target: &Target, tree: &Tree, spec: &Spec, path: &Path, source: OwnedFd) -> Result<(), Error> {
    let (mut set, mut idmap) = (spec.attributes, spec.idmap);
    let dir = mount::is_dir(&source);
    // To name a device is to ask for it; what it does depends on no id.
    let kind = fstat(&source).map(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode));
    if kind.is_ok_and(|kind| kind.is_char_device() || kind.is_block_device()) {
        set -= MountAttrFlags::MOUNT_ATTR_NODEV;
        idmap = false;
    }
    if idmap && tree.plants_root && !set.contains(MountAttrFlags::MOUNT_ATTR_RDONLY) {
        let source = source.try_clone().tried(|| "cannot duplicate an fd")?;
        refuse_reachable(source, path, "--bind-ro")?;
    }
    let copy = tree.copy(&source, path, set, idmap)?;
    let point = target.point(&spec.dest, dir)?;
    mount::attach(&copy, &point).tried(|| format!("cannot bind {path:?} on {:?}", spec.dest))?;
    if tree.unlocked && dir {
        let real = mount::real_path(&source)?;
        let below = mount::mounts_below(&real)?;
        let mounted = Target::new(copy, Vec::new(), &spec.dest);
        submounts(tree, &real, below, set, idmap, mounted)?;
    }
    Ok(())
}

fn tmpfs(target: &mut Target, ids: &Ids, spec: &Spec, data: &[String]) -> Result<(), Error> {
    let dest = &spec.dest;
    let point = target.point(dest, true)?;
    let (uid, gid) = ids.root;
    // As the directory it covers, so that a /tmp stays one; DATA may say otherwise.
    let mode = fstat(&point).tried(|| format!("cannot look at {dest:?}"))?.st_mode & 0o7777;
    let mut options = format!("mode={mode:o},uid={uid},gid={gid}");
    for pair in data {
        options += ",";
        options += pair;
    }
    let flags = MountFlags::from_bits_retain(spec.attributes.bits() as _);
    mount::mount_on(&point, "tmpfs", flags, &options)
        .tried(|| format!("cannot mount tmpfs on {dest:?} with {:?}", data.join(",")))?;
    let mounted = inside::open(target.root(), dest).tried(|| format!("cannot open {dest:?}"))?;
    target.is_ours(&mounted);
    Ok(())
}

/// The host's network shows in the host's /sys; read-only, and so the cgroups
/// with it (CVE-2022-0492).
fn bind_sys(target: &Target, work: &Work, ids: &Ids) -> Result<(), Error> {
    let cannot = || "cannot bind /sys";
    let sys = mount::open_path(Path::new("/sys")).tried(cannot)?;
    let copy = mount::clone_tree(&sys, !ids.unlocked()).tried(cannot)?;
    let set = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    mount::set_attributes(work, &copy, true, set, None).tried(cannot)?;
    let point = target.point(Path::new("sys"), true)?;
    mount::attach(copy.as_fd(), &point).tried(cannot)
}
