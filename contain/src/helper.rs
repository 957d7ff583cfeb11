//! `--inside` and `--outside`: shell commands that run before CMD does, and
//! whose failure ends the run.

use std::convert::Infallible;
use std::ffi::OsStr;

use isolate::process::{Forked, fork};
use isolate::signal::Blocked;
use seal::exec::{self, Environment};
use seal::{Context, Error};

/// Runs `command`, `which` helper it is, with the signal mask of the caller,
/// after `prepare` in its process. It dies with this one.
pub fn run(
    which: &str,
    command: &OsStr,
    environment: &Environment,
    signals: &Blocked,
    prepare: impl FnOnce() -> Result<(), Error>,
) -> Result<(), Error> {
    let cannot = || format!("cannot run the {which} helper {command:?}");
    let helper = match fork(0).tried(cannot)? {
        Forked::Parent(helper) => helper,
        Forked::Child => {
            let become_helper = || -> Result<Infallible, Error> {
                isolate::process::die_with_parent(nix::sys::signal::Signal::SIGKILL);
                prepare()?;
                signals.restore();
                Err(exec::exec(&["/bin/sh".into(), "-c".into(), command.into()], environment))
            };
            let Err(error) = become_helper();
            eprint!("{}", error.render("contain"));
            seal::exit(error.exit_status())
        }
    };
    match helper.wait().tried(cannot)?.code() {
        0 => Ok(()),
        status => Err(Error::new(format!("the {which} helper {command:?} failed: exit status {status}"))),
    }
}
