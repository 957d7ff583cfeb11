//! Options as getopt_long(3) takes them with a leading `+`, from a table that
//! gives the parser, `--help` and the man page.
//!
//! `-ab` is `-a -b`; `-oX` and `-o X`, `--opt=X` and `--opt X` are the same where
//! X is required; an optional one is glued on. A prefix of a long option will do
//! if no other starts so. The first word that is no option ends them.

use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::Error;
use crate::nearest::nearest;

/// Whether an option takes an argument, and what `--help` calls it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Argument {
    /// None.
    No,
    /// Always.
    Required(&'static str),
    /// As part of the same word, or none.
    Optional(&'static str),
    /// As [`Argument::Optional`], on the long form only.
    OptionalLong(&'static str),
    /// As [`Argument::Required`] after the letter, as [`Argument::Optional`] after the name.
    RequiredShort(&'static str),
}

/// One option.
#[derive(Clone, Copy)]
pub struct Opt {
    /// Its letter; a space if it has none.
    pub short: char,
    /// Its name.
    pub long: &'static str,
    /// What follows it.
    pub argument: Argument,
    /// One line for `--help`.
    pub help: &'static str,
    /// What the man page says beyond that.
    pub docs: &'static str,
    /// Whether util-linux 2.38 lacks it: then it makes no prefix ambiguous that
    /// was not so there.
    pub newer: bool,
}

impl Opt {
    /// An option; of a tool with an util-linux name, one that util-linux 2.38 has.
    pub const fn new(short: char, long: &'static str, argument: Argument, help: &'static str) -> Self {
        Self { short, long, argument, help, docs: "", newer: false }
    }

    /// One that it has not, of such a tool.
    pub const fn newer(short: char, long: &'static str, argument: Argument, help: &'static str) -> Self {
        Self { newer: true, ..Self::new(short, long, argument, help) }
    }

    /// With more to say in the man page.
    pub const fn docs(self, docs: &'static str) -> Self {
        Self { docs, ..self }
    }
}

/// Words on their way through the table.
pub struct Parser<'a> {
    table: &'a [&'a [Opt]],
    words: std::vec::IntoIter<OsString>,
    /// What is left of a word like `-abc`.
    cluster: std::vec::IntoIter<u8>,
    ended: bool,
}

impl<'a> Parser<'a> {
    /// `words` does not have the name of the program.
    pub fn new(table: &'a [&'a [Opt]], words: Vec<OsString>) -> Self {
        Self { table, words: words.into_iter(), cluster: Vec::new().into_iter(), ended: false }
    }

    /// The next option and its argument; `None` where there is no option.
    pub fn option(&mut self) -> Result<Option<(&'a Opt, Option<OsString>)>, Error> {
        if let Some(letter) = self.cluster.next() {
            return self.short(letter).map(Some);
        }
        let Some(word) = self.words.as_slice().first().filter(|_| !self.ended).map(|word| word.as_bytes()) else {
            return Ok(None);
        };
        if word.first() != Some(&b'-') || word == b"-" {
            return Ok(None);
        }
        let word = self.words.next().unwrap_or_default().into_vec();
        match word.strip_prefix(b"--") {
            Some(b"") => {
                self.ended = true;
                Ok(None)
            }
            Some(long) => self.long(long).map(Some),
            None => {
                self.cluster = word.into_iter();
                self.cluster.next();
                self.option()
            }
        }
    }

    /// The next word, to be asked for where there is no option.
    pub fn operand(&mut self) -> Option<OsString> {
        self.words.next()
    }

    /// Likewise, if it is one that `is_wanted` and not after `--`.
    pub fn next_if(&mut self, is_wanted: impl FnOnce(&OsString) -> bool) -> Option<OsString> {
        self.words.as_slice().first().filter(|word| !self.ended && is_wanted(word))?;
        self.words.next()
    }

    /// What follows the options.
    pub fn rest(self) -> Vec<OsString> {
        self.words.collect()
    }

    fn options(&self) -> impl Iterator<Item = &'a Opt> + use<'a> {
        self.table.iter().copied().flatten()
    }

    fn short(&mut self, letter: u8) -> Result<(&'a Opt, Option<OsString>), Error> {
        let shown = String::from_utf8_lossy(&[letter]).into_owned();
        let found = self.options().find(|option| option.short != ' ' && option.short as u32 == u32::from(letter));
        let option = found.ok_or_else(|| Error::usage(format!("invalid option -- '{shown}'")))?;
        let mut glued = || Some(OsString::from_vec(self.cluster.by_ref().collect())).filter(|rest| !rest.is_empty());
        let argument = match option.argument {
            Argument::No | Argument::OptionalLong(_) => None,
            Argument::Optional(_) => glued(),
            Argument::Required(_) | Argument::RequiredShort(_) => match glued().or_else(|| self.words.next()) {
                None => return Err(Error::usage(format!("option requires an argument -- '{shown}'"))),
                argument => argument,
            },
        };
        Ok((option, argument))
    }

    fn long(&mut self, word: &[u8]) -> Result<(&'a Opt, Option<OsString>), Error> {
        let mut parts = word.splitn(2, |&byte| byte == b'=');
        let name = parts.next().unwrap_or_default();
        let value = parts.next().map(|value| OsStr::from_bytes(value).to_owned());
        let option = self.named(name, word)?;
        let argument = match (option.argument, value) {
            (Argument::No, Some(_)) => {
                return Err(Error::usage(format!("option '--{}' doesn't allow an argument", option.long)));
            }
            (Argument::Required(_), None) => Some(
                self.words
                    .next()
                    .ok_or_else(|| Error::usage(format!("option '--{}' requires an argument", option.long)))?,
            ),
            (_, value) => value,
        };
        Ok((option, argument))
    }

    fn named(&self, name: &[u8], word: &[u8]) -> Result<&'a Opt, Error> {
        if let Some(exact) = self.options().find(|option| option.long.as_bytes() == name) {
            return Ok(exact);
        }
        let word = String::from_utf8_lossy(word);
        let mut found: Vec<_> = self.options().filter(|option| option.long.as_bytes().starts_with(name)).collect();
        if found.iter().any(|option| !option.newer) {
            found.retain(|option| !option.newer);
        }
        match found[..] {
            [] => {
                let name = word.split('=').next().unwrap_or_default();
                let near = nearest(name, self.options().map(|option| option.long));
                let hint = near.map(|near| format!("did you mean --{near}?"));
                Err(Error::usage(format!("unrecognized option '--{word}'")).maybe_hint(hint))
            }
            [one] => Ok(one),
            _ => {
                let names: String = found.iter().map(|option| format!(" '--{}'", option.long)).collect();
                Err(Error::usage(format!("option '--{word}' is ambiguous; possibilities:{names}")))
            }
        }
    }
}

