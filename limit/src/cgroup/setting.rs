//! What a cgroup is to limit, and the control files that say so in each version
//! (cgroups(7), Documentation/admin-guide/cgroup-v2.rst and cgroup-v1).

use std::path::Path;

use seal::{Context, Error};

use crate::value::{bytes, list, number, thousandths};

/// A version of cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A hierarchy for each controller, or a few.
    One,
    /// One hierarchy for all.
    Two,
}

/// The period over which `cpu=` holds, in microseconds: the kernel's own default.
const PERIOD: u64 = 100_000;

/// The kernel takes no less (tg_set_cfs_bandwidth).
const LEAST_QUOTA: u64 = 1_000;

/// A number, `None` for no limit.
type Max = Option<u64>;

/// A setting of a cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its name as it was given, without the `=`.
    pub name: String,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Memory(Max),
    MemoryHigh(Max),
    Swap(Max),
    Pids(Max),
    /// Microseconds of each period.
    Cpu(Max),
    CpuWeight(u64),
    Cpus(String),
    Mems(String),
    Io {
        device: String,
        limits: Vec<(usize, Max)>,
    },
    ClassId(u32),
    File {
        controller: String,
        value: String,
    },
}

/// Of `io=`: the name, whether it is in bytes, and the file of version 1.
const IO: [(&str, bool, &str); 4] = [
    ("rbps", true, "read_bps_device"),
    ("wbps", true, "write_bps_device"),
    ("riops", false, "read_iops_device"),
    ("wiops", false, "write_iops_device"),
];

/// Files by which a cgroup is moved, killed and entered, which are ours to write.
const OURS: [&str; 8] =
    ["procs", "threads", "subtree_control", "type", "kill", "freeze", "clone_children", "event_control"];

/// Files that have a name of their own here.
const NAMED: [(&str, &str); 9] = [
    ("memory.max", "memory"),
    ("memory.limit_in_bytes", "memory"),
    ("memory.high", "memory.high"),
    ("memory.swap.max", "swap"),
    ("memory.memsw.limit_in_bytes", "swap"),
    ("pids.max", "pids"),
    ("cpu.max", "cpu"),
    ("cpuset.cpus", "cpuset"),
    ("cpuset.mems", "cpuset.mems"),
];

/// The name of a limit that a control file has here.
pub fn named(file: &str) -> Option<&'static str> {
    NAMED.iter().find(|(name, _)| *name == file).map(|(_, limit)| *limit)
}

impl Setting {
    /// By its name, `None` if there is none of this name.
    pub fn parse(name: &str, value: &str) -> Option<Result<Self, Error>> {
        let max = |parse: fn(&str) -> Option<u64>| match value {
            "max" => Some(None),
            value => parse(value).map(Some),
        };
        let (kind, wants) = match name {
            "memory" => (max(bytes).map(Kind::Memory), "a size such as 512M, or max"),
            "memory.high" => (max(bytes).map(Kind::MemoryHigh), "a size such as 512M, or max"),
            "swap" => (max(bytes).map(Kind::Swap), "a size such as 512M, or max"),
            "pids" => (max(number).map(Kind::Pids), "a number of processes, or max"),
            "cpu" => (cpu(value).map(Kind::Cpu), "a share of one processor such as 50% or 1.5, at least 1%, or max"),
            "cpu.weight" => {
                let weight = number(value).filter(|weight| (1..=10_000).contains(weight));
                (weight.map(Kind::CpuWeight), "a number from 1 to 10000")
            }
            "cpuset" => (list(value).map(|_| Kind::Cpus(value.to_owned())), "a list of processors such as 0-2,5"),
            "cpuset.mems" => (list(value).map(|_| Kind::Mems(value.to_owned())), "a list of memory nodes such as 0"),
            "io" => return Some(io(value).map(|kind| Self { name: name.to_owned(), kind })),
            "net_cls.classid" => (class_id(value).map(Kind::ClassId), "a number such as 0x100001"),
            _ => {
                let file = name.strip_prefix("cgroup:")?;
                let (controller, rest) = file.split_once('.').unwrap_or((file, ""));
                let is_file = !rest.is_empty() && !controller.is_empty() && !file.contains('/');
                // What is frozen cannot start, and OURS is what we end it by.
                if !is_file || controller == "freezer" || controller == "cgroup" && OURS.contains(&rest) {
                    return Some(Err(Error::usage(format!("{name}: {file:?} is no control file to be set"))));
                }
                if let Some(limit) = named(file) {
                    return Some(Err(Error::usage(format!("{name}: {limit}= is for that"))));
                }
                // The kernel takes a write of nothing for none at all.
                let value = Some(value.to_owned()).filter(|value| !value.is_empty());
                (value.map(|value| Kind::File { controller: controller.to_owned(), value }), "a value")
            }
        };
        Some(match kind {
            Some(kind) => Ok(Self { name: name.to_owned(), kind }),
            None => Err(crate::value::bad(name, value, wants)),
        })
    }

