//! A file of declarations.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;

use seal::{Context, Error};

use crate::options;
use crate::plan::Item;

/// Reads a topology; `-` is stdin.
pub fn read(file: &OsStr) -> Result<Vec<Item>, Error> {
    let cannot = || format!("cannot read the topology {file:?}");
    let text = if file == "-" {
        let mut text = Vec::new();
        std::io::stdin().read_to_end(&mut text).tried(cannot)?;
        text
    } else {
        fs::read(file).tried(cannot)?
    };
    let mut items = Vec::new();
    for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line_number = number + 1;
        let at = |error: Error| error.at(&place(file, line_number));
        let words = words(line).map_err(at)?;
        if !words.is_empty() {
            items.push(Item { line: Some(line_number), declaration: options::declaration(words).map_err(at)? });
        }
    }
    Ok(items)
}

/// `FILE:LINE`.
pub fn place(file: &OsStr, line: usize) -> String {
    format!("{}:{line}", seal::cli::printable(file.as_encoded_bytes()))
}

/// The words of a line, up to a `#` at the start of one. Quotes, '…' and "…",
/// keep what is between them together.
fn words(line: &[u8]) -> Result<Vec<OsString>, Error> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<Vec<u8>>, None);
    for &byte in line.strip_suffix(b"\r").unwrap_or(line) {
        match (quote, byte) {
            (Some(open), byte) if byte == open => quote = None,
            (Some(_), byte) => word.get_or_insert_default().push(byte),
            (None, b'\'' | b'"') => {
                quote = Some(byte);
                word.get_or_insert_default();
            }
            (None, b' ' | b'\t') => words.extend(word.take()),
            (None, b'#') if word.is_none() => break,
            (None, byte) => word.get_or_insert_default().push(byte),
        }
    }
    if let Some(quote) = quote {
        return Err(Error::new(format!("a {} is not closed", char::from(quote))));
    }
    words.extend(word);
    Ok(words.into_iter().map(OsString::from_vec).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_line() {
        let split = |line: &str| words(line.as_bytes()).map(|words| words.join(OsStr::new("|")).into_string().unwrap());
        for (line, expected) in [
            ("", ""),
            ("# all of it", ""),
            ("  wire br0\teth0@web  # why", "wire|br0|eth0@web"),
            ("host a#b '4 2'\"x\"\r", "host|a#b|4 2x"),
            ("host '' x", "host||x"),
        ] {
            assert_eq!(split(line).unwrap(), expected, "{line}");
        }
        assert!(split("host 'a").is_err());
    }
}
