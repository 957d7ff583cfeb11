//! The command line.

use std::ffi::OsString;
use std::time::Duration;

use seal::getopt::{Argument, Opt, Page, Parser};
use seal::nearest::nearest;
use seal::{Error, cli};

use crate::attribute::Attribute;
use crate::cgroup::setting::{self, Setting};
use crate::report::Target;
use crate::rlimit::{self, Change};
use crate::value::{bad, duration};

const OPTIONS: &[Opt] = &[Opt::new(
    ' ',
    "report",
    Argument::Required("FILE|FD"),
    "Write what was used and how it ended, as JSON",
)
.docs(
    "A number is an fd. null stands for what nobody has counted: memory and processes are counted in a cgroup alone, \
     which is made for that where it can be; pids_peak takes Linux 6.1, memory_peak_bytes 5.19 or cgroup version 1. \
     rss_peak_bytes is the largest resident set of one process. Without a cgroup children that nobody has waited for are left out of user_seconds and system_seconds.",
)];

/// The names, their arguments and what they limit; rlimits have their own table.
const NAMES: &[(&str, &str, &str)] = &[
    ("memory", "SIZE", "Memory; what needs more is killed"),
    ("memory.high", "SIZE", "Memory above which all are slowed down (cgroup version 2)"),
    ("swap", "SIZE", "Swap space; in cgroup version 1 with memory= alone"),
    ("pids", "N", "Processes and threads"),
    ("cpu", "50%|1.5", "CPU time, as that of half a processor, or of one and a half"),
    ("cpu.weight", "1..10000", "CPU time beside others, 100 by default"),
    ("cpuset", "0-2,5", "Processors; cpuset.mems=: memory nodes"),
    ("cpuset.mems", "", ""),
    ("io", "DEV:rbps=SIZE,wiops=N,…", "Bytes and operations per second, of a device or that of a file"),
    ("net_cls.classid", "N", "Class of packets (cgroup version 1)"),
    ("cgroup:FILE", "VALUE", "Any other control file of the cgroup"),
    ("time", "DURATION", "Time until TERM and, after grace=, KILL to all"),
    ("cpu.time", "DURATION", "CPU time of all together, until the same"),
    ("grace", "DURATION", "Time from TERM to KILL, 5 s by default"),
    ("nice", "-20..19", "Nice value"),
    ("ionice", "CLASS[:0-7]", "idle, best-effort or realtime"),
    ("oom_score_adj", "-1000..1000", "Who is killed first when the machine has no memory left"),
    ("affinity", "0-2,5", "Processors, without a cgroup; CMD can change it"),
    ("sched", "POLICY", "other, batch, idle, fifo:N, rr:N, deadline:T/T/T"),
    ("tsc", "off", "No time-stamp counter, on x86"),
    ("core-sched", "", "Share no core with others at a time"),
];

/// What is to be done.
pub struct Options {
    /// What the cgroup limits.
    pub settings: Vec<Setting>,
    /// Priorities and the like.
    pub attributes: Vec<Attribute>,
    /// Changes of rlimits.
    pub rlimits: Vec<Change>,
    /// The wall clock.
    pub time: Option<Duration>,
    /// The CPU time of all processes together.
    pub cpu_time: Option<Duration>,
    /// From TERM to KILL.
    pub grace: Duration,
    /// Where the report goes.
    pub report: Option<Target>,
    /// CMD and its arguments.
    pub command: Vec<OsString>,
}

/// Parses the words, which do not have the name of the program.
pub fn parse(words: Vec<OsString>) -> Result<Options, Error> {
    let names = shown_names();
    let page = Page {
        tool: "limit",
        about: "Run CMD, and all that it starts, under limits",
        usage: "[OPTION]... [NAME=VALUE]... [OPTION]... [--] CMD [ARG]...",
        options: &[OPTIONS, cli::ABOUT_ITSELF],
        group: None,
        words: &names,
    };
    let mut given = Given::default();
    let mut parser = Parser::new(page.options, words);
    loop {
        while let Some((option, argument)) = parser.option()? {
            cli::about_itself(option, &page);
            if given.report.replace(argument.unwrap_or_default()).is_some() {
                return Err(Error::usage("--report is given twice"));
            }
        }
        let is_name = |word: &OsString| word.as_encoded_bytes().contains(&b'=') || word == "core-sched";
        match parser.next_if(is_name) {
            Some(word) => given.take(&word)?,
            None => break,
        }
    }
    let command = parser.rest();
    if command.is_empty() {
        return Err(Error::usage("CMD is missing"));
    }
    given.finish(command)
}

/// What was given so far.
#[derive(Default)]
struct Given {
    seen: Vec<String>,
    settings: Vec<Setting>,
    attributes: Vec<Attribute>,
    rlimits: Vec<Change>,
    time: Option<Duration>,
    cpu_time: Option<Duration>,
    grace: Option<Duration>,
    report: Option<OsString>,
}

impl Given {
    fn take(&mut self, word: &OsString) -> Result<(), Error> {
        let text = word.to_str().ok_or_else(|| Error::usage(format!("{word:?} is no limit: it is not UTF-8")))?;
        let (name, value) = match text.split_once('=') {
            Some(("core-sched", _)) => return Err(Error::usage("core-sched takes no value")),
            Some(pair) => pair,
            None => (text, ""),
        };
        // Several devices can be limited.
        let known = rlimit_of(name).map_or(name.to_owned(), |kind| format!("rlimit:{}", kind.name));
        if name != "io" && self.seen.contains(&known) {
            return Err(Error::usage(format!("{name} is limited twice")));
        }
        self.seen.push(known);
        let time = || {
            let time = duration(value).filter(|time| !time.is_zero() || name == "grace");
            time.ok_or_else(|| bad(name, value, "a time such as 90, 1.5h or 200ms"))
        };
        match name {
            "time" => self.time = Some(time()?),
            "cpu.time" => self.cpu_time = Some(time()?),
            "grace" => self.grace = Some(time()?),
            _ => return self.take_other(name, value),
        }
        Ok(())
    }

