//! Where in the hierarchy of version 2 a cgroup of ours may be made. There no
//! cgroup but the root may have both processes and controllers for those below
//! it, and none is given away but whole (cgroups(7), "No internal processes",
//! "Delegation").

use std::fs;
use std::path::{Path, PathBuf};

use isolate::cgroup::Mounted;
use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;
use seal::{Context, Error};

use super::group::{Group, PREFIX, below, sweep, write};
use super::hierarchy::Hierarchy;
use super::setting::Version;
use crate::systemd;

/// What the cgroup is called that the command is in, so that the one above it
/// has no processes and may be divided by another run.
pub const LEAF: &str = "cmd";

/// The cgroup that this process was moved to, so that where it was before may
/// be divided.
pub struct Moved {
    from: PathBuf,
    to: Group,
    /// The controllers that were enabled there before.
    had: Vec<String>,
}

impl Moved {
    fn new(from: &Path) -> Result<Self, Error> {
        let to = Group::create(from)?;
        match to.write("cgroup.procs", "0") {
            Ok(()) => Ok(Self { from: from.to_owned(), to, had: Vec::new() }),
            Err(error) => {
                let _ = to.remove();
                Err(error)
            }
        }
    }

    /// Takes back the move, for these processes of ours.
    pub fn undo(&self, pids: &[i32]) -> Result<(), Error> {
        let cannot = || format!("cannot go back to the cgroup {:?}", self.from);
        let control = self.from.join("cgroup.subtree_control");
        for controller in words(&control).iter().filter(|controller| !self.had.contains(controller)) {
            write(&control, &format!("-{controller}")).tried(cannot)?;
        }
        for pid in pids {
            match write(&self.from.join("cgroup.procs"), &pid.to_string()) {
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                moved => moved.tried(cannot)?,
            }
        }
        self.to.remove()
    }
}

/// Finds the cgroup in which one with the controllers of `hierarchy` can be made.
pub fn find(hierarchy: &Hierarchy) -> Result<(PathBuf, Option<Moved>), Error> {
    if hierarchy.version == Version::One {
        // There cgroups nest, whoever is in them.
        return Ok((hierarchy.mounted.dir.clone(), None));
    }
    let Mounted { top, dir: own } = &hierarchy.mounted;
    let (parent, moved) = divisible(own, top)?;
    let before = words(&parent.join("cgroup.subtree_control"));
    // Files of the cgroup itself need none.
    let needed: Vec<_> = hierarchy.needed.iter().filter(|name| *name != "cgroup").cloned().collect();
    let enabled = enable(&parent, top, &needed);
    for controller in &hierarchy.welcome {
        // Without it there is no account of it.
        let _ = enable(&parent, top, std::slice::from_ref(controller));
    }
    let moved = moved.map(|moved| Moved { had: before, ..moved });
    if let (Err(_), Some(moved)) = (&enabled, &moved) {
        let _ = moved.undo(&[0]);
    }
    enabled.map(|()| (parent, moved))
}

/// The cgroup nearest to `own` that others may be made in.
fn divisible(own: &Path, top: &Path) -> Result<(PathBuf, Option<Moved>), Error> {
    if let Some(outer) = outer(own) {
        return Ok((outer, None));
    }
    if is_root(own) {
        return Ok((own.to_owned(), None));
    }
    if is_alone(own) && may_divide(own) {
        take_back(own);
        return Ok((own.to_owned(), Some(Moved::new(own)?)));
    }
    // What is above belongs to systemd where that runs.
    let above = own.ancestors().skip(1).take_while(|dir| dir.starts_with(top) && !systemd::runs());
    for dir in above {
        if may_divide(dir) && (is_root(dir) || !has_processes(dir)) {
            return match limit_between(own, dir) {
                None => Ok((dir.to_owned(), None)),
                Some((file, limit)) => {
                    Err(Error::new(format!("cannot create a cgroup in {dir:?}: it would escape {file:?}, {limit}"))
                        .hint(format!("start limit as the only process of {own:?}")))
                }
            };
        }
    }
    Err(not_divisible(own))
}

/// Whether a process that is in `own` may divide it or what is around it: it is
/// in another run, or the cgroup was delegated to it and it is alone there.
pub fn is_ours(own: &Path) -> bool {
    outer(own).is_some() || systemd::is_delegated(own) && is_alone(own)
}

/// What to do where a cgroup may not be written to.
fn delegation(dir: &Path) -> String {
    let files = ["cgroup.procs", "cgroup.subtree_control"].map(|file| dir.join(file));
    format!(
        "{dir:?}, {:?} and {:?} would have to be yours: have a cgroup delegated to you, as systemd-run --user --scope \
         -p Delegate=yes does, and start limit in it",
        files[0], files[1]
    )
}

