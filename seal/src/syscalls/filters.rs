//! The filters that a command is to have: from what the options name to
//! programs in the kernel.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::rc::Rc;

use libc::sock_filter;
use nix::errno::Errno;

use super::decide::Decisions;
use super::explore::outcomes;
use super::policy::{Action, Condition, Policy, Rule, Test, Value};
use super::program::{MAX_INSTRUCTIONS, Program, compile};
use super::source::Source;
use super::table::Arch;
use super::{explain, kafel, profile};
use crate::{Context, Error, caps, sys};

const TIOCSTI: u64 = 0x5412;
const TIOCLINUX: u64 = 0x541c;

/// What is asked for, in its order.
#[derive(Default)]
pub struct Filters {
    wanted: Vec<Wanted>,
    /// Ready programs, which are loaded first.
    programs: Vec<Program>,
    /// Whether what is refused is logged.
    pub log: bool,
}

enum Wanted {
    Policy(Policy),
    /// It depends on the capabilities that the command has.
    Profile(Source),
}

/// Programs, ready to be loaded.
pub struct Compiled {
    programs: Vec<Program>,
    /// The one of them that is no ready one.
    own: Option<Program>,
    log: bool,
}

const ARCH: Arch = Arch::NATIVE;

impl Filters {
    /// Whether nothing was asked for.
    pub fn is_empty(&self) -> bool {
        self.wanted.is_empty() && self.programs.is_empty()
    }

    /// Adds a policy in Kafel or a profile in JSON, told apart by what is in it.
    pub fn add(&mut self, source: Source) -> Result<(), Error> {
        self.wanted.push(match profile::is_json(&source.text) {
            true => Wanted::Profile(source),
            false => Wanted::Policy(kafel::parse(source, ARCH)?),
        });
        Ok(())
    }

    /// Adds what refuses these calls with EPERM, or with `allow` all others.
    pub fn add_calls(&mut self, option: &str, list: &str, allow: bool) -> Result<(), Error> {
        let number = |name: &str| {
            ARCH.by_name(name).map(|call| call.number).ok_or_else(|| {
                let hint = ARCH.nearest(name).map(|near| format!("did you mean {near}?"));
                Error::new(format!("--{option}: unknown system call {name:?}")).maybe_hint(hint)
            })
        };
        let numbers = list.split(',').map(str::trim).map(number).collect::<Result<Vec<_>, _>>()?;
        let denied = Action::Errno(Errno::EPERM as u16);
        let (these, others) = if allow { (Action::Allow, denied) } else { (denied, Action::Allow) };
        self.wanted.push(Wanted::Policy(Policy::of_calls(numbers, these, others)));
        Ok(())
    }

    /// Adds the program that can be read from an fd, `struct sock_filter` after
    /// another, as bubblewrap takes it.
    pub fn add_program(&mut self, fd: BorrowedFd) -> Result<(), Error> {
        let number = fd.as_raw_fd();
        let cannot = || format!("cannot read the program of --bpf {number}");
        let mut bytes = Vec::new();
        let file = File::from(rustix::io::fcntl_dupfd_cloexec(fd, 3).tried(cannot)?);
        file.take(1 << 20).read_to_end(&mut bytes).tried(cannot)?;
        if bytes.is_empty() || bytes.len() % 8 != 0 || bytes.len() / 8 > MAX_INSTRUCTIONS {
            return Err(Error::new(format!("--bpf {number}: {} bytes are no program", bytes.len()))
                .hint(format!("it is 1 to {MAX_INSTRUCTIONS} instructions of 8 bytes each")));
        }
        let instruction = |bytes: &[u8]| sock_filter {
            code: u16::from_ne_bytes([bytes[0], bytes[1]]),
            jt: bytes[2],
            jf: bytes[3],
            k: u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        };
        self.programs.push(bytes.chunks_exact(8).map(instruction).collect());
        Ok(())
    }