    fn take_other(&mut self, name: &str, value: &str) -> Result<(), Error> {
        if let Some(setting) = Setting::parse(name, value) {
            // What is meant by cpu=10s is something else.
            let hint = (name == "cpu" && duration(value).is_some())
                .then_some("the CPU time of all together is cpu.time=, that of each process rlimit:cpu=");
            self.settings.push(setting.map_err(|error| error.maybe_hint(hint))?);
        } else if let Some(attribute) = Attribute::parse(name, value) {
            self.attributes.push(attribute.map_err(|wants| bad(name, value, wants))?);
        } else if let Some(kind) = rlimit_of(name) {
            let change = Change::parse(kind, value);
            let wants = "a limit: BOTH, SOFT:HARD, SOFT: or :HARD, each a number, max or inf";
            self.rlimits.push(change.ok_or_else(|| bad(name, value, wants))?);
        } else {
            let near = meant(name).map(|near| format!("did you mean {near}=?"));
            let or_command = "limit --help lists the limits; -- goes before a CMD with = in it".to_owned();
            return Err(Error::usage(format!("there is no limit {name:?}")).hint(near.unwrap_or(or_command)));
        }
        Ok(())
    }

    fn finish(self, command: Vec<OsString>) -> Result<Options, Error> {
        if self.grace.is_some() && self.time.is_none() && self.cpu_time.is_none() {
            return Err(Error::usage("grace= is for time= and cpu.time=, of which there is none"));
        }
        Ok(Options {
            settings: self.settings,
            attributes: self.attributes,
            rlimits: self.rlimits,
            time: self.time,
            cpu_time: self.cpu_time,
            grace: self.grace.unwrap_or(Duration::from_secs(5)),
            report: self.report.map(|value| Target::open(&value)).transpose()?,
            command,
        })
    }
}

/// What may have been meant by a name that is none.
fn meant(name: &str) -> Option<String> {
    if let Some(limit) = setting::named(name) {
        return Some(limit.to_owned());
    }
    let lower = name.to_ascii_lowercase();
    let rest = ["rlimit:", "rlimit_", "rlimit.", "cgroup:"].iter().find_map(|prefix| lower.strip_prefix(prefix));
    let rlimits = || rlimit::KINDS.iter().map(|kind| kind.name);
    let names = || NAMES.iter().map(|(name, ..)| *name).chain(rlimits());
    let word = rest.unwrap_or(&lower);
    // So short a word is near to too many.
    let near = Some(word).filter(|word| word.len() > 2);
    let near = near.and_then(|word| nearest(word, names()).or_else(|| names().find(|name| name.starts_with(word))));
    let found = names().find(|name| *name == word).or(near)?;
    let is_rlimit = rest.is_some() && rlimits().any(|name| name == found);
    Some(if is_rlimit { format!("rlimit:{found}") } else { found.to_owned() })
}

/// The rlimit of a name; two go by a longer one, since the short one is something else.
fn rlimit_of(name: &str) -> Option<rlimit::Kind> {
    let (short, name) = name.strip_prefix("rlimit:").map_or((true, name), |name| (false, name));
    rlimit::KINDS.into_iter().find(|kind| kind.name == name && (!short || !["cpu", "nice"].contains(&name)))
}

/// The names as `--help` shows them.
fn shown_names() -> Vec<(String, String)> {
    let join = |(name, argument, help): &(&str, &str, &str)| {
        let equals = if argument.is_empty() { "" } else { "=" };
        (format!("{name}{equals}{argument}"), (*help).to_owned())
    };
    let rlimit = |kind: &rlimit::Kind| {
        let prefix = if rlimit_of(kind.name).is_some() { "" } else { "rlimit:" };
        (format!("{prefix}{}=SOFT:HARD", kind.name), format!("rlimit: {}", kind.help))
    };
    let forms = [
        ("SIZE", "512M, 1.5G: bytes, or K M G T of 1024; max for no limit"),
        ("DURATION", "90, 1.5h: seconds, or us ms s m h d"),
        ("SOFT:HARD", "64 for both, SOFT:, :HARD; units as above; max (the hard limit), inf"),
        ("exit status", "CMD's; 124 by time, 137 by memory, 125 if limit failed"),
    ];
    let shown = NAMES.iter().filter(|(.., help)| !help.is_empty()).map(join).chain(rlimit::KINDS.iter().map(rlimit));
    shown.chain(forms.map(|(name, help)| (name.to_owned(), help.to_owned()))).collect()
}

impl Options {
    /// Whether someone has to stay, to count or to end what runs.
    pub fn supervised(&self) -> bool {
        !self.settings.is_empty() || self.time.is_some() || self.cpu_time.is_some() || self.report.is_some()
    }

    /// The limit of `memory=` in bytes.
    pub fn memory(&self) -> Option<u64> {
        self.settings.iter().find_map(Setting::memory)
    }

    /// The limit of `pids=`.
    pub fn pids(&self) -> Option<u64> {
        self.settings.iter().find_map(Setting::pids)
    }
}
