//! `--init`: PID 1 is a reaper that forwards signals; CMD is its child.

use std::ffi::OsString;
use std::os::fd::AsFd;

use isolate::process::{Forked, fork};
use isolate::signal::{self, Blocked, FORWARDED};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, poll};
use seal::exec::{self, Environment};

use crate::message::{Channel, Message};

/// Runs CMD and reaps whatever else ends up here, until CMD ends.
pub fn run(command: &[OsString], environment: &Environment, channel: &Channel, console: bool) -> ! {
    match reap(command, environment, channel, console) {
        Ok(status) => std::process::exit(status),
        Err(error) => {
            channel.send(&Message::Failed(error.exit_status(), error.render("contain")));
            std::process::exit(error.exit_status().into())
        }
    }
}

fn reap(
    command: &[OsString],
    environment: &Environment,
    channel: &Channel,
    console: bool,
) -> Result<i32, seal::Error> {
    use seal::Context;
    let signals = Blocked::new(FORWARDED.into_iter().chain([Signal::SIGCHLD]))?;
    let child = match fork(0).tried(|| "cannot fork the command")? {
        Forked::Child => {
            signals.restore();
            // A process group of its own, in the foreground of the console: the
            // job that ^C and ^Z are for.
            let _ = rustix::process::setpgid(None, None);
            if console {
                take_foreground();
            }
            let error = exec::exec(command, environment);
            channel.send(&Message::Failed(error.exit_status(), error.render("contain")));
            std::process::exit(error.exit_status().into())
        }
        Forked::Parent(child) => child,
    };
    let pid = child.pid();
    loop {
        match poll(&mut [PollFd::new(&signals, PollFlags::IN)], None) {
            Err(rustix::io::Errno::INTR) => continue,
            result => result.tried(|| "cannot wait for signals")?,
        };
        while let Some(received) = signals.next() {
            match received {
                Signal::SIGCHLD => {}
                Signal::SIGCONT => signal::send_group(pid, Signal::SIGCONT),
                Signal::SIGTSTP => signal::send_group(pid, Signal::SIGTSTP),
                other => signal::send(child.as_fd(), other),
            }
        }
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED)) {
            match status {
                WaitStatus::StillAlive => break,
                WaitStatus::Exited(who, status) if who == Pid::from_raw(pid) => return Ok(status),
                WaitStatus::Signaled(who, signal, _) if who == Pid::from_raw(pid) => return Ok(128 + signal as i32),
                WaitStatus::Stopped(who, _) if who == Pid::from_raw(pid) => channel.send(&Message::Stopped),
                _ => {}
            }
        }
    }
}

/// tcsetpgrp(3) by a process that is not yet in the foreground: the kernel
/// would stop it with SIGTTOU.
fn take_foreground() {
    let ttou = Blocked::new([Signal::SIGTTOU]);
    let _ = rustix::termios::tcsetpgrp(rustix::stdio::stdin(), rustix::process::getpgrp());
    if let Ok(ttou) = ttou {
        ttou.restore();
    }
}
