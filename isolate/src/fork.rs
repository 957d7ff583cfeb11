//! A command that is a child of its tool, as a PID namespace needs it: the
//! parent waits, and ends as its child does.

use std::os::fd::{AsFd, OwnedFd};

use nix::sys::signal::Signal;
use rustix::event::{PollFd, PollFlags, poll};
use seal::{Context, Error};

use crate::process::{self, Child, Forked, Status};
use crate::signal::{self, Blocked};

/// What is to become of the child when something happens to the parent.
#[derive(Clone, Copy, Default)]
pub struct Ties {
    /// The signal that it gets when the parent ends.
    pub kill_child: Option<i32>,
    /// Whether it gets what would end the parent: TERM, INT, HUP, QUIT, USR1, USR2.
    pub forward: bool,
}

const FORWARDED: [Signal; 6] =
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2];

/// What ties the child to its parent.
pub struct Leash {
    signal: Option<i32>,
    parent: Option<OwnedFd>,
}

/// The parent, which waits.
pub struct Parent {
    child: Child,
    signals: Option<Blocked>,
    /// The /proc of before, where there are signals to forward: the child may
    /// mount another over it.
    proc: Option<OwnedFd>,
}

/// Starts a child with these ties that does `work`, its signal mask as it was
/// before, and exits with what that gives, unless it becomes another program.
/// The parent blocks `blocked`; with `waits` it stands still until then.
pub fn fork(ties: Ties, blocked: &[Signal], waits: bool, mut work: impl FnMut(&Leash) -> u8) -> Result<Parent, Error> {
    let mut set = blocked.to_vec();
    if ties.forward {
        set.extend(FORWARDED);
        set.push(Signal::SIGCHLD);
    }
    let signals = if set.is_empty() { None } else { Some(Blocked::new(set)?) };
    let parent = ties.kill_child.map(|_| process::own_pidfd().tried(|| "cannot open a pidfd of the parent"));
    let proc = ties.forward.then(|| process::proc().tried(|| "cannot open /proc")).transpose()?;
    let leash = Leash { signal: ties.kill_child, parent: parent.transpose()? };
    let mut work = || {
        signals.iter().for_each(Blocked::restore);
        work(&leash)
    };
    let cannot = || "cannot fork";
    let child = if waits {
        process::vfork(work).tried(cannot)?
    } else {
        match process::fork(0).tried(cannot)? {
            Forked::Child => seal::exit(work()),
            Forked::Parent(child) => child,
        }
    };
    Ok(Parent { child, signals, proc })
}

impl Leash {
    /// From now on the child ends with its parent. To be called after the last
    /// change of credentials, at which the kernel would forget it (prctl(2)).
    pub fn tie(&self) {
        let (Some(signal), Some(parent)) = (self.signal, &self.parent) else { return };
        process::die_with_parent(signal);
        if process::has_ended(parent) {
            // No signal of its own would end the init of a PID namespace.
            seal::exit(Status::Killed(signal).code());
        }
    }
}

impl Parent {
    /// Waits for the end of the child, and stops when that does. `init` says
    /// that it is the init of a PID namespace: what the kernel drops, since it
    /// minds it in no way, ends it all the same.
    pub fn wait(&self, init: bool) -> Result<Status, Error> {
        let mut asked = None;
        loop {
            if let (Some(signals), Some(proc)) = (&self.signals, &self.proc) {
                poll(&mut [PollFd::new(signals, PollFlags::IN)], None).tried(|| "cannot wait for signals")?;
                while let Some((signal, typed)) = signals.next_from() {
                    asked = self.pass_on(signal, typed, proc, init).or(asked);
                }
                match self.child.changed() {
                    Ok(None) => continue,
                    Ok(Some(Status::Stopped)) => self.stop(),
                    Ok(Some(status)) => return Ok(meant(status, asked)),
                    Err(errno) => return Err(cannot_wait(errno)),
                }
            } else {
                match self.child.next_change() {
                    Ok(Status::Stopped) => self.stop(),
                    Ok(status) => return Ok(status),
                    Err(errno) => return Err(cannot_wait(errno)),
                }
            }
        }
    }

    /// Ends the child, for whom something could not be set up.
    pub fn end(&self) {
        signal::send(self.child.as_fd(), Signal::SIGKILL);
        let _ = self.child.wait();
    }

    fn stop(&self) {
        signal::stop_self();
        signal::send(self.child.as_fd(), Signal::SIGCONT);
    }

    /// Gives the signal if SIGKILL had to stand for it. What was typed at the
    /// terminal the child has got as well, being of the same process group.
    fn pass_on(&self, signal: Signal, typed: bool, proc: &OwnedFd, init: bool) -> Option<Signal> {
        if signal == Signal::SIGCHLD {
            return None;
        }
        let minds = |pid: u32| signal::minds(proc, pid as i32, signal);
        let ignored = init && process::pid_in(proc, &self.child).is_ok_and(|pid| !minds(pid));
        if ignored {
            signal::send(self.child.as_fd(), Signal::SIGKILL);
            return Some(signal);
        }
        if !typed {
            signal::send(self.child.as_fd(), signal);
        }
        None
    }
}

fn meant(status: Status, asked: Option<Signal>) -> Status {
    match (status, asked) {
        (Status::Killed(libc::SIGKILL), Some(signal)) => Status::Killed(signal as i32),
        _ => status,
    }
}

fn cannot_wait(errno: rustix::io::Errno) -> Error {
    Error::new("cannot wait for the command").because(errno)
}
