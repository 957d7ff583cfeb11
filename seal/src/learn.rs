//! `--learn`: a policy that allows what a command uses.
//!
//! The tool goes on in a child, whose command runs under a filter that asks us
//! for each system call, of its children's too, and we let the kernel go on
//! (SECCOMP_RET_USER_NOTIF, SECCOMP_USER_NOTIF_FLAG_CONTINUE). When the last of
//! them is gone the policy is written.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType, recvmsg, socketpair,
};
use rustix::process::{PidfdFlags, WaitOptions, pidfd_open, wait};

use crate::learned::Destination;
use crate::remains::HostProc;
use crate::syscalls::policy::{Action, Condition, Policy, Rule, Test, Value};
use crate::syscalls::program;
use crate::syscalls::table::Arch;
use crate::{Context, Error, sys};

const ARCH: Arch = Arch::NATIVE;

/// Signals that no process sent (sigaction(2)): those of the terminal reach the
/// child themselves.
const SI_KERNEL: i32 = 0x80;

const SIGNALS: [Signal; 7] = [
    Signal::SIGCHLD,
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];

/// In the child: the way to the one who learns.
pub struct Target {
    socket: OwnedFd,
    cookie: u64,
}

/// A child, and the signals that are for it.
struct Child {
    pid: Pid,
    signals: SignalFd,
    status: Option<u8>,
    /// By a signal.
    killed: bool,
}

/// Between the process that was started and the tool: asked by the filter, and
/// parent in the end of all that the command starts. It outlives the first one
/// to end these, should that be killed, and the other way round.
struct Supervisor {
    child: Child,
    started: OwnedFd,
    counts: BTreeMap<u32, u64>,
}

/// Forks twice. The last child goes on, the first process ends as that does,
/// once the policy is written. With `has_reaper` the tool ends what its command
/// leaves behind, when it is killed itself.
pub fn start(tool: &str, file: &Path, has_reaper: bool) -> Result<Target, Error> {
    let destination = Destination::open(file)?;
    let cannot = || "cannot watch the command";
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).tried(cannot)?;
    let started = pidfd_open(rustix::process::getpid(), PidfdFlags::empty()).tried(cannot)?;
    let proc = HostProc::open()?;
    let before = SigSet::thread_get_mask().tried(cannot)?;
    nix::sys::prctl::set_child_subreaper(true).tried(cannot)?;
    if let Some(mut supervisor) = Child::fork().tried(cannot)? {
        drop((ours, theirs, destination));
        crate::cli::run(tool, || {
            let status = supervisor.wait()?;
            if supervisor.killed {
                supervisor.end(&proc, has_reaper);
            }
            Ok(status)
        });
    }
    nix::sys::prctl::set_child_subreaper(true).tried(cannot)?;
    // Stopped, it would not see that the first one is gone.
    sys::set_parent_death_signal(libc::SIGCONT).tried(cannot)?;
    let parent = rustix::process::getpid();
    if let Some(child) = Child::fork().tried(cannot)? {
        drop(theirs);
        let mut supervisor = Supervisor { child, started, counts: BTreeMap::new() };
        crate::cli::run(tool, || {
            let watched = supervisor.watch(&ours);
            supervisor.child.end(&proc, has_reaper);
            let learned = watched?;
            // Nobody is left whom a signal should reach through us.
            SigSet::from_iter(SIGNALS).thread_unblock().tried(cannot)?;
            if learned && !supervisor.counts.is_empty() {
                destination.add(&supervisor.counts)?;
            }
            Ok(supervisor.child.status.unwrap_or(125))
        });
    }
    sys::set_parent_death_signal(libc::SIGKILL).tried(cannot)?;
    if rustix::process::getppid() != Some(parent) {
        crate::exit(125);
    }
    before.thread_set_mask().tried(cannot)?;
    Ok(Target { socket: theirs, cookie: RandomState::new().build_hasher().finish() })
}

impl Child {
    /// `None` in the child, which has the signals blocked, too.
    fn fork() -> nix::Result<Option<Self>> {
        let mask = SigSet::from_iter(SIGNALS);
        mask.thread_block()?;
        let Some(pid) = sys::fork()? else { return Ok(None) };
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Some(Self { pid: Pid::from_raw(pid), signals, status: None, killed: false }))
    }

    /// Waits until it ends; gives its status.
    fn wait(&mut self) -> Result<u8, Error> {
        loop {
            if let Some(status) = self.status {
                return Ok(status);
            }
            match poll(&mut [PollFd::new(&self.signals, PollFlags::IN)], None) {
                Err(rustix::io::Errno::INTR) => continue,
                result => result.tried(|| "cannot wait for the command")?,
            };
            self.signalled()?;
        }
    }

    /// Passes signals on. True if one came that is to end us, after it ended.
    fn signalled(&mut self) -> Result<bool, Error> {
        while let Ok(Some(info)) = self.signals.read_signal() {
            let Ok(signal) = Signal::try_from(info.ssi_signo as i32) else { continue };
            if signal == Signal::SIGCHLD {
                self.reap()?;
            } else if self.status.is_some() {
                return Ok(!matches!(signal, Signal::SIGUSR1 | Signal::SIGUSR2));
            } else if info.ssi_code != SI_KERNEL {
                // If it has just ended the signal came too late.
                let _ = kill(self.pid, signal);
            }
        }
        Ok(false)
    }

    /// Ends it, and all that it has left behind. What has a reaper is left to
    /// that, which has to do more.
    fn end(&self, proc: &HostProc, has_reaper: bool) {
        if !has_reaper {
            return proc.kill_children();
        }
        if self.status.is_none() {
            // It may have ended just now.
            let _ = kill(self.pid, Signal::SIGKILL);
        }
        while !matches!(wait(WaitOptions::empty()), Err(rustix::io::Errno::CHILD)) {}
    }

    /// Reaps whatever has ended.
    fn reap(&mut self) -> Result<(), Error> {
        loop {
            let (pid, changed) = match wait(WaitOptions::NOHANG | WaitOptions::UNTRACED) {
                Ok(Some(changed)) => changed,
                Ok(None) | Err(rustix::io::Errno::CHILD) => return Ok(()),
                Err(errno) => return Err(Error::new("cannot wait for the command").because(errno)),
            };
            if pid.as_raw_nonzero().get() != self.pid.as_raw() {
                continue;
            }
            self.status = match (changed.exit_status(), changed.terminating_signal()) {
                (Some(code), _) => Some(code as u8),
                (_, Some(signal)) => {
                    self.killed = true;
                    Some(128 + signal as u8)
                }
                _ => {
                    // Stop with it, and go on with it.
                    raise(Signal::SIGSTOP).tried(|| "cannot stop")?;
                    let _ = kill(self.pid, Signal::SIGCONT);
                    None
                }
            };
        }
    }
}

