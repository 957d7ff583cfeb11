//! `--inside` and `--outside`: shell commands that run before CMD does, and
//! whose failure ends the run.

use std::convert::Infallible;
use std::ffi::OsStr;

use isolate::process::{Forked, fork};
use isolate::signal::Blocked;
use nix::sys::signal::Signal;
use rustix::event::{PollFd, PollFlags, poll};
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
                isolate::process::die_with_parent(libc::SIGKILL);
                prepare()?;
                signals.restore();
                Err(exec::exec(&["/bin/sh".into(), "-c".into(), command.into()], environment))
            };
            let Err(error) = become_helper();
            eprint!("{}", error.render("contain"));
            seal::exit(error.exit_status())
        }
    };
    let ended = loop {
        let mut fds = [PollFd::new(&helper, PollFlags::IN), PollFd::new(signals, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) if !fds[0].revents().is_empty() => break helper.wait().tried(cannot)?,
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(errno) => return Err(Error::new(cannot()).because(errno)),
        }
        while let Some(signal) = signals.next() {
            if matches!(signal, Signal::SIGTERM | Signal::SIGINT | Signal::SIGHUP | Signal::SIGQUIT) {
                isolate::signal::send(&helper, Signal::SIGKILL);
                let status = 128 + signal as u8;
                return Err(Error::new(format!("{signal} came while the {which} helper ran")).status(status));
            }
        }
    };
    match ended.code() {
        0 => Ok(()),
        status => Err(Error::new(format!("the {which} helper {command:?} failed: exit status {status}"))),
    }
}
