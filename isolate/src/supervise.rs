//! The supervisor's work, from outside of the namespaces: hold the terminal,
//! forward signals, tell how the command ended.

use std::os::fd::{AsFd, OwnedFd};

use nix::sys::signal::Signal;
use rustix::event::{PollFd, PollFlags, poll};
use seal::Error;

use crate::channel::{Channel, Message};
use crate::console::{Relay, Terminal};
use crate::process::{self, Child, Status, is_readable};
use crate::signal::{self, Blocked};

fn is_fatal(signal: Signal) -> bool {
    matches!(signal, Signal::SIGTERM | Signal::SIGINT | Signal::SIGHUP | Signal::SIGQUIT)
}

/// The exit status of what SIGKILL has ended.
const KILLED: u8 = 128 + libc::SIGKILL as u8;

/// What happens once all is set up but the command: gives the PID of an init
/// that is the command itself, if it is one.
pub type Ready<'a> = dyn FnMut(&Channel, &OwnedFd, &str) -> Result<Option<i32>, Error> + 'a;

/// Supervises one command.
pub struct Supervisor<'a> {
    channel: Channel,
    signals: &'a Blocked,
    terminal: Option<&'a Terminal>,
    /// Whatever leads to the command; when it is gone, so is that.
    child: Child,
    init: Option<Init>,
    /// The signal that we were asked for where we had to send SIGKILL.
    asked: Option<Signal>,
    relay: Option<Relay<'a>>,
    /// How the command ended, if that was told.
    told: Option<Status>,
}

struct Init {
    /// The process that takes the signals.
    pidfd: OwnedFd,
    /// Its PID if it is the command and the init of a PID namespace, for which
    /// the kernel drops what it does not mind.
    pid1: Option<i32>,
}

impl<'a> Supervisor<'a> {
    /// Supervises what `child` leads to, which tells us things on `channel` and
    /// exits with the status of the command.
    pub fn new(child: Child, channel: Channel, signals: &'a Blocked, terminal: Option<&'a Terminal>) -> Self {
        Self { channel, signals, terminal, child, init: None, asked: None, relay: None, told: None }
    }

    /// Waits for the command to end, and for all that was left of it. The
    /// caller's terminal is as it was, however this ends.
    pub fn run(&mut self, ready: &mut Ready) -> Result<Status, Error> {
        let result = self.supervise(ready);
        self.relay.iter().for_each(Relay::release);
        match result {
            Ok(None) => {
                let status = match self.child.wait() {
                    Ok(status) => self.told.unwrap_or(status),
                    // Reaped by the kernel; only one that was killed told nothing.
                    Err(_) => self.told.unwrap_or(Status::Killed(libc::SIGKILL)),
                };
                Ok(self.meant(status))
            }
            Ok(Some(status)) => {
                self.end();
                Ok(status)
            }
            Err(error) => {
                self.end();
                Err(error)
            }
        }
    }

    /// Ends whatever is left, and waits until it is gone.
    pub fn end(&self) {
        signal::send(self.child.as_fd(), Signal::SIGKILL);
        // That there is nothing to wait for any more is as good.
        let _ = self.child.wait();
    }

    /// Until all has ended by itself, or gives the status of a signal that
    /// came before there was a command.
    fn supervise(&mut self, ready: &mut Ready) -> Result<Option<Status>, Error> {
        let mut ended = false;
        while !ended || !self.relay.as_ref().is_none_or(Relay::is_done) {
            let (signalled, told, relayed) = self.wait(ended)?;
            if told {
                match self.channel.receive()? {
                    Some(Message::Ready { init, master, namespaces }) => {
                        let pid1 = ready(&self.channel, &init, &namespaces)?;
                        self.init = Some(Init { pidfd: init, pid1 });
                        if let (Some(terminal), Some(master)) = (self.terminal, master) {
                            self.relay = Some(Relay::new(terminal, master)?);
                        }
                    }
                    Some(Message::Stopped) => self.stop(),
                    Some(Message::Ended(status)) => self.told = Some(Status::Exited(status)),
                    Some(Message::Failed(error)) => return Err(error),
                    // No one is left to tell us anything.
                    _ => ended = true,
                }
            }
            // A signal may come for a command whose start is still to be read of.
            if signalled && (self.init.is_some() || ended || !is_readable(&self.channel)) {
                while let Some(signal) = self.signals.next() {
                    if ended && is_fatal(signal) {
                        // What is left to show, no one may ever read.
                        return Ok(None);
                    }
                    if let Some(status) = self.received(signal) {
                        return Ok(Some(status));
                    }
                }
            }
            for signal in self.relay.as_mut().map(|relay| relay.advance(relayed)).unwrap_or_default() {
                self.typed(signal);
            }
        }
        Ok(None)
    }

