//! A row of the table: one command line that both sides are given.

use Stderr::{Exact, Keyword, Silent};

/// A command line, who gives it, and what is known of its outcome beforehand.
///
/// Words are split at spaces, but for those in single quotes. `@` is the probe;
/// `{DIR}`, `{FULL}` and the like are what `World` says they are.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// `unshare` or `nsenter`.
    pub tool: &'static str,
    /// Its arguments.
    pub args: &'static str,
    /// What the tool is started by, if it is not started directly.
    pub under: &'static str,
    /// Whether root runs it.
    pub root: bool,
    /// Whether the ordinary user runs it.
    pub user: bool,
    /// What is on stderr.
    pub stderr: Stderr,
    /// Why ours differs, and each `key value` that it has in place of util-linux's.
    pub difference: Option<(&'static str, &'static str)>,
}

/// What is compared of stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stderr {
    /// Neither side says anything.
    Silent,
    /// Both say the same, byte for byte.
    Exact,
    /// Both say something; ours begins with the name and has this in it.
    Keyword(&'static str),
}

const fn row(tool: &'static str, args: &'static str) -> Row {
    Row { tool, args, under: "", root: true, user: true, stderr: Silent, difference: None }
}

/// `unshare ARGS` as root and as the ordinary user.
pub const fn unshare(args: &'static str) -> Row {
    row("unshare", args)
}

/// `nsenter ARGS` as root and as the ordinary user.
pub const fn nsenter(args: &'static str) -> Row {
    row("nsenter", args)
}

impl Row {
    /// As root alone.
    pub const fn root(self) -> Self {
        Self { user: false, ..self }
    }

    /// As the ordinary user alone.
    pub const fn user(self) -> Self {
        Self { root: false, ..self }
    }

    /// Started by this command, which is given the tool and its arguments.
    pub const fn under(self, under: &'static str) -> Self {
        Self { under, ..self }
    }

    /// Both sides say the same on stderr.
    pub const fn exact(self) -> Self {
        Self { stderr: Exact, ..self }
    }

    /// Both sides complain, and ours says this word.
    pub const fn says(self, keyword: &'static str) -> Self {
        Self { stderr: Keyword(keyword), ..self }
    }

    /// Ours is to differ, for this reason, in these values: `key value; key value`.
    pub const fn differs(self, values: &'static str, reason: &'static str) -> Self {
        assert!(!reason.is_empty() && !values.is_empty());
        Self { difference: Some((reason, values)), ..self }
    }

    /// The values that ours is to have in place of util-linux's.
    pub fn intended(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let values = self.difference.map_or("", |(_, values)| values);
        let pairs = values.split("; ").filter(|pair| !pair.is_empty());
        pairs.map(|pair| pair.split_once(' ').unwrap_or((pair, "")))
    }
}

/// The words of a command line.
pub fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    for letter in line.chars() {
        match letter {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            ' ' if !quoted => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    assert!(!quoted, "an open quote: {line}");
    words.extend(word);
    words
}
