//! Where a process is in the cgroup hierarchies, versions 1 and 2 (cgroups(7)).

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use seal::{Context, Error};

/// CGROUP_SUPER_MAGIC and CGROUP2_SUPER_MAGIC (linux/magic.h).
const CGROUP_FS: [i64; 2] = [0x27_e0eb, 0x6367_7270];

/// A process's cgroup in one hierarchy, as /proc/PID/cgroup tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The hierarchy's controllers, `cpu,cpuacct`; none for version 2.
    pub controllers: String,
    /// The cgroup's path from the hierarchy's root, or from that of our cgroup namespace.
    pub path: String,
}

/// A cgroup where its hierarchy is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// The mount point.
    pub top: PathBuf,
    /// The directory of the cgroup, `top` or below it.
    pub dir: PathBuf,
}

/// The cgroups of a process: its PID, or `self`.
pub fn memberships(pid: &str) -> Result<Vec<Membership>, Error> {
    let line = |line: &str| {
        let mut fields = line.splitn(3, ':').skip(1);
        Some(Membership { controllers: fields.next()?.to_owned(), path: fields.next()?.to_owned() })
    };
    Ok(read(&format!("/proc/{pid}/cgroup"))?.lines().filter_map(line).collect())
}

/// The mounts of this process, to find hierarchies in.
pub fn mounts() -> Result<String, Error> {
    read("/proc/self/mountinfo")
}

fn read(file: &str) -> Result<String, Error> {
    // In one read, most likely; a Take asks for no length, which /proc does not know.
    let mut bytes = Vec::with_capacity(1 << 14);
    let read = File::open(file).and_then(|file| file.take(u64::MAX).read_to_end(&mut bytes));
    read.tried(|| format!("cannot read {file}"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

impl Membership {
    /// Whether it is in the hierarchy of version 2.
    pub fn is_v2(&self) -> bool {
        self.controllers.is_empty()
    }

    /// Whether its hierarchy, of version 1, has this controller.
    pub fn has(&self, controller: &str) -> bool {
        self.controllers.split(',').any(|name| name == controller)
    }

    /// Its directory, if one of the `mounts` shows it.
    pub fn mounted(&self, mounts: &str) -> Option<Mounted> {
        // Another mount may hide it, or be hidden.
        let shown = |dir: &Path| rustix::fs::statfs(dir).is_ok_and(|fs| CGROUP_FS.contains(&{ fs.f_type }));
        mounts.lines().filter_map(|mount| self.in_mount(mount)).find(|mounted| shown(&mounted.dir))
    }

    /// Its directory by a line of mountinfo (proc_pid_mountinfo(5)).
    fn in_mount(&self, mount: &str) -> Option<Mounted> {
        let (before, after) = mount.split_once(" - ")?;
        let mut before = before.split(' ');
        let (root, top) = (unescaped(before.nth(3)?), PathBuf::from(unescaped(before.next()?)));
        let mut after = after.split(' ');
        let (fstype, options) = (after.next()?, after.nth(1)?);
        let is_its = match fstype {
            "cgroup2" => self.is_v2(),
            "cgroup" => !self.is_v2() && self.controllers.split(',').all(|name| options.split(',').any(|o| o == name)),
            _ => false,
        };
        // Who is outside of our cgroup namespace is so to say above the root.
        if !is_its || self.path.split('/').any(|part| part == "..") {
            return None;
        }
        let below = self.path.strip_prefix(root.trim_end_matches('/'))?;
        let below = match below.trim_start_matches('/') {
            "" => return Some(Mounted { dir: top.clone(), top }),
            rest => below.starts_with('/').then_some(rest)?,
        };
        Some(Mounted { dir: top.join(below), top })
    }
}

/// Without the octal escapes of mountinfo.
fn unescaped(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (escape, is)| text.replace(escape, is))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_hierarchy() {
        let v1 = "47 46 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct";
        let v2 = "57 46 0:38 / /sys/fs/cgroup rw,relatime shared:1 - cgroup2 cgroup2 rw";
        let part = "57 46 0:38 /pod/a\\040b /sys/fs/cgroup rw,relatime shared:1 - cgroup2 cgroup2 rw";
        let dir = |controllers: &str, path: &str, mount| {
            let membership = Membership { controllers: controllers.into(), path: path.into() };
            membership.in_mount(mount).map(|mounted| mounted.dir.display().to_string())
        };
        assert_eq!(dir("cpu,cpuacct", "/", v1).as_deref(), Some("/sys/fs/cgroup/cpu"));
        assert_eq!(dir("cpu,cpuacct", "/x", v1).as_deref(), Some("/sys/fs/cgroup/cpu/x"));
        assert_eq!(dir("cp", "/", v1), None);
        assert_eq!(dir("", "/", v1), None);
        assert_eq!(dir("", "/x/y", v2).as_deref(), Some("/sys/fs/cgroup/x/y"));
        assert_eq!(dir("", "/../x", v2), None);
        assert_eq!(dir("", "/pod/a b/c", part).as_deref(), Some("/sys/fs/cgroup/c"));
        assert_eq!(dir("", "/pod/a bc", part), None);
    }
}