    /// Waits for a signal, a message, or something to relay.
    fn wait(&self, ended: bool) -> Result<(bool, bool, [PollFlags; 3]), Error> {
        let relayed = self.relay.as_ref().map_or([None, None, None], Relay::poll_fds);
        let present = [0, 1, 2].map(|index| relayed[index].is_some());
        let mut fds = vec![PollFd::new(self.signals, PollFlags::IN)];
        if !ended {
            fds.push(PollFd::new(&self.channel, PollFlags::IN));
        }
        fds.extend(relayed.into_iter().flatten());
        while let Err(errno) = poll(&mut fds, None) {
            if errno != rustix::io::Errno::INTR {
                return Err(Error::new("cannot wait for the command").because(errno));
            }
        }
        let mut revents = fds.iter().map(PollFd::revents);
        let mut next = |present: bool| present.then(|| revents.next()).flatten().unwrap_or(PollFlags::empty());
        let signalled = !next(true).is_empty();
        let told = !next(!ended).is_empty();
        Ok((signalled, told, present.map(next)))
    }

    /// A signal for the command. Gives a status if that ends the run, since
    /// there is no command yet that it could be for.
    fn received(&mut self, signal: Signal) -> Option<Status> {
        let Some(init) = &self.init else {
            return is_fatal(signal).then_some(Status::Killed(signal as i32));
        };
        match signal {
            Signal::SIGWINCH if self.relay.is_some() => self.relay.iter().for_each(Relay::resize),
            Signal::SIGWINCH => signal::send(&init.pidfd, signal),
            Signal::SIGCONT => {
                self.relay.iter().for_each(Relay::retake);
                match init.pid1 {
                    // All that was stopped with it, as a shell's own fg does.
                    Some(pid) => signal::send_group(pid, signal),
                    None => signal::send(&init.pidfd, signal),
                }
            }
            _ => self.deliver(signal),
        }
        None
    }

    /// Sends a signal that would end or stop any other process. The kernel
    /// drops it for a PID 1 that does nothing of its own with it: then what it
    /// would have done is done here.
    fn deliver(&mut self, signal: Signal) {
        let Some(init) = &self.init else { return };
        match init.pid1 {
            Some(pid) if !minds(pid, signal) => {
                if signal == Signal::SIGTSTP {
                    signal::send_group(pid, Signal::SIGSTOP);
                } else {
                    self.asked = Some(signal);
                    signal::send(&init.pidfd, Signal::SIGKILL);
                }
            }
            _ => signal::send(&init.pidfd, signal),
        }
    }

    /// A key was typed that makes a signal. The terminal has sent it to the
    /// foreground; what the kernel dropped because that is PID 1 is done here.
    fn typed(&mut self, signal: Signal) {
        let pid1 = self.init.as_ref().and_then(|init| init.pid1);
        let foreground = self.relay.as_ref().and_then(Relay::foreground);
        if pid1.is_some_and(|pid| foreground == Some(pid) && !minds(pid, signal)) {
            self.deliver(signal);
        }
    }

    /// The command is stopped, and so are we, until someone says SIGCONT.
    fn stop(&mut self) {
        self.relay.iter().for_each(Relay::release);
        signal::stop_self();
    }

    /// The status to report: a SIGKILL of ours stands for the signal that was asked for.
    fn meant(&self, status: Status) -> Status {
        match self.asked {
            Some(signal) if status.code() == KILLED => Status::Killed(signal as i32),
            _ => status,
        }
    }
}

fn minds(pid: i32, signal: Signal) -> bool {
    process::proc().is_ok_and(|proc| signal::minds(proc, pid, signal))
}
