//! Execution domains (personality(2)).

use crate::Error;
use crate::nearest::nearest;

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
    let number = |word: &str| match word.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => word.parse().ok(),
    };
    let known = || PERSONALITIES.into_iter();
    text.split(',').try_fold(0, |bits, word| {
        let name = word.replace('_', "-").to_lowercase();
        let found = known().find(|(known, _)| *known == name).map(|(_, bit)| bit).or_else(|| number(word));
        let unknown = || {
            let near = nearest(&name, known().map(|(known, _)| known)).map(|near| format!("did you mean {near}?"));
            let hint = near
                .unwrap_or_else(|| format!("there are {}", known().map(|one| one.0).collect::<Vec<_>>().join(", ")));
            Error::new(format!("--personality: unknown name {word:?}")).hint(hint)
        };
        Ok(bits | found.ok_or_else(unknown)?)
    })
}