impl Target {
    /// What must stay open until the exec.
    pub fn fd(&self) -> impl AsFd + '_ {
        &self.socket
    }

    /// Loads the filter. From now on each system call waits for the parent.
    pub fn install(&self) -> Result<(), Error> {
        let number = ARCH.by_name("sendmsg").map_or(u32::MAX, |call| call.number);
        let argument = Value::Arg { index: 5, wide: true };
        let condition = Some(Rc::new(Condition::Compare(Test::Eq, argument, Value::Number(self.cookie))));
        let policy = Policy { rules: vec![Rule { number, condition, action: Action::Allow }], default: Action::Notify };
        let program = program::compile(ARCH, &[policy])?;
        let load = |flags| sys::seccomp_set_filter(&program, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | flags);
        // A call is not begun anew by each signal that comes while we are asked.
        let listener = match load(libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV) {
            // Before Linux 5.19.
            Err(Errno::EINVAL) => load(0),
            result => result,
        };
        let listener = listener.map_err(|errno| {
            let hint =
                (errno == Errno::EBUSY).then_some("somebody else is told of this process's system calls already");
            Error::new("cannot load a filter that reports").because(errno).maybe_hint(hint)
        })?;
        let Some(listener) = listener else { unreachable!("the flag asks for one") };
        let sent = sys::send_fd_with_cookie(self.socket.as_fd(), listener.as_fd(), self.cookie);
        // The exec closes it; close(2) here would be told of as the command's.
        std::mem::forget(listener);
        sent.tried(|| "cannot pass the filter's listener on")
    }

    /// The command was not executed: there is nothing to learn.
    pub fn failed(&self) {
        // If the parent is gone there is nobody to tell.
        let _ = rustix::io::write(&self.socket, b"F");
    }
}

impl Supervisor {
    /// Answers until the last one that could ask is gone, or somebody wants it to
    /// end. Whether there is something to be written.
    fn watch(&mut self, socket: &OwnedFd) -> Result<bool, Error> {
        let mut listener: Option<OwnedFd> = None;
        // Until the command is executed, or nothing is left that could do it.
        let mut socket = Some(socket);
        let mut failed = false;
        loop {
            // What is not there is a signal's place, which does no harm.
            let none = self.child.signals.as_fd();
            let places =
                [Some(none), Some(self.started.as_fd()), socket.map(AsFd::as_fd), listener.as_ref().map(AsFd::as_fd)];
            let mut fds = places.map(|fd| PollFd::from_borrowed_fd(fd.unwrap_or(none), PollFlags::IN));
            match poll(&mut fds, None) {
                Err(rustix::io::Errno::INTR) => continue,
                result => result.tried(|| "cannot wait for the command")?,
            };
            let [signals, killed, said, asked] = fds.map(|fd| fd.revents());
            if !killed.is_empty() {
                return Ok(false);
            }
            if let Some(from) = listener.as_ref().filter(|_| !asked.is_empty()) {
                if asked.contains(PollFlags::IN) {
                    self.learn(from)?;
                } else if asked.contains(PollFlags::HUP) {
                    // All that had the filter are gone.
                    listener = None;
                }
            }
            if let Some(from) = socket.filter(|_| !said.is_empty()) {
                match receive(from) {
                    Some(Told::Listener(fd)) => listener = Some(fd),
                    Some(Told::Failed) => failed = true,
                    None => socket = None,
                }
            }
            let ends = !signals.is_empty() && self.child.signalled()?;
            if ends || self.child.status.is_some() && listener.is_none() && socket.is_none() {
                return Ok(!failed);
            }
        }
    }

    /// Answers one question.
    fn learn(&mut self, listener: &OwnedFd) -> Result<(), Error> {
        let (id, number) = match sys::seccomp_receive(listener.as_fd()) {
            // Who asked was killed meanwhile.
            Err(Errno::ENOENT | Errno::EINTR) => return Ok(()),
            result => result.tried(|| "cannot be told of a system call")?,
        };
        let count = self.counts.entry(number).or_insert(0);
        *count = count.saturating_add(1);
        match sys::seccomp_continue(listener.as_fd(), id) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(Error::new("cannot let a system call go on").because(errno)),
        }
    }
}

enum Told {
    Listener(OwnedFd),
    Failed,
}

/// What the child says; `None` when it has become the command, or is gone.
fn receive(socket: &OwnedFd) -> Option<Told> {
    let mut byte = [0; 1];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC).ok()?;
    let fd = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    match (fd, received.bytes) {
        (_, 0) => None,
        (Some(fd), _) => Some(Told::Listener(fd)),
        (None, _) => Some(Told::Failed),
    }
}
