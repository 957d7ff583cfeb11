//! What was used, by the accounts that the cgroups keep.

use std::time::Duration;

use super::Groups;
use super::setting::Version;

/// What is known; `None` where no cgroup or no kernel tells.
#[derive(Debug, Default)]
pub struct Usage {
    /// CPU time in user mode.
    pub user: Option<Duration>,
    /// CPU time in the kernel.
    pub system: Option<Duration>,
    /// The most memory at a time, in bytes (version 2: Linux 5.19).
    pub memory_peak: Option<u64>,
    /// The most processes and threads at a time (Linux 6.1).
    pub pids_peak: Option<u64>,
    /// How many processes were killed for want of memory.
    pub oom_kills: Option<u64>,
    /// Whether it was this limit of memory that was reached, and no other.
    pub memory_was_full: bool,
    /// How often a fork was refused.
    pub forks_refused: Option<u64>,
    /// For how long processes waited for CPU time that the limit refused.
    pub throttled: Option<Duration>,
}

impl Groups {
    /// What has been used so far.
    pub fn usage(&self) -> Usage {
        let mut usage = self.of_memory();
        for (member, version) in self.members.iter().map(|member| (member, member.hierarchy.version)) {
            let number = |file, key| member.group.number(file, key);
            let micros = |key| number("cpu.stat", Some(key)).map(Duration::from_micros);
            let nanos = |file, key| number(file, key).map(Duration::from_nanos);
            if version == Version::Two {
                usage.user = micros("user_usec").or(usage.user);
                usage.system = micros("system_usec").or(usage.system);
                usage.throttled = micros("throttled_usec").or(usage.throttled);
            } else if member.hierarchy.has("cpuacct") {
                usage.user = nanos("cpuacct.usage_user", None);
                usage.system = nanos("cpuacct.usage_sys", None);
            }
            if version == Version::One && member.hierarchy.has("cpu") {
                usage.throttled = nanos("cpu.stat", Some("throttled_time"));
            }
            if member.hierarchy.has("pids") {
                usage.pids_peak = number("pids.peak", None);
                usage.forks_refused = number("pids.events", Some("max"));
            }
        }
        usage
    }

    fn of_memory(&self) -> Usage {
        let mut usage = Usage::default();
        if let Some(member) = self.members.iter().find(|member| member.hierarchy.has("memory")) {
            let number = |file, key| member.group.number(file, key);
            let (peak, kills, full) = match member.hierarchy.version {
                // Without the local ones, those of an inner limit count, too.
                Version::Two => ("memory.peak", "memory.events", number("memory.events.local", Some("oom"))),
                // What swap= limits has a count of its own.
                Version::One => {
                    let full = ["memory.failcnt", "memory.memsw.failcnt"].map(|file| number(file, None));
                    ("memory.max_usage_in_bytes", "memory.oom_control", full.into_iter().flatten().max())
                }
            };
            usage.memory_peak = number(peak, None);
            let mut count = [0; 8];
            let counted = member.ooms.get().is_some_and(|ooms| rustix::io::read(ooms, &mut count).is_ok());
            let ooms = if counted { u64::from_ne_bytes(count) } else { 0 };
            usage.oom_kills = number(kills, Some("oom_kill")).map(|kills| kills.max(ooms));
            usage.memory_was_full = full.is_some_and(|count| count > 0);
        }
        usage
    }

    /// The CPU time of all that have been in one.
    pub fn cpu_time(&self) -> Option<Duration> {
        self.members.iter().find_map(|member| match member.hierarchy.version {
            Version::Two => member.group.number("cpu.stat", Some("usage_usec")).map(Duration::from_micros),
            Version::One => member.group.number("cpuacct.usage", None).map(Duration::from_nanos),
        })
    }
}
