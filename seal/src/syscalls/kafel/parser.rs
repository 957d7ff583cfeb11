//! The grammar of Kafel, by recursive descent.

use std::collections::HashMap;
use std::rc::Rc;

use super::lexer::{Lexer, Place, Token};
use crate::Error;
use crate::nearest::nearest;
use crate::syscalls::policy::{Action, MAX_RULES, Policy, Rule, errno_by_name};
use crate::syscalls::program::X32;
use crate::syscalls::source::Source;
use crate::syscalls::table::{Arch, Call};

/// The keywords that are no actions.
const OTHERS: [&str; 4] = ["POLICY", "USE", "DEFAULT", "SYSCALL"];

const ACTIONS: [&str; 10] =
    ["ALLOW", "LOG", "KILL", "KILL_THREAD", "DENY", "KILL_PROCESS", "USER_NOTIF", "ERRNO", "TRAP", "TRACE"];

fn is_keyword(name: &str) -> bool {
    OTHERS.contains(&name) || ACTIONS.contains(&name)
}

/// What `ON` may name: those that filters are made for, and those that Kafel knows besides.
const ARCHITECTURES: [(&str, Option<Arch>); 15] = [
    ("x86_64", Some(Arch::X86_64)),
    ("amd64", Some(Arch::X86_64)),
    ("aarch64", Some(Arch::Aarch64)),
    ("arm64", Some(Arch::Aarch64)),
    ("x86", None),
    ("i386", None),
    ("x32", None),
    ("arm", None),
    ("mips", None),
    ("mipso32", None),
    ("mips64", None),
    ("riscv64", None),
    ("m68k", None),
    ("s390x", None),
    ("ppc64le", None),
];

pub(super) struct Parser {
    lexer: Lexer,
    arch: Arch,
    pub(super) token: Token,
    pub(super) place: Place,
    pub(super) constants: HashMap<String, u64>,
    policies: HashMap<String, Vec<Rule>>,
    /// How deep the expression that is read is nested.
    pub(super) depth: usize,
    /// How many operators it has so far.
    pub(super) operators: usize,
}

/// The system call that a filter is for.
pub(super) struct Subject {
    /// None for one of another architecture.
    pub(super) number: Option<u32>,
    pub(super) call: Option<&'static Call>,
    pub(super) renamed: Option<Vec<String>>,
}

/// Compiles the text of a policy; an error tells its place.
pub fn parse(source: Source, arch: Arch) -> Result<Policy, Error> {
    let mut lexer = Lexer::new(source);
    let (token, place) = lexer.next()?;
    let (constants, policies) = (HashMap::new(), HashMap::new());
    let mut parser = Parser { lexer, arch, token, place, constants, policies, depth: 0, operators: 0 };
    parser.program()
}

impl Parser {
    fn program(&mut self) -> Result<Policy, Error> {
        let (mut rules, mut default) = (Vec::new(), None);
        if self.token == Token::End {
            return Err(self.place.error("the policy is empty"));
        }
        while self.token != Token::End {
            let place = self.place.clone();
            if self.take_sign("#")? {
                self.constant()?;
            } else if self.take_name("POLICY")? {
                self.policy()?;
            } else if self.take_name("DEFAULT")? {
                if default.replace(self.action()?).is_some() {
                    return Err(place.error("there is a DEFAULT already"));
                }
            } else {
                self.statements(&mut rules)?;
            }
        }
        Ok(Policy { rules, default: default.unwrap_or(Action::KillThread) })
    }

    fn constant(&mut self) -> Result<(), Error> {
        if !self.take_name("define")? {
            return Err(self.unexpected("define or include"));
        }
        let (name, place) = self.name("the name of a constant")?;
        let Token::Number(value) = self.token else { return Err(self.unexpected("a number")) };
        self.advance()?;
        match self.constants.insert(name.clone(), value) {
            Some(before) if before != value => Err(place.error(format!("the constant \"{name}\" is {before} already"))),
            _ => Ok(()),
        }
    }

    fn policy(&mut self) -> Result<(), Error> {
        let (name, place) = self.name("the name of a policy")?;
        let mut rules = Vec::new();
        self.sign("{")?;
        if !self.take_sign("}")? {
            self.statements(&mut rules)?;
            self.closed()?;
        }
        match self.policies.insert(name.clone(), rules) {
            Some(_) => Err(place.error(format!("there is a policy \"{name}\" already"))),
            None => Ok(()),
        }
    }

