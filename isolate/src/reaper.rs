//! A reaper: forwards signals to the command that is its child, and reaps
//! whatever else becomes its child.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{WaitOptions, wait};
use rustix::stdio::stdin;
use seal::{Context, Error};

use crate::channel::{Channel, Message};
use crate::process::{Child, Forked, Status, fork};
use crate::signal::{self, Blocked, FORWARDED};

/// How a reaper runs its command.
pub struct Reaper<'a> {
    /// To the supervisor, which is told when the command stops.
    pub channel: &'a Channel,
    /// The forwarded signals, blocked since before anyone could send one, and
    /// the mask that the command is to have.
    pub signals: &'a Blocked,
    /// Whether stdin is a console of the command's own.
    pub console: bool,
    /// Becomes readable when the supervisor dies; then so does everything here.
    pub supervisor: Option<BorrowedFd<'a>>,
}

impl Reaper<'_> {
    /// Forks a child that becomes the command, and waits for it to end. `None`
    /// if the supervisor died first.
    pub fn run(&self, become_command: impl FnOnce() -> Error) -> Result<Option<Status>, Error> {
        let signals = Blocked::new(FORWARDED.into_iter().chain([Signal::SIGCHLD]))?;
        let child = match fork(0).tried(|| "cannot fork the command")? {
            Forked::Child => {
                let error = self.start(become_command);
                let status = error.exit_status();
                self.channel.send(&Message::Failed(error));
                seal::exit(status)
            }
            Forked::Parent(child) => child,
        };
        // Both sides, so that it is a group before either goes on; the child
        // may have gone on to its exec.
        let _ = rustix::process::setpgid(rustix::process::Pid::from_raw(child.pid()), None);
        loop {
            let mut fds = vec![PollFd::new(&signals, PollFlags::IN)];
            fds.extend(self.supervisor.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
            match poll(&mut fds, None) {
                Err(rustix::io::Errno::INTR) => continue,
                result => result.tried(|| "cannot wait for signals")?,
            };
            if fds.get(1).is_some_and(|fd| !fd.revents().is_empty()) {
                return Ok(None);
            }
            while let Some(signal) = signals.next() {
                forward(&child, signal);
            }
            if let Some(status) = self.reap(&child) {
                return Ok(Some(status));
            }
        }
    }

    /// In the child. A process group of its own, in the foreground of the
    /// console: the job that ^C and ^Z are for.
    fn start(&self, become_command: impl FnOnce() -> Error) -> Error {
        // Neither fails for a new child that leads no session.
        let _ = rustix::process::setpgid(None, None);
        if self.console {
            // From the background: the kernel would stop us with SIGTTOU.
            let ttou = SigSet::from(Signal::SIGTTOU);
            let _ = ttou.thread_block();
            let _ = rustix::termios::tcsetpgrp(stdin(), rustix::process::getpgrp());
        }
        // With it whatever was blocked here.
        self.signals.restore();
        become_command()
    }

    /// Reaps what there is to reap; the status of the command if it is among it.
    fn reap(&self, child: &Child) -> Option<Status> {
        // Not nix's: that fails for a child that a realtime signal killed.
        let options = WaitOptions::NOHANG | WaitOptions::UNTRACED;
        loop {
            let (pid, status) = match wait(options) {
                Err(Errno::INTR) => continue,
                Ok(Some(changed)) => changed,
                Ok(None) | Err(_) => return None,
            };
            if pid.as_raw_nonzero().get() != child.pid() {
                continue;
            }
            match (status.exit_status(), status.terminating_signal()) {
                (Some(status), _) => return Some(Status::Exited(status as u8)),
                (_, Some(signal)) => return Some(Status::Killed(signal)),
                _ => self.channel.send(&Message::Stopped),
            }
        }
    }
}

fn forward(child: &Child, received: Signal) {
    match received {
        Signal::SIGCHLD => {}
        // The whole job, as a terminal does.
        Signal::SIGCONT | Signal::SIGTSTP => signal::send_group(child.pid(), received),
        _ => signal::send(child.as_fd(), received),
    }
}
