//! Parse, run, report: the frame of every tool's `main`.

use std::ffi::OsString;
use std::io::Write;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgMatches, Command, value_parser};

use crate::{Context, Error};

/// Runs a tool: `body` becomes another program, or gives an exit status, or
/// fails with a message on stderr.
pub fn run(tool: &str, body: impl FnOnce() -> Result<u8, Error>) -> ! {
    let status = body().unwrap_or_else(|error| {
        // Nothing is left to tell anyone if stderr is gone.
        let _ = std::io::stderr().write_all(error.render(tool).as_bytes());
        error.exit_status()
    });
    let _ = std::io::stdout().flush();
    crate::exit(status)
}

/// Parses the arguments of this process. `--help` and `--version` print and
/// exit with 0; a wrong usage is an error that names the word.
pub fn parse(command: Command) -> Result<ArgMatches, Error> {
    command.disable_help_subcommand(true).try_get_matches().map_err(|error| {
        if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
            let shown = write!(std::io::stdout(), "{error}").is_ok();
            std::process::exit(if shown { 0 } else { 125 });
        }
        let suggested = match error.get(ContextKind::SuggestedArg) {
            Some(ContextValue::String(option)) => Some(format!("did you mean {option}?")),
            _ => None,
        };
        let text = error.to_string();
        let said: Vec<_> = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
        Error::usage(said.join(" ").trim_start_matches("error: ")).maybe_hint(suggested)
    })
}

/// The operands `[CMD [ARG]...]`: from the first word on, everything is the command's.
pub fn command_arg() -> Arg {
    Arg::new("cmd").value_name("CMD [ARG]").num_args(0..).trailing_var_arg(true).value_parser(value_parser!(OsString))
}

/// The command given through [`command_arg`], empty if there is none.
pub fn command_words(matches: &ArgMatches) -> Vec<OsString> {
    matches.get_many::<OsString>("cmd").into_iter().flatten().cloned().collect()
}

/// The command given through [`command_arg`], else `$SHELL`, else /bin/sh.
pub fn command_words_or_shell(matches: &ArgMatches) -> Vec<OsString> {
    let words = command_words(matches);
    if !words.is_empty() {
        return words;
    }
    vec![std::env::var_os("SHELL").filter(|shell| !shell.is_empty()).unwrap_or_else(|| "/bin/sh".into())]
}

/// The fds that `option` names, all of which must be the caller's: to be called
/// before any is opened that could be taken for one.
pub fn open_fds(fds: Vec<i32>, option: &str) -> Result<Vec<i32>, Error> {
    for fd in &fds {
        rustix::fs::stat(format!("/proc/self/fd/{fd}")).tried(|| format!("--{option} {fd}"))?;
    }
    Ok(fds)
}