    /// The controller that it needs, by its name in version 2; `cgroup` for none.
    pub fn controller(&self) -> &str {
        match &self.kind {
            Kind::Memory(_) | Kind::MemoryHigh(_) | Kind::Swap(_) => "memory",
            Kind::Pids(_) => "pids",
            Kind::Cpu(_) | Kind::CpuWeight(_) => "cpu",
            Kind::Cpus(_) | Kind::Mems(_) => "cpuset",
            Kind::Io { .. } => "io",
            Kind::ClassId(_) => "net_cls",
            Kind::File { controller, .. } => controller,
        }
    }

    /// The limit of `memory=` in bytes.
    pub fn memory(&self) -> Option<u64> {
        match self.kind {
            Kind::Memory(max) => max,
            _ => None,
        }
    }

    /// The limit of `pids=`.
    pub fn pids(&self) -> Option<u64> {
        match self.kind {
            Kind::Pids(max) => max,
            _ => None,
        }
    }

    /// Where it comes among the others: what another depends on first, files
    /// that were named last.
    pub fn rank(&self) -> u8 {
        match self.kind {
            Kind::Memory(_) | Kind::Mems(_) => 0,
            Kind::File { .. } => 2,
            _ => 1,
        }
    }

    /// The files to write and what, given `all` the settings.
    pub fn files(&self, version: Version, all: &[Self]) -> Result<Vec<(String, String)>, Error> {
        let one = |file: &str, value: String| Ok(vec![(file.to_owned(), value)]);
        let max = |max: Max, none: &str| max.map_or(none.to_owned(), |max| max.to_string());
        let none = || Err(Error::new(format!("{}: cgroup version 1 has no such limit", self.name)));
        match (&self.kind, version) {
            (Kind::Memory(limit), Version::Two) => one("memory.max", max(*limit, "max")),
            (Kind::Memory(limit), Version::One) => one("memory.limit_in_bytes", max(*limit, "-1")),
            (Kind::MemoryHigh(limit), Version::Two) => one("memory.high", max(*limit, "max")),
            (Kind::MemoryHigh(_), Version::One) => none(),
            (Kind::Swap(limit), Version::Two) => one("memory.swap.max", max(*limit, "max")),
            (Kind::Swap(limit), Version::One) => {
                let memory = all.iter().find_map(Self::memory).ok_or_else(|| {
                    Error::new("swap: cgroup version 1 limits memory and swap together").hint("give memory=, too")
                })?;
                let both = limit.map(|limit| limit.saturating_add(memory));
                one("memory.memsw.limit_in_bytes", max(both, "-1"))
            }
            (Kind::Pids(limit), _) => one("pids.max", max(*limit, "max")),
            (Kind::Cpu(quota), Version::Two) => one("cpu.max", format!("{} {PERIOD}", max(*quota, "max"))),
            (Kind::Cpu(quota), Version::One) => Ok(vec![
                ("cpu.cfs_period_us".into(), PERIOD.to_string()),
                ("cpu.cfs_quota_us".into(), max(*quota, "-1")),
            ]),
            (Kind::CpuWeight(weight), Version::Two) => one("cpu.weight", weight.to_string()),
            // 100 and 1024 are the defaults; 2 the least that there is.
            (Kind::CpuWeight(weight), Version::One) => one("cpu.shares", (weight * 1024 / 100).max(2).to_string()),
            (Kind::Cpus(list), _) => one("cpuset.cpus", list.clone()),
            (Kind::Mems(list), _) => one("cpuset.mems", list.clone()),
            (Kind::Io { device, limits }, Version::Two) => {
                let limits = limits.iter().map(|(which, limit)| format!(" {}={}", IO[*which].0, max(*limit, "max")));
                one("io.max", format!("{device}{}", limits.collect::<String>()))
            }
            (Kind::Io { device, limits }, Version::One) => {
                let file = |which: usize| format!("blkio.throttle.{}", IO[which].2);
                Ok(limits
                    .iter()
                    .map(|(which, limit)| (file(*which), format!("{device} {}", max(*limit, "0"))))
                    .collect())
            }
            (Kind::ClassId(_), Version::Two) => Err(Error::new("net_cls.classid: cgroup version 2 has no such limit")),
            (Kind::ClassId(id), Version::One) => one("net_cls.classid", id.to_string()),
            (Kind::File { value, .. }, _) => one(self.name.trim_start_matches("cgroup:"), value.clone()),
        }
    }

