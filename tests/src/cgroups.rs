//! Cgroups of a test's own, on whatever hierarchies there are, as if someone had
//! delegated them to the caller.

use std::ffi::OsStr;
use std::fmt::Display;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{fs, thread};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{Who, mark};

/// The two kinds of hierarchies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// One of those with a few controllers each.
    V1,
    /// The unified one.
    V2,
}

/// A mounted hierarchy.
#[derive(Debug)]
struct Hierarchy {
    version: Version,
    /// Where its mount is, and which of its directories that shows.
    mount: PathBuf,
    shown: PathBuf,
    controllers: Vec<String>,
}

/// All that have a controller, and the unified one, each once.
fn hierarchies() -> Vec<Hierarchy> {
    let known = fs::read_to_string("/proc/cgroups").expect("the kernel has cgroups");
    let known: Vec<_> = known.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let mut found = Vec::new();
    let mut devices = Vec::new();
    for line in fs::read_to_string("/proc/self/mountinfo").expect("/proc is mounted").lines() {
        // 31 24 0:27 / /sys/fs/cgroup/pids rw,relatime shared:9 - cgroup cgroup rw,pids
        let (mount, kind) = line.split_once(" - ").expect("each line has a dash");
        let (mount, kind): (Vec<_>, Vec<_>) = (mount.split(' ').collect(), kind.split(' ').collect());
        let path = PathBuf::from(mount[4]);
        let (version, controllers) = match kind[0] {
            "cgroup" => {
                (Version::V1, kind[2].split(',').filter(|name| known.contains(name)).map(str::to_owned).collect())
            }
            "cgroup2" => (Version::V2, words(&path.join("cgroup.controllers"))),
            _ => continue,
        };
        if (version == Version::V2 || !controllers.is_empty()) && !devices.contains(&mount[2]) {
            devices.push(mount[2]);
            found.push(Hierarchy { version, mount: path, shown: mount[3].into(), controllers });
        }
    }
    found
}

fn words(file: &Path) -> Vec<String> {
    fs::read_to_string(file).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}

/// Which kind of hierarchy has this controller, if one has.
pub fn has(controller: &str) -> Option<Version> {
    let has = |hierarchy: &Hierarchy| hierarchy.controllers.iter().any(|name| name == controller);
    hierarchies().into_iter().find(has).map(|hierarchy| hierarchy.version)
}

/// The cgroup of a process that has this controller.
#[track_caller]
pub fn of(pid: impl Display, controller: &str) -> PathBuf {
    let all = hierarchies();
    let hierarchy = all.iter().find(|hierarchy| hierarchy.controllers.iter().any(|name| name == controller));
    let hierarchy = hierarchy.unwrap_or_else(|| panic!("no hierarchy has {controller}"));
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("the process runs");
    let path = text.lines().find_map(|line| {
        // 8:pids:/path, and 0::/path of the unified one.
        let mut fields = line.splitn(3, ':').skip(1);
        let mut names = fields.next()?.split(',');
        let unified = hierarchy.version == Version::V2;
        names.any(|name| if unified { name.is_empty() } else { name == controller }).then(|| fields.next())?
    });
    let path = Path::new(path.expect("it is in every hierarchy"));
    let inside = path.strip_prefix(&hierarchy.shown).expect("it is in what is mounted");
    hierarchy.mount.join(inside)
}

/// The directory that `limit` made for a process: the nearest above it.
#[track_caller]
pub fn limit_of(pid: impl Display, controller: &str) -> PathBuf {
    let cgroup = of(&pid, controller);
    let ours = |dir: &&Path| dir.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"limit-"));
    cgroup.ancestors().find(ours).unwrap_or_else(|| panic!("{pid} is in {cgroup:?}, which no limit made")).to_owned()
}

/// What a control file holds.
#[track_caller]
pub fn read(dir: &Path, file: &str) -> String {
    let path = dir.join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}")).trim_end().to_owned()
}

/// A cgroup on every hierarchy, where a caller's commands start. When this is
/// dropped it is removed with all that is in it, and nothing may be left there.
#[derive(Debug)]
pub struct Place {
    who: Who,
    hog: PathBuf,
    dirs: Vec<PathBuf>,
}

impl Place {
    /// One that belongs to him as if it had been delegated. The hog is the
    /// program of that name, which takes commands there.
    pub fn new(who: &Who, hog: &Path) -> Self {
        let place = Self::of_others(who, hog);
        for dir in &place.dirs {
            who.give(dir);
            for file in ["cgroup.procs", "tasks", "cgroup.threads", "cgroup.subtree_control"] {
                let file = dir.join(file);
                if file.exists() {
                    who.give(file);
                }
            }
        }
        place
    }

