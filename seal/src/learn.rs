//! `--learn`: a policy that allows what a command uses.
//!
//! The tool goes on in a child, whose command runs under a filter that asks us
//! for each system call, of its children's too, and we let the kernel go on
//! (SECCOMP_RET_USER_NOTIF, SECCOMP_USER_NOTIF_FLAG_CONTINUE). When the last of
//! them is gone the policy is written.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{IoSliceMut, Read, Seek, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType, recvmsg, socketpair,
};
use rustix::process::{Pid as ProcessId, WaitOptions, waitpid};

use crate::syscalls::policy::{Action, Condition, Policy, Rule, Test, Value};
use crate::syscalls::source::Source;
use crate::syscalls::table::Arch;
use crate::syscalls::{decide, kafel, profile, program};
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

/// What the kernel lets a process do in any case, and what a signal may add.
const ALWAYS: [&str; 4] = ["exit", "exit_group", "restart_syscall", "rt_sigreturn"];

/// In the child: the way to the one who learns.
pub struct Learner {
    socket: OwnedFd,
    cookie: u64,
}

/// In the parent.
struct Teacher {
    file: PathBuf,
    child: Pid,
    signals: SignalFd,
    counts: BTreeMap<u32, u64>,
}

/// Forks. The child goes on, the parent ends this process as the child ends,
/// once the policy is written.
pub fn start(tool: &str, file: &Path) -> Result<Learner, Error> {
    check(file)?;
    let cannot = || "cannot watch the command";
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).tried(cannot)?;
    let mask = SigSet::from_iter(SIGNALS);
    let before = SigSet::thread_get_mask().tried(cannot)?;
    mask.thread_block().tried(cannot)?;
    let parent = rustix::process::getpid();
    let Some(child) = sys::fork().tried(cannot)? else {
        sys::set_parent_death_signal(libc::SIGKILL).tried(cannot)?;
        if rustix::process::getppid() != Some(parent) {
            crate::exit(125);
        }
        before.thread_set_mask().tried(cannot)?;
        return Ok(Learner { socket: theirs, cookie: RandomState::new().build_hasher().finish() });
    };
    drop(theirs);
    let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).tried(cannot)?;
    let teacher = Teacher { file: file.to_owned(), child: Pid::from_raw(child), signals, counts: BTreeMap::new() };
    crate::cli::run(tool, || teacher.run(&ours))
}

impl Learner {
    /// What must stay open until the exec.
    pub fn fd(&self) -> impl AsFd + '_ {
        &self.socket
    }

    /// Loads the filter. From now on each system call waits for the parent.
    pub fn install(&self) -> Result<(), Error> {
        let number = ARCH.by_name("sendmsg").map_or(u32::MAX, |call| call.number);
        let argument = Value::Arg { index: 5, wide: true };
        let condition = Some(Condition::Compare(Test::Eq, argument, Value::Number(self.cookie)));
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
        sys::send_fd_with_cookie(self.socket.as_fd(), listener.as_fd(), self.cookie)
            .tried(|| "cannot pass the filter's listener on")
    }

    /// The command was not executed: there is nothing to learn.
    pub fn failed(&self) {
        // If the parent is gone there is nobody to tell.
        let _ = rustix::io::write(&self.socket, b"F");
    }
}

/// A policy that is there must be one that can be added to.
fn check(file: &Path) -> Result<(), Error> {
    match File::options().read(true).write(true).open(file) {
        Ok(mut file_there) => merged(file, &mut file_there, &BTreeMap::new()).map(drop),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
            rustix::fs::accessat(
                rustix::fs::CWD,
                dir,
                rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK,
                rustix::fs::AtFlags::EACCESS,
            )
            .tried(|| format!("cannot write the policy {file:?}"))
        }
        Err(error) => Err(Error::new(format!("cannot write the policy {file:?}")).because(error)),
    }
}

