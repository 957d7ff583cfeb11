//! What went wrong, in the form every tool reports it.

use std::{fmt, io};

/// A failure: what was tried and on what, the kernel's reason, sometimes a
/// cause and a fix that the reason does not tell, and the exit status it means.
#[derive(Debug)]
pub struct Error {
    tried: String,
    source: Option<io::Error>,
    hint: Option<String>,
    status: u8,
    usage: bool,
}

impl Error {
    /// The tool itself failed: exit status 125.
    pub fn new(tried: impl Into<String>) -> Self {
        Self { tried: tried.into(), source: None, hint: None, status: 125, usage: false }
    }

    /// The tool was not called as its `--help` says.
    pub fn usage(tried: impl Into<String>) -> Self {
        Self { usage: true, ..Self::new(tried) }
    }

    /// The same failure, told otherwise.
    pub fn told(self, tried: impl Into<String>) -> Self {
        Self { tried: tried.into(), ..self }
    }

    /// Says where it happened: `FILE:LINE`.
    pub fn at(self, place: &str) -> Self {
        Self { tried: format!("{place}: {}", self.tried), ..self }
    }

    /// Adds the kernel's reason.
    pub fn because(mut self, source: impl Into<io::Error>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds the cause and the fix, where they are known and the reason does not say them.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds a hint where there is none.
    pub fn or_hint(mut self, hint: &str) -> Self {
        self.hint.get_or_insert_with(|| hint.to_owned());
        self
    }

    /// Adds a hint that is known only sometimes.
    pub fn maybe_hint(mut self, hint: Option<impl Into<String>>) -> Self {
        self.hint = hint.map(Into::into).or(self.hint);
        self
    }

    /// Sets another exit status than 125.
    pub fn status(mut self, status: u8) -> Self {
        self.status = status;
        self
    }

    /// The exit status that this failure means: 125, 126 or 127.
    pub fn exit_status(&self) -> u8 {
        self.status
    }

    /// Whether the tool was not called as its `--help` says.
    pub fn is_usage(&self) -> bool {
        self.usage
    }

    /// The kernel's reason as an errno, 0 if there is none.
    pub fn errno(&self) -> i32 {
        self.source.as_ref().and_then(io::Error::raw_os_error).unwrap_or(0)
    }

    /// What another process needs to make the same error with [`Error::from_text`].
    pub fn to_text(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{self}\0{hint}"),
            None => self.to_string(),
        }
    }

    /// An error that another process met.
    pub fn from_text(status: u8, text: &str) -> Self {
        let (tried, hint) = text.split_once('\0').map_or((text, None), |(tried, hint)| (tried, Some(hint)));
        Self::new(tried).maybe_hint(hint).status(status)
    }

    /// The lines that go to stderr, each with the tool's name before it.
    pub fn render(&self, tool: &str) -> String {
        let mut text = format!("{tool}: {self}\n");
        match &self.hint {
            Some(hint) => text += &format!("{tool}: hint: {hint}\n"),
            None if self.usage => text += &format!("{tool}: hint: {tool} --help lists the options\n"),
            None => {}
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.tried)?;
        match &self.source {
            None => Ok(()),
            // Without std's " (os error 2)", which says nothing to a user.
            Some(source) => match source.raw_os_error() {
                Some(errno) => write!(f, ": {}", source.to_string().trim_end_matches(&format!(" (os error {errno})"))),
                None => write!(f, ": {source}"),
            },
        }
    }
}

impl std::error::Error for Error {}

/// Says of a failed system call what was tried and on what.
pub trait Context<T> {
    /// `tried` is only called on failure.
    fn tried<S: Into<String>>(self, tried: impl FnOnce() -> S) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> Context<T> for Result<T, E> {
    fn tried<S: Into<String>>(self, tried: impl FnOnce() -> S) -> Result<T, Error> {
        self.map_err(|source| Error::new(tried()).because(source))
    }
}
