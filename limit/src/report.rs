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
use crate::tree;
use crate::value::{shown_bytes, shown_time};

/// Where a report goes: a file that is made before anything is started, or an
/// fd of the caller's.
pub struct Target {
    file: File,
    name: String,
}

impl Target {
    /// A number is an fd, anything else a file.
    pub fn open(value: &OsStr) -> Result<Self, Error> {
        let digits = value.to_str().filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()));
        if digits.is_some() {
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
        let rlimit = match status {
            Status::Killed(libc::SIGXCPU) if has("cpu") => Some("cpu"),
            Status::Killed(libc::SIGXFSZ) if has("fsize") => Some("fsize"),
            _ => None,
        };
        let ended_by = limit.or(memory.map(Limit::Memory)).or(rlimit.map(Limit::Rlimit));
        let exit = match ended_by {
            Some(Limit::Time(_) | Limit::CpuTime(_)) => 124,
            _ => status.code(),
        };
        let full = options.memory().filter(|_| killed && ended_by.is_none() && exit != 0);
        Self { status, ended_by, full, exit, wall, usage }
    }

    /// A run of which there was none.
    pub fn never_started(error: &Error) -> Self {
        let exit = error.exit_status();
        let (wall, usage) = (Duration::ZERO, Usage::default());
        Self { status: Status::Exited(exit), ended_by: None, full: None, exit, wall, usage }
    }

    /// Says on stderr which limit was reached.
    pub fn say(&self) {
        let line = match (self.ended_by, self.full) {
            (Some(Limit::Time(time)), _) => format!("time: ended after {}", shown_time(time)),
            (Some(Limit::CpuTime(time)), _) => format!("cpu.time: ended after {} of CPU time", shown_time(time)),
            (Some(Limit::Memory(bytes)), _) => format!("memory: killed at {}", shown_bytes(bytes)),
            (Some(Limit::Rlimit(name)), _) => format!("{name}: killed at the rlimit"),
            (None, Some(bytes)) => format!("memory: a process was killed at {}", shown_bytes(bytes)),
            (None, None) => return,
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
        json!({
            "wall_seconds": self.wall.as_secs_f64(),
            "user_seconds": self.usage.user.unwrap_or(user).as_secs_f64(),
            "system_seconds": self.usage.system.unwrap_or(system).as_secs_f64(),
            "memory_peak_bytes": memory_peak,
            "rss_peak_bytes": rss,
            "pids_peak": pids_peak,
            "oom_kills": oom_kills,
            "throttled_seconds": throttled.map(|time| time.as_secs_f64()),
            "forks_refused": forks_refused,
            "exit_status": self.exit,
            "signal": signal,
            "ended_by": self.ended_by.map(Limit::name),
        })
    }
}
