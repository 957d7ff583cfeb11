//! A command that is a child of its tool, as a PID namespace needs it: the
//! parent waits, and ends as its child does.

use std::os::fd::{AsFd, OwnedFd};

use nix::sys::signal::Signal;
use rustix::event::{PollFd, PollFlags, poll};
use seal::{Context, Error};

use crate::process::{self, Child, Status};
use crate::signal::{self, Blocked};

/// What is to become of the child when something happens to the parent.
#[derive(Clone, Copy, Default)]
pub struct Ties {
    /// The signal that it gets when the parent ends.
    pub kill_child: Option<i32>,
    /// Whether it gets what would end the parent: TERM, INT, HUP, QUIT, USR1, USR2.
    pub forward: bool,
}

const ENDING: [Signal; 6] =
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2];

/// The signal that the child asks for at the death of its parent.
pub struct Pdeathsig {
    signal: Option<i32>,
    parent: Option<OwnedFd>,
}

/// The parent, which waits.
pub struct Parent {
    child: Child,
    /// Blocked; those that are to end the child are read.
    signals: Option<Blocked>,
    /// The signals that do nothing, and those that the child gets where one
    /// would end the parent, if not the same.
    blocked: Vec<Signal>,
    instead: Option<i32>,
    /// The /proc of before, where signals are read: the child may mount another
    /// over it.
    proc: Option<OwnedFd>,
    init: bool,
}

/// Starts a child with these ties that does `work`, its signal mask as it was
/// before, and exits with what that gives, unless it becomes another program.
/// Until then the parent stands still; it blocks `blocked`. `init` says that the
/// child is the init of a PID namespace.
pub fn fork(ties: Ties, blocked: &[Signal], init: bool, work: impl Fn(&Pdeathsig) -> u8) -> Result<Parent, Error> {
    // The kernel drops what an init does not handle, at the death of its parent, too.
    let instead = ties.kill_child.filter(|&signal| init && signal != libc::SIGKILL && !ties.forward);
    let reads = ties.forward || instead.is_some();
    let mut set = blocked.to_vec();
    if reads {
        set.extend(ENDING);
        set.push(Signal::SIGCHLD);
    }
    let signals = if set.is_empty() { None } else { Some(Blocked::new(set)?) };
    let parent = ties.kill_child.map(|_| process::own_pidfd().tried(|| "cannot open a pidfd of the parent"));
    let proc = reads.then(|| process::proc().tried(|| "cannot open \"/proc\"")).transpose()?;
    let pdeathsig = Pdeathsig { signal: ties.kill_child, parent: parent.transpose()? };
    let child = process::vfork(|| {
        signals.iter().for_each(Blocked::restore);
        work(&pdeathsig)
    })
    .tried(|| "cannot fork")?;
    let blocked = if ties.forward { Vec::new() } else { blocked.to_vec() };
    Ok(Parent { child, signals, blocked, instead, proc, init })
}

impl Pdeathsig {
    /// From now on the child ends with its parent. To be called after the last
    /// change of credentials, at which the kernel would forget it (prctl(2)).
    pub fn set(&self) {
        let (Some(signal), Some(parent)) = (self.signal, &self.parent) else { return };
        process::die_with_parent(signal);
        if process::has_ended(parent) {
            // No signal of its own would end the init of a PID namespace.
            seal::exit(Status::Killed(signal).code());
        }
    }
}

impl Parent {
    /// Waits for the end of the child, and stops when that does.
    pub fn wait(&self) -> Result<Status, Error> {
        let mut asked = None;
        loop {
            let changed = match (&self.signals, &self.proc) {
                (Some(signals), Some(proc)) => {
                    poll(&mut [PollFd::new(signals, PollFlags::IN)], None).tried(|| "cannot wait for signals")?;
                    while let Some((signal, typed)) = signals.next_from() {
                        asked = self.received(signal, typed, proc).or(asked);
                    }
                    self.child.changed()
                }
                _ => self.child.next_change().map(Some),
            };
            match changed.tried(|| "cannot wait for the command")? {
                None => {}
                Some(Status::Stopped) => {
                    signal::stop_self();
                    signal::send(self.child.as_fd(), Signal::SIGCONT);
                }
                Some(Status::Killed(libc::SIGKILL)) if asked.is_some() => {
                    return Ok(Status::Killed(asked.map_or(libc::SIGKILL, |signal| signal as i32)));
                }
                Some(status) => return Ok(status),
            }
        }
    }

    /// A signal for the child. Gives it if SIGKILL had to stand for it: what an
    /// init does not handle the kernel would drop. What was typed at the
    /// terminal the child has got as well, being of the same process group.
    fn received(&self, signal: Signal, typed: bool, proc: &OwnedFd) -> Option<Signal> {
        if signal == Signal::SIGCHLD || self.blocked.contains(&signal) {
            return None;
        }
        let sent = self.instead.map_or(Some(signal), |instead| Signal::try_from(instead).ok());
        let minds = |pid: u32| sent.is_some_and(|sent| signal::minds(proc, pid as i32, sent));
        match sent {
            Some(sent) if !self.init || process::pid_in(proc, &self.child).map_or(true, minds) => {
                if !typed || self.instead.is_some() {
                    signal::send(self.child.as_fd(), sent);
                }
                None
            }
            _ => {
                signal::send(self.child.as_fd(), Signal::SIGKILL);
                Some(signal)
            }
        }
    }
}