fn not_divisible(own: &Path) -> Error {
    let procs = own.join("cgroup.procs");
    let failed = Error::new(format!("cannot create a cgroup in {own:?}"));
    if let Some((file, limit)) = limit_of_unit(own).filter(|_| systemd::runs()) {
        failed.because(Errno::BUSY).hint(format!(
            "in a scope of its own it would escape {file:?}, {limit}: start limit as the only process of a unit with \
             Delegate=yes"
        ))
    } else if may_divide(own) {
        failed.because(Errno::BUSY).hint(format!(
            "only a cgroup without processes is divided, and {procs:?} lists others: exec limit as the only one, or \
             move them to a cgroup of their own below it"
        ))
    } else {
        failed.because(Errno::ACCESS).hint(delegation(own))
    }
}

/// Takes back what a run that was killed has left of its own: nobody can be
/// moved out of a cgroup of which a part is threaded, as such controllers make it.
fn take_back(own: &Path) {
    sweep(own);
    let control = own.join("cgroup.subtree_control");
    if below(own).is_empty() {
        words(&control).iter().for_each(|controller| drop(write(&control, &format!("-{controller}"))));
    }
}

/// The cgroup of another run that a process in `own` is in.
fn outer(own: &Path) -> Option<PathBuf> {
    let above = own.parent().filter(|_| own.file_name().is_some_and(|name| name == LEAF))?;
    let name = above.file_name()?;
    name.as_encoded_bytes().starts_with(PREFIX.as_bytes()).then(|| above.to_owned())
}

/// Whether it is the root of the hierarchy, which alone has no such file.
pub fn is_root(dir: &Path) -> bool {
    !dir.join("cgroup.events").exists()
}

fn is_alone(dir: &Path) -> bool {
    words(&dir.join("cgroup.procs")) == [std::process::id().to_string()]
}

fn has_processes(dir: &Path) -> bool {
    !words(&dir.join("cgroup.procs")).is_empty()
}

/// Whether the caller may make cgroups in it and move processes to them.
fn may_divide(dir: &Path) -> bool {
    let writable = |path: &Path| accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS).is_ok();
    writable(dir) && writable(&dir.join("cgroup.procs")) && writable(&dir.join("cgroup.subtree_control"))
}

/// A limit of the systemd unit that a process in `own` is in, below its slice,
/// that would not hold in another unit. That of tasks each unit has anew.
pub fn limit_of_unit(own: &Path) -> Option<(PathBuf, String)> {
    let uid = rustix::process::geteuid().as_raw();
    let is_slice = |dir: &Path| dir.extension().is_some_and(|extension| extension == "slice");
    // A user's scope is his own manager's, wherever he is now.
    let manager = format!("user@{uid}.service");
    let stays = uid == 0 || own.components().any(|part| part.as_os_str() == manager.as_str());
    let is_common = |dir: &Path| match stays {
        true => is_slice(dir),
        false => dir.ends_with(format!("user-{uid}.slice")),
    };
    let slice = own.ancestors().find(|dir| is_common(dir) || is_root(dir))?;
    limit_between(own, slice).filter(|(file, _)| !file.ends_with("pids.max"))
}

/// A limit that whoever leaves `own` for a cgroup in `above` would escape.
fn limit_between(own: &Path, above: &Path) -> Option<(PathBuf, String)> {
    // The last for limit_of_unit(): what it passes over hides none.
    let files =
        ["memory.max", "memory.high", "memory.swap.max", "cpu.max", "io.max", "cpuset.cpus", "cpuset.mems", "pids.max"];
    let dirs = own.ancestors().take_while(|dir| *dir != above);
    let all: Vec<_> = dirs.collect();
    files.iter().flat_map(|file| all.iter().map(move |dir| dir.join(file))).find_map(|file| {
        let limit = words(&file).first().filter(|limit| *limit != "max")?.clone();
        Some((file, limit))
    })
}

/// Sees to it that what is made in `dir` has these controllers.
fn enable(dir: &Path, top: &Path, controllers: &[String]) -> Result<(), Error> {
    let file = dir.join("cgroup.subtree_control");
    let enabled = words(&file);
    let missing: Vec<_> = controllers.iter().filter(|controller| !enabled.contains(controller)).cloned().collect();
    if missing.is_empty() {
        return Ok(());
    }
    let has = words(&dir.join("cgroup.controllers"));
    let above: Vec<_> = missing.iter().filter(|controller| !has.contains(controller)).cloned().collect();
    if !above.is_empty() {
        let parent = dir.parent().filter(|parent| dir != top && parent.starts_with(top)).ok_or_else(|| {
            Error::new(format!("cannot limit {}: {dir:?} does not have this controller", above.join(", ")))
        })?;
        enable(parent, top, &above)?;
    }
    let words: Vec<_> = missing.iter().map(|controller| format!("+{controller}")).collect();
    let words = words.join(" ");
    write(&file, &words).map_err(|error| {
        let hint = match error.raw_os_error() {
            Some(libc::EACCES | libc::EPERM) => Some(delegation(dir)),
            Some(libc::EBUSY) => Some("this cgroup has processes of its own: move them to one below it".to_owned()),
            _ => None,
        };
        Error::new(format!("cannot write \"{words}\" to {file:?}")).because(error).maybe_hint(hint)
    })
}

/// The words of a file; none if it cannot be read.
pub fn words(file: &Path) -> Vec<String> {
    fs::read_to_string(file).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}