    fn statements(&mut self, rules: &mut Vec<Rule>) -> Result<(), Error> {
        loop {
            if self.take_name("USE")? {
                let (name, place) = self.name("the name of a policy")?;
                let used = self.policies.get(&name).ok_or_else(|| {
                    let near = nearest(&name, self.policies.keys().map(String::as_str));
                    place.error(format!("unknown policy \"{name}\"{}", meant(near)))
                })?;
                if rules.len() + used.len() > MAX_RULES {
                    return Err(place.error(format!("with this the policy has more than {MAX_RULES} rules")));
                }
                rules.extend_from_slice(used);
            } else {
                let action = self.action()?;
                self.filters(action, rules)?;
            }
            if !self.take_sign(",")? {
                return Ok(());
            }
        }
    }

    fn action(&mut self) -> Result<Action, Error> {
        let (token, place) = self.advance()?;
        let Token::Name(name) = &token else {
            return Err(place.error(format!("expected an action, POLICY, USE or DEFAULT, not {token}")));
        };
        let with_data: fn(u16) -> Action = match name.as_str() {
            "ALLOW" => return Ok(Action::Allow),
            "LOG" => return Ok(Action::Log),
            "KILL" | "KILL_THREAD" | "DENY" => return Ok(Action::KillThread),
            "KILL_PROCESS" => return Ok(Action::KillProcess),
            "USER_NOTIF" => return Ok(Action::Notify),
            "ERRNO" => Action::Errno,
            "TRAP" => Action::Trap,
            "TRACE" => Action::Trace,
            _ => {
                if is_keyword(name) {
                    return Err(place.error(format!("expected an action, not {token}")));
                }
                let near = nearest(name, ACTIONS.into_iter().chain(OTHERS));
                return Err(place.error(format!("unknown action \"{name}\"{}", meant(near))));
            }
        };
        self.sign("(")?;
        let (number, place) = match &self.token {
            Token::Name(errno) if name == "ERRNO" && !self.constants.contains_key(errno) => {
                let number = errno_by_name(errno).map(u64::from);
                (number.map_or_else(|| self.number().map(|found| found.0), Ok)?, self.advance()?.1)
            }
            _ => self.number()?,
        };
        self.sign(")")?;
        let data = u16::try_from(number);
        data.map(with_data)
            .map_err(|_| place.error(format!("{number} is not from 0 to 65535, as of {name} it must be")))
    }

    fn filters(&mut self, action: Action, rules: &mut Vec<Rule>) -> Result<(), Error> {
        self.sign("{")?;
        if self.take_sign("}")? {
            return Ok(());
        }
        loop {
            self.filter(action, rules)?;
            if !self.take_sign(",")? {
                return self.closed();
            }
        }
    }

    /// The end of a list in braces.
    fn closed(&mut self) -> Result<(), Error> {
        if self.take_sign("}")? { Ok(()) } else { Err(self.unexpected("\",\" or \"}\"")) }
    }

    fn filter(&mut self, action: Action, rules: &mut Vec<Rule>) -> Result<(), Error> {
        let (token, place) = self.advance()?;
        let by_number = match &token {
            Token::Name(name) if name == "SYSCALL" => {
                self.sign("[")?;
                let number = self.number()?.0;
                self.sign("]")?;
                Some(number)
            }
            Token::Name(name) if is_keyword(name) => {
                return Err(place.error(format!("expected a system call, not {token}")));
            }
            Token::Name(name) => self.constants.get(name).copied(),
            _ => return Err(place.error(format!("expected a system call, not {token}"))),
        };
        let renamed = self.renamed()?;
        let applies = self.applies()?;
        let subject = match (&token, by_number) {
            // Nothing is known of another architecture's calls.
            _ if !applies => Subject { number: None, call: None, renamed },
            (_, Some(number)) => self.by_number(number, renamed, &place)?,
            (Token::Name(name), None) => match self.arch.by_name(name) {
                Some(call) => Subject { number: Some(call.number), call: Some(call), renamed },
                None => return Err(place.error(self.unknown_call(name))),
            },
            _ => unreachable!("what is no name has a number"),
        };
        let mut condition = None;
        if self.take_sign("{")? && !self.take_sign("}")? {
            condition = Some(Rc::new(self.condition(&subject)?));
            self.sign("}")?;
        }
        if let Some(number) = subject.number {
            if rules.len() == MAX_RULES {
                return Err(place.error(format!("with this the policy has more than {MAX_RULES} rules")));
            }
            rules.push(Rule { number, condition, action });
        }
        Ok(())
    }

