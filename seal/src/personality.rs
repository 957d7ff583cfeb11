//! Execution domains (personality(2)).

use crate::nearest::nearest;
use crate::{Error, cli};

/// sys/personality.h.
const PERSONALITIES: [(&str, u32); 13] = [
    ("linux", 0),
    ("linux32", 0x8),
    ("uname26", 0x2_0000),
    ("addr-no-randomize", 0x4_0000),
    ("fdpic-funcptrs", 0x8_0000),
    ("mmap-page-zero", 0x10_0000),
    ("addr-compat-layout", 0x20_0000),
    ("read-implies-exec", 0x40_0000),
    ("addr-limit-32bit", 0x80_0000),
    ("short-inode", 0x100_0000),
    ("whole-seconds", 0x200_0000),
    ("sticky-timeouts", 0x400_0000),
    ("addr-limit-3gb", 0x800_0000),
];

/// Parses names and numbers with commas: exactly these flags.
pub fn parse(text: &str) -> Result<u32, Error> {
    let bits = text.split(',').try_fold(0, |bits, word| flag(word).map(|flag| bits | flag))?;
    // For personality(2) that is a question.
    if bits == u32::MAX { Err(Error::new(format!("--personality {text:?} is none"))) } else { Ok(bits) }
}

fn flag(word: &str) -> Result<u32, Error> {
    let name = word.replace('_', "-").to_lowercase();
    let names = || PERSONALITIES.into_iter().map(|(known, _)| known);
    let number = match word.strip_prefix("0x") {
        Some(digits) => cli::number(digits, 16),
        None => cli::number(word, 10),
    };
    let found = PERSONALITIES.into_iter().find(|(known, _)| *known == name).map(|(_, flag)| flag);
    found.or(number).ok_or_else(|| {
        let near = nearest(&name, names()).map(|near| format!("did you mean {near}?"));
        let hint = near.unwrap_or_else(|| format!("there are {}", names().collect::<Vec<_>>().join(", ")));
        Error::new(format!("--personality: unknown name {word:?}")).hint(hint)
    })
}
