//! Join the cgroups of a process, so that its limits hold for what is injected
//! too (cgroups(7), v1 and v2).

use std::fs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags, open};
use seal::{Context, Error};

/// The `cgroup.procs` files to write to: one for each hierarchy in which the
/// process is not where we are. They are opened here, where the host's
/// hierarchies are to be seen.
pub fn open_procs(pid: i32) -> Result<Vec<OwnedFd>, Error> {
    let read = |file: String| fs::read_to_string(&file).tried(|| format!("cannot read {file}"));
    let (own, its) = (read("/proc/self/cgroup".into())?, read(format!("/proc/{pid}/cgroup"))?);
    let elsewhere: Vec<&str> = its.lines().filter(|line| !own.lines().any(|own| own == *line)).collect();
    if elsewhere.is_empty() {
        return Ok(Vec::new());
    }
    let mounts = read("/proc/self/mountinfo".into())?;
    elsewhere.into_iter().map(|line| open_one(line, &mounts)).collect()
}

/// Moves this process to the cgroups of [`open_procs`].
pub fn join(procs: &[OwnedFd]) -> Result<(), Error> {
    for file in procs {
        rustix::io::write(file, b"0").tried(|| "cannot join a cgroup of the process")?;
    }
    Ok(())
}

/// `line` is `ID:CONTROLLERS:PATH`, without controllers for version 2.
fn open_one(line: &str, mounts: &str) -> Result<OwnedFd, Error> {
    let mut fields = line.splitn(3, ':').skip(1);
    let controllers = fields.next().unwrap_or_default();
    let path = fields.next().unwrap_or_default();
    let mounted = mounts.lines().find_map(|mount| hierarchy(mount, controllers)).ok_or_else(|| {
        let which = if controllers.is_empty() { "version 2" } else { controllers };
        Error::new(format!("cannot join the cgroup {path:?}: the hierarchy {which} is not mounted"))
    })?;
    let file = mounted.join(path.trim_start_matches('/')).join("cgroup.procs");
    open(&file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).tried(|| format!("cannot join the cgroup of {file:?}"))
}

/// Where a line of mountinfo mounts the whole hierarchy of these controllers.
fn hierarchy(mount: &str, controllers: &str) -> Option<PathBuf> {
    let (before, after) = mount.split_once(" - ")?;
    let mut before = before.split(' ');
    let (root, point) = (before.nth(3)?, before.next()?);
    let mut after = after.split(' ');
    let (fstype, options) = (after.next()?, after.nth(1)?);
    let matches = match fstype {
        "cgroup2" => controllers.is_empty(),
        "cgroup" => {
            !controllers.is_empty()
                && controllers.split(',').all(|name| options.split(',').any(|option| option == name))
        }
        _ => false,
    };
    (matches && root == "/").then(|| point.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_hierarchy() {
        let v1 = "47 46 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct";
        let v2 = "57 46 0:38 / /sys/fs/cgroup rw,relatime shared:1 - cgroup2 cgroup2 rw";
        assert_eq!(hierarchy(v1, "cpu,cpuacct"), Some("/sys/fs/cgroup/cpu".into()));
        assert_eq!(hierarchy(v1, "cp"), None);
        assert_eq!(hierarchy(v1, ""), None);
        assert_eq!(hierarchy(v2, ""), Some("/sys/fs/cgroup".into()));
    }
}
