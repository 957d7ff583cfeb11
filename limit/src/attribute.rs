//! What else the kernel goes by when it shares out a machine: priorities,
//! policies, processors.

use std::fs;

use nix::errno::Errno;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use seal::Error;

use crate::sys::{self, SchedAttr};
use crate::value::{list, number, time_in};

/// An attribute of a process, that its children inherit.
pub struct Attribute {
    /// As it was given.
    word: String,
    kind: Kind,
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Nice(i32),
    IoNice { class: u8, level: u8 },
    OomScoreAdj(i32),
    Affinity(Vec<usize>),
    Sched(SchedAttr),
    CoreSched,
    Tsc(bool),
}

impl Attribute {
    /// By its name, `None` if there is none of this name; the error says what
    /// is wanted in place of a bad value.
    pub fn parse(name: &str, value: &str) -> Option<Result<Self, &'static str>> {
        let kind = match name {
            "nice" => signed(value, -20, 19).map(Kind::Nice).ok_or("a number from -20 to 19"),
            "ionice" => io_nice(value).ok_or("idle, best-effort[:0-7] or realtime[:0-7]"),
            "oom_score_adj" => signed(value, -1000, 1000).map(Kind::OomScoreAdj).ok_or("a number from -1000 to 1000"),
            "affinity" => list(value)
                .filter(|cpus| cpus.iter().all(|&cpu| cpu < CpuSet::MAX_CPU))
                .map(Kind::Affinity)
                .ok_or("a list of processors such as 0-2,5"),
            "sched" => sched(value)
                .map(Kind::Sched)
                .ok_or("other, batch, idle, fifo:PRIORITY, rr:PRIORITY or deadline:RUNTIME/DEADLINE/PERIOD"),
            "core-sched" => Ok(Kind::CoreSched),
            "tsc" => {
                ["off", "on"].iter().position(|word| *word == value).map(|on| Kind::Tsc(on == 1)).ok_or("on or off")
            }
            _ => return None,
        };
        let word = if name == "core-sched" { name.to_owned() } else { format!("{name}={value}") };
        Some(kind.map(|kind| Self { word, kind }))
    }

    /// Gives it to this process.
    pub fn apply(&self) -> Result<(), Error> {
        let result = match &self.kind {
            Kind::Affinity(cpus) => return affinity(&self.word, cpus),
            Kind::Nice(value) => rustix::process::setpriority_process(None, *value).map_err(old),
            Kind::IoNice { class, level } => sys::ioprio_set(*class, *level),
            Kind::OomScoreAdj(value) => fs::write("/proc/self/oom_score_adj", value.to_string())
                .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))),
            // Where the policy knows a nice value it is to stay.
            Kind::Sched(attr) => rustix::process::getpriority_process(None)
                .map_err(old)
                .and_then(|nice| sys::sched_setattr(&SchedAttr { nice, ..*attr })),
            Kind::CoreSched => sys::create_core_scheduling_cookie(),
            Kind::Tsc(on) => sys::set_tsc(*on),
        };
        result.map_err(|errno| {
            Error::new(format!("cannot set {}", self.word)).because(errno).maybe_hint(self.kind.hint(errno))
        })
    }
}

impl Kind {
    /// Why it could not be set.
    fn hint(&self, errno: Errno) -> Option<&'static str> {
        Some(match (self, errno) {
            (Self::Nice(_), Errno::EACCES | Errno::EPERM) => "a lower nice value takes CAP_SYS_NICE or the rlimit nice",
            (Self::IoNice { .. }, Errno::EPERM) => "the class realtime takes CAP_SYS_NICE",
            (Self::OomScoreAdj(_), Errno::EACCES) => "a lower value than it has had takes CAP_SYS_RESOURCE",
            (Self::Sched(_), Errno::EPERM) => {
                "real-time policies take CAP_SYS_NICE or the rlimit rtprio, deadline all processors as well"
            }
            (Self::CoreSched, Errno::EINVAL) => "the kernel has no core scheduling (5.14, CONFIG_SCHED_CORE)",
            (Self::CoreSched, Errno::ENODEV) => "no core of this machine has two threads",
            (Self::Tsc(_), Errno::EINVAL) => "only x86 has a time-stamp counter that can be turned off",
            _ => return None,
        })
    }
}

fn old(errno: rustix::io::Errno) -> Errno {
    Errno::from_raw(errno.raw_os_error())
}