    fn by_number(&self, number: u64, renamed: Option<Vec<String>>, place: &Place) -> Result<Subject, Error> {
        // -1 may be written as such.
        let fits = number <= u64::from(u32::MAX) || number >= i32::MIN as u64;
        let short = number as u32;
        if !fits || self.arch == Arch::X86_64 && short >= X32 && short != u32::MAX {
            let why = if fits { "is one of x32, which is never let through" } else { "has more than 32 bits" };
            return Err(place.error(format!("the system call {number} {why}")));
        }
        Ok(Subject { number: Some(short), call: self.arch.by_number(short), renamed })
    }

    fn unknown_call(&self, name: &str) -> String {
        let others = [Arch::X86_64, Arch::Aarch64].into_iter().filter(|&arch| arch != self.arch);
        match others.into_iter().find(|arch| arch.by_name(name).is_some()) {
            Some(other) => format!(
                "{} has no system call \"{name}\": \"{name} ON {}\" is skipped here",
                self.arch.name(),
                other.name()
            ),
            None => format!("unknown system call \"{name}\"{}", meant(self.arch.nearest(name))),
        }
    }

    /// The names that arguments are given: `(a, b)`.
    fn renamed(&mut self) -> Result<Option<Vec<String>>, Error> {
        if !self.take_sign("(")? {
            return Ok(None);
        }
        let mut names = Vec::new();
        while !self.take_sign(")")? {
            if !names.is_empty() {
                self.sign(",")?;
            }
            let (name, place) = self.name("the name of an argument")?;
            if names.contains(&name) {
                return Err(place.error(format!("there is an argument \"{name}\" already")));
            }
            if names.len() == 6 {
                return Err(place.error("a system call has at most 6 arguments"));
            }
            names.push(name);
        }
        Ok(Some(names))
    }

    /// Whether the filter is for this architecture: `ON arch` or `ON {arch, …}`.
    fn applies(&mut self) -> Result<bool, Error> {
        if !self.take_name("ON")? {
            return Ok(true);
        }
        let listed = self.take_sign("{")?;
        let mut applies = false;
        loop {
            let (name, place) = self.name("an architecture")?;
            let known = ARCHITECTURES.iter().find(|(known, _)| *known == name).ok_or_else(|| {
                let near = nearest(&name, ARCHITECTURES.iter().map(|(known, _)| *known));
                place.error(format!("unknown architecture \"{name}\"{}", meant(near)))
            })?;
            applies |= known.1 == Some(self.arch);
            if !listed {
                return Ok(applies);
            }
            if !self.take_sign(",")? {
                self.sign("}")?;
                return Ok(applies);
            }
        }
    }

    /// A number, or a constant.
    fn number(&mut self) -> Result<(u64, Place), Error> {
        let (token, place) = self.advance()?;
        match &token {
            Token::Number(number) => Ok((*number, place)),
            Token::Name(name) => match self.constants.get(name) {
                Some(number) => Ok((*number, place)),
                None => {
                    let near = nearest(name, self.constants.keys().map(String::as_str));
                    Err(place.error(format!("unknown constant \"{name}\"{}", meant(near))))
                }
            },
            _ => Err(place.error(format!("expected a number, not {token}"))),
        }
    }

    /// Goes on to the next word; gives this one.
    pub(super) fn advance(&mut self) -> Result<(Token, Place), Error> {
        let (token, place) = self.lexer.next()?;
        Ok((std::mem::replace(&mut self.token, token), std::mem::replace(&mut self.place, place)))
    }

    pub(super) fn take_sign(&mut self, sign: &str) -> Result<bool, Error> {
        let is = matches!(&self.token, Token::Sign(found) if *found == sign);
        if is {
            self.advance()?;
        }
        Ok(is)
    }

    fn take_name(&mut self, name: &str) -> Result<bool, Error> {
        let is = matches!(&self.token, Token::Name(found) if found == name);
        if is {
            self.advance()?;
        }
        Ok(is)
    }

    pub(super) fn sign(&mut self, sign: &str) -> Result<(), Error> {
        if self.take_sign(sign)? { Ok(()) } else { Err(self.unexpected(&format!("\"{sign}\""))) }
    }

    fn name(&mut self, what: &str) -> Result<(String, Place), Error> {
        match &self.token {
            Token::Name(name) if !is_keyword(name) => {
                let name = name.clone();
                let (_, place) = self.advance()?;
                Ok((name, place))
            }
            _ => Err(self.unexpected(what)),
        }
    }

    pub(super) fn unexpected(&self, wanted: &str) -> Error {
        self.place.error(format!("expected {wanted}, not {}", self.token))
    }
}

/// The end of a message about an unknown name.
pub(super) fn meant(near: Option<&str>) -> String {
    near.map_or_else(String::new, |near| format!("; did you mean \"{near}\"?"))
}