    /// One that belongs to root, whoever runs in it.
    pub fn of_others(who: &Who, hog: &Path) -> Self {
        let name = format!("nstools-{}", mark());
        let dirs = hierarchies().iter().map(|hierarchy| made(hierarchy, &name)).collect();
        Self { who: who.clone(), hog: hog.to_owned(), dirs }
    }

    /// A command of his, found by its name, that starts in here, alone.
    pub fn command<W: AsRef<OsStr>>(&self, words: &[W]) -> Command {
        let mut command = self.who.command(&self.hog);
        // Only root moves processes between the places of others.
        command.uid(0).gid(0).args(["enter", &self.who.uid.to_string(), &self.who.gid.to_string()]);
        command.args(self.dirs.iter().map(|dir| dir.join("cgroup.procs"))).arg("--").args(words);
        command
    }

    /// Lets commands enter again after one that has divided a group of v2 and
    /// was killed: what hands out the place does so.
    pub fn undivide(&self) {
        for file in self.dirs.iter().map(|dir| dir.join("cgroup.subtree_control")) {
            for controller in words(&file) {
                fs::write(&file, format!("-{controller}")).expect("nothing below holds on to it");
            }
        }
    }

    /// Whether one of its groups has such a control file.
    pub fn has(&self, file: &str) -> bool {
        self.dirs.iter().any(|dir| dir.join(file).exists())
    }

    /// What its own control files are set to: those that can be read and written.
    pub fn settings(&self) -> Vec<(PathBuf, String)> {
        let files = self.dirs.iter().flat_map(|dir| fs::read_dir(dir).into_iter().flatten().flatten());
        let set = files.filter(|file| file.metadata().is_ok_and(|meta| meta.mode() & 0o600 == 0o600));
        let read = set.filter_map(|file| Some((file.path(), fs::read_to_string(file.path()).ok()?)));
        // What is used changes by itself.
        let counts = ["usage", "pressure", "peak", "numa_stat", "failcnt", "oom_control"];
        let mut all: Vec<_> =
            read.filter(|(path, _)| !counts.iter().any(|word| path.to_string_lossy().contains(word))).collect();
        all.sort();
        all
    }

    /// The cgroups in it, which commands have made.
    pub fn left(&self) -> Vec<PathBuf> {
        self.dirs.iter().flat_map(|dir| below(dir)).collect()
    }
}

/// The cgroup of this name at the root of a hierarchy, with all controllers.
fn made(hierarchy: &Hierarchy, name: &str) -> PathBuf {
    let dir = hierarchy.mount.join(name);
    if hierarchy.version == Version::V2 {
        for controller in &hierarchy.controllers {
            // One that cannot be had is missed by the test that needs it.
            let _ = fs::write(hierarchy.mount.join("cgroup.subtree_control"), format!("+{controller}"));
        }
    }
    fs::create_dir(&dir).unwrap_or_else(|error| panic!("{dir:?}: {error}"));
    // A new one of v1 has neither, and takes no process.
    if hierarchy.version == Version::V1 && hierarchy.controllers.iter().any(|name| name == "cpuset") {
        for file in ["cpuset.cpus", "cpuset.mems"] {
            fs::write(dir.join(file), read(&hierarchy.mount, file)).expect("a child has what its parent has");
        }
    }
    dir
}

/// All cgroups below one, the deepest first.
fn below(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let dirs = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    dirs.flat_map(|entry| [below(&entry.path()), vec![entry.path()]].concat()).collect()
}

/// Kills all that is in a cgroup, and removes it.
fn removed(dir: &Path) -> bool {
    for pid in words(&dir.join("cgroup.procs")).iter().filter_map(|pid| pid.parse().ok()).filter(|pid| *pid > 0) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    fs::remove_dir(dir).is_ok() || !dir.exists()
}

impl Drop for Place {
    fn drop(&mut self) {
        let left = self.left();
        for dir in &self.dirs {
            for _ in 0..2000 {
                if below(dir).iter().chain([dir]).all(|dir| removed(dir)) {
                    break;
                }
                thread::sleep(Duration::from_millis(2));
            }
        }
        if !thread::panicking() {
            assert!(left.is_empty(), "left in the place: {left:#?}");
        }
    }
}
