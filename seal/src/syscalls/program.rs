//! From decisions to a program of classic BPF (linux/filter.h), made from its
//! end to its start: each jump leads to what is there already, and only ever
//! forward, as BPF wants it.

use std::collections::HashMap;

use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_IMM, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JGT, BPF_JMP, BPF_K, BPF_LD, BPF_LDX, BPF_MEM,
    BPF_OR, BPF_RET, BPF_ST, BPF_W, BPF_X, sock_filter,
};

use super::decide::{Decisions, Id, Node};
use super::policy::{Action, Condition, Policy, Test, Value};
use super::table::Arch;
use crate::Error;

/// A program for the kernel.
pub type Program = Vec<sock_filter>;

/// BPF_MAXINSNS: what the kernel takes in one program.
pub const MAX_INSTRUCTIONS: usize = 4096;

/// The scratch words M[0..16].
const SCRATCH: u32 = 16;

// Offsets in struct seccomp_data.
const NR: u32 = 0;
const ARCH: u32 = 4;
const ARGS: u32 = 16;

/// From here on numbers are x32's (__X32_SYSCALL_BIT), but for the last one.
pub const X32: u32 = 0x4000_0000;

/// Compiles policies that would be loaded in this order.
///
/// Fails if the kernel would not take the program: it is too long, or an
/// expression in it needs more scratch words than there are.
pub fn compile(arch: Arch, policies: &[Policy]) -> Result<Program, Error> {
    let (mut decisions, default) = Decisions::new(policies)?;
    let default = decisions.action(default)?;
    let ranges = ranges(&decisions, default);
    let mut code =
        Code { decisions: &decisions, backwards: Vec::new(), known: HashMap::new(), returns: HashMap::new() };
    let foreign = code.ret(Action::KillProcess.code())?;
    let mut numbers = code.search(&ranges)?;
    if arch == Arch::X86_64 {
        // -1 is no system call of x32, but what a tracer leaves of one it took away.
        let last = code.branch(BPF_JEQ | BPF_K, u32::MAX, numbers, foreign)?;
        numbers = code.branch(BPF_JGE | BPF_K, X32, last, numbers)?;
    }
    let ours = code.push(BPF_LD | BPF_W | BPF_ABS, NR, numbers)?;
    let start = code.branch(BPF_JEQ | BPF_K, arch.audit(), ours, foreign)?;
    code.push(BPF_LD | BPF_W | BPF_ABS, ARCH, start)?;
    code.backwards.reverse();
    Ok(code.backwards)
}

/// The first number of each range, up to the next one, and its decision.
fn ranges(decisions: &Decisions, default: Id) -> Vec<(u32, Id)> {
    let mut ranges = vec![(0, default)];
    let mut add = |from: u32, decision: Id| {
        let last = ranges.last_mut().expect("never empty");
        if last.0 == from {
            last.1 = decision;
        } else if last.1 != decision {
            ranges.push((from, decision));
        }
    };
    for (&number, &decision) in &decisions.calls {
        add(number, decision);
        if let Some(next) = number.checked_add(1) {
            add(next, default);
        }
    }
    // What was the start of the default again may be the same as what came before.
    ranges.dedup_by_key(|range| range.1);
    ranges
}

/// A place in the program: how many instructions follow it.
type Place = usize;

struct Code<'a> {
    decisions: &'a Decisions,
    backwards: Program,
    known: HashMap<Id, Place>,
    /// The last place that returns this code.
    returns: HashMap<u32, Place>,
}

/// One half of a value.
#[derive(Clone)]
enum Word {
    Number(u32),
    Load(u32),
    Both(u32, Box<Self>, Box<Self>),
}

