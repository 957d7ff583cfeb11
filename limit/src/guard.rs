//! The guard: the command's parent, which counts, ends what is over its time,
//! and leaves nothing behind. It never execs, and outlives the process that was
//! called, if only to clean up.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use isolate::channel::{Channel, Message};
use isolate::process::{self, Child, Status, die_with_parent};
use isolate::signal::{self, Blocked, FORWARDED};
use nix::sys::signal::Signal;
use nix::unistd::{SysconfVar, sysconf};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::WaitStatus;
use seal::exec::Image;
use seal::{Context, Error, cli};

use crate::become_command;
use crate::cgroup::{Groups, Usage};
use crate::options::Options;
use crate::report::{Limit, Outcome};
use crate::tree::{Reaped, Tree, hurry, reap};

/// What the guard has by being a fork of the supervisor.
pub struct Inherited<'a> {
    /// What is asked for.
    pub options: &'a mut Options,
    /// The command.
    pub image: &'a Image<'a>,
    /// Where it is to run.
    pub groups: &'a Groups,
    /// By which processes are found.
    pub tree: &'a Tree,
    /// The PID of the supervisor.
    pub pid: i32,
    /// Tells when it has died.
    pub supervisor: OwnedFd,
    /// The signal mask of the caller, for the command.
    pub signals: &'a Blocked,
}

/// What is blocked besides: a terminal that wants no output from the background,
/// and a file limit that the report would be over, are no reason to end.
const OURS: [Signal; 3] = [Signal::SIGCHLD, Signal::SIGTTOU, Signal::SIGXFSZ];

/// CPU time is looked at when it can have run out at the earliest, but no more
/// often than this.
const SHORTEST: Duration = Duration::from_millis(20);

/// Runs the guard, to its end.
pub fn run(inherited: Inherited) -> ! {
    let ended = run_command(&inherited);
    let failed = !matches!(&ended, Ok(Some((Status::Exited(0), ..))));
    let tells = failed || inherited.options.report.is_some();
    let usage = if tells { inherited.groups.usage() } else { Usage::default() };
    // Its number may be another's by now.
    let supervisor = Some(inherited.pid).filter(|_| !process::has_ended(&inherited.supervisor));
    let ours: Vec<_> = supervisor.into_iter().chain([std::process::id() as i32]).collect();
    let removed = inherited.groups.remove(&ours);
    let outcome = match ended {
        Ok(Some((status, limit, wall))) => {
            let outcome = Outcome::new(status, limit, wall, usage, inherited.options);
            outcome.say();
            outcome
        }
        // Nobody is left to tell.
        Ok(None) => seal::exit(125),
        Err(error) => {
            cli::report("limit", &error);
            Outcome::never_started(&error)
        }
    };
    let reported = inherited.options.report.as_mut().map_or(Ok(()), |report| report.write(&outcome.json()));
    for error in [removed, reported].into_iter().filter_map(Result::err) {
        // The status is the command's all the same.
        cli::report("limit", &error);
    }
    seal::exit(outcome.exit)
}

/// Runs the command to its end, and that of all it has left. `None` if the
/// supervisor died first.
fn run_command(inherited: &Inherited) -> Result<Option<(Status, Option<Limit>, Duration)>, Error> {
    // Only to wake us, should we be stopped: its end is seen by its pidfd.
    die_with_parent(libc::SIGCONT);
    inherited.tree.take_over();
    let signals = Blocked::new(FORWARDED.into_iter().chain(OURS))?;
    let (channel, theirs) = Channel::pair()?;
    let start = Instant::now();
    // An exec may take for ever, from a file system that does not answer: who has
    // to look at the clock does not stand still meanwhile.
    let stands_still = inherited.options.time.is_none() && inherited.options.cpu_time.is_none();
    let command = process::start_in(inherited.groups.birthplace(), stands_still, || {
        let error = become_limited(inherited);
        let status = error.exit_status();
        theirs.send(&Message::Failed(error));
        status
    })
    .tried(|| "cannot fork the command")?;
    drop(theirs);
    inherited.groups.count_ooms();
    // What the terminal or a shell sends to the whole job is not for us; and the
    // kernel gives a session of its own a fair share, whatever runs in the other
    // (sched(7), "The autogroup feature").
    let _ = rustix::process::setsid();
    let mut watch = Watch {
        inherited,
        signals,
        command,
        start,
        next_look: start,
        limit: None,
        kill_at: None,
        status: None,
        is_alone: false,
        stopped: false,
    };
    let watched = watch.until_over();
    let status = watch.end()?;
    // Its end of the socket is closed, at the latest by its end.
    if let Some(Message::Failed(error)) = channel.receive()? {
        return Err(error);
    }
    Ok(watched?.then_some((status.0, watch.limit, status.1)))
}

/// In the child, with a mask that is still ours.
fn become_limited(inherited: &Inherited) -> Error {
    let Inherited { options, image, groups, signals, .. } = inherited;
    die_with_parent(libc::SIGKILL);
    match groups.enter() {
        Ok(()) => {
            signals.restore();
            become_command(options, image)
        }
        Err(error) => error,
    }
}

