//! Random profiles in the JSON of Docker.

use seal::syscalls::table::Arch;
use serde_json::{Value as Json, json};

use super::model::{Condition, KILL_PROCESS, Policy, Rule, Value};
use super::random::{OPERATORS, Random};

/// The capabilities that the command is said to have.
pub const HAS: [&str; 2] = ["CAP_CHOWN", "CAP_SYS_ADMIN"];

/// In the order of [`OPERATORS`].
const NAMES: [&str; 6] = ["SCMP_CMP_EQ", "SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_GT", "SCMP_CMP_GE"];

impl Random {
    /// A profile, and its text.
    pub fn profile(&mut self) -> (Policy, String) {
        let mut profile = json!({});
        let default = self.result(&mut profile, "defaultAction", "defaultErrnoRet");
        let mut rules = Vec::new();
        let groups: Vec<Json> = (0..self.rng.usize(..8)).map(|_| self.group(&mut rules)).collect();
        profile["syscalls"] = groups.into();
        if self.one_in(4) {
            profile["archMap"] = json!([{ "architecture": "SCMP_ARCH_X86_64", "subArchitectures": [] }]);
        }
        (Policy { rules, default }, profile.to_string())
    }

    /// Names an action, and tells what a filter returns for it.
    fn result(&mut self, object: &mut Json, action: &str, data: &str) -> u32 {
        let errno = self.one_in(2).then(|| self.rng.u16(..));
        if let Some(errno) = errno {
            object[data] = errno.into();
        }
        let errno = u32::from(errno.unwrap_or(1));
        let (name, result) = self.pick(&[
            ("SCMP_ACT_KILL", libc::SECCOMP_RET_KILL_THREAD),
            ("SCMP_ACT_KILL_THREAD", libc::SECCOMP_RET_KILL_THREAD),
            ("SCMP_ACT_KILL_PROCESS", KILL_PROCESS),
            ("SCMP_ACT_TRAP", libc::SECCOMP_RET_TRAP),
            ("SCMP_ACT_ERRNO", libc::SECCOMP_RET_ERRNO | errno),
            ("SCMP_ACT_TRACE", libc::SECCOMP_RET_TRACE | errno),
            ("SCMP_ACT_LOG", libc::SECCOMP_RET_LOG),
            ("SCMP_ACT_ALLOW", libc::SECCOMP_RET_ALLOW),
        ]);
        object[action] = name.into();
        result
    }

    fn group(&mut self, rules: &mut Vec<Rule>) -> Json {
        let mut group = json!({ "comment": "any" });
        let result = self.result(&mut group, "action", "errnoRet");
        let applies = self.filters(&mut group);
        let own: Vec<u32> = (0..self.rng.usize(1..5)).map(|_| self.pick(&self.calls.clone())).collect();
        let name = |number: &u32| self.arch.by_number(*number).map_or("nonsuch", |call| call.name);
        let names: Vec<&str> = own.iter().map(name).collect();
        group["names"] = names.into();
        if self.one_in(4) {
            // It is skipped.
            group["name"] = "nonsuch".into();
        }
        let tests = self.tests();
        if !tests.is_empty() || self.one_in(2) {
            group["args"] = tests.iter().map(|test| test.json()).collect();
        }
        for number in own.into_iter().filter(|_| applies) {
            let widths = self.widths(number);
            let mut all: Vec<Condition> = tests.iter().map(|test| test.condition(&widths)).collect();
            let again = |at: usize| tests[..at].iter().any(|test| test.index == tests[at].index);
            let condition = match all.len() {
                0 => None,
                1 => Some(all.remove(0)),
                // Two conditions on one argument make all of them alternatives.
                count if (0..count).any(again) => Some(Condition::Any(all)),
                _ => Some(Condition::All(all)),
            };
            rules.push(Rule { number, condition, result });
        }
        group
    }

    /// Limits a group to some architectures, capabilities and kernels; whether it applies.
    fn filters(&mut self, group: &mut Json) -> bool {
        let here = self.arch == Arch::X86_64;
        let (text, applies) = self.pick(&[
            (r#"{"includes":{"arches":["amd64","s390x"]}}"#, here),
            (r#"{"excludes":{"arches":["SCMP_ARCH_AARCH64"]}}"#, here),
            (r#"{"includes":{"arches":["arm64"],"caps":["CAP_CHOWN"]}}"#, !here),
            (r#"{"includes":{"caps":["CAP_CHOWN","CAP_KILL"]}}"#, false),
            (r#"{"excludes":{"caps":["CAP_KILL","CAP_SYS_ADMIN"]}}"#, false),
            (r#"{"excludes":{"caps":["CAP_KILL"],"arches":[]}}"#, true),
            (r#"{"includes":{"minKernel":"4.8"}}"#, true),
            (r#"{"excludes":{"minKernel":"99.0"},"includes":{}}"#, true),
            (r#"{"includes":{"minKernel":"99.0"}}"#, false),
        ]);
        if self.one_in(2) {
            return true;
        }
        let filters: serde_json::Map<String, Json> = serde_json::from_str(text).unwrap();
        group.as_object_mut().unwrap().extend(filters);
        applies
    }

    fn tests(&mut self) -> Vec<ArgTest> {
        let count = self.rng.usize(..5);
        let test = |_| ArgTest {
            index: self.rng.usize(..6),
            operator: self.rng.usize(..7),
            value: self.number(),
            masked: self.number(),
        };
        (0..count).map(test).collect()
    }
}

struct ArgTest {
    index: usize,
    /// Into [`OPERATORS`], or one more for a mask.
    operator: usize,
    value: u64,
    masked: u64,
}

impl ArgTest {
    fn json(&self) -> Json {
        let operator = NAMES.get(self.operator).unwrap_or(&"SCMP_CMP_MASKED_EQ");
        json!({ "index": self.index, "value": self.value, "valueTwo": self.masked, "op": operator })
    }

    fn condition(&self, widths: &[bool]) -> Condition {
        let arg = Value::Arg(self.index, widths[self.index]);
        let value = Value::Number(self.value);
        match OPERATORS.get(self.operator) {
            Some(operator) => Condition::Compare(arg, operator, value),
            None => {
                let both = Value::And(Box::new(arg), Box::new(value));
                Condition::Compare(both, "==", Value::Number(self.masked))
            }
        }
    }
}
