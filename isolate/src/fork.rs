//! A command that is a child of its tool, as a PID namespace needs it: the
//! parent waits, and ends as its child does.

use std::os::fd::{AsFd, OwnedFd};

use nix::sys::signal::Signal;
use rustix::event::{PollFd, PollFlags, poll};
use seal::{Context, Error};

use crate::process::{self, Child, Forked, Status};
use crate::signal::{self, Blocked, Mask};
use crate::sys;

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

/// The child, before its exec.
pub struct Starting {
    signal: Option<i32>,
    parent: Option<OwnedFd>,
    mask: Mask,
    /// Whether the parent stands still until the exec.
    suspends: bool,
}

/// The parent, which waits.
pub struct Parent {
    child: Child,
    /// Those that are to end the child.
    signals: Option<Blocked>,
    /// Those that do nothing, and what the child gets in place of others.
    blocked: Vec<Signal>,
    instead: Option<i32>,
    /// The /proc of before, where signals are read: the child may mount another
    /// over it.
    proc: Option<OwnedFd>,
    init: bool,
}

/// What stops a job. The parent stops when its child has, and once: one that
/// stopped by itself as well would stop again when it goes on.
const STOPPING: [Signal; 3] = [Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU];

/// Starts a child with these ties that does `work`, and exits with what that
/// gives, unless it becomes another program. The parent blocks `blocked`; `init`
/// says that the child is the init of a PID namespace.
pub fn fork(ties: Ties, blocked: &[Signal], init: bool, work: impl Fn(&Starting) -> u8) -> Result<Parent, Error> {
    // The kernel drops what an init does not handle, at the death of its parent, too.
    let instead = ties.kill_child.filter(|&signal| init && signal != libc::SIGKILL && !ties.forward);
    let reads = ties.forward || instead.is_some();
    let stopping = if init { &[][..] } else { &STOPPING };
    let mask = Mask::block(blocked.iter().chain(stopping).copied())?;
    let signals = reads.then(|| Blocked::new(ENDING.into_iter().chain([Signal::SIGCHLD]))).transpose()?;
    let parent = ties.kill_child.map(|_| process::own_pidfd().tried(|| "cannot open a pidfd of the parent"));
    let proc = reads.then(|| process::proc().tried(|| "cannot open \"/proc\"")).transpose()?;
    // What is to be passed on while the child starts, a parent that stands still could not.
    let suspends = !ties.forward;
    let starting = Starting { signal: ties.kill_child, parent: parent.transpose()?, mask, suspends };
    let work = || {
        starting.die_with_parent();
        work(&starting)
    };
    let cannot = || "cannot fork";
    let child = if suspends {
        process::vfork(work).tried(cannot)?
    } else {
        match process::fork(0).tried(cannot)? {
            Forked::Child => seal::exit(work()),
            Forked::Parent(child) => child,
        }
    };
    if suspends && stopping.contains(&Signal::SIGTSTP) && signal::is_pending(Signal::SIGTSTP) {
        // Typed while the child could not stop yet.
        sys::discard(libc::SIGTSTP);
        signal::send(child.as_fd(), Signal::SIGTSTP);
    }
    let blocked = if ties.forward { Vec::new() } else { blocked.to_vec() };
    Ok(Parent { child, signals, blocked, instead, proc, init })
}

impl Starting {
    /// To be called last before the exec: after a change of credentials, at which
    /// the kernel forgets who dies with whom (prctl(2)), and with nothing left to
    /// do that a stop could interrupt, since it would stop the parent, too.
    pub fn before_exec(&self) {
        self.die_with_parent();
        if self.suspends {
            STOPPING.into_iter().for_each(|signal| sys::discard(signal as i32));
        }
        self.mask.restore();
    }

    fn die_with_parent(&self) {
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
            let mut changed = changed.tried(|| "cannot wait for the command")?;
            while changed == Some(Status::Stopped) {
                signal::stop_self();
                changed = self.goes_on();
            }
            match changed {
                Some(Status::Killed(libc::SIGKILL)) if asked.is_some() => {
                    return Ok(Status::Killed(asked.map_or(libc::SIGKILL, |signal| signal as i32)));
                }
                Some(status) => return Ok(status),
                None => {}
            }
        }
    }

    /// After a stop: lets the child go on, too, unless whoever woke us has done
    /// that, as a shell does for the whole job. One SIGCONT more could come after
    /// the next stop. Gives what has become of the child meanwhile.
    fn goes_on(&self) -> Option<Status> {
        if self.child.was_continued() {
            return None;
        }
        let changed = self.child.changed().ok().flatten();
        if changed.is_none() {
            signal::send(self.child.as_fd(), Signal::SIGCONT);
        }
        changed
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