/// A command that runs.
struct Watch<'a> {
    inherited: &'a Inherited<'a>,
    signals: Blocked,
    command: Child,
    start: Instant,
    /// When CPU time is to be looked at again.
    next_look: Instant,
    /// What it is over, and when that is no longer tolerated.
    limit: Option<Limit>,
    kill_at: Option<Instant>,
    /// How the command ended, and after which time.
    status: Option<(Status, Duration)>,
    /// Whether it and all that it left are gone.
    is_alone: bool,
    /// Whether it is stopped, and the supervisor with it.
    stopped: bool,
}

impl Watch<'_> {
    /// Until the command has ended by itself or everything has by the limit that
    /// it was over; false if the supervisor died.
    fn until_over(&mut self) -> Result<bool, Error> {
        loop {
            self.reap();
            let now = Instant::now();
            if self.limit.is_none() && self.status.is_none() {
                self.look(now);
            }
            if self.status.is_some() && self.limit.is_none()
                || self.is_alone
                || self.kill_at.is_some_and(|at| at <= now)
            {
                return Ok(true);
            }
            let timeout = self.next_deadline().map(|at| {
                let left = at.saturating_duration_since(now);
                Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() }
            });
            let supervisor = &self.inherited.supervisor;
            let mut fds = [PollFd::new(&self.signals, PollFlags::IN), PollFd::new(supervisor, PollFlags::IN)];
            match poll(&mut fds, timeout.as_ref()) {
                Err(rustix::io::Errno::INTR) => continue,
                result => result.tried(|| "cannot wait for the command")?,
            };
            if !fds[1].revents().is_empty() {
                return Ok(false);
            }
            while let Some((signal, typed)) = self.signals.next_from() {
                // Before it had a session of its own the guard could get one, too.
                if !typed || signal == Signal::SIGCHLD {
                    self.forward(signal);
                }
            }
        }
    }

    fn reap(&mut self) {
        loop {
            match reap() {
                Reaped::Nothing => return,
                Reaped::NoChildren => {
                    self.is_alone = true;
                    return;
                }
                Reaped::One(pid, status) if pid == self.command.pid() => match ending(status) {
                    Some(ending) => self.status = Some((ending, self.start.elapsed())),
                    None => {
                        // As a shell's job control expects of a command.
                        self.stopped = true;
                        signal::send(&self.inherited.supervisor, Signal::SIGSTOP);
                    }
                },
                Reaped::One(..) => {}
            }
        }
    }

    /// Looks whether a limit of time is over; if so, all are asked to end.
    fn look(&mut self, now: Instant) {
        let options = &self.inherited.options;
        let time = options.time.filter(|time| now.duration_since(self.start) >= *time).map(Limit::Time);
        let cpu_time = options.cpu_time.filter(|_| self.next_look <= now).and_then(|allowed| {
            let used = self.inherited.groups.cpu_time().unwrap_or_else(|| self.inherited.tree.cpu_time());
            let processors = sysconf(SysconfVar::_NPROCESSORS_ONLN).ok().flatten().unwrap_or(1).max(1) as u32;
            self.next_look = now + (allowed.saturating_sub(used) / processors).max(SHORTEST);
            (used >= allowed).then_some(Limit::CpuTime(allowed))
        });
        self.limit = time.or(cpu_time);
        if self.limit.is_some() {
            self.kill_at = Some(now + options.grace);
            hurry();
            // A stopped one is to notice.
            for signal in [rustix::process::Signal::TERM, rustix::process::Signal::CONT] {
                match self.inherited.groups.is_empty() {
                    true => self.inherited.tree.signal(signal),
                    false => self.inherited.groups.signal(signal),
                }
            }
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let options = &self.inherited.options;
        if self.limit.is_some() {
            return self.kill_at;
        }
        // What is too far away to be a time is as good as never.
        let time = options.time.and_then(|time| self.start.checked_add(time));
        time.into_iter().chain(options.cpu_time.map(|_| self.next_look)).min()
    }

    fn forward(&mut self, received: Signal) {
        match received {
            signal if OURS.contains(&signal) => {}
            // A shell has sent it to the whole job: once more, and it would undo the next stop.
            Signal::SIGCONT if self.command.was_continued() => self.stopped = false,
            Signal::SIGCONT => {
                self.stopped = false;
                signal::send(&self.command, received);
            }
            _ => signal::send(&self.command, received),
        }
    }

    /// Ends all that is left, and gives how the command ended, after which time.
    fn end(&mut self) -> Result<(Status, Duration), Error> {
        // Where no child is left, hardly anybody else is: then it is seen at once
        // when the cgroups are removed.
        if !self.is_alone {
            hurry();
            // Who is left in one for all that, their removal tells of.
            let _ = self.inherited.groups.kill();
        }
        let ended = self.inherited.tree.end(self.command.pid());
        if self.stopped {
            signal::send(&self.inherited.supervisor, Signal::SIGCONT);
        }
        let last = ended?.and_then(ending).map(|ending| (ending, self.start.elapsed()));
        self.status.or(last).ok_or_else(|| Error::new("the command is gone, and nobody knows how it ended"))
    }
}

/// How a child ended; `None` if it is stopped.
fn ending(status: WaitStatus) -> Option<Status> {
    let exited = status.exit_status().map(|status| Status::Exited(status as u8));
    exited.or_else(|| status.terminating_signal().map(Status::Killed))
}
