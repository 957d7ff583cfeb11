//! The grammar of Kafel, by recursive descent.

use std::collections::HashMap;

use super::lexer::{Lexer, Place, Token};
use crate::Error;
use crate::nearest::nearest;
use crate::syscalls::policy::{Action, Condition, Policy, Rule, Test, Value};
use crate::syscalls::program::X32;
use crate::syscalls::source::Source;
use crate::syscalls::table::{Arch, Arg, Call};

/// Those that begin a statement or an action, which no name may be.
const KEYWORDS: [&str; 14] = [
    "ALLOW",
    "LOG",
    "KILL",
    "KILL_THREAD",
    "DENY",
    "KILL_PROCESS",
    "USER_NOTIF",
    "ERRNO",
    "TRAP",
    "TRACE",
    "POLICY",
    "USE",
    "DEFAULT",
    "SYSCALL",
];

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

/// A policy may use others, which use others: more rules than this are no policy.
const MAX_RULES: usize = 1 << 16;

/// How deep expressions may be nested, and how many operators one may have.
const MAX_DEPTH: usize = 128;
const MAX_OPERATORS: usize = 4096;

struct Parser {
    lexer: Lexer,
    arch: Arch,
    token: Token,
    place: Place,
    constants: HashMap<String, u64>,
    policies: HashMap<String, Vec<Rule>>,
    depth: usize,
    operators: usize,
}

