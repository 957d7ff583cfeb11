//! What the arguments of a system call must be like: the expressions of Kafel.

use super::lexer::{Place, Token};
use super::parser::{Parser, Subject, meant};
use crate::Error;
use crate::nearest::nearest;
use crate::syscalls::policy::{Condition, Test, Value};
use crate::syscalls::table::{Arg, Call};

/// How deep expressions may be nested, and how many operators one may have.
const MAX_DEPTH: usize = 64;
const MAX_OPERATORS: usize = 4096;

/// What `(` opens shows only at what follows.
enum Found {
    Condition(Condition),
    Value(Value),
}

impl Parser {
    /// Reads the conditions of one filter.
    pub(super) fn condition(&mut self, subject: &Subject) -> Result<Condition, Error> {
        self.operators = 0;
        let found = self.joined(subject, &[",", "||", "&&"])?;
        self.condition_of(found)
    }

    /// Conditions with these signs between them, of which the first binds least.
    fn joined(&mut self, subject: &Subject, signs: &[&'static str]) -> Result<Found, Error> {
        let [sign, tighter @ ..] = signs else { return self.comparison(subject) };
        let first = self.joined(subject, tighter)?;
        if self.token != Token::Sign(sign) {
            return Ok(first);
        }
        let mut conditions = vec![self.condition_of(first)?];
        while self.take_operator(sign)? {
            let next = self.joined(subject, tighter)?;
            conditions.push(self.condition_of(next)?);
        }
        let joined = if *sign == "&&" { Condition::All } else { Condition::Any };
        Ok(Found::Condition(joined(conditions)))
    }

    /// `!` is for all of a comparison: `!a == b` is `!(a == b)`.
    fn comparison(&mut self, subject: &Subject) -> Result<Found, Error> {
        if self.take_operator("!")? {
            let found = self.deeper(|parser| parser.comparison(subject))?;
            return Ok(Found::Condition(Condition::Not(Box::new(self.condition_of(found)?))));
        }
        let place = self.place.clone();
        let left = self.bits(subject, &["|", "&"])?;
        for test in [Test::Eq, Test::Ne, Test::Ge, Test::Le, Test::Gt, Test::Lt] {
            if self.take_operator(test.symbol())? {
                let left = value_of(left, &place)?;
                let place = self.place.clone();
                let right = value_of(self.bits(subject, &["|", "&"])?, &place)?;
                return Ok(Found::Condition(Condition::Compare(test, left, right)));
            }
        }
        Ok(left)
    }

    /// Values with these signs between them, of which the first binds least.
    fn bits(&mut self, subject: &Subject, signs: &[&'static str]) -> Result<Found, Error> {
        let [sign, tighter @ ..] = signs else { return self.operand(subject) };
        let place = self.place.clone();
        let mut found = self.bits(subject, tighter)?;
        while self.take_operator(sign)? {
            let left = Box::new(value_of(found, &place)?);
            let place = self.place.clone();
            let right = Box::new(value_of(self.bits(subject, tighter)?, &place)?);
            found = Found::Value(if *sign == "&" { Value::And(left, right) } else { Value::Or(left, right) });
        }
        Ok(found)
    }

    fn operand(&mut self, subject: &Subject) -> Result<Found, Error> {
        if self.take_sign("(")? {
            let found = self.deeper(|parser| parser.joined(subject, &[",", "||", "&&"]))?;
            self.sign(")")?;
            return Ok(found);
        }
        let (token, place) = self.advance()?;
        let value = match &token {
            Token::Number(number) => Value::Number(*number),
            Token::Name(name) => match self.constants.get(name) {
                Some(number) => Value::Number(*number),
                None => argument(subject, name, &place)?,
            },
            _ => return Err(place.error(format!("expected a number or an argument, not {token}"))),
        };
        Ok(Found::Value(value))
    }

    /// A number alone is no condition.
    fn condition_of(&self, found: Found) -> Result<Condition, Error> {
        match found {
            Found::Condition(condition) => Ok(condition),
            Found::Value(_) => Err(self.unexpected("a comparison (== != < > <= >=)")),
        }
    }

    fn take_operator(&mut self, sign: &str) -> Result<bool, Error> {
        let is_there = self.take_sign(sign)?;
        self.operators += usize::from(is_there);
        if self.operators > MAX_OPERATORS {
            return Err(self.place.error("this condition has too many parts"));
        }
        Ok(is_there)
    }

    fn deeper(&mut self, read: impl FnOnce(&mut Self) -> Result<Found, Error>) -> Result<Found, Error> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.place.error("this is nested too deep"));
        }
        let result = read(self);
        self.depth -= 1;
        result
    }
}

fn value_of(found: Found, place: &Place) -> Result<Value, Error> {
    match found {
        Found::Value(value) => Ok(value),
        Found::Condition(_) => Err(place.error("this is a condition, where a number is needed")),
    }
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
