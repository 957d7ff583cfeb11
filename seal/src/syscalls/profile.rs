//! Profiles in the JSON of Docker and Podman (containers-seccomp.json(5)).
//!
//! Rules count in their order. What such a profile is in libseccomp's hands
//! shows where it says nothing: a name that this architecture does not have is
//! skipped, several conditions on one argument are alternatives (as runc reads
//! them), and what `archMap` lists besides, 32-bit calls and x32, is refused.
//! An argument of 4 bytes is its low half, which libseccomp does not know: a
//! condition `!=` cannot be got around by what the kernel cuts off.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::rc::Rc;

use nix::errno::Errno;
use serde::Deserialize;

use super::policy::{Action, Condition, MAX_RULES, Policy, Rule, Test, Value, errno_by_name};
use super::source::Source;
use super::table::{Arch, Arg, Call};
use crate::Error;
use crate::nearest::nearest;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Profile<'a> {
    default_action: ActionName,
    default_errno_ret: Option<u16>,
    /// By its name, as profiles of Podman have it besides.
    default_errno: Option<ErrnoName>,
    #[serde(default, rename = "archMap")]
    _arch_map: Option<serde::de::IgnoredAny>,
    #[serde(default, rename = "architectures")]
    _architectures: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    flags: Option<Vec<Flag>>,
    #[serde(default, borrow)]
    syscalls: Option<Vec<Group<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Group<'a> {
    #[serde(borrow)]
    name: Option<Name<'a>>,
    names: Option<Vec<Name<'a>>>,
    action: ActionName,
    errno_ret: Option<u16>,
    errno: Option<ErrnoName>,
    args: Option<Vec<ArgTest>>,
    #[serde(rename = "comment")]
    _comment: Option<String>,
    #[serde(default)]
    includes: Option<Filter>,
    #[serde(default)]
    excludes: Option<Filter>,
}

/// There are hundreds of them: they stay where they are in the text.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Filter {
    caps: Option<Vec<String>>,
    arches: Option<Vec<String>>,
    min_kernel: Option<Version>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ArgTest {
    index: Index,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: Operator,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "u64")]
struct Index(u8);

#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct ErrnoName(u16);

/// Of a kernel: `4.8`.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct Version(u32, u32);

#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct ActionName(WithData);

type WithData = fn(u16) -> Action;

/// The data is for those that have any.
const ACTIONS: [(&str, WithData); 8] = [
    ("SCMP_ACT_KILL", |_| Action::KillThread),
    ("SCMP_ACT_KILL_THREAD", |_| Action::KillThread),
    ("SCMP_ACT_KILL_PROCESS", |_| Action::KillProcess),
    ("SCMP_ACT_TRAP", |_| Action::Trap(0)),
    ("SCMP_ACT_ERRNO", Action::Errno),
    ("SCMP_ACT_TRACE", Action::Trace),
    ("SCMP_ACT_LOG", |_| Action::Log),
    ("SCMP_ACT_ALLOW", |_| Action::Allow),
];

/// What is compared with what.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct Operator {
    test: Test,
    masked: bool,
}

const OPERATORS: [(&str, Test, bool); 7] = [
    ("SCMP_CMP_EQ", Test::Eq, false),
    ("SCMP_CMP_NE", Test::Ne, false),
    ("SCMP_CMP_LT", Test::Lt, false),
    ("SCMP_CMP_LE", Test::Le, false),
    ("SCMP_CMP_GT", Test::Gt, false),
    ("SCMP_CMP_GE", Test::Ge, false),
    ("SCMP_CMP_MASKED_EQ", Test::Eq, true),
];

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
enum Flag {
    Log,
    /// Of no use here, or less strict than what is done without it.
    Other,
}

fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let meant = nearest(name, known).map_or_else(String::new, |near| format!("; did you mean \"{near}\"?"));
    format!("unknown {what} \"{name}\"{meant}")
}

impl TryFrom<u64> for Index {
    type Error = String;

    fn try_from(index: u64) -> Result<Self, String> {
        match u8::try_from(index) {
            Ok(index @ 0..=5) => Ok(Self(index)),
            _ => Err(format!("no argument has the index {index}: there are 0 to 5")),
        }
    }
}

impl TryFrom<String> for ErrnoName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        errno_by_name(&name).map(Self).ok_or_else(|| format!("unknown errno \"{name}\""))
    }
}

impl TryFrom<String> for Version {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        version(&text)
            .filter(|_| text.bytes().all(|byte| byte == b'.' || byte.is_ascii_digit()))
            .ok_or_else(|| format!("\"{text}\" is no version of a kernel"))
    }
}

/// The first two numbers of a version.
fn version(text: &str) -> Option<Version> {
    let mut parts = text.split(|c: char| !c.is_ascii_digit()).map_while(|part| part.parse().ok());
    Some(Version(parts.next()?, parts.next()?))
}

impl TryFrom<String> for ActionName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        if name == "SCMP_ACT_NOTIFY" {
            return Err("SCMP_ACT_NOTIFY asks a supervisor, and there is none".into());
        }
        let found = ACTIONS.iter().find(|(known, _)| *known == name);
        found.map(|(_, action)| Self(*action)).ok_or_else(|| unknown("action", &name, ACTIONS.iter().map(|one| one.0)))
    }
}

