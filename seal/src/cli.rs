//! Parse, run, report: the frame of every tool's `main`.

use std::ffi::{OsStr, OsString};
use std::io::Write;

use crate::getopt::{Opt, Page};
use crate::{Context, Error, sys};

/// `--help`, `--man` and `--version`, which every tool has.
pub const ABOUT_ITSELF: &[Opt] = &[
    Opt::new('h', "help", crate::getopt::Argument::No, "Show this help"),
    Opt::new('V', "version", crate::getopt::Argument::No, "Show the version"),
    Opt::new(' ', "man", crate::getopt::Argument::No, "Show the man page, for man -l -"),
];

/// Runs a tool: `body` becomes another program, or gives an exit status, or
/// fails with a message on stderr.
pub fn run(tool: &str, body: impl FnOnce() -> Result<u8, Error>) -> ! {
    let status = body().unwrap_or_else(|error| report(tool, &error));
    let _ = std::io::stdout().flush();
    crate::exit(status)
}

/// Says on stderr what went wrong, and gives the exit status for it.
pub fn report(tool: &str, error: &Error) -> u8 {
    // Nothing is left to tell anyone if stderr is gone.
    let _ = std::io::stderr().write_all(error.render(tool).as_bytes());
    error.exit_status()
}

/// Does what one of [`ABOUT_ITSELF`] asks for and exits; returns for another option.
pub fn about_itself(option: &Opt, page: &Page) {
    let text = match option.long {
        "help" => page.help(),
        "man" => page.man(),
        "version" => format!("{} {}\n", page.tool, env!("CARGO_PKG_VERSION")),
        _ => return,
    };
    run(page.tool, || print(text.as_bytes()).map(|()| 0))
}

/// Writes what was asked for.
pub fn print(text: &[u8]) -> Result<(), Error> {
    if !sys::is_the_callers(1) {
        return Err(Error::new("cannot write to stdout: it is closed"));
    }
    let mut out = std::io::stdout();
    match out.write_all(text).and_then(|()| out.flush()) {
        // A pager that has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            sys::die_by(libc::SIGPIPE);
            Ok(())
        }
        written => written.tried(|| "cannot write to stdout"),
    }
}

/// `words`, or else `$SHELL`, or else /bin/sh.
pub fn or_shell(words: Vec<OsString>) -> Vec<OsString> {
    if !words.is_empty() {
        return words;
    }
    vec![std::env::var_os("SHELL").filter(|shell| !shell.is_empty()).unwrap_or_else(|| "/bin/sh".into())]
}

/// A name that somebody else may have chosen, so that it does not steer the
/// terminal that it is shown at.
pub fn printable(bytes: &[u8]) -> String {
    // Some that are no control characters turn or hide what stands beside them (Unicode, UAX #9).
    let hides =
        |c| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    let escaped = |c: char| if c.is_control() || hides(c) { c.escape_default().collect() } else { vec![c] };
    String::from_utf8_lossy(bytes).chars().flat_map(escaped).collect()
}

/// A number in digits alone, without the sign that Rust's own parsers take.
pub fn number(text: &str, radix: u32) -> Option<u32> {
    u32::from_str_radix(text, radix).ok().filter(|_| text.starts_with(|c: char| c.is_digit(radix)))
}

/// The fd that `--option` names, which must be the caller's: to be called
/// before any is opened that could be taken for one.
pub fn open_fd(value: &OsStr, option: &str) -> Result<i32, Error> {
    let number = value.to_str().and_then(|text| number(text, 10)).and_then(|fd| i32::try_from(fd).ok());
    let fd = number.ok_or_else(|| Error::new(format!("--{option} {value:?} is no fd")))?;
    if !sys::is_the_callers(fd) {
        return Err(Error::new(format!("--{option} {fd}: no such fd is open")));
    }
    Ok(fd)
}