    /// The processors and memory nodes that are asked for, with the file that
    /// tells which ones were got: the kernel passes over what is not there.
    pub fn effective(&self) -> Option<(&str, &'static str)> {
        match &self.kind {
            Kind::Cpus(list) => Some((list, "cpuset.cpus.effective")),
            Kind::Mems(list) => Some((list, "cpuset.mems.effective")),
            _ => None,
        }
    }
}

/// `50%` or `0.5` of one processor, as microseconds of each period.
fn cpu(text: &str) -> Option<Max> {
    if text == "max" {
        return Some(None);
    }
    let (number, divisor) = text.strip_suffix('%').map_or((text, 1), |percent| (percent, 100));
    let quota = thousandths(number)?.checked_mul(PERIOD)? / 1000 / divisor;
    (quota >= LEAST_QUOTA).then_some(Some(quota))
}

fn class_id(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => seal::cli::number(digits, 16),
        None => seal::cli::number(text, 10),
    }
}

/// `DEV:rbps=N,wiops=N`.
fn io(text: &str) -> Result<Kind, Error> {
    let wants = || crate::value::bad("io", text, "DEV:rbps=SIZE,wbps=SIZE,riops=N,wiops=N");
    let (device, list) = text.rsplit_once(':').filter(|(device, _)| !device.is_empty()).ok_or_else(wants)?;
    let mut limits: Vec<(usize, Max)> = Vec::new();
    for part in list.split(',') {
        let (name, value) = part.split_once('=').ok_or_else(wants)?;
        let which = IO.iter().position(|(known, ..)| *known == name);
        let which = which.ok_or_else(|| Error::new(format!("io: {name:?} is not rbps, wbps, riops or wiops")))?;
        let limit = match value {
            "max" => None,
            value => {
                let number = if IO[which].1 { bytes(value) } else { number(value) };
                let wanted = || Error::new(format!("io: {part:?} is no number per second above 0, or max"));
                Some(number.filter(|number| *number > 0).ok_or_else(wanted)?)
            }
        };
        if limits.iter().any(|(known, _)| *known == which) {
            return Err(wants());
        }
        limits.push((which, limit));
    }
    Ok(Kind::Io { device: block_device(device)?, limits })
}

