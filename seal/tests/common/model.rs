//! Policies as plain trees, with what they mean: told without the tools' own
//! parser, types and compiler.

use super::bpf::Call;

pub const KILL_PROCESS: u32 = libc::SECCOMP_RET_KILL_PROCESS;

/// The kernel's precedence (seccomp(2)).
const ORDER: [u32; 8] = [
    KILL_PROCESS,
    libc::SECCOMP_RET_KILL_THREAD,
    libc::SECCOMP_RET_TRAP,
    libc::SECCOMP_RET_ERRNO,
    libc::SECCOMP_RET_USER_NOTIF,
    libc::SECCOMP_RET_TRACE,
    libc::SECCOMP_RET_LOG,
    libc::SECCOMP_RET_ALLOW,
];

#[derive(Clone, Debug)]
pub enum Value {
    Number(u64),
    /// Which argument, and whether it has 8 bytes.
    Arg(usize, bool),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
}

#[derive(Clone, Debug)]
pub enum Condition {
    Compare(Value, &'static str, Value),
    Not(Box<Self>),
    All(Vec<Self>),
    Any(Vec<Self>),
}

#[derive(Clone, Debug)]
pub struct Rule {
    pub number: u32,
    pub condition: Option<Condition>,
    /// What a filter returns.
    pub result: u32,
}

#[derive(Clone, Debug)]
pub struct Policy {
    pub rules: Vec<Rule>,
    pub default: u32,
}

impl Value {
    fn of(&self, args: &[u64; 6]) -> u64 {
        match self {
            Self::Number(number) => *number,
            Self::Arg(index, true) => args[*index],
            Self::Arg(index, false) => args[*index] & 0xffff_ffff,
            Self::And(one, other) => one.of(args) & other.of(args),
            Self::Or(one, other) => one.of(args) | other.of(args),
        }
    }

    /// Tells each number and each argument's being wide.
    fn leaves(&self, tell: &mut impl FnMut(Result<u64, bool>)) {
        match self {
            Self::Number(number) => tell(Ok(*number)),
            Self::Arg(_, wide) => tell(Err(*wide)),
            Self::And(one, other) | Self::Or(one, other) => {
                one.leaves(tell);
                other.leaves(tell);
            }
        }
    }
}

/// Whether arguments are compared, each of 4 bytes, with nothing but numbers of
/// 32 bits, with a sign or without.
fn is_short(left: &Value, right: &Value) -> bool {
    let (mut args, mut short) = (0, true);
    for side in [left, right] {
        side.leaves(&mut |leaf| match leaf {
            Ok(number) => {
                let signed = number as i64;
                short &= (-(1i64 << 31)..1i64 << 32).contains(&signed);
            }
            Err(wide) => {
                args += 1;
                short &= !wide;
            }
        });
    }
    args > 0 && short
}

impl Condition {
    pub fn holds(&self, args: &[u64; 6]) -> bool {
        match self {
            Self::Compare(left, operator, right) => {
                let bits = if is_short(left, right) { 0xffff_ffff } else { u64::MAX };
                let (left, right) = (left.of(args) & bits, right.of(args) & bits);
                match *operator {
                    "==" => left == right,
                    "!=" => left != right,
                    "<" => left < right,
                    "<=" => left <= right,
                    ">" => left > right,
                    ">=" => left >= right,
                    other => panic!("{other} is no comparison"),
                }
            }
            Self::Not(other) => !other.holds(args),
            Self::All(all) => all.iter().all(|one| one.holds(args)),
            Self::Any(any) => any.iter().any(|one| one.holds(args)),
        }
    }
}

impl Policy {
    fn result(&self, call: &Call) -> u32 {
        let matches = |rule: &&Rule| {
            rule.number == call.number && rule.condition.as_ref().is_none_or(|one| one.holds(&call.args))
        };
        self.rules.iter().find(matches).map_or(self.default, |rule| rule.result)
    }
}

/// What filters of the architecture `audit`, loaded one after another, come to.
pub fn result(policies: &[Policy], audit: u32, call: &Call) -> u32 {
    let is_x32 = audit == 0xc000_003e && (0x4000_0000..u32::MAX).contains(&call.number);
    if call.audit != audit || is_x32 {
        return KILL_PROCESS;
    }
    let rank = |result: u32| ORDER.iter().position(|&action| action == result & 0xffff_0000).unwrap();
    let mut combined = libc::SECCOMP_RET_ALLOW;
    for policy in policies {
        let later = policy.result(call);
        if rank(later) <= rank(combined) {
            combined = later;
        }
    }
    combined
}
