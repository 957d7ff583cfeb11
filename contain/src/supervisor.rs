//! The supervisor: outside of everything. It holds the terminal, forwards
//! signals, and its PID is the container's name.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;

use isolate::process::{self, Child, Forked, Status, fork};
use isolate::signal::{self, Blocked, FORWARDED};
use isolate::{container, namespace};
use nix::sys::signal::Signal;
use rustix::event::{PollFd, PollFlags, poll};
use seal::{Context, Error};

use crate::console::{Relay, Terminal};
use crate::guard::{self, Inherited};
use crate::ids::Ids;
use crate::message::{Channel, Message};
use crate::options::Options;
use crate::sys;

/// Runs a container and gives the exit status of its command, 128+N if signal
/// N killed it.
pub fn run(options: Options) -> Result<u8, Error> {
    let ids = Ids::new(&options)?;
    let terminal = Terminal::wanted(options.console);
    let signals = Blocked::new(FORWARDED)?;
    let (channel, theirs) = Channel::pair()?;
    let inherited = Inherited {
        options: &options,
        ids: &ids,
        channel: theirs,
        supervisor: process::own_pidfd().tried(|| "cannot open a pidfd of the supervisor")?,
        signals: &signals,
        terminal: terminal.as_ref(),
    };
    let mut flags = namespace::MNT.flag | namespace::PID.flag;
    if ids.outer.is_some() {
        flags |= namespace::USER.flag;
    }
    let guard = match fork(flags).map_err(|errno| {
        Error::new("cannot create user, mount and PID namespaces")
            .because(errno)
            .maybe_hint(pseudo::userns_hint(errno as i32))
    })? {
        Forked::Child => {
            drop(channel);
            guard::run(&inherited)
        }
        Forked::Parent(guard) => guard,
    };
    drop(inherited);
    let mut supervisor =
        Supervisor { options: &options, channel, signals: &signals, guard, init: None, asked: None, relay: None };
    let result = supervisor.supervise(&ids, terminal.as_ref());
    if let Some(relay) = &supervisor.relay {
        relay.release();
    }
    supervisor.end_guard();
    let status = result?.code();
    supervisor.tell(format_args!("{{\"event\":\"exited\",\"status\":{status}}}\n"))?;
    Ok(status)
}

struct Supervisor<'a> {
    options: &'a Options,
    channel: Channel,
    signals: &'a Blocked,
    guard: Child,
    init: Option<Init>,
    /// The signal that we were asked for where we had to send SIGKILL.
    asked: Option<Signal>,
    relay: Option<Relay<'a>>,
}

struct Init {
    pid: i32,
    pidfd: OwnedFd,
    /// What `inject` finds the container by.
    _announcement: OwnedFd,
}

impl<'a> Supervisor<'a> {
    fn supervise(&mut self, ids: &Ids, terminal: Option<&'a Terminal>) -> Result<Status, Error> {
        if let Some(outer) = &ids.outer {
            outer.write(&ids.caller, self.guard.pid().unsigned_abs())?;
            self.channel.send(&Message::Go);
        }
        let mut ended = None;
        loop {
            if let Some(status) = ended
                && self.relay.as_ref().is_none_or(Relay::is_done)
            {
                return Ok(self.meant(status));
            }
            let (signalled, told, ready) = self.wait(ended.is_some())?;
            if signalled {
                while let Some(signal) = self.signals.next() {
                    if let Some(status) = self.received(signal) {
                        return Ok(status);
                    }
                }
            }
            if told {
                match self.channel.receive()? {
                    Some(Message::Ready { init, master, namespaces }) => {
                        self.ready(init, &namespaces)?;
                        if let (Some(terminal), Some(master)) = (terminal, master) {
                            self.relay = Some(Relay::new(terminal, master)?);
                        }
                    }
                    Some(Message::Stopped) => self.stop(),
                    Some(Message::Ended(status)) => ended = Some(status),
                    Some(Message::Failed(status, text)) => return Err(self.failed(status, text)),
                    // Only a guard that was killed says nothing.
                    _ => return Ok(self.meant(self.guard.wait().tried(|| "cannot wait for the guard")?)),
                }
            }
            for signal in self.relay.as_mut().map(|relay| relay.advance(ready)).unwrap_or_default() {
                self.typed(signal);
            }
        }
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
        loop {
            match poll(&mut fds, None) {
                Err(rustix::io::Errno::INTR) => {}
                result => break result.tried(|| "cannot wait for the container")?,
            }
        };
        let mut revents = fds.iter().map(PollFd::revents);
        let signalled = revents.next().is_some_and(|flags| !flags.is_empty());
        let told = !ended && revents.next().is_some_and(|flags| !flags.is_empty());
        let ready = present.map(|present| if present { revents.next().unwrap_or(PollFlags::empty()) } else { PollFlags::empty() });
        Ok((signalled, told, ready))
    }

