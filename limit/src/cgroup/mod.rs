//! The cgroups that a run is limited by, in whichever hierarchies have the
//! controllers that it takes (cgroups(7)).

mod group;
mod hierarchy;
mod place;
pub mod setting;
mod usage;

use std::cell::OnceCell;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{Mode, OFlags, open};
use rustix::process::Signal;
use seal::{Context, Error};

use crate::value;
use group::Group;
use hierarchy::{Hierarchies, Hierarchy};
use place::{LEAF, Moved};
use setting::{Setting, Version};
pub use usage::Usage;

/// The cgroups of a run, one for each hierarchy.
#[derive(Default)]
pub struct Groups {
    members: Vec<Member>,
    moved: Option<Moved>,
}

struct Member {
    group: Group,
    hierarchy: Hierarchy,
    /// What the command enters by: the `tasks` file, or in version 2 the
    /// directory that it is born in.
    entry: OwnedFd,
    /// Counts in version 1 how often memory could not be had: those that are
    /// killed in a cgroup below, by this limit, its own account leaves out.
    ooms: OnceCell<OwnedFd>,
}

impl Groups {
    /// Makes them, with these settings, and with accounts of memory, processes
    /// and CPU time where that is possible if there is to be a `report`.
    pub fn make(settings: &[Setting], report: bool, cpu_time: bool) -> Result<Self, Error> {
        let mut groups = Self::default();
        if settings.is_empty() && !report && !cpu_time {
            return Ok(groups);
        }
        let made = groups.add_all(settings, report, cpu_time);
        if made.is_err() {
            let _ = groups.remove(&[0]);
        }
        made.map(|()| groups)
    }

    fn add_all(&mut self, settings: &[Setting], report: bool, cpu_time: bool) -> Result<(), Error> {
        for hierarchy in Hierarchies::choose(settings, report, cpu_time)? {
            // For accounts alone it is as well without.
            let is_needed = !hierarchy.needed.is_empty();
            self.add(hierarchy).or_else(|error| if is_needed { Err(error) } else { Ok(()) })?;
        }
        let mut sorted: Vec<_> = settings.iter().collect();
        sorted.sort_by_key(|setting| setting.rank());
        sorted.into_iter().try_for_each(|setting| self.set(setting, settings))
    }

    fn add(&mut self, hierarchy: Hierarchy) -> Result<(), Error> {
        let (parent, moved) = place::find(&hierarchy)?;
        self.moved = moved.or(self.moved.take());
        group::sweep(&parent);
        let group = Group::create(&parent)?;
        let entry = prepare(&group, &hierarchy).inspect_err(|_| {
            let _ = group.remove();
        })?;
        self.members.push(Member { group, hierarchy, entry, ooms: OnceCell::new() });
        Ok(())
    }

    fn set(&self, setting: &Setting, all: &[Setting]) -> Result<(), Error> {
        let Some(Member { group, hierarchy, .. }) =
            self.members.iter().find(|member| member.hierarchy.has(setting.controller()))
        else {
            return Err(Error::new(format!("cannot limit {}: there is no cgroup for it", setting.name)));
        };
        for (file, value) in setting.files(hierarchy.version, all)? {
            group.write(&file, &value)?;
        }
        if let Some((wanted, file)) = setting.effective()
            && let Some(got) = group.read(file)
            && value::list(got.trim()) != value::list(wanted)
        {
            return Err(Error::new(format!(
                "cannot set {}={wanted}: only {:?} is to be had",
                setting.name,
                got.trim()
            )));
        }
        Ok(())
    }

