//! Policies as text, and errors that point at a place in them.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::{Context, Error};

/// A policy need not end: more than this is not read.
const MAX_BYTES: u64 = 1 << 20;

/// The text of a policy.
#[derive(Debug)]
pub struct Source {
    /// What messages call it.
    pub name: String,
    /// Where it is, if it is a file.
    pub path: Option<PathBuf>,
    /// What is in it.
    pub text: Vec<u8>,
}

impl Source {
    /// Reads a file, or a pipe to its end; at most 1 MiB.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let cannot = || format!("cannot read the policy {path:?}");
        let file = File::open(path).tried(cannot)?;
        let length = file.metadata().map_or(0, |metadata| metadata.len()).min(MAX_BYTES);
        // One more than there is, so that the end shows at once.
        let mut text = Vec::with_capacity(length as usize + 1);
        file.take(MAX_BYTES + 1).read_to_end(&mut text).tried(cannot)?;
        if text.len() as u64 > MAX_BYTES {
            return Err(Error::new(format!("the policy {path:?} has more than {MAX_BYTES} bytes")));
        }
        Ok(Self { name: path.display().to_string(), path: Some(path.to_owned()), text })
    }

    /// A policy that an option holds.
    pub fn of_option(option: &str, text: Vec<u8>) -> Self {
        Self { name: option.to_owned(), path: None, text }
    }

    /// An error at the byte `offset`: `NAME:LINE:COLUMN: message`, that line, and
    /// a caret below the place.
    pub fn error(&self, offset: usize, message: &str) -> Error {
        let offset = offset.min(self.text.len());
        let start = self.text[..offset].iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let number = 1 + self.text[..start].iter().filter(|&&byte| byte == b'\n').count();
        let before = String::from_utf8_lossy(&self.text[start..offset]).into_owned();
        let rest = self.text[start..].split(|&byte| byte == b'\n').next().unwrap_or_default();
        // What would move the caret or change the terminal is left out.
        let plain = |text: &str| text.replace(|c: char| c.is_control() && c != '\t', "?");
        let line = plain(&String::from_utf8_lossy(rest));
        let indent: String = before.chars().map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        let place = format!("{}:{number}:{}", plain(&self.name), before.chars().count() + 1);
        // A line that nobody could read, as in a program, is not shown.
        if line.chars().count() > 200 {
            return Error::new(format!("{place}: {}", plain(message)));
        }
        Error::new(format!("{place}: {}\n    {line}\n    {indent}^", plain(message)))
    }

    /// As [`Source::error`], where the place is known by line and column, from 1 on.
    pub fn error_at_line(&self, line: usize, column: usize, message: &str) -> Error {
        let start: usize =
            self.text.split_inclusive(|&byte| byte == b'\n').take(line.max(1) - 1).map(<[u8]>::len).sum();
        self.error(start + column.max(1) - 1, message)
    }
}