impl Code<'_> {
    fn emit(&mut self, code: u32, jt: u8, jf: u8, k: u32) -> Result<Place, Error> {
        if self.backwards.len() == MAX_INSTRUCTIONS {
            return Err(Error::new(format!(
                "the policy is too large: the kernel takes programs of {MAX_INSTRUCTIONS} instructions"
            )));
        }
        self.backwards.push(sock_filter { code: code as u16, jt, jf, k });
        Ok(self.backwards.len() - 1)
    }

    fn ret(&mut self, code: u32) -> Result<Place, Error> {
        let place = self.emit(BPF_RET | BPF_K, 0, 0, code)?;
        self.returns.insert(code, place);
        Ok(place)
    }

    /// How many instructions a jump from here to `place` leaves out.
    fn distance(&self, place: Place) -> usize {
        self.backwards.len() - place - 1
    }

    /// `place`, or another one at most `far` away that does the same.
    fn within(&mut self, far: usize, place: Place) -> Result<Place, Error> {
        if self.distance(place) <= far {
            return Ok(place);
        }
        let there = self.backwards[place];
        if u32::from(there.code) & 7 == BPF_RET {
            let near = self.returns.get(&there.k).copied().filter(|&near| self.distance(near) <= far);
            return near.map_or_else(|| self.ret(there.k), Ok);
        }
        self.emit(BPF_JMP | BPF_JA, 0, 0, self.distance(place) as u32)
    }

    /// An instruction that goes on at `next`.
    fn push(&mut self, code: u32, k: u32, next: Place) -> Result<Place, Error> {
        self.within(0, next)?;
        self.emit(code, 0, 0, k)
    }

    fn branch(&mut self, jump: u32, k: u32, yes: Place, no: Place) -> Result<Place, Error> {
        if yes == no {
            return Ok(yes);
        }
        // One place is left for what the other one may need.
        let no = self.within(254, no)?;
        let yes = self.within(255, yes)?;
        self.emit(BPF_JMP | jump, self.distance(yes) as u8, self.distance(no) as u8, k)
    }

    /// Finds the number, which is loaded, by halves.
    fn search(&mut self, ranges: &[(u32, Id)]) -> Result<Place, Error> {
        if let [(_, decision)] = ranges {
            return self.decision(*decision);
        }
        let (low, high) = ranges.split_at(ranges.len() / 2);
        let yes = self.search(high)?;
        let no = self.search(low)?;
        self.branch(BPF_JGE | BPF_K, high[0].0, yes, no)
    }

    /// What is left of a chain of conditions is made first, without a recursion
    /// as deep as it is long.
    fn decision(&mut self, id: Id) -> Result<Place, Error> {
        let mut chain = Vec::new();
        let mut end = id;
        let decisions = self.decisions;
        let mut no = loop {
            if let Some(place) = self.known.get(&end) {
                break *place;
            }
            match decisions.node(end) {
                Node::Do(action) => {
                    let place = self.ret(action.code())?;
                    self.known.insert(end, place);
                    break place;
                }
                Node::If(condition, then, otherwise) => {
                    chain.push((end, decisions.condition(*condition), *then));
                    end = *otherwise;
                }
            }
        };
        for (id, condition, then) in chain.into_iter().rev() {
            let yes = self.decision(then)?;
            no = self.condition(condition, yes, no)?;
            self.known.insert(id, no);
        }
        Ok(no)
    }

    fn condition(&mut self, condition: &Condition, yes: Place, no: Place) -> Result<Place, Error> {
        match condition {
            Condition::Compare(test, left, right) => self.compare(*test, left, right, yes, no),
            Condition::Not(other) => self.condition(other, no, yes),
            Condition::All(all) => all.iter().rev().try_fold(yes, |yes, one| self.condition(one, yes, no)),
            Condition::Any(any) => any.iter().rev().try_fold(no, |no, one| self.condition(one, yes, no)),
        }
    }

    fn compare(&mut self, test: Test, left: &Value, right: &Value, yes: Place, no: Place) -> Result<Place, Error> {
        let (jump, yes, no) = match test {
            Test::Eq => (BPF_JEQ, yes, no),
            Test::Ne => (BPF_JEQ, no, yes),
            Test::Gt => (BPF_JGT, yes, no),
            Test::Le => (BPF_JGT, no, yes),
            Test::Ge => (BPF_JGE, yes, no),
            Test::Lt => (BPF_JGE, no, yes),
        };
        let low = self.compare_words(jump, &word(left, false), &word(right, false), yes, no)?;
        if left.is_narrow() && right.is_narrow() && (left.has_arg() || right.has_arg()) {
            return Ok(low);
        }
        let (left, right) = (word(left, true), word(right, true));
        let equal = self.compare_words(BPF_JEQ, &left, &right, low, no)?;
        if jump == BPF_JEQ { Ok(equal) } else { self.compare_words(BPF_JGT, &left, &right, yes, equal) }
    }

    fn compare_words(&mut self, jump: u32, left: &Word, right: &Word, yes: Place, no: Place) -> Result<Place, Error> {
        if yes == no {
            return Ok(yes);
        }
        match (left, right) {
            (Word::Number(left), Word::Number(right)) => {
                let holds = match jump {
                    BPF_JEQ => left == right,
                    BPF_JGT => left > right,
                    _ => left >= right,
                };
                Ok(if holds { yes } else { no })
            }
            (_, Word::Number(k)) => {
                let place = self.branch(jump | BPF_K, *k, yes, no)?;
                self.load(left, 0, place)
            }
            // 5 > x is !(x >= 5), 5 >= x is !(x > 5).
            (Word::Number(_), _) => match jump {
                BPF_JEQ => self.compare_words(BPF_JEQ, right, left, yes, no),
                BPF_JGT => self.compare_words(BPF_JGE, right, left, no, yes),
                _ => self.compare_words(BPF_JGT, right, left, no, yes),
            },
            _ => {
                let place = self.branch(jump | BPF_X, 0, yes, no)?;
                self.load_both(left, right, 0, place)
            }
        }
    }

    /// `left` in the accumulator and `right` in the index register.
    fn load_both(&mut self, left: &Word, right: &Word, scratch: u32, next: Place) -> Result<Place, Error> {
        if scratch == SCRATCH {
            return Err(Error::new("the policy has an expression with too many parts to compute"));
        }
        let next = self.push(BPF_LDX | BPF_MEM, scratch, next)?;
        let next = self.load(left, scratch + 1, next)?;
        let next = self.push(BPF_ST, scratch, next)?;
        self.load(right, scratch, next)
    }

    /// `word` in the accumulator, with the scratch words from `scratch` on.
    fn load(&mut self, word: &Word, scratch: u32, next: Place) -> Result<Place, Error> {
        match word {
            Word::Number(k) => self.push(BPF_LD | BPF_IMM, *k, next),
            Word::Load(offset) => self.push(BPF_LD | BPF_W | BPF_ABS, *offset, next),
            Word::Both(operator, one, other) => match (&**one, &**other) {
                (word, Word::Number(k)) | (Word::Number(k), word) => {
                    let next = self.push(BPF_ALU | operator | BPF_K, *k, next)?;
                    self.load(word, scratch, next)
                }
                (one, other) => {
                    let next = self.push(BPF_ALU | operator | BPF_X, 0, next)?;
                    // The one that needs more is computed while less is kept.
                    let (first, then) = if one.needs() > other.needs() { (one, other) } else { (other, one) };
                    self.load_both(then, first, scratch, next)
                }
            },
        }
    }
}

