//! Signals: which ones a supervisor forwards, and what the receiver would make
//! of one.

use std::fs::File;
use std::io::{IoSliceMut, Read};
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;
use rustix::fs::{Dir, Mode, OFlags, openat};
use rustix::process::{kill_process_group, pidfd_send_signal};
use seal::{Context, Error};

use crate::sys;

/// A signal that no process sent (sigaction(2)).
const SI_KERNEL: i32 = 0x80;

/// What a supervisor passes on to its command.
pub const FORWARDED: [Signal; 9] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGTSTP,
    Signal::SIGCONT,
    Signal::SIGWINCH,
];

/// A signal mask to go back to.
pub struct Mask(SigSet);

impl Mask {
    /// Blocks `signals`.
    pub fn block(signals: impl IntoIterator<Item = Signal>) -> Result<Self, Error> {
        let set: SigSet = signals.into_iter().collect();
        let mut before = SigSet::empty();
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), Some(&mut before)).tried(|| "cannot block signals")?;
        Ok(Self(before))
    }

    /// As it was before.
    pub fn restore(&self) {
        // Cannot fail: the set came from the kernel.
        let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.0), None);
    }
}

/// Signals taken out of their asynchronous life: blocked, and read from an fd.
pub struct Blocked {
    fd: SignalFd,
    before: Mask,
}

impl Blocked {
    /// Blocks `signals`, to be read from a signalfd(2).
    pub fn new(signals: impl IntoIterator<Item = Signal>) -> Result<Self, Error> {
        let set: SigSet = signals.into_iter().collect();
        let before = Mask::block(&set)?;
        let fd = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .tried(|| "cannot create a signalfd")?;
        Ok(Self { fd, before })
    }

    /// The next signal that has arrived, if any.
    pub fn next(&self) -> Option<Signal> {
        self.next_from().map(|(signal, _)| signal)
    }

    /// Likewise, and whether it was typed at the terminal, which has sent it to
    /// the whole process group; a hang-up is told to the leader of a session alone.
    pub fn next_from(&self) -> Option<(Signal, bool)> {
        let info = self.fd.read_signal().ok()??;
        let signal = Signal::try_from(info.ssi_signo as i32).ok()?;
        Some((signal, info.ssi_code == SI_KERNEL && signal != Signal::SIGHUP))
    }

    /// The mask that this process was started with.
    pub fn restore(&self) {
        self.before.restore();
    }
}

impl AsFd for Blocked {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Whether process `pid` of this `proc` does anything of its own with `signal`:
/// some thread of it catches, blocks, ignores or waits for it. If not, and it is
/// the init of a PID namespace, the kernel drops the signal (pid_namespaces(7)).
pub fn minds(proc: impl AsFd, pid: i32, signal: Signal) -> bool {
    let proc = proc.as_fd();
    let bit = 1u64 << (signal as i32 - 1);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(threads) = openat(proc, format!("{pid}/task"), flags, Mode::empty()).and_then(Dir::new) else {
        return false;
    };
    threads.flatten().filter_map(|entry| entry.file_name().to_str().ok()?.parse::<i32>().ok()).any(|thread| {
        let in_set = |line: &str| {
            let mask = ["SigBlk:", "SigIgn:", "SigCgt:"].iter().find_map(|name| line.strip_prefix(name));
            mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & bit != 0)
        };
        let of_thread = |name: &str| read(proc, &format!("{pid}/task/{thread}/{name}"));
        of_thread("status").lines().any(in_set) || waits_for(pid, || of_thread("syscall"), bit)
    })
}

fn read(proc: BorrowedFd, path: &str) -> String {
    let mut text = String::new();
    if let Ok(file) = openat(proc, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
        let _ = File::from(file).read_to_string(&mut text);
    }
    text
}

/// While a thread is in rt_sigtimedwait(2) the kernel shows the signals that
/// it waits for in none of its masks, since it unblocks them for that time.
fn waits_for(pid: i32, syscall: impl Fn() -> String, bit: u64) -> bool {
    // "running" may be a moment between two waits: one that waits does so again.
    let mut read = std::iter::repeat_with(syscall).take(5);
    let text = read.find(|text| !text.starts_with("running")).unwrap_or_default();
    let mut words = text.split_ascii_whitespace();
    let number = words.next().and_then(|word| word.parse::<i64>().ok());
    let set = words.next().and_then(|word| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok());
    match (number, set) {
        (Some(libc::SYS_rt_sigtimedwait), Some(address)) => {
            // What it waits for cannot be read: leave the process alone.
            let mut set = [0; 8];
            let remote = RemoteIoVec { base: address as usize, len: set.len() };
            let read = process_vm_readv(Pid::from_raw(pid), &mut [IoSliceMut::new(&mut set)], &[remote]);
            read.is_err() || u64::from_ne_bytes(set) & bit != 0
        }
        _ => false,
    }
}

/// Sends `signal` to the process of `pidfd`; that it is gone is no failure.
pub fn send(pidfd: impl AsFd, signal: Signal) {
    if let Some(signal) = rustix::process::Signal::from_named_raw(signal as i32) {
        let _ = pidfd_send_signal(pidfd, signal);
    }
}

/// Sends `signal` to a process group; that it is gone is no failure.
pub fn send_group(pgid: i32, signal: Signal) {
    let signal = rustix::process::Signal::from_named_raw(signal as i32);
    if let (Some(group), Some(signal)) = (rustix::process::Pid::from_raw(pgid), signal) {
        let _ = kill_process_group(group, signal);
    }
}

/// Whether `signal`, which is blocked, has come.
pub fn is_pending(signal: Signal) -> bool {
    sys::pending().contains(signal)
}

/// Stops this process, as a shell's job control expects of a command.
pub fn stop_self() {
    let _ = nix::sys::signal::kill(Pid::this(), Signal::SIGSTOP);
}
