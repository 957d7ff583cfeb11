//! By which name a tool was called: its own, or the one of util-linux that it
//! stands in for, whose exit statuses and forms of message it then keeps.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use seal::exec::{self, Environment};
use seal::getopt::{Opt, Page};
use seal::{Error, cli};

use crate::process::Status;

/// The name and what goes with it.
pub struct Called {
    /// The last part of argv[0] where that is the util-linux name, else the tool's own.
    pub name: &'static str,
    /// Whether it is the name of util-linux.
    pub theirs: bool,
    argv0: OsString,
}

/// Runs a tool that is called `own` or `theirs`; never returns.
pub fn run(own: &'static str, theirs: &'static str, body: impl FnOnce(&Called) -> Result<u8, Error>) -> ! {
    let argv0 = std::env::args_os().next().unwrap_or_default();
    let theirs = Some(theirs).filter(|&name| Path::new(&argv0).file_name() == Some(OsStr::new(name)));
    let called = Called { name: theirs.unwrap_or(own), theirs: theirs.is_some(), argv0 };
    let status = body(&called).unwrap_or_else(|error| called.report(&error));
    let _ = std::io::stdout().flush();
    seal::exit(status)
}

impl Called {
    /// Says on stderr what went wrong, and gives the exit status for it.
    pub fn report(&self, error: &Error) -> u8 {
        // Nothing is left to tell anyone if stderr is gone.
        let _ = std::io::stderr().write_all(&self.render(error));
        // 125 is a status that util-linux does not have.
        if self.theirs && error.exit_status() == 125 { 1 } else { error.exit_status() }
    }

    fn render(&self, error: &Error) -> Vec<u8> {
        if !self.theirs || !error.is_usage() {
            return error.render(self.name).into_bytes();
        }
        let rest = format!(": {error}\nTry '{} --help' for more information.\n", self.name);
        [self.argv0.as_bytes(), rest.as_bytes()].concat()
    }

    /// Does what --help, --man or --version asks for and exits; returns for another option.
    pub fn about_itself(&self, option: &Opt, page: &Page) {
        let text = match option.long {
            "help" => page.help(),
            "man" => page.man(),
            "version" if self.theirs => format!("{} from nstools {}\n", self.name, env!("CARGO_PKG_VERSION")),
            "version" => format!("{} {}\n", self.name, env!("CARGO_PKG_VERSION")),
            _ => return,
        };
        seal::exit(cli::print(text.as_bytes()).map_or_else(|error| self.report(&error), |()| 0))
    }

    /// Becomes `command`, by default the user's shell: a login shell under the
    /// name of util-linux. Returns only on failure.
    pub fn exec(&self, command: &[OsString], environment: &Environment) -> Error {
        self.exec_by(exec::exec, command, environment)
    }

    /// As [`Called::exec`], where `exec` does more before the command that is named.
    pub fn exec_by(
        &self,
        exec: impl Fn(&[OsString], &Environment) -> Error,
        command: &[OsString],
        environment: &Environment,
    ) -> Error {
        if let Some(name) = command.first() {
            let error = exec(command, environment);
            return if self.theirs { their_failure(error, name) } else { error };
        }
        let mut shell = environment.get("SHELL").filter(|shell| !shell.is_empty()).map(OsStr::to_owned);
        if !self.theirs {
            return exec(&[shell.unwrap_or_else(|| "/bin/sh".into())], environment);
        }
        shell = shell.or_else(|| {
            let entry = seal::passwd::by_uid(Path::new("/etc/passwd"), rustix::process::getuid().as_raw());
            entry.map(|entry| entry.shell.into()).filter(|shell: &OsString| !shell.is_empty())
        });
        let shell = shell.unwrap_or_else(|| "/bin/sh".into());
        let mut argv0 = OsString::from("-");
        argv0.push(Path::new(&shell).file_name().unwrap_or(&shell));
        their_failure(exec::exec_as(&shell, &[argv0], environment), &shell)
    }

    /// Ends as a child has: under the name of util-linux by the same signal,
    /// else with the status that says so.
    pub fn end_as(&self, status: Status) -> u8 {
        if let (Status::Killed(signal), true) = (status, self.theirs) {
            // Without a second core dump.
            let _ = nix::sys::prctl::set_dumpable(false);
            seal::die_by(signal);
        }
        status.code()
    }
}

/// As util-linux tells it: everything but ENOENT is 126.
fn their_failure(error: Error, name: &OsStr) -> Error {
    let status = if error.errno() == libc::ENOENT { 127 } else { 126 };
    error.told(format!("failed to execute {}", name.display())).status(status)
}