/// `MAJ:MIN` of a block device, or of the one that a file is on.
fn block_device(name: &str) -> Result<String, Error> {
    if let Some((major, minor)) = name.split_once(':')
        && number(major).is_some()
        && number(minor).is_some()
    {
        return Ok(name.to_owned());
    }
    let stat = rustix::fs::stat(name).or_else(|_| rustix::fs::stat(format!("/dev/{name}")));
    let stat = stat
        .tried(|| format!("io: cannot look at {name:?}"))
        .map_err(|error| error.hint("DEV is a block device, a file on one, or MAJ:MIN as lsblk shows it"))?;
    let is_device = stat.st_mode & libc::S_IFMT == libc::S_IFBLK;
    let device = if is_device { stat.st_rdev } else { stat.st_dev };
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    if major == 0 {
        return Err(Error::new(format!("io: {name:?} is on no block device"))
            .hint("its file system is virtual or has several: name the device"));
    }
    // The limits are those of whole disks.
    let partition = format!("/sys/dev/block/{major}:{minor}/partition");
    if Path::new(&partition).exists() {
        let whole = format!("/sys/dev/block/{major}:{minor}/../dev");
        let text = std::fs::read_to_string(&whole).tried(|| format!("io: cannot find the disk of {name:?}"))?;
        return Ok(text.trim().to_owned());
    }
    Ok(format!("{major}:{minor}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(name: &str, value: &str, version: Version) -> Vec<(String, String)> {
        let setting = Setting::parse(name, value).unwrap().unwrap();
        setting.files(version, std::slice::from_ref(&setting)).unwrap()
    }

    #[test]
    fn both_versions() {
        for (name, value, two, one) in [
            ("memory", "1M", "memory.max 1048576", "memory.limit_in_bytes 1048576"),
            ("memory", "max", "memory.max max", "memory.limit_in_bytes -1"),
            ("pids", "5", "pids.max 5", "pids.max 5"),
            ("cpu", "50%", "cpu.max 50000 100000", "cpu.cfs_period_us 100000 cpu.cfs_quota_us 50000"),
            ("cpu", "1.5", "cpu.max 150000 100000", "cpu.cfs_period_us 100000 cpu.cfs_quota_us 150000"),
            ("cpu.weight", "100", "cpu.weight 100", "cpu.shares 1024"),
            ("cpuset", "0,2-3", "cpuset.cpus 0,2-3", "cpuset.cpus 0,2-3"),
            (
                "io",
                "8:0:rbps=1M,wiops=max",
                "io.max 8:0 rbps=1048576 wiops=max",
                "blkio.throttle.read_bps_device 8:0 1048576 blkio.throttle.write_iops_device 8:0 0",
            ),
            ("cgroup:memory.oom.group", "1", "memory.oom.group 1", "memory.oom.group 1"),
        ] {
            for (version, shown) in [(Version::Two, two), (Version::One, one)] {
                let files: Vec<_> =
                    files(name, value, version).into_iter().map(|(file, value)| format!("{file} {value}")).collect();
                assert_eq!(files.join(" "), shown, "{name}={value}");
            }
        }
    }

    #[test]
    fn what_is_refused() {
        for (name, value) in [
            ("memory", "12Q"),
            ("memory", ""),
            ("pids", "1.5"),
            ("cpu", "0"),
            ("cpu", "0.5%"),
            ("cpu", "-1"),
            ("cpu.weight", "0"),
            ("cpuset", "a"),
            ("io", "/dev/null:rbps=1M"),
            ("io", "8:0"),
            ("io", "8:0:rbps=1M,rbps=2M"),
            ("io", "8:0:wbps=0"),
            ("net_cls.classid", "0x1ffffffff"),
            ("cgroup:cgroup.procs", "1"),
            ("cgroup:../memory.max", "1"),
            ("cgroup:", "1"),
            ("cgroup:tasks", "1"),
            ("cgroup:pids.max", "5"),
            ("cgroup:freezer.state", "FROZEN"),
            ("cgroup:memory.oom.group", ""),
        ] {
            assert!(Setting::parse(name, value).unwrap().is_err(), "{name}={value}");
        }
        assert!(Setting::parse("memroy", "1").is_none());
    }
}
