//! The words of Kafel.

use std::path::Path;
use std::rc::Rc;

use crate::Error;
use crate::syscalls::source::Source;

/// A place in a policy.
#[derive(Clone, Debug)]
pub struct Place {
    source: Rc<Source>,
    offset: usize,
}

impl Place {
    /// An error that points here.
    pub fn error(&self, message: impl AsRef<str>) -> Error {
        self.source.error(self.offset, message.as_ref())
    }
}

/// A word, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// A name or a keyword.
    Name(String),
    /// A number.
    Number(u64),
    /// Brackets, operators, commas and `#`.
    Sign(&'static str),
    /// Nothing follows.
    End,
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => write!(f, "\"{name}\""),
            Self::Number(number) => write!(f, "the number {number}"),
            Self::Sign(sign) => write!(f, "\"{sign}\""),
            Self::End => f.write_str("the end"),
        }
    }
}

const SIGNS: [&str; 19] =
    ["==", "!=", "<=", ">=", "&&", "||", "<", ">", "|", "&", "[", "]", "(", ")", "{", "}", ",", "!", "#"];

/// Kafel's own limit of files within files, and one of ours for all of them,
/// since each could include itself twice.
const MAX_DEPTH: usize = 16;
const MAX_FILES: usize = 256;

/// Reads words, those of included files where they are included.
pub struct Lexer {
    /// The files that are open, each with how far it has been read.
    open: Vec<(Rc<Source>, usize)>,
    included: usize,
}

impl Lexer {
    pub fn new(source: Source) -> Self {
        Self { open: vec![(Rc::new(source), 0)], included: 0 }
    }

    /// The next word; at the end of everything [`Token::End`], again and again.
    pub fn next(&mut self) -> Result<(Token, Place), Error> {
        loop {
            self.skip_blanks()?;
            let (source, offset) = self.open.last().cloned().expect("the first is never closed");
            let place = Place { source: source.clone(), offset };
            let rest = &source.text[offset..];
            let Some(&first) = rest.first() else {
                if self.open.len() == 1 {
                    return Ok((Token::End, place));
                }
                self.open.pop();
                // The directive may go on with another file.
                self.include()?;
                continue;
            };
            if word(rest) == b"#include" {
                self.advance(b"#include".len());
                if !self.include()? {
                    return Err(place.error("#include needs a file name in quotes"));
                }
                continue;
            }
            if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(sign.as_bytes())) {
                self.advance(sign.len());
                return Ok((Token::Sign(sign), place));
            }
            let word = word(rest);
            self.advance(word.len());
            let text = String::from_utf8_lossy(word);
            return match first {
                b'0'..=b'9' | b'-' => Ok((Token::Number(number(&text).map_err(|why| place.error(why))?), place)),
                b'A'..=b'Z' | b'a'..=b'z' | b'_' => Ok((Token::Name(text.into_owned()), place)),
                _ => {
                    let shown = String::from_utf8_lossy(rest).chars().next().unwrap_or(' ').escape_debug().to_string();
                    Err(place.error(format!("unexpected character '{shown}'")))
                }
            };
        }
    }

    fn advance(&mut self, by: usize) {
        self.open.last_mut().expect("the first is never closed").1 += by;
    }

    fn skip_blanks(&mut self) -> Result<(), Error> {
        let (source, offset) = self.open.last_mut().expect("the first is never closed");
        loop {
            let rest = &source.text[*offset..];
            let length = if rest.starts_with(b"//") {
                rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len())
            } else if rest.starts_with(b"/*") {
                match rest.windows(2).skip(2).position(|pair| pair == b"*/") {
                    Some(at) => at + 4,
                    None => return Err(source.error(*offset, "this comment does not end")),
                }
            } else {
                rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count()
            };
            if length == 0 {
                return Ok(());
            }
            *offset += length;
        }
    }

    /// Opens the next file that an `#include` names, which ends with its line or
    /// with a `;`. False if there is none.
    fn include(&mut self) -> Result<bool, Error> {
        let depth = self.open.len();
        let (source, offset) = self.open.last_mut().expect("the first is never closed");
        // An included file that ends is followed by what may be a directive, or not.
        let rest = &source.text[*offset..];
        let blanks = rest.iter().take_while(|&&byte| byte == b' ' || byte == b'\t').count();
        let place = Place { source: source.clone(), offset: *offset + blanks };
        let rest = &rest[blanks..];
        if rest.first() == Some(&b';') {
            *offset += blanks + 1;
            return Ok(false);
        }
        if rest.first() != Some(&b'"') {
            return Ok(false);
        }
        let Some(length) = rest[1..].iter().position(|&byte| byte == b'"' || byte == b'\n') else {
            return Err(place.error("this file name does not end"));
        };
        if rest[1 + length] != b'"' || length == 0 {
            return Err(place.error("this is no file name in quotes"));
        }
        *offset += blanks + length + 2;
        let name = std::os::unix::ffi::OsStrExt::from_bytes(&rest[1..=length]);
        let path = match source.path.as_deref().and_then(Path::parent) {
            Some(dir) => dir.join::<&std::ffi::OsStr>(name),
            None => Path::new::<std::ffi::OsStr>(name).to_owned(),
        };
        self.included += 1;
        if depth == MAX_DEPTH || self.included > MAX_FILES {
            return Err(place.error("too many files include one another"));
        }
        let included = Source::read(&path).map_err(|error| place.error(error.to_string()))?;
        self.open.push((Rc::new(included), 0));
        Ok(true)
    }
}

/// Letters, digits and underscores, after a `#` or a `-` if there is one.
fn word(text: &[u8]) -> &[u8] {
    let sign = usize::from(matches!(text.first(), Some(b'-' | b'#')));
    let length = text[sign..].iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
    &text[..sign + length]
}

/// 0x, 0b, octal after a 0, else decimal, which may be negative.
fn number(text: &str) -> Result<u64, String> {
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x', ..] => (&text[2..], 16),
        [b'0', b'b', ..] => (&text[2..], 2),
        [b'0', _, ..] => (&text[1..], 8),
        [b'-', ..] => (&text[1..], 10),
        _ => (text, 10),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) || text == "-0" {
        return Err(format!("\"{text}\" is no number"));
    }
    let value = u64::from_str_radix(digits, radix).map_err(|_| format!("the number {text} is out of range"))?;
    if text.starts_with('-') { Ok(value.wrapping_neg()) } else { Ok(value) }
}
