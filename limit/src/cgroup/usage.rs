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
    /// The most processes and threads at a time (Linux 6.11).
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
        let mut usage = Usage::default();
        for member in &self.members {
            let number = |file, key| member.group.number(file, key);
            let micros = |key| number("cpu.stat", Some(key)).map(Duration::from_micros);
            let nanos = |file| number(file, None).map(Duration::from_nanos);
            match member.hierarchy.version {
                Version::Two => {
                    usage.user = micros("user_usec");
                    usage.system = micros("system_usec");
                    usage.throttled = micros("throttled_usec");
                    usage.memory_peak = number("memory.peak", None);
                    usage.oom_kills = number("memory.events", Some("oom_kill"));
                    // Without the local ones, those of an outer limit count, too.
                    usage.memory_was_full = number("memory.events.local", Some("oom")).is_some_and(|count| count > 0);
                }
                Version::One => {
                    usage.user = nanos("cpuacct.usage_user").or(usage.user);
                    usage.system = nanos("cpuacct.usage_sys").or(usage.system);
                    let throttled = number("cpu.stat", Some("throttled_time")).map(Duration::from_nanos);
                    usage.throttled = throttled.or(usage.throttled);
                    usage.memory_peak = number("memory.max_usage_in_bytes", None).or(usage.memory_peak);
                    usage.oom_kills = number("memory.oom_control", Some("oom_kill")).or(usage.oom_kills);
                    usage.memory_was_full |= number("memory.failcnt", None).is_some_and(|count| count > 0);
                }
            }
            usage.pids_peak = number("pids.peak", None).or(usage.pids_peak);
            usage.forks_refused = number("pids.events", Some("max")).or(usage.forks_refused);
        }
        usage
    }

    /// The CPU time of all that have been in one.
    pub fn cpu_time(&self) -> Option<Duration> {
        self.members.iter().find_map(|member| {
            let micros = member.group.number("cpu.stat", Some("usage_usec")).map(Duration::from_micros);
            micros.or_else(|| member.group.number("cpuacct.usage", None).map(Duration::from_nanos))
        })
    }
}