    /// What the command is to be forked into (CLONE_INTO_CGROUP, Linux 5.7).
    pub fn birthplace(&self) -> Option<BorrowedFd<'_>> {
        self.of(Version::Two).next().map(|member| member.entry.as_fd())
    }

    /// Enters those of version 1, for a process of one thread. To write a 0 to
    /// `tasks` waits for no grace period of RCU, as to `cgroup.procs` does.
    pub fn enter(&self) -> Result<(), Error> {
        for member in self.of(Version::One) {
            let entered = rustix::io::write(&member.entry, b"0");
            entered.tried(|| format!("cannot enter the cgroup {:?}", member.group.dir))?;
        }
        Ok(())
    }

    /// Begins to count, in version 1, how often memory could not be had. It is
    /// for those in a run below, which is not yet: the command need not wait for it.
    pub fn count_ooms(&self) {
        for member in self.of(Version::One).filter(|member| member.hierarchy.has("memory")) {
            if let Some(ooms) = watch_ooms(&member.group) {
                let _ = member.ooms.set(ooms);
            }
        }
    }

    fn of(&self, version: Version) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(move |member| member.hierarchy.version == version)
    }

    /// Sends a signal to all that are in one.
    pub fn signal(&self, signal: Signal) {
        // Who is in one is in all, unless somebody has moved it.
        self.members.iter().take(1).for_each(|member| member.group.signal(signal));
    }

    /// Kills all that are in one.
    pub fn kill(&self) -> Result<(), Error> {
        // Where the number of processes can be limited nobody outruns us.
        let mut members: Vec<_> = self.members.iter().collect();
        members.sort_by_key(|member| !member.hierarchy.has("pids"));
        members.iter().try_for_each(|member| member.group.kill())
    }

    /// Removes them; these processes of ours go back to where they were, 0 being
    /// the calling one.
    pub fn remove(&self, pids: &[i32]) -> Result<(), Error> {
        for member in self.of(Version::Two) {
            // The likely case; if it is not so, it shows.
            let _ = std::fs::remove_dir(member.group.dir.join(LEAF));
        }
        let removed = self.members.iter().map(|member| member.group.remove()).fold(Ok(()), Result::and);
        removed.and(self.moved.as_ref().map_or(Ok(()), |moved| moved.undo(pids)))
    }

    /// Whether there are any.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

/// Makes a new cgroup ready to be entered, and gives what it is entered by.
fn prepare(group: &Group, hierarchy: &Hierarchy) -> Result<OwnedFd, Error> {
    let (path, flags) = match hierarchy.version {
        Version::One => {
            inherit(group, hierarchy)?;
            (group.dir.join("tasks"), OFlags::WRONLY)
        }
        Version::Two => {
            let leaf = group.dir.join(LEAF);
            std::fs::create_dir(&leaf).tried(|| format!("cannot create the cgroup {leaf:?}"))?;
            (leaf, OFlags::RDONLY | OFlags::DIRECTORY)
        }
    };
    open(&path, flags | OFlags::CLOEXEC, Mode::empty()).tried(|| format!("cannot open {path:?}"))
}

/// An eventfd that counts (Documentation/admin-guide/cgroup-v1/memory.rst, "OOM
/// Control"); none on a real-time kernel.
fn watch_ooms(group: &Group) -> Option<OwnedFd> {
    let events = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).ok()?;
    let control = open(group.dir.join("memory.oom_control"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    group.write("cgroup.event_control", &format!("{} {}", events.as_raw_fd(), control.as_raw_fd())).ok()?;
    Some(events)
}

/// What in version 1 does not come from the parent by itself: the processors
/// and memory nodes, without which nobody can enter (cpuset(7)), and before
/// Linux 5.11 that its memory counts as the parent's.
fn inherit(group: &Group, hierarchy: &Hierarchy) -> Result<(), Error> {
    if hierarchy.has("cpuset") {
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let path = hierarchy.mounted.dir.join(file);
            let value = std::fs::read_to_string(&path).tried(|| format!("cannot read {path:?}"))?;
            group.write(file, value.trim())?;
        }
    }
    if hierarchy.has("memory") && group.number("memory.use_hierarchy", None) == Some(0) {
        group.write("memory.use_hierarchy", "1")?;
    }
    Ok(())
}