/// The system call that a filter is for.
struct Subject {
    /// None for one of another architecture.
    number: Option<u32>,
    call: Option<&'static Call>,
    renamed: Option<Vec<String>>,
}

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
            self.sign("}")?;
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
                let near = nearest(name, KEYWORDS.into_iter());
                return Err(place.error(format!("unknown action \"{name}\"{}", meant(near))));
            }
        };
        self.sign("(")?;
        let (number, place) = self.number()?;
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
                return self.sign("}");
            }
        }
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
            Token::Name(name) if KEYWORDS.contains(&name.as_str()) => {
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
            self.operators = 0;
            condition = Some(self.any(&subject, true)?);
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

    /// Conditions of which one must hold: with `||`, and at the lowest precedence with commas.
    fn any(&mut self, subject: &Subject, commas: bool) -> Result<Condition, Error> {
        let mut any = vec![if commas { self.any(subject, false)? } else { self.all(subject)? }];
        while self.take_sign(if commas { "," } else { "||" })? {
            self.count()?;
            any.push(if commas { self.any(subject, false)? } else { self.all(subject)? });
        }
        Ok(if any.len() == 1 { any.remove(0) } else { Condition::Any(any) })
    }

    fn all(&mut self, subject: &Subject) -> Result<Condition, Error> {
        let mut all = vec![self.primary(subject)?];
        while self.take_sign("&&")? {
            self.count()?;
            all.push(self.primary(subject)?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Condition::All(all) })
    }

    /// `(` may open a condition or a value: which one shows at what follows.
    fn primary(&mut self, subject: &Subject) -> Result<Condition, Error> {
        self.deeper(|parser| {
            if parser.take_sign("!")? {
                return Ok(Condition::Not(Box::new(parser.primary(subject)?)));
            }
            let left = match parser.opened(subject)? {
                Opened::Condition(condition) => return Ok(condition),
                Opened::Value(left) => left,
            };
            parser.comparison(subject, left)
        })
    }

    fn comparison(&mut self, subject: &Subject, left: Value) -> Result<Condition, Error> {
        let tests = [Test::Eq, Test::Ne, Test::Ge, Test::Le, Test::Gt, Test::Lt];
        let Some(test) = tests.into_iter().find(|test| self.token == Token::Sign(test.symbol())) else {
            return Err(self.unexpected("a comparison (== != < > <= >=)"));
        };
        self.count()?;
        self.advance()?;
        let right = self.value(subject)?;
        Ok(Condition::Compare(test, left, right))
    }

    /// A value, or a condition in parentheses.
    fn opened(&mut self, subject: &Subject) -> Result<Opened, Error> {
        if self.token != Token::Sign("(") {
            return Ok(Opened::Value(self.value(subject)?));
        }
        self.advance()?;
        let inner = self.deeper(|parser| {
            if parser.token == Token::Sign("!") {
                return Ok(Opened::Condition(parser.any(subject, true)?));
            }
            match parser.opened(subject)? {
                Opened::Value(value) if parser.token == Token::Sign(")") => Ok(Opened::Value(value)),
                Opened::Value(value) => {
                    let first = parser.comparison(subject, value)?;
                    Ok(Opened::Condition(parser.after(subject, first)?))
                }
                Opened::Condition(first) => Ok(Opened::Condition(parser.after(subject, first)?)),
            }
        })?;
        self.sign(")")?;
        match inner {
            // (a | b) & c
            Opened::Value(value) => Ok(Opened::Value(self.or(subject, Some(value))?)),
            condition => Ok(condition),
        }
    }

    /// What may follow the first condition in parentheses.
    fn after(&mut self, subject: &Subject, first: Condition) -> Result<Condition, Error> {
        let mut all = vec![first];
        while self.take_sign("&&")? {
            self.count()?;
            all.push(self.primary(subject)?);
        }
        let mut any = vec![if all.len() == 1 { all.remove(0) } else { Condition::All(all) }];
        while self.take_sign("||")? {
            self.count()?;
            any.push(self.all(subject)?);
        }
        while self.take_sign(",")? {
            self.count()?;
            any.push(self.any(subject, false)?);
        }
        Ok(if any.len() == 1 { any.remove(0) } else { Condition::Any(any) })
    }

    fn value(&mut self, subject: &Subject) -> Result<Value, Error> {
        self.or(subject, None)
    }

    /// Values with `|`, the first of them perhaps read already.
    fn or(&mut self, subject: &Subject, first: Option<Value>) -> Result<Value, Error> {
        let mut value = self.and(subject, first)?;
        while self.take_sign("|")? {
            self.count()?;
            value = Value::Or(Box::new(value), Box::new(self.and(subject, None)?));
        }
        Ok(value)
    }

    fn and(&mut self, subject: &Subject, first: Option<Value>) -> Result<Value, Error> {
        let mut value = first.map_or_else(|| self.operand(subject), Ok)?;
        while self.take_sign("&")? {
            self.count()?;
            value = Value::And(Box::new(value), Box::new(self.operand(subject)?));
        }
        Ok(value)
    }

    fn operand(&mut self, subject: &Subject) -> Result<Value, Error> {
        if self.take_sign("(")? {
            let value = self.deeper(|parser| parser.value(subject))?;
            self.sign(")")?;
            return Ok(value);
        }
        let (token, place) = self.advance()?;
        match token {
            Token::Number(number) => Ok(Value::Number(number)),
            Token::Name(name) => match self.constants.get(&name) {
                Some(number) => Ok(Value::Number(*number)),
                None => argument(subject, &name, &place),
            },
            _ => Err(place.error(format!("expected a number or an argument, not {token}"))),
        }
    }

    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.place.error("this is nested too deep"));
        }
        let result = read(self);
        self.depth -= 1;
        result
    }

    fn count(&mut self) -> Result<(), Error> {
        self.operators += 1;
        if self.operators > MAX_OPERATORS {
            return Err(self.place.error("this condition has too many parts"));
        }
        Ok(())
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
    fn advance(&mut self) -> Result<(Token, Place), Error> {
        let (token, place) = self.lexer.next()?;
        Ok((std::mem::replace(&mut self.token, token), std::mem::replace(&mut self.place, place)))
    }

    fn take_sign(&mut self, sign: &str) -> Result<bool, Error> {
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

    fn sign(&mut self, sign: &str) -> Result<(), Error> {
        if self.take_sign(sign)? { Ok(()) } else { Err(self.unexpected(&format!("\"{sign}\""))) }
    }

    fn name(&mut self, what: &str) -> Result<(String, Place), Error> {
        match &self.token {
            Token::Name(name) if !KEYWORDS.contains(&name.as_str()) => {
                let name = name.clone();
                let (_, place) = self.advance()?;
                Ok((name, place))
            }
            _ => Err(self.unexpected(what)),
        }
    }

    fn unexpected(&self, wanted: &str) -> Error {
        self.place.error(format!("expected {wanted}, not {}", self.token))
    }
}

enum Opened {
    Condition(Condition),
    Value(Value),
}

fn argument(subject: &Subject, name: &str, place: &Place) -> Result<Value, Error> {
    let kernel: Vec<Arg> = subject.call.into_iter().flat_map(Call::args).collect();
    let names: Vec<&str> = match &subject.renamed {
        Some(names) => names.iter().map(String::as_str).collect(),
        None => kernel.iter().map(|arg| arg.name).collect(),
    };
    // Of a call that is not of this architecture nothing is known.
    if subject.number.is_none() && subject.renamed.is_none() {
        return Ok(Value::Number(0));
    }
    match names.iter().position(|known| *known == name) {
        Some(index) => Ok(Value::Arg { index: index as u8, wide: kernel.get(index).is_none_or(|arg| arg.wide) }),
        None if names.is_empty() => Err(place.error(format!("unknown argument \"{name}\": there are none with names"))),
        None => {
            let near = nearest(name, names.iter().copied());
            let known = if near.is_none() { format!("; there are {}", names.join(", ")) } else { meant(near) };
            Err(place.error(format!("unknown argument or constant \"{name}\"{known}")))
        }
    }
}

fn meant(near: Option<&str>) -> String {
    near.map_or_else(String::new, |near| format!("; did you mean \"{near}\"?"))
}