/// What `--help` and the man page are made of.
pub struct Page<'a> {
    /// The tool's name.
    pub tool: &'a str,
    /// What it is for.
    pub about: &'a str,
    /// How it is called, without its name, a line each way.
    pub usage: &'a str,
    /// Its options.
    pub options: &'a [&'a [Opt]],
    /// A group of options that `--help` names in one line, which comes first.
    pub group: Option<(&'a str, &'a [Opt])>,
    /// Operands of the form NAME=VALUE, and what each is for.
    pub words: &'a [(String, String)],
}

impl Page<'_> {
    fn usage(&self, separator: &str) -> String {
        self.usage.lines().map(|line| format!("{} {line}", self.tool)).collect::<Vec<_>>().join(separator)
    }

    /// The text of `--help`.
    pub fn help(&self) -> String {
        let mut text = format!("{}\n\nUsage: {}\n", self.about, self.usage("\n       "));
        // Writing to a String cannot fail; likewise below.
        let line = |text: &mut String, left: &str, help: &str| {
            let _ = if left.chars().count() < 30 {
                writeln!(text, "  {left:30}{help}")
            } else {
                writeln!(text, "  {left}\n  {:30}{help}", "")
            };
        };
        if !self.words.is_empty() {
            text += "\nLimits:\n";
        }
        self.words.iter().for_each(|(left, help)| line(&mut text, left, help));
        text += "\nOptions:\n";
        for option in self.options.iter().copied().flatten() {
            line(&mut text, &left(option), option.help);
        }
        if let Some((line, options)) = self.group {
            let _ = writeln!(text, "\n{line}");
            let mut width = usize::MAX;
            for option in options {
                let word = format!(" --{}", option.long);
                if width.saturating_add(word.len()) > 100 {
                    text += if width == usize::MAX { " " } else { "\n " };
                    width = 1;
                }
                width += word.len();
                text += &word;
            }
            text += "\n";
        }
        text
    }

    /// The man page (man(7)).
    pub fn man(&self) -> String {
        let mut text = format!(
            ".TH {} 1\n.SH NAME\n{} \\- {}\n.SH SYNOPSIS\n.nf\n{}\n.fi\n",
            self.tool.to_uppercase(),
            self.tool,
            escaped(self.about),
            escaped(&self.usage("\n")),
        );
        if !self.words.is_empty() {
            text += ".SH LIMITS\n";
        }
        for (left, help) in self.words {
            let _ = writeln!(text, ".TP\n.B {}\n{}.", escaped(left), escaped(help));
        }
        text += ".SH OPTIONS\n";
        self.man_options(&mut text);
        text
    }

    /// A section of another man page.
    pub fn man_section(&self) -> String {
        let mut text = format!(".SS {} {}\n{}.\n", self.tool, escaped(self.usage), escaped(self.about));
        self.man_options(&mut text);
        text
    }

    fn man_options(&self, text: &mut String) {
        let group = self.group.iter().map(|(_, options)| *options);
        for option in self.options.iter().copied().chain(group).flatten() {
            let _ = writeln!(text, ".TP\n.B {}\n{}.", escaped(left(option).trim_start()), escaped(option.help));
            if !option.docs.is_empty() {
                let _ = writeln!(text, "{}", escaped(option.docs));
            }
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq")
}

fn left(option: &Opt) -> String {
    let short = if option.short == ' ' { "    ".into() } else { format!("-{}, ", option.short) };
    let argument = match option.argument {
        Argument::No => String::new(),
        Argument::Required(name) => format!(" {name}"),
        Argument::Optional(name) | Argument::OptionalLong(name) | Argument::RequiredShort(name) => format!("[={name}]"),
    };
    format!("{short}--{}{argument}", option.long)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[Opt] = &[
        Opt::new('f', "fork", Argument::No, ""),
        Opt::new('m', "mount", Argument::OptionalLong("FILE"), ""),
        Opt::new(' ', "mount-proc", Argument::Optional("DIR"), ""),
        Opt::newer(' ', "forward", Argument::No, ""),
        Opt::new('S', "setuid", Argument::Required("UID"), ""),
        Opt::new('r', "root", Argument::Optional("DIR"), ""),
    ];

    type Found = Vec<(&'static str, Option<OsString>)>;

    fn parse(words: &[&str]) -> Result<(Found, Vec<OsString>), String> {
        let mut parser = Parser::new(&[TABLE], words.iter().map(OsString::from).collect());
        let mut found = Vec::new();
        while let Some((option, argument)) = parser.option().map_err(|error| error.to_string())? {
            found.push((option.long, argument));
        }
        Ok((found, parser.rest()))
    }

    fn options(words: &[&str]) -> Vec<(&'static str, Option<String>)> {
        let (found, _) = parse(words).unwrap();
        found.into_iter().map(|(name, value)| (name, value.map(|value| value.into_string().unwrap()))).collect()
    }

    #[test]
    fn letters_and_names() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(options(&["-fmS5"]), [("fork", None), ("mount", None), ("setuid", some("5"))]);
        assert_eq!(options(&["-S", "-f"]), [("setuid", some("-f"))]);
        assert_eq!(options(&["-r/x", "-r", "/x"]), [("root", some("/x")), ("root", None)]);
        assert_eq!(options(&["--mount=/x", "--mount"]), [("mount", some("/x")), ("mount", None)]);
        assert_eq!(options(&["--set", "5", "--se=6"]), [("setuid", some("5")), ("setuid", some("6"))]);
        assert_eq!(options(&["--for", "--forw"]), [("fork", None), ("forward", None)]);
    }

    #[test]
    fn the_command_is_left_alone() {
        for (words, rest) in
            [(&["-f", "cmd", "-f"][..], &["cmd", "-f"][..]), (&["--", "-f"], &["-f"]), (&["-"], &["-"])]
        {
            assert_eq!(parse(words).unwrap().1, rest);
        }
    }

    #[test]
    fn what_getopt_says() {
        for (words, message) in [
            (&["-x"][..], "invalid option -- 'x'"),
            (&["-m=/x"], "invalid option -- '='"),
            (&["-S"], "option requires an argument -- 'S'"),
            (&["--setuid"], "option '--setuid' requires an argument"),
            (&["--nosuch=1"], "unrecognized option '--nosuch=1'"),
            (&["--fork=1"], "option '--fork' doesn't allow an argument"),
            (&["--mo"], "option '--mo' is ambiguous; possibilities: '--mount' '--mount-proc'"),
        ] {
            assert_eq!(parse(words).unwrap_err(), message);
        }
    }
}