impl TryFrom<String> for Operator {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let found = OPERATORS.iter().find(|(known, ..)| *known == name);
        let of = |&(_, test, masked): &(&str, Test, bool)| Self { test, masked };
        found.map(of).ok_or_else(|| unknown("operator", &name, OPERATORS.iter().map(|one| one.0)))
    }
}

impl TryFrom<String> for Flag {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        match name.as_str() {
            "SECCOMP_FILTER_FLAG_LOG" => Ok(Self::Log),
            "SECCOMP_FILTER_FLAG_TSYNC"
            | "SECCOMP_FILTER_FLAG_SPEC_ALLOW"
            | "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => Ok(Self::Other),
            _ => Err(format!("unknown flag \"{name}\"")),
        }
    }
}

/// Whether the text is JSON, and so a profile: no policy in Kafel begins so.
pub fn is_json(text: &[u8]) -> bool {
    text.trim_ascii_start().first() == Some(&b'{')
}

/// Compiles a profile for a command that will have the capabilities that
/// `has_capability` tells of by name; and whether what it refuses is to be logged.
pub fn parse(source: &Source, arch: Arch, has_capability: impl Fn(&str) -> bool) -> Result<(Policy, bool), Error> {
    let profile: Profile = serde_json::from_slice(&source.text).map_err(|error| {
        let text = error.to_string();
        let place = format!(" at line {} column {}", error.line(), error.column());
        source.error_at_line(error.line(), error.column(), text.trim_end_matches(&place))
    })?;
    let denied = Errno::EPERM as u16;
    let (mut rules, mut parts) = (Vec::new(), 0);
    for group in profile.syscalls.iter().flatten() {
        if !group.applies(arch, &has_capability) {
            continue;
        }
        let action = group.action.0(group.errno_ret.or(group.errno.map(|errno| errno.0)).unwrap_or(denied));
        for Name(name) in group.name.iter().chain(group.names.iter().flatten()) {
            let Some(call) = arch.by_user_name(name) else { continue };
            let rule =
                |condition: Option<Condition>| Rule { number: call.number, condition: condition.map(Rc::new), action };
            let tests = group.args.as_deref().unwrap_or_default();
            parts += tests.len().max(1);
            if parts > MAX_RULES {
                return Err(Error::new(format!("{}: the profile has more than {MAX_RULES} rules", source.name)));
            }
            match conditions(tests, call) {
                conditions if conditions.is_empty() => rules.push(rule(None)),
                conditions => rules.extend(conditions.into_iter().map(|condition| rule(Some(condition)))),
            }
        }
    }
    let default = profile.default_errno_ret.or(profile.default_errno.map(|errno| errno.0));
    let default = profile.default_action.0(default.unwrap_or(denied));
    let log = profile.flags.iter().flatten().any(|flag| *flag == Flag::Log);
    Ok((Policy { rules, default }, log))
}

impl Group<'_> {
    fn applies(&self, arch: Arch, has_capability: &impl Fn(&str) -> bool) -> bool {
        let its = |names: &[String]| names.iter().any(|name| arch.names_in_profiles().contains(&name.as_str()));
        let includes = self.includes.as_ref().is_none_or(|filter| {
            listed(&filter.caps).is_none_or(|caps| caps.iter().all(|cap| has_capability(cap)))
                && listed(&filter.arches).is_none_or(its)
                && filter.min_kernel.is_none_or(kernel_is_at_least)
        });
        let excludes = self.excludes.as_ref().is_some_and(|filter| {
            listed(&filter.caps).is_some_and(|caps| caps.iter().any(|cap| has_capability(cap)))
                || listed(&filter.arches).is_some_and(its)
                || filter.min_kernel.is_some_and(kernel_is_at_least)
        });
        includes && !excludes
    }
}

/// A list that is empty says as little as none.
fn listed(list: &Option<Vec<String>>) -> Option<&[String]> {
    list.as_deref().filter(|list| !list.is_empty())
}

/// Whether the kernel that runs is of this version or newer.
fn kernel_is_at_least(Version(major, minor): Version) -> bool {
    let own = version(&rustix::system::uname().release().to_string_lossy());
    own.is_some_and(|Version(own_major, own_minor)| (own_major, own_minor) >= (major, minor))
}

/// The conditions of one rule, of which one must hold; none if there are no tests.
fn conditions(tests: &[ArgTest], call: &Call) -> Vec<Condition> {
    if tests.is_empty() {
        return Vec::new();
    }
    let args: Vec<Arg> = call.args().collect();
    let mut seen = BTreeMap::new();
    let mut conditions = Vec::new();
    for test in tests {
        let Index(index) = test.index;
        *seen.entry(index).or_insert(0) += 1;
        let wide = args.get(usize::from(index)).is_none_or(|arg| arg.wide);
        let arg = Value::Arg { index, wide };
        conditions.push(match test.op.masked {
            true => {
                let masked = Value::And(Box::new(arg), Box::new(Value::Number(test.value)));
                Condition::Compare(Test::Eq, masked, Value::Number(test.value_two))
            }
            false => Condition::Compare(test.op.test, arg, Value::Number(test.value)),
        });
    }
    let is_and = conditions.len() > 1 && seen.values().all(|&times| times == 1);
    if is_and { vec![Condition::All(conditions)] } else { conditions }
}
