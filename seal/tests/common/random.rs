//! Random policies of Kafel and random system calls.

use fastrand::Rng;
use seal::syscalls::table::Arch;

use super::bpf::Call;
use super::model::{Condition, KILL_PROCESS, Policy, Rule, Value};

/// Numbers at which something may change.
const EDGES: [u64; 12] = [
    0,
    1,
    3,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x7fff_ffff_ffff_ffff,
    0xffff_ffff_7fff_ffff,
    0xffff_ffff_8000_0000,
    0xffff_ffff_ffff_ff9c,
    u64::MAX,
];

pub const OPERATORS: [&str; 6] = ["==", "!=", "<", "<=", ">", ">="];

/// What random things are drawn from.
pub struct Random {
    pub rng: Rng,
    pub arch: Arch,
    /// What conditions compare with, and calls are made with.
    pub numbers: Vec<u64>,
    /// The system calls that policies name, and calls are made of.
    pub calls: Vec<u32>,
}

impl Random {
    pub fn new(seed: u64, arch: Arch) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut numbers: Vec<u64> = (0..3).map(|_| rng.u64(..)).collect();
        numbers.extend((0..3).map(|_| rng.u64(..8)));
        numbers.extend((0..3).map(|_| 1 << rng.u32(..64)));
        numbers.extend((0..4).map(|_| EDGES[rng.usize(..EDGES.len())]));
        let known = arch.calls();
        let calls = (0..rng.usize(1..12)).map(|_| known[rng.usize(..known.len())].number).collect();
        Self { rng, arch, numbers, calls }
    }

    pub fn one_in(&mut self, times: u32) -> bool {
        self.rng.u32(..times) == 0
    }

    pub fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.rng.usize(..list.len())]
    }

    pub fn number(&mut self) -> u64 {
        let numbers = self.numbers.clone();
        self.pick(&numbers)
    }

    /// Which arguments of a call are looked at in whole.
    pub fn widths(&self, number: u32) -> Vec<bool> {
        let mut widths: Vec<bool> =
            self.arch.by_number(number).into_iter().flat_map(|call| call.args()).map(|arg| arg.wide).collect();
        widths.resize(6, true);
        widths
    }

    /// An action of Kafel, and what a filter returns for it.
    fn action(&mut self) -> (String, u32) {
        let data = if self.one_in(2) { self.rng.u16(..) } else { self.rng.u16(..50) };
        let with = |name: &str, result: u32| (format!("{name}({data})"), result | u32::from(data));
        match self.rng.u32(..10) {
            0 => with("ERRNO", libc::SECCOMP_RET_ERRNO),
            1 => with("TRAP", libc::SECCOMP_RET_TRAP),
            2 => with("TRACE", libc::SECCOMP_RET_TRACE),
            3 => ("ALLOW".into(), libc::SECCOMP_RET_ALLOW),
            4 => ("LOG".into(), libc::SECCOMP_RET_LOG),
            5 => ("KILL".into(), libc::SECCOMP_RET_KILL_THREAD),
            6 => ("KILL_THREAD".into(), libc::SECCOMP_RET_KILL_THREAD),
            7 => ("DENY".into(), libc::SECCOMP_RET_KILL_THREAD),
            8 => ("KILL_PROCESS".into(), KILL_PROCESS),
            _ => ("USER_NOTIF".into(), libc::SECCOMP_RET_USER_NOTIF),
        }
    }

    fn value(&mut self, widths: &[bool], depth: u32) -> Value {
        let both = |random: &mut Self| (0..2).map(|_| Box::new(random.value(widths, depth - 1))).collect::<Vec<_>>();
        match self.rng.u32(..if depth == 0 { 5 } else { 9 }) {
            0..2 => Value::Number(self.number()),
            2..5 if !widths.is_empty() => {
                let index = self.rng.usize(..widths.len());
                Value::Arg(index, widths[index])
            }
            5..7 => {
                let mut both = both(self);
                Value::And(both.remove(0), both.remove(0))
            }
            7.. => {
                let mut both = both(self);
                Value::Or(both.remove(0), both.remove(0))
            }
            _ => Value::Number(self.rng.u64(..4)),
        }
    }

    fn condition(&mut self, widths: &[bool], depth: u32) -> Condition {
        let more = |random: &mut Self| -> Vec<Condition> {
            (0..random.rng.usize(2..4)).map(|_| random.condition(widths, depth - 1)).collect()
        };
        match self.rng.u32(..if depth == 0 { 4 } else { 9 }) {
            0..4 => {
                let (left, right) = (self.value(widths, 2), self.value(widths, 1));
                Condition::Compare(left, self.pick(&OPERATORS), right)
            }
            4..6 => Condition::Not(Box::new(self.condition(widths, depth - 1))),
            6 => Condition::All(more(self)),
            _ => Condition::Any(more(self)),
        }
    }

    /// A policy, and its text.
    pub fn kafel(&mut self) -> (Policy, String) {
        let mut text = String::new();
        for (index, number) in self.numbers.clone().into_iter().enumerate() {
            text += &format!("#define C{index} {}\n", self.written(number, false));
        }
        let mut named: Vec<Vec<Rule>> = Vec::new();
        let mut rules = Vec::new();
        let mut default = None;
        for _ in 0..self.rng.usize(1..5) {
            match self.rng.u32(..4) {
                0 => {
                    let mut own = Vec::new();
                    let inner = if self.one_in(6) { String::new() } else { self.statements(&named, &mut own) };
                    text += &format!("POLICY p{} {{ {inner} }}\n", named.len());
                    named.push(own);
                }
                1 if default.is_none() => {
                    let (action, result) = self.action();
                    default = Some(result);
                    text += &format!("DEFAULT {action} // {action}\n");
                }
                _ => {
                    text += &self.statements(&named, &mut rules);
                    text += "\n";
                }
            }
        }
        (Policy { rules, default: default.unwrap_or(libc::SECCOMP_RET_KILL_THREAD) }, text)
    }

    fn statements(&mut self, named: &[Vec<Rule>], rules: &mut Vec<Rule>) -> String {
        let mut all = Vec::new();
        for _ in 0..self.rng.usize(1..4) {
            if !named.is_empty() && self.one_in(3) {
                let which = self.rng.usize(..named.len());
                rules.extend_from_slice(&named[which]);
                all.push(format!("USE p{which}"));
                continue;
            }
            let (action, result) = self.action();
            let filters: Vec<String> = (0..self.rng.usize(..5)).map(|_| self.filter(result, rules)).collect();
            all.push(format!("{action} {{ {} }}", filters.join(", /**/ ")));
        }
        all.join(", ")
    }

    /// One system call with its condition.
    fn filter(&mut self, result: u32, rules: &mut Vec<Rule>) -> String {
        let mut number = self.pick(&self.calls.clone());
        let mut text = match self.arch.by_number(number) {
            Some(call) if self.one_in(3) && self.arch.by_name(call.entry).unwrap().number == number => {
                call.entry.to_owned()
            }
            Some(call) if !self.one_in(5) => call.name.to_owned(),
            _ => {
                let edges = [number, 0, 500, 0x3fff_ffff, u32::MAX];
                number = self.pick(&edges);
                let written = if number == u32::MAX && self.one_in(2) { "-1".into() } else { number.to_string() };
                format!("SYSCALL[{written}]")
            }
        };
        if !self.calls.contains(&number) {
            self.calls.push(number);
        }
        let mut names: Vec<String> =
            self.arch.by_number(number).into_iter().flat_map(|call| call.args()).map(|arg| arg.name.into()).collect();
        if self.one_in(3) {
            names = (0..self.rng.usize(..7)).map(|index| format!("arg_{index}")).collect();
            text += &format!("({})", names.join(", "));
        }
        let (on, applies) = self.on();
        text += on;
        let mut condition = None;
        if !self.one_in(3) {
            let tree = self.condition(&self.widths(number)[..names.len()], 3);
            text += &format!(" {{ {} }}", self.any(&tree, &names, true));
            condition = Some(tree);
        } else if self.one_in(4) {
            text += " {}";
        }
        if applies {
            rules.push(Rule { number, condition, result });
        }
        text
    }

    fn on(&mut self) -> (&'static str, bool) {
        let here = self.arch == Arch::X86_64;
        match self.rng.u32(..12) {
            0 => (" ON x86_64", here),
            1 => (" ON arm64", !here),
            2 => (" ON {x86, mips}", false),
            3 => (" ON { amd64, aarch64 }", true),
            _ => ("", true),
        }
    }

    fn any(&mut self, tree: &Condition, names: &[String], commas: bool) -> String {
        match tree {
            Condition::Any(any) => {
                let all: Vec<String> = any.iter().map(|one| self.all(one, names)).collect();
                all.join(if commas && self.one_in(2) { ", " } else { " || " })
            }
            other => self.all(other, names),
        }
    }

    fn all(&mut self, tree: &Condition, names: &[String]) -> String {
        match tree {
            Condition::All(all) => {
                let all: Vec<String> = all.iter().map(|one| self.primary(one, names)).collect();
                all.join("&&")
            }
            other => self.primary(other, names),
        }
    }

    fn primary(&mut self, tree: &Condition, names: &[String]) -> String {
        match tree {
            _ if self.one_in(6) => format!("({})", self.any(tree, names, true)),
            Condition::Compare(left, operator, right) => {
                format!("{} {operator} {}", self.or(left, names), self.or(right, names))
            }
            Condition::Not(other) => format!("!{}", self.primary(other, names)),
            _ => format!("({})", self.any(tree, names, true)),
        }
    }

    fn or(&mut self, value: &Value, names: &[String]) -> String {
        match value {
            Value::Or(one, other) => format!("{} | {}", self.or(one, names), self.and(other, names)),
            other => self.and(other, names),
        }
    }

    fn and(&mut self, value: &Value, names: &[String]) -> String {
        match value {
            Value::And(one, other) => format!("{}&{}", self.and(one, names), self.operand(other, names)),
            other => self.operand(other, names),
        }
    }

    fn operand(&mut self, value: &Value, names: &[String]) -> String {
        match value {
            _ if self.one_in(6) => format!("({})", self.or(value, names)),
            Value::Number(number) => self.written(*number, true),
            Value::Arg(index, _) => names[*index].clone(),
            _ => format!("( {} )", self.or(value, names)),
        }
    }

    /// A number as it may be written, or perhaps a constant's name.
    fn written(&mut self, number: u64, constants: bool) -> String {
        match self.rng.u32(..6) {
            0 => format!("0x{number:x}"),
            1 => format!("0b{number:b}"),
            2 => format!("0{number:o}"),
            3 if number as i64 != 0 => format!("-{}", number.wrapping_neg()),
            4 if constants && self.numbers.contains(&number) => {
                format!("C{}", self.numbers.iter().position(|&known| known == number).unwrap())
            }
            _ => number.to_string(),
        }
    }

    /// A system call, most often one that the policies name.
    pub fn call(&mut self) -> Call {
        let near = self.pick(&self.calls.clone());
        let number = match self.rng.u32(..12) {
            0 => near.wrapping_add(1),
            1 => near.wrapping_sub(1),
            2 => self.pick(&[0, 0x3fff_ffff, 0x4000_0000, 0x4000_0001, 0xffff_fffe, u32::MAX]),
            3 => near | 0x4000_0000,
            _ => near,
        };
        let others = [0, 0x4000_0003, 0xc000_003e, 0xc000_00b7, 0x4000_0028, self.rng.u32(..)];
        let audit = if self.one_in(16) { self.pick(&others) } else { self.arch.audit() };
        let args = std::array::from_fn(|_| self.arg());
        Call { number, audit, pointer: self.rng.u64(..), args }
    }

    fn arg(&mut self) -> u64 {
        let near = self.number();
        let low = match self.rng.u32(..6) {
            0 => near.wrapping_add(1),
            1 => near.wrapping_sub(1),
            2 => self.rng.u64(..4),
            3 => self.rng.u64(..),
            _ => near,
        };
        if self.one_in(4) { low & 0xffff_ffff | self.rng.u64(..) << 32 } else { low }
    }
}
