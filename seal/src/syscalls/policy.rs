//! What a policy says, whatever language it was written in: rules of which the
//! first that matches a system call decides, and an action for the rest.

use std::fmt;
use std::rc::Rc;

use nix::errno::Errno;

/// What becomes of a system call (seccomp(2), SECCOMP_RET_*).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// SIGSYS ends the process.
    KillProcess,
    /// SIGSYS ends the thread.
    KillThread,
    /// SIGSYS is sent, with this as `si_errno`.
    Trap(u16),
    /// It fails with this errno; the kernel takes what is above 4095 for 4095.
    Errno(u16),
    /// A supervisor is asked; without one it fails with ENOSYS.
    Notify,
    /// A tracer is asked, with this as its message; without one it fails with ENOSYS.
    Trace(u16),
    /// It runs and is logged.
    Log,
    /// It runs.
    Allow,
}

impl Action {
    /// What a filter returns for it.
    pub fn code(self) -> u32 {
        match self {
            Self::KillProcess => libc::SECCOMP_RET_KILL_PROCESS,
            Self::KillThread => libc::SECCOMP_RET_KILL_THREAD,
            Self::Trap(data) => libc::SECCOMP_RET_TRAP | u32::from(data),
            Self::Errno(data) => libc::SECCOMP_RET_ERRNO | u32::from(data),
            Self::Notify => libc::SECCOMP_RET_USER_NOTIF,
            Self::Trace(data) => libc::SECCOMP_RET_TRACE | u32::from(data),
            Self::Log => libc::SECCOMP_RET_LOG,
            Self::Allow => libc::SECCOMP_RET_ALLOW,
        }
    }

    /// The action that a filter's return value means; what the kernel does not
    /// know kills the process.
    pub fn from_code(code: u32) -> Self {
        let data = (code & libc::SECCOMP_RET_DATA) as u16;
        match code & libc::SECCOMP_RET_ACTION_FULL {
            libc::SECCOMP_RET_KILL_THREAD => Self::KillThread,
            libc::SECCOMP_RET_TRAP => Self::Trap(data),
            libc::SECCOMP_RET_ERRNO => Self::Errno(data),
            libc::SECCOMP_RET_USER_NOTIF => Self::Notify,
            libc::SECCOMP_RET_TRACE => Self::Trace(data),
            libc::SECCOMP_RET_LOG => Self::Log,
            libc::SECCOMP_RET_ALLOW => Self::Allow,
            _ => Self::KillProcess,
        }
    }

    /// What the kernel does where one filter says this and one that was loaded
    /// after it says `later`: the first in the order of [`Action`] counts, of
    /// the same action the later one's data.
    pub fn and(self, later: Self) -> Self {
        // As a signed number KILL_PROCESS comes first.
        let rank = |action: Self| (action.code() & libc::SECCOMP_RET_ACTION_FULL) as i32;
        if rank(self) < rank(later) { self } else { later }
    }
}

impl fmt::Display for Action {
    /// As Kafel writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KillProcess => f.write_str("KILL_PROCESS"),
            Self::KillThread => f.write_str("KILL_THREAD"),
            Self::Trap(data) => write!(f, "TRAP({data})"),
            Self::Errno(data) => write!(f, "ERRNO({data})"),
            Self::Notify => f.write_str("USER_NOTIF"),
            Self::Trace(data) => write!(f, "TRACE({data})"),
            Self::Log => f.write_str("LOG"),
            Self::Allow => f.write_str("ALLOW"),
        }
    }
}

/// The number of an errno by its name.
pub fn errno_by_name(name: &str) -> Option<u16> {
    // The last one is EHWPOISON.
    let mut all = (1..=133).map(Errno::from_raw).filter(|errno| *errno != Errno::UnknownErrno);
    all.find(|errno| format!("{errno:?}") == name).map(|errno| errno as u16)
}

/// A 64-bit number that a condition looks at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// A constant.
    Number(u64),
    /// An argument, 0 to 5: all of it, or its low 4 bytes.
    Arg {
        /// Which one.
        index: u8,
        /// Whether all 8 bytes count.
        wide: bool,
    },
    /// The bits that are in both.
    And(Box<Self>, Box<Self>),
    /// The bits that are in one or the other.
    Or(Box<Self>, Box<Self>),
}

impl Value {
    /// Whether all arguments in it are of 4 bytes, and each number is one of 32
    /// bits, a negative one included: then -1 is what a 4-byte argument of -1 is.
    pub fn is_narrow(&self) -> bool {
        match self {
            Self::Number(number) => *number <= u64::from(u32::MAX) || *number >= i32::MIN as u64,
            Self::Arg { wide, .. } => !wide,
            Self::And(one, other) | Self::Or(one, other) => one.is_narrow() && other.is_narrow(),
        }
    }

    /// Whether an argument is in it.
    pub fn has_arg(&self) -> bool {
        match self {
            Self::Number(_) => false,
            Self::Arg { .. } => true,
            Self::And(one, other) | Self::Or(one, other) => one.has_arg() || other.has_arg(),
        }
    }
}

/// A comparison of unsigned numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is its operator's name")]
pub enum Test {
    Eq,
    Ne,
    Gt,
    Ge,
    Lt,
    Le,
}

impl Test {
    /// The operator.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Eq => "==",
            Self::Ne => "!=",
            Self::Gt => ">",
            Self::Ge => ">=",
            Self::Lt => "<",
            Self::Le => "<=",
        }
    }
}

/// What the arguments of a system call must be like.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// One value compared with another.
    Compare(Test, Value, Value),
    /// Not so.
    Not(Box<Self>),
    /// Each of these.
    All(Vec<Self>),
    /// At least one of these.
    Any(Vec<Self>),
}

/// What becomes of one system call, if it meets a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its number.
    pub number: u32,
    /// None if its arguments do not matter. Shared, since policies use others.
    pub condition: Option<Rc<Condition>>,
    /// What is done.
    pub action: Action,
}

/// A policy may use others, which use others: more rules than this are no policy.
pub const MAX_RULES: usize = 1 << 16;

/// Rules in their order, and what is done where none matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The first that matches counts.
    pub rules: Vec<Rule>,
    /// For all other system calls.
    pub default: Action,
}

impl Policy {
    /// One that does the same with some system calls, and something else with all others.
    pub fn of_calls(numbers: impl IntoIterator<Item = u32>, action: Action, default: Action) -> Self {
        let rule = |number| Rule { number, condition: None, action };
        Self { rules: numbers.into_iter().map(rule).collect(), default }
    }
}
