//! Which hierarchy has which controller, here, for this process.

use isolate::cgroup::{Membership, Mounted, memberships, mounts};
use seal::Error;

use super::place;
use super::setting::{Setting, Version};
use crate::systemd;

/// A hierarchy that is used.
pub struct Hierarchy {
    /// Where this process is in it.
    pub mounted: Mounted,
    pub version: Version,
    /// The controllers that it has. `cgroup` stands for what every cgroup of
    /// version 2 has.
    names: Vec<String>,
    /// The controllers without which there is no run.
    pub needed: Vec<String>,
    /// Those that keep accounts.
    pub welcome: Vec<String>,
}

/// Those that are used, and what is known of all.
pub struct Hierarchies {
    memberships: Vec<Membership>,
    mounts: String,
    chosen: Vec<Hierarchy>,
}

impl Hierarchies {
    /// Chooses those that `settings` need, and those for accounts that a report
    /// or a limit of CPU time is made from, where they are.
    pub fn choose(settings: &[Setting], report: bool, cpu_time: bool) -> Result<Vec<Hierarchy>, Error> {
        let chosen = Self::chosen(settings, report, cpu_time)?;
        let Some(two) = chosen.iter().find(|hierarchy| hierarchy.version == Version::Two) else { return Ok(chosen) };
        // A scope beside a unit would be out of that one's limits: see place::divisible().
        if !systemd::runs() || place::is_ours(&two.mounted.dir) || place::limit_of_unit(&two.mounted.dir).is_some() {
            return Ok(chosen);
        }
        match systemd::scope() {
            // We are elsewhere now.
            Ok(()) => Self::chosen(settings, report, cpu_time),
            Err(error) if !two.needed.is_empty() => Err(error),
            // For accounts alone it is as well without.
            Err(_) => Ok(chosen.into_iter().filter(|hierarchy| hierarchy.version == Version::One).collect()),
        }
    }

    fn chosen(settings: &[Setting], report: bool, cpu_time: bool) -> Result<Vec<Hierarchy>, Error> {
        let mut all = Self { memberships: memberships("self")?, mounts: mounts()?, chosen: Vec::new() };
        for setting in settings {
            let controller = setting.controller();
            match all.with(controller) {
                Some(hierarchy) => hierarchy.needed.push(controller.to_owned()),
                None => return Err(all.no_controller(setting)),
            }
        }
        let accounts = if report { &["memory", "pids", "cpu"][..] } else { &[] };
        for name in accounts {
            if let Some(hierarchy) = all.with(name) {
                hierarchy.welcome.push((*name).to_owned());
            }
        }
        // Every cgroup of version 2 counts CPU time.
        let has_two = all.chosen.iter().any(|hierarchy| hierarchy.version == Version::Two);
        if (report || cpu_time) && !has_two && all.with("cpuacct").is_none() {
            all.with("cgroup");
        }
        Ok(all.chosen)
    }

    /// The hierarchy with this controller, from now on one that is used.
    fn with(&mut self, controller: &str) -> Option<&mut Hierarchy> {
        if !self.chosen.iter().any(|hierarchy| hierarchy.has(controller)) {
            let added = self.one(controller).or_else(|| self.two().filter(|two| two.has(controller)))?;
            self.chosen.push(added);
        }
        self.chosen.iter_mut().find(|hierarchy| hierarchy.has(controller))
    }

    fn one(&self, controller: &str) -> Option<Hierarchy> {
        let name = if controller == "io" { "blkio" } else { controller };
        let membership = self.memberships.iter().find(|membership| membership.has(name))?;
        let mut names: Vec<_> = membership.controllers.split(',').map(str::to_owned).collect();
        names.extend((name == "blkio").then(|| "io".to_owned()));
        Some(Hierarchy::new(membership.mounted(&self.mounts)?, Version::One, names))
    }

    fn two(&self) -> Option<Hierarchy> {
        let membership = self.memberships.iter().find(|membership| membership.is_v2())?;
        let mounted = membership.mounted(&self.mounts)?;
        let mut names = place::words(&mounted.top.join("cgroup.controllers"));
        names.push("cgroup".to_owned());
        Some(Hierarchy::new(mounted, Version::Two, names))
    }

    fn no_controller(&self, setting: &Setting) -> Error {
        let (name, controller) = (&setting.name, setting.controller());
        // #subsys_name hierarchy num_cgroups enabled
        let one = if controller == "io" { "blkio" } else { controller };
        let known = std::fs::read_to_string("/proc/cgroups").unwrap_or_default();
        let known = known.lines().find(|line| line.split_ascii_whitespace().next() == Some(one));
        let is_hidden = self.mounts.lines().any(|line| line.contains(" /.. ") && line.contains(" - cgroup"));
        let hint = match known.and_then(|line| line.split_ascii_whitespace().next_back()) {
            None => "this kernel was built without it".to_owned(),
            Some("0") => format!("the kernel was started without it: cgroup_enable={controller}"),
            Some(_) if is_hidden => {
                "its mount shows nothing of this cgroup namespace: start limit before that is made".to_owned()
            }
            Some(_) => {
                let two = if one.starts_with("net_") { "" } else { "mount -t cgroup2 none DIR, or " };
                format!("it is not mounted: {two}mount -t cgroup -o {one} none DIR")
            }
        };
        Error::new(format!("cannot limit {name}: no cgroup hierarchy here has the controller {controller}")).hint(hint)
    }
}

impl Hierarchy {
    fn new(mounted: Mounted, version: Version, names: Vec<String>) -> Self {
        Self { mounted, version, names, needed: Vec::new(), welcome: Vec::new() }
    }

    /// Whether it has this controller.
    pub fn has(&self, controller: &str) -> bool {
        self.names.iter().any(|name| name == controller)
    }
}