/// The kernel passes over processors that are not there, as long as one is.
fn affinity(word: &str, cpus: &[usize]) -> Result<(), Error> {
    let cannot = || format!("cannot set {word}");
    let mut set = CpuSet::new();
    cpus.iter().for_each(|&cpu| set.set(cpu));
    let result = sched_setaffinity(None, &set).and_then(|()| sched_getaffinity(None));
    let missing = |got: &CpuSet| cpus.iter().find(|&&cpu| !got.is_set(cpu)).copied();
    match result {
        Ok(got) => missing(&got).map_or(Ok(()), |cpu| {
            Err(Error::new(format!("{}: there is no processor {cpu} for this process", cannot()))
                .hint("nproc --all and Cpus_allowed_list in /proc/self/status tell which there are"))
        }),
        Err(errno) => Err(Error::new(cannot()).because(errno)).map_err(|error| {
            error.maybe_hint((errno == rustix::io::Errno::INVAL).then_some("none of these processors is there"))
        }),
    }
}

fn signed(text: &str, least: i32, most: i32) -> Option<i32> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    number(digits)?;
    text.parse().ok().filter(|value| (least..=most).contains(value))
}

fn io_nice(text: &str) -> Option<Kind> {
    let (class, level) = text.split_once(':').map_or((text, None), |(class, level)| (class, Some(level)));
    let class = match class {
        "realtime" | "rt" => 1,
        "best-effort" | "be" => 2,
        "idle" if level.is_none() => return Some(Kind::IoNice { class: 3, level: 0 }),
        _ => return None,
    };
    let level = number(level.unwrap_or("4")).filter(|level| *level < 8)?;
    Some(Kind::IoNice { class, level: level as u8 })
}

fn sched(text: &str) -> Option<SchedAttr> {
    let (policy, rest) = text.split_once(':').map_or((text, None), |(policy, rest)| (policy, Some(rest)));
    let attr = |policy: i32| SchedAttr { policy: policy as u32, ..SchedAttr::default() };
    let priority = || number(rest?).filter(|priority| (1..=99).contains(priority));
    Some(match (policy, rest) {
        ("other", None) => attr(libc::SCHED_OTHER),
        ("batch", None) => attr(libc::SCHED_BATCH),
        ("idle", None) => attr(libc::SCHED_IDLE),
        ("fifo", _) => SchedAttr { priority: priority()? as u32, ..attr(libc::SCHED_FIFO) },
        ("rr", _) => SchedAttr { priority: priority()? as u32, ..attr(libc::SCHED_RR) },
        ("deadline", Some(rest)) => {
            let mut times = rest.split('/').map(|time| time_in(time, "s").map(|time| time.as_nanos() as u64));
            let (runtime, deadline, period) = (times.next()??, times.next()??, times.next()??);
            if times.next().is_some() {
                return None;
            }
            SchedAttr { runtime, deadline, period, ..attr(libc::SCHED_DEADLINE) }
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let kind = |name, value| Attribute::parse(name, value).unwrap().ok().map(|attribute| attribute.kind);
        assert_eq!(kind("nice", "-20"), Some(Kind::Nice(-20)));
        assert_eq!(kind("ionice", "idle"), Some(Kind::IoNice { class: 3, level: 0 }));
        assert_eq!(kind("ionice", "be:7"), Some(Kind::IoNice { class: 2, level: 7 }));
        let deadline = SchedAttr { runtime: 1_000_000, deadline: 2_000_000, period: 2_000_000, ..sched_of(6) };
        assert_eq!(kind("sched", "deadline:1ms/2ms/2ms"), Some(Kind::Sched(deadline)));
        assert_eq!(kind("sched", "rr:5"), Some(Kind::Sched(SchedAttr { priority: 5, ..sched_of(2) })));
        for (name, value) in [
            ("nice", "20"),
            ("nice", "+1"),
            ("nice", "--1"),
            ("ionice", "idle:1"),
            ("ionice", "be:8"),
            ("sched", "fifo"),
            ("sched", "fifo:0"),
            ("sched", "other:1"),
            ("sched", "deadline:1ms/2ms"),
            ("tsc", "maybe"),
            ("affinity", "9999"),
        ] {
            assert_eq!(kind(name, value), None, "{name}={value}");
        }
        assert!(Attribute::parse("nothing", "1").is_none());
    }

    fn sched_of(policy: u32) -> SchedAttr {
        SchedAttr { policy, ..SchedAttr::default() }
    }
}