impl Word {
    /// How many scratch words its computation takes.
    fn needs(&self) -> u32 {
        match self {
            Self::Number(_) | Self::Load(_) => 0,
            Self::Both(_, one, other) => match (&**one, &**other) {
                (word, Self::Number(_)) | (Self::Number(_), word) => word.needs(),
                (one, other) => {
                    let (one, other) = (one.needs(), other.needs());
                    one.max(other).max(one.min(other) + 1)
                }
            },
        }
    }
}

/// The high or the low half of a value, computed as far as it is known.
fn word(value: &Value, high: bool) -> Word {
    let (operator, one, other) = match value {
        Value::Number(number) => return Word::Number(if high { (number >> 32) as u32 } else { *number as u32 }),
        Value::Arg { wide: false, .. } if high => return Word::Number(0),
        // Both architectures are little endian.
        Value::Arg { index, .. } => return Word::Load(ARGS + 8 * u32::from(*index) + if high { 4 } else { 0 }),
        Value::And(one, other) => (BPF_AND, one, other),
        Value::Or(one, other) => (BPF_OR, one, other),
    };
    let and = operator == BPF_AND;
    match (word(one, high), word(other, high)) {
        (Word::Number(one), Word::Number(other)) => Word::Number(if and { one & other } else { one | other }),
        (word, Word::Number(k)) | (Word::Number(k), word) => match (and, k) {
            (true, 0) => Word::Number(0),
            (false, u32::MAX) => Word::Number(u32::MAX),
            (true, u32::MAX) | (false, 0) => word,
            _ => Word::Both(operator, Box::new(word), Box::new(Word::Number(k))),
        },
        (one, other) => Word::Both(operator, Box::new(one), Box::new(other)),
    }
}