    /// The container stands; its command has not started if someone waits for that.
    fn ready(&mut self, pidfd: OwnedFd, namespaces: &str) -> Result<(), Error> {
        let options = self.options;
        // It may have been so quick that it is gone; its end is told next.
        let Ok(pid) = process::pid_in_proc(&pidfd).map(|pid| pid as i32) else { return Ok(()) };
        let announcement = container::announce(pid, &options.root, &options.command)?;
        self.init = Some(Init { pid, pidfd, _announcement: announcement });
        let own = std::process::id();
        if let Some(command) = &options.outside {
            let mut helper = Command::new("/bin/sh");
            helper.arg("-c").arg(command).env("CONTAIN_PID", own.to_string()).env("CONTAIN_INIT", pid.to_string());
            let status = helper.status().tried(|| format!("cannot run the outside helper {command:?}"))?;
            if !status.success() {
                return Err(Error::new(format!("the outside helper {command:?} failed: {status}")));
            }
        }
        if let Some(file) = &options.pid_file {
            std::fs::write(file, format!("{own}\n")).tried(|| format!("cannot write the PID file {file:?}"))?;
        }
        self.tell(format_args!("{{\"event\":\"started\",\"pid\":{own},\"init\":{pid},\"namespaces\":{namespaces}}}\n"))?;
        if options.waits_for_go() {
            self.channel.send(&Message::Go);
        }
        Ok(())
    }

    fn tell(&self, line: std::fmt::Arguments) -> Result<(), Error> {
        let Some(fd) = self.options.status_fd else { return Ok(()) };
        let mut file = std::fs::File::from(
            rustix::io::fcntl_dupfd_cloexec(sys::borrow(fd), 3).tried(|| format!("cannot write to fd {fd}"))?,
        );
        file.write_all(line.to_string().as_bytes()).tried(|| format!("cannot write to fd {fd}"))
    }

    /// A signal for the container. Gives a status if that ends the run, since
    /// there is no command yet that it could be for.
    fn received(&mut self, signal: Signal) -> Option<Status> {
        let Some(init) = &self.init else {
            let fatal = matches!(signal, Signal::SIGTERM | Signal::SIGINT | Signal::SIGHUP | Signal::SIGQUIT);
            return fatal.then_some(Status::Killed(signal as i32));
        };
        match signal {
            Signal::SIGWINCH if self.relay.is_some() => self.relay.iter().for_each(Relay::resize),
            Signal::SIGCONT => {
                self.relay.iter().for_each(Relay::retake);
                // The whole foreground job, as a terminal's own ^Z and fg do.
                signal::send_group(init.pid, signal);
                signal::send(&init.pidfd, signal);
            }
            Signal::SIGWINCH => signal::send(&init.pidfd, signal),
            _ => self.deliver(signal),
        }
        None
    }

    /// Sends a signal that would end or stop any other process. The kernel
    /// drops it for a PID 1 that does nothing of its own with it: then what it
    /// would have done is done here.
    fn deliver(&mut self, signal: Signal) {
        let Some(init) = &self.init else { return };
        if self.options.init || signal::minds(init.pid, signal) {
            signal::send(&init.pidfd, signal);
        } else if signal == Signal::SIGTSTP {
            signal::send_group(init.pid, Signal::SIGSTOP);
        } else {
            self.asked = Some(signal);
            signal::send(&init.pidfd, Signal::SIGKILL);
        }
    }

    /// A key was typed that makes a signal. The terminal has sent it to the
    /// foreground; what the kernel dropped because that is PID 1 is done here.
    fn typed(&mut self, signal: Signal) {
        let Some(init) = &self.init else { return };
        let foreground = self.relay.as_ref().and_then(Relay::foreground);
        if !self.options.init && foreground == Some(init.pid) && !signal::minds(init.pid, signal) {
            self.deliver(signal);
        }
    }

    /// The container is stopped, and so are we, until someone says SIGCONT.
    fn stop(&mut self) {
        self.relay.iter().for_each(Relay::release);
        signal::stop_self();
    }

    /// The status to report: a SIGKILL of ours stands for the signal that was asked for.
    fn meant(&self, status: Status) -> Status {
        match (status, self.asked) {
            (Status::Killed(libc::SIGKILL), Some(signal)) => Status::Killed(signal as i32),
            _ => status,
        }
    }

    /// What failed inside, as it was rendered there.
    fn failed(&self, status: u8, text: String) -> Error {
        let mut lines = text.lines().filter_map(|line| line.strip_prefix("contain: "));
        let error = Error::new(lines.next().unwrap_or_default()).status(status);
        error.maybe_hint(lines.next().map(|line| line.trim_start_matches("hint: ")))
    }

    /// Ends the guard, and with it whatever is left, and waits until all of it is gone.
    fn end_guard(&self) {
        signal::send(self.guard.as_fd(), Signal::SIGKILL);
        let _ = self.guard.wait();
    }
}