impl Teacher {
    fn run(mut self, socket: &OwnedFd) -> Result<u8, Error> {
        let mut listener: Option<OwnedFd> = None;
        let mut status = None;
        let mut failed = false;
        let mut told = true;
        loop {
            let mut fds = vec![PollFd::new(&self.signals, PollFlags::IN)];
            fds.extend(told.then(|| PollFd::new(socket, PollFlags::IN)));
            fds.extend(listener.as_ref().map(|listener| PollFd::new(listener, PollFlags::IN)));
            match poll(&mut fds, None) {
                Err(rustix::io::Errno::INTR) => continue,
                result => result.tried(|| "cannot wait for the command")?,
            };
            let ready: Vec<_> = fds.iter().map(PollFd::revents).collect();
            drop(fds);
            if let (true, Some(from)) = (!ready.last().is_none_or(PollFlags::is_empty) && listener.is_some(), &listener)
            {
                let events = ready[ready.len() - 1];
                if events.contains(PollFlags::IN) {
                    self.learn(from)?;
                } else if status.is_some() {
                    break;
                } else {
                    // All that had the filter are gone, and the child is about to end.
                    listener = None;
                }
            }
            if told && !ready[1].is_empty() {
                match receive(socket) {
                    Some(Told::Listener(fd)) => listener = Some(fd),
                    Some(Told::Failed) => failed = true,
                    None => told = false,
                }
            }
            if !ready[0].is_empty() && self.signalled(&mut status)? {
                break;
            }
            if status.is_some() && listener.is_none() && !told {
                break;
            }
        }
        if !failed && !self.counts.is_empty() {
            self.write()?;
        }
        Ok(status.unwrap_or(125))
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

    /// Passes signals on to the child. True if one came that is to end us, after
    /// the child ended and while others go on.
    fn signalled(&self, status: &mut Option<u8>) -> Result<bool, Error> {
        while let Ok(Some(info)) = self.signals.read_signal() {
            let Ok(signal) = Signal::try_from(info.ssi_signo as i32) else { continue };
            if signal == Signal::SIGCHLD {
                self.reap(status)?;
            } else if status.is_some() {
                return Ok(!matches!(signal, Signal::SIGUSR1 | Signal::SIGUSR2));
            } else if info.ssi_code != SI_KERNEL {
                // If it has just ended the signal came too late.
                let _ = kill(self.child, signal);
            }
        }
        Ok(false)
    }

    fn reap(&self, status: &mut Option<u8>) -> Result<(), Error> {
        let options = WaitOptions::NOHANG | WaitOptions::UNTRACED;
        let child = ProcessId::from_raw(self.child.as_raw());
        while status.is_none() {
            let Some((_, changed)) = waitpid(child, options).tried(|| "cannot wait for the command")? else { break };
            *status = match (changed.exit_status(), changed.terminating_signal()) {
                (Some(code), _) => Some(code as u8),
                (_, Some(signal)) => Some(128 + signal as u8),
                _ => {
                    // Stop with it, and go on with it.
                    raise(Signal::SIGSTOP).tried(|| "cannot stop")?;
                    let _ = kill(self.child, Signal::SIGCONT);
                    None
                }
            };
        }
        Ok(())
    }

    fn write(&self) -> Result<(), Error> {
        let cannot = || format!("cannot write the policy {:?}", self.file);
        let mut file =
            File::options().read(true).write(true).create(true).truncate(false).open(&self.file).tried(cannot)?;
        // Others may learn for the same file.
        flock(&file, FlockOperation::LockExclusive).tried(cannot)?;
        let text = merged(&self.file, &mut file, &self.counts)?;
        // Room first, so that a full disk leaves what is there.
        match fallocate(&file, FallocateFlags::KEEP_SIZE, 0, text.len() as u64) {
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::SPIPE | rustix::io::Errno::NODEV) => {}
            result => result.tried(cannot)?,
        }
        let seekable = file.rewind().is_ok();
        file.write_all(text.as_bytes()).tried(cannot)?;
        if seekable { file.set_len(text.len() as u64).tried(cannot) } else { Ok(()) }
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

const HEAD: &str = "// Learned: the system calls that were used, and how often.\nALLOW {\n";
const TAIL: &str = "}\nDEFAULT ERRNO(38) // ENOSYS\n";

/// The text of the policy in `file` with these counts added: if we wrote it, a
/// new one; if somebody else did, theirs, with what it does not allow behind it.
fn merged(path: &Path, file: &mut File, counts: &BTreeMap<u32, u64>) -> Result<String, Error> {
    let mut text = Vec::new();
    file.rewind().ok();
    if file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        file.read_to_end(&mut text).tried(|| format!("cannot read the policy {path:?}"))?;
    }
    let named: BTreeMap<String, u64> = counts.iter().map(|(&number, &count)| (name(number), count)).collect();
    if text.trim_ascii().is_empty() {
        return Ok(format!("{HEAD}{}{TAIL}", list(with_always(named))));
    }
    if let Some(mut before) = std::str::from_utf8(&text).ok().and_then(ours) {
        for (name, count) in with_always(named) {
            let sum = before.entry(name).or_insert(0);
            *sum = sum.saturating_add(count);
        }
        return Ok(format!("{HEAD}{}{TAIL}", list(before)));
    }
    let source = Source { name: path.display().to_string(), path: Some(path.into()), text };
    if profile::is_json(&source.text) {
        return Err(
            Error::new(format!("--learn {path:?}: that is a profile in JSON")).hint("it adds to policies in Kafel")
        );
    }
    let mut theirs = String::from_utf8(source.text.clone())
        .map_err(|_| Error::new(format!("--learn {path:?}: the policy there is not UTF-8")))?;
    let policy = kafel::parse(source, ARCH)?;
    let (mut decisions, default) = decide::Decisions::new(&[policy])?;
    let allowed = decisions.action(Action::Allow)?;
    let default = decisions.action(default)?;
    let is_new = |name: &String| {
        let number = counts.keys().copied().find(|&number| self::name(number) == *name);
        let decision = number.and_then(|number| decisions.calls.get(&number).copied()).unwrap_or(default);
        decision != allowed
    };
    let added: BTreeMap<String, u64> = named.into_iter().filter(|(name, _)| is_new(name)).collect();
    if !added.is_empty() {
        let _ = write!(theirs, "\n// Learned besides.\nALLOW {{\n{}}}\n", list(added));
    }
    Ok(theirs)
}

fn with_always(mut counts: BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    for name in ALWAYS {
        counts.entry(name.to_owned()).or_insert(0);
    }
    counts
}

/// As Kafel itself knows it.
fn name(number: u32) -> String {
    ARCH.by_number(number).map_or_else(|| format!("SYSCALL[{number}]"), |call| call.entry.to_owned())
}

fn list(counts: BTreeMap<String, u64>) -> String {
    let last = counts.len().saturating_sub(1);
    let mut text = String::new();
    for (index, (name, count)) in counts.into_iter().enumerate() {
        let comma = if index == last { "" } else { "," };
        let _ = writeln!(text, "    {:24} // {count}", format!("{name}{comma}"));
    }
    text
}

/// The counts in a policy that is as we write it.
fn ours(text: &str) -> Option<BTreeMap<String, u64>> {
    let lines = text.strip_prefix(HEAD)?.strip_suffix(TAIL)?.lines();
    let counts: Option<BTreeMap<String, u64>> = lines
        .map(|line| {
            let (name, count) = line.split_once("//")?;
            Some((name.trim().trim_end_matches(',').to_owned(), count.trim().parse().ok()?))
        })
        .collect();
    let counts = counts?;
    (format!("{HEAD}{}{TAIL}", list(counts.clone())) == text).then_some(counts)
}
