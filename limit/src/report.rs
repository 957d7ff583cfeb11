//! What a run used and how it ended, as JSON and in a line on stderr.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::time::Duration;

use isolate::process::Status;
use seal::{Context, Error, cli};
use serde_json::{Value, json};

use crate::cgroup::Usage;
use crate::options::Options;
use crate::rlimit::Change;
use crate::tree;
use crate::value::{shown_bytes, shown_time};

/// Where a report goes: a file that is made before anything is started, or an
/// fd of the caller's.
pub struct Target {
    file: File,
    name: String,
}

impl Target {
    /// A number is an fd, - stdout, anything else a file.
    pub fn open(value: &OsStr) -> Result<Self, Error> {
        // To create these would truncate what they lead to.
        let value = match value.to_str() {
            Some("-" | "/dev/stdout") => OsStr::new("1"),
            Some("/dev/stderr") => OsStr::new("2"),
            Some(text) => OsStr::new(text.strip_prefix("/dev/fd/").unwrap_or(text)),
            None => value,
        };
        if !value.is_empty() && value.as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            let fd = seal::cli::open_fd(value, "report")?;
            let copy = rustix::io::fcntl_dupfd_cloexec(seal::borrow(fd), 3);
            let copy = copy.tried(|| format!("cannot use fd {fd} for the report"))?;
            return Ok(Self { file: File::from(copy), name: format!("fd {fd}") });
        }
        let file = File::create(value).tried(|| format!("cannot create the report {value:?}"))?;
        Ok(Self { file, name: format!("{value:?}") })
    }

    /// Writes one line.
    pub fn write(&mut self, value: &Value) -> Result<(), Error> {
        let written = self.file.write_all(format!("{value}\n").as_bytes());
        written.tried(|| format!("cannot write the report to {}", self.name))
    }
}

/// The limit that has ended a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// `time=`, after this time.
    Time(Duration),
    /// `cpu.time=`, after this much.
    CpuTime(Duration),
    /// `memory=`, at this many bytes.
    Memory(u64),
    /// An rlimit, by the signal that told of it.
    Rlimit(&'static str),
}

impl Limit {
    fn name(self) -> String {
        match self {
            Self::Time(_) => "time".to_owned(),
            Self::CpuTime(_) => "cpu.time".to_owned(),
            Self::Memory(_) => "memory".to_owned(),
            Self::Rlimit(name) => format!("rlimit:{name}"),
        }
    }
}

/// How a run ended.
pub struct Outcome {
    /// How the command did.
    status: Status,
    /// What limit has ended it.
    ended_by: Option<Limit>,
    /// The limit of memory in bytes, if it has ended a process but not the run.
    full: Option<u64>,
    /// The limit of processes, if it has refused one and the command has failed.
    crowded: Option<u64>,
    /// Our own exit status.
    pub exit: u8,
    /// How long it took.
    wall: Duration,
    /// What it used.
    usage: Usage,
}

impl Outcome {
    /// How a run ended that `limit` may have ended, or memory.
    pub fn new(status: Status, limit: Option<Limit>, wall: Duration, usage: Usage, options: &Options) -> Self {
        let killed = usage.oom_kills.is_some_and(|count| count > 0) && usage.memory_was_full;
        let memory = options.memory().filter(|_| killed && status.code() == 128 + libc::SIGKILL as u8);
        let has = |name: &str| options.rlimits.iter().any(|change| change.name() == name);
        let (user, system, _) = tree::reaped();
        let is_over = |time| user + system >= time;
        let rlimit = match status {
            // At the hard limit there is no SIGXCPU.
            Status::Killed(libc::SIGKILL) if options.rlimits.iter().filter_map(Change::hard_time).any(is_over) => {
                Some("cpu")
            }
            Status::Killed(libc::SIGXCPU) if has("cpu") => Some("cpu"),
            Status::Killed(libc::SIGXCPU) if has("rttime") => Some("rttime"),
            Status::Killed(libc::SIGXFSZ) if has("fsize") => Some("fsize"),
            _ => None,
        };
        let ended_by = limit.or(memory.map(Limit::Memory)).or(rlimit.map(Limit::Rlimit));
        let exit = match ended_by {
            Some(Limit::Time(_) | Limit::CpuTime(_)) => 124,
            _ => status.code(),
        };
        let failed = ended_by.is_none() && exit != 0;
        let full = options.memory().filter(|_| killed && failed);
        let crowded = options.pids().filter(|_| failed && usage.forks_refused.is_some_and(|count| count > 0));
        Self { status, ended_by, full, crowded, exit, wall, usage }
    }

    /// A run of which there was none.
    pub fn never_started(error: &Error) -> Self {
        let exit = error.exit_status();
        let (wall, usage) = (Duration::ZERO, Usage::default());
        Self { status: Status::Exited(exit), ended_by: None, full: None, crowded: None, exit, wall, usage }
    }

    /// Says on stderr which limit was reached.
    pub fn say(&self) {
        let line = match self.ended_by {
            Some(Limit::Time(time)) => format!("time: ended after {}", shown_time(time)),
            Some(Limit::CpuTime(time)) => format!("cpu.time: ended after {} of CPU time", shown_time(time)),
            Some(Limit::Memory(bytes)) => format!("memory: killed at {}", shown_bytes(bytes)),
            Some(Limit::Rlimit(name)) => format!("rlimit:{name}: killed at the limit"),
            None => match (self.full, self.crowded) {
                (Some(bytes), _) => format!("memory: a process was killed at {}", shown_bytes(bytes)),
                (None, Some(pids)) => format!("pids: a fork was refused at {pids}"),
                (None, None) => return,
            },
        };
        cli::report("limit", &Error::new(line));
    }

    /// The report.
    pub fn json(&self) -> Value {
        let Usage { memory_peak, pids_peak, oom_kills, forks_refused, throttled, .. } = self.usage;
        // Where no cgroup has counted, the children that were waited for.
        let (user, system, rss) = tree::reaped();
        let signal = match self.status {
            Status::Killed(signal) => Some(signal),
            _ => None,
        };
        let seconds = |time: Duration| time.as_micros() as f64 / 1e6;
        json!({
            "wall_seconds": seconds(self.wall),
            "user_seconds": seconds(self.usage.user.unwrap_or(user)),
            "system_seconds": seconds(self.usage.system.unwrap_or(system)),
            "memory_peak_bytes": memory_peak,
            "rss_peak_bytes": rss,
            "pids_peak": pids_peak,
            "oom_kills": oom_kills,
            "throttled_seconds": throttled.map(seconds),
            "forks_refused": forks_refused,
            "exit_status": self.exit,
            "signal": signal,
            "ended_by": self.ended_by.map(Limit::name),
        })
    }
}