    /// Refuses further user namespaces. The flags of clone3(2) are out of a
    /// filter's reach: it is said not to exist, and clone(2) is used in its place.
    pub fn refuse_user_namespaces(&mut self) {
        let flags = Value::Arg { index: 0, wide: true };
        let newuser = Value::And(Box::new(flags), Box::new(Value::Number(libc::CLONE_NEWUSER as u64)));
        let makes_one = Condition::Compare(Test::Ne, newuser, Value::Number(0));
        // Who enters one that is there has all capabilities in it, too. With 0 any
        // kind of namespace is entered.
        let kind = || Value::Arg { index: 1, wide: false };
        let of_users = Value::And(Box::new(kind()), Box::new(Value::Number(libc::CLONE_NEWUSER as u64)));
        let enters_one = Condition::Any(vec![
            Condition::Compare(Test::Eq, kind(), Value::Number(0)),
            Condition::Compare(Test::Ne, of_users, Value::Number(0)),
        ]);
        let denied = Action::Errno(Errno::EPERM as u16);
        self.refuse([
            ("clone", Some(makes_one.clone()), denied),
            ("unshare", Some(makes_one), denied),
            ("setns", Some(enters_one), denied),
            ("clone3", None, Action::Errno(Errno::ENOSYS as u16)),
        ]);
    }

    /// Refuses to put anything into a terminal's input (CVE-2017-5226), whatever
    /// is above the 32 bits that the kernel takes of the request.
    pub fn refuse_tty_input(&mut self) {
        let request =
            |number| Condition::Compare(Test::Eq, Value::Arg { index: 1, wide: false }, Value::Number(number));
        let either = Condition::Any(vec![request(TIOCSTI), request(TIOCLINUX)]);
        self.refuse([("ioctl", Some(either), Action::Errno(Errno::EPERM as u16))]);
    }

    /// Refuses the ways to a TCP port that Landlock does not see: MPTCP and SMC
    /// sockets, connecting by sending (TCP Fast Open), and io_uring, which could
    /// do both.
    pub fn refuse_other_ways_to_ports(&mut self) {
        const AF_SMC: u64 = 43;
        const IPPROTO_SMC: u64 = 256;
        let argument = |index| Value::Arg { index, wide: false };
        let is = |index, number| Condition::Compare(Test::Eq, argument(index), Value::Number(number));
        let fast = |index| {
            let flag = Value::And(Box::new(argument(index)), Box::new(Value::Number(libc::MSG_FASTOPEN as u64)));
            Some(Condition::Compare(Test::Ne, flag, Value::Number(0)))
        };
        let other = Condition::Any(vec![is(0, AF_SMC), is(2, IPPROTO_SMC), is(2, libc::IPPROTO_MPTCP as u64)]);
        // As Landlock says it.
        let denied = Action::Errno(Errno::EACCES as u16);
        self.refuse([
            ("socket", Some(other), denied),
            ("sendto", fast(3), denied),
            ("sendmsg", fast(2), denied),
            ("sendmmsg", fast(3), denied),
            ("io_uring_setup", None, denied),
        ]);
    }

    /// Refuses to become dumpable again.
    pub fn refuse_to_become_dumpable(&mut self) {
        let option = Value::Arg { index: 0, wide: false };
        let sets = Condition::Compare(Test::Eq, option, Value::Number(libc::PR_SET_DUMPABLE as u64));
        let yes = Condition::Compare(Test::Ne, Value::Arg { index: 1, wide: true }, Value::Number(0));
        self.refuse([("prctl", Some(Condition::All(vec![sets, yes])), Action::Errno(Errno::EPERM as u16))]);
    }

    fn refuse<const N: usize>(&mut self, rules: [(&str, Option<Condition>, Action); N]) {
        let rule = |(name, condition, action): (&str, Option<Condition>, _)| {
            let number = ARCH.by_name(name).expect("every architecture has it").number;
            Rule { number, condition: condition.map(Rc::new), action }
        };
        let rules = rules.into_iter().map(rule).collect();
        self.wanted.push(Wanted::Policy(Policy { rules, default: Action::Allow }));
    }

    fn policies(&self, capabilities: caps::Set) -> Result<(Vec<Policy>, bool), Error> {
        let mut log = self.log;
        let of = |wanted: &Wanted| match wanted {
            Wanted::Policy(policy) => Ok(policy.clone()),
            Wanted::Profile(source) => {
                let has = |name: &str| caps::contains(capabilities, name);
                let (policy, logs) = profile::parse(source, ARCH, has)?;
                log |= logs;
                Ok(policy)
            }
        };
        let policies = self.wanted.iter().map(of).collect::<Result<_, Error>>()?;
        Ok((policies, log))
    }

