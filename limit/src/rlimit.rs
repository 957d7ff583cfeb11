//! The resource limits of a process (getrlimit(2)), by name.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use seal::Error;

use crate::value;

/// What a limit counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Bytes,
    Count,
    Seconds,
    Microseconds,
}

use Unit::{Bytes, Count, Microseconds, Seconds};

/// One of them.
#[derive(Clone, Copy)]
pub struct Kind {
    /// Its name as in getrlimit(2), in small letters.
    pub name: &'static str,
    resource: Resource,
    unit: Unit,
    /// What it limits.
    pub help: &'static str,
}

const fn kind(name: &'static str, resource: Resource, unit: Unit, help: &'static str) -> Kind {
    Kind { name, resource, unit, help }
}

/// All of them.
pub const KINDS: [Kind; 16] = [
    kind("as", Resource::As, Bytes, "address space"),
    kind("core", Resource::Core, Bytes, "core dumps"),
    kind("cpu", Resource::Cpu, Seconds, "CPU time of a process"),
    kind("data", Resource::Data, Bytes, "data segments"),
    kind("fsize", Resource::Fsize, Bytes, "files that are written"),
    kind("locks", Resource::Locks, Count, "file locks (no effect since Linux 2.4.25)"),
    kind("memlock", Resource::Memlock, Bytes, "locked memory"),
    kind("msgqueue", Resource::Msgqueue, Bytes, "message queues of the user"),
    kind("nice", Resource::Nice, Count, "20 minus the lowest nice value"),
    kind("nofile", Resource::Nofile, Count, "one more than the highest fd"),
    kind("nproc", Resource::Nproc, Count, "processes of the user"),
    kind("rss", Resource::Rss, Bytes, "resident memory (no effect since Linux 2.4.30)"),
    kind("rtprio", Resource::Rtprio, Count, "real-time priority"),
    kind("rttime", Resource::Rttime, Microseconds, "real-time CPU time without a pause"),
    kind("sigpending", Resource::Sigpending, Count, "queued signals of the user"),
    kind("stack", Resource::Stack, Bytes, "stack of a process"),
];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Bound {
    Number(u64),
    /// The present hard limit.
    Max,
    Infinite,
}

/// A change of one limit.
pub struct Change {
    kind: Kind,
    /// What was given for it.
    text: String,
    soft: Option<Bound>,
    hard: Option<Bound>,
}

impl Change {
    /// `BOTH`, `SOFT:HARD`, `SOFT:` or `:HARD`.
    pub fn parse(kind: Kind, text: &str) -> Option<Self> {
        let (soft, hard) = text.split_once(':').unwrap_or((text, text));
        let bound = |text: &str| match text {
            "" => Some(None),
            "max" => Some(Some(Bound::Max)),
            "inf" => Some(Some(Bound::Infinite)),
            text => {
                let number = match kind.unit {
                    Bytes | Count => value::bytes(text)?,
                    Seconds => Some(value::duration(text)?).filter(|time| time.subsec_nanos() == 0)?.as_secs(),
                    Microseconds => value::time_in(text, "us")?.as_micros() as u64,
                };
                Some(Some(Bound::Number(number)))
            }
        };
        let (soft, hard) = (bound(soft)?, bound(hard)?);
        (soft.is_some() || hard.is_some()).then(|| Self { kind, text: text.to_owned(), soft, hard })
    }

    /// The name of the limit.
    pub fn name(&self) -> &'static str {
        self.kind.name
    }

    /// Its hard limit as a span of CPU time, if it is one.
    pub fn hard_time(&self) -> Option<Duration> {
        match (self.kind.name, self.hard) {
            ("cpu", Some(Bound::Number(seconds))) => Some(Duration::from_secs(seconds)),
            _ => None,
        }
    }

    /// Sets it for this process. Fails if it is above the hard limit, unless the
    /// caller has CAP_SYS_RESOURCE.
    pub fn apply(&self) -> Result<(), Error> {
        let Kind { name, resource, .. } = self.kind;
        let now = getrlimit(resource);
        let set = |bound: Option<Bound>, now_is: Option<u64>| match bound {
            None => now_is,
            Some(Bound::Number(number)) => Some(number),
            Some(Bound::Max) => now.maximum,
            Some(Bound::Infinite) => None,
        };
        let wanted = Rlimit { current: set(self.soft, now.current), maximum: set(self.hard, now.maximum) };
        let above = |one: Option<u64>, other: Option<u64>| one.unwrap_or(u64::MAX) > other.unwrap_or(u64::MAX);
        // The short names of these are something else.
        let prefix = if ["cpu", "nice"].contains(&name) { "rlimit:" } else { "" };
        let tried = format!("cannot set {prefix}{name} to {}", self.text.trim_end_matches(':'));
        if above(wanted.current, wanted.maximum) {
            let hard = shown(wanted.maximum, self.kind.unit);
            return Err(if self.soft.is_none() {
                let soft = shown(wanted.current, self.kind.unit);
                Error::new(format!("{tried}: its soft limit is {soft}")).hint("without the : both are set")
            } else if self.hard.is_some() {
                Error::new(format!("{tried}: the soft limit is above the hard one"))
            } else {
                Error::new(format!("{tried}: its hard limit is {hard}"))
            });
        }
        setrlimit(resource, wanted).map_err(|errno| {
            let is_raised = above(wanted.maximum, now.maximum) && errno == rustix::io::Errno::PERM;
            let may_raise = seal::caps::permitted().is_ok_and(|set| seal::caps::contains(set, "CAP_SYS_RESOURCE"));
            if is_raised && !may_raise {
                let hard = shown(now.maximum, self.kind.unit);
                return Error::new(format!("{tried}: its hard limit is {hard}"))
                    .hint("only CAP_SYS_RESOURCE raises a hard limit");
            }
            let error = Error::new(tried).because(errno);
            error
                .maybe_hint((resource == Resource::Nofile).then_some("no process may have more than sysctl fs.nr_open"))
        })
    }
}

fn shown(limit: Option<u64>, unit: Unit) -> String {
    match (limit, unit) {
        (None, _) => "inf".to_owned(),
        (Some(limit), Bytes) if limit >= 1024 => format!("{limit} ({})", value::shown_bytes(limit)),
        (Some(limit), Seconds) => format!("{limit} s"),
        (Some(limit), Microseconds) => format!("{limit} us"),
        (Some(limit), _) => limit.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let parse = |name: &str, text| {
            let kind = KINDS.iter().find(|kind| kind.name == name).unwrap();
            Change::parse(*kind, text).map(|change| (change.soft, change.hard))
        };
        let number = |number| Some(Bound::Number(number));
        assert_eq!(parse("nofile", "64"), Some((number(64), number(64))));
        assert_eq!(parse("nofile", "64:"), Some((number(64), None)));
        assert_eq!(parse("nofile", ":64"), Some((None, number(64))));
        assert_eq!(parse("as", "1G:max"), Some((number(1 << 30), Some(Bound::Max))));
        assert_eq!(parse("core", "inf"), Some((Some(Bound::Infinite), Some(Bound::Infinite))));
        assert_eq!(parse("cpu", "2m"), Some((number(120), number(120))));
        assert_eq!(parse("cpu", "100ms"), None);
        assert_eq!(parse("rttime", "1ms"), Some((number(1000), number(1000))));
        for text in ["", ":", "64:64:64", "x", "-1"] {
            assert_eq!(parse("nofile", text), None, "{text}");
        }
    }
}