    /// Compiles everything for a command that has these capabilities.
    ///
    /// Fails if a program is too large, if one of them refuses the call that
    /// `starts` the command, or if two of them would refuse the next one.
    pub fn compile(&self, capabilities: caps::Set, starts: Option<&str>) -> Result<Compiled, Error> {
        let (policies, log) = self.policies(capabilities)?;
        let mut programs = self.programs.clone();
        let own = if policies.is_empty() { None } else { Some(compile(ARCH, &policies)?) };
        if let Some(own) = &own {
            // What is ENOSYS in place of USER_NOTIF must not come before another errno.
            let at = if own.iter().any(asks_supervisor) { 0 } else { programs.len() };
            programs.insert(at, own.clone());
        }
        if let Some(call) = starts.filter(|call| programs.iter().any(|program| !may(program, call))) {
            return Err(Error::new(format!("the filter refuses {call}, with which the command is started")).hint(
                "allow it, and what the command uses besides: --learn FILE tells; a policy without DEFAULT kills",
            ));
        }
        // Only the last one may refuse to load another.
        if programs.len() > 1 {
            let (mut others, last): (Vec<_>, Vec<_>) = programs.into_iter().partition(|one| may(one, "seccomp"));
            if last.len() > 1 {
                return Err(Error::new("two of the programs refuse seccomp, with which the second of them is loaded")
                    .hint("one program of --bpf can be like that if no other filter is"));
            }
            others.extend(last);
            programs = others;
        }
        Ok(Compiled { programs, own, log })
    }

    /// The table of `--explain`.
    pub fn explain(&self, capabilities: caps::Set) -> Result<String, Error> {
        let compiled = self.compile(capabilities, None)?;
        let (decisions, _) = Decisions::new(&self.policies(capabilities)?.0)?;
        Ok(explain::table(ARCH, &compiled.programs, &decisions))
    }
}

impl Compiled {
    /// The one program, as `--bpf` and bubblewrap take it.
    pub fn bytes(&self) -> Result<Vec<u8>, Error> {
        let [program] = self.programs.as_slice() else {
            return Err(Error::new(format!("--emit-bpf writes one program, and there are {}", self.programs.len())));
        };
        let bytes = |one: &sock_filter| {
            let [a, b] = one.code.to_ne_bytes();
            let [c, d, e, f] = one.k.to_ne_bytes();
            [a, b, one.jt, one.jf, c, d, e, f]
        };
        Ok(program.iter().flat_map(bytes).collect())
    }

    /// Loads them for this process and what it becomes or starts, for good.
    pub fn load(&self) -> Result<(), Error> {
        let flags = if self.log { libc::SECCOMP_FILTER_FLAG_LOG } else { 0 };
        for program in &self.programs {
            let own = self.own.as_ref().filter(|own| *own == program).map(without_supervisor);
            sys::seccomp_set_filter(own.as_ref().unwrap_or(program), flags).map_err(|errno| {
                let hint = match errno {
                    Errno::EINVAL => Some("the kernel takes this program for no filter of system calls"),
                    Errno::ENOMEM => Some("there are too many filters already"),
                    Errno::EACCES => Some("no_new_privs is not set"),
                    Errno::EPERM => Some("an earlier filter refuses to load another"),
                    _ => None,
                };
                Error::new("cannot load the filter of system calls").because(errno).maybe_hint(hint)
            })?;
        }
        Ok(())
    }
}

/// What asks a supervisor fails with ENOSYS, since there is none; the kernel does
/// the same, until the command makes itself the supervisor of a filter that it
/// loads in its turn, and lets itself go on.
fn without_supervisor(program: &Program) -> Program {
    let enosys = Action::Errno(Errno::ENOSYS as u16).code();
    program.iter().map(|one| if asks_supervisor(one) { sock_filter { k: enosys, ..*one } } else { *one }).collect()
}

fn asks_supervisor(one: &sock_filter) -> bool {
    let returns = u32::from(one.code) == libc::BPF_RET | libc::BPF_K;
    returns && one.k & libc::SECCOMP_RET_ACTION_FULL == libc::SECCOMP_RET_USER_NOTIF
}

/// Whether a program may let a system call through.
fn may(program: &Program, name: &str) -> bool {
    let Some(call) = ARCH.by_name(name) else { return false };
    let found = outcomes(program, ARCH.audit(), call.number);
    let runs = |action: &Action| matches!(action, Action::Allow | Action::Log | Action::Notify | Action::Trace(_));
    found.others || found.actions.iter().any(runs)
}
