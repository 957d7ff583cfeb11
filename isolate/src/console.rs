//! A terminal of the command's own: a pty whose master is relayed to the
//! caller's terminal. And its standard fds without one.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::signal::{SigSet, Signal};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags, openat};
use rustix::process::ioctl_tiocsctty;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout, stderr, stdin, stdout};
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, Winsize, isatty, tcgetattr, tcgetpgrp, tcgetwinsize,
    tcsetattr, tcsetwinsize,
};
use seal::{Context, Error};

/// When the command gets a terminal of its own.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Wanted {
    /// If stdin and stdout are both terminals.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The caller's terminal; with `--console` in a pipeline there may be none.
pub struct Terminal {
    input: OwnedFd,
    output: OwnedFd,
    saved: Option<Termios>,
    size: Option<Winsize>,
}

impl Terminal {
    /// What the console is to be connected to, if there is to be one.
    pub fn wanted(wanted: Wanted) -> Result<Option<Self>, Error> {
        let console = match wanted {
            Wanted::Auto => isatty(stdin()) && isatty(stdout()),
            Wanted::Always => true,
            Wanted::Never => false,
        };
        if !console {
            return Ok(None);
        }
        Ok(Some(Self {
            input: reopened(stdin())?,
            output: reopened(stdout())?,
            saved: tcgetattr(stdin()).ok(),
            size: tcgetwinsize(stdin()).or_else(|_| tcgetwinsize(stdout())).ok(),
        }))
    }

    /// Every key goes through; the console's own line discipline sees to it.
    fn set_raw(&self) {
        if let Some(raw) = self.raw().filter(|_| in_foreground()) {
            // NOW, here and below: to drain would wait for a terminal held by ^S.
            let _ = tcsetattr(stdin(), OptionalActions::Now, &raw);
        }
    }

    /// As the caller had it.
    fn restore(&self) {
        if let Some(saved) = &self.saved {
            let _ = tcsetattr(stdin(), OptionalActions::Now, saved);
        }
    }

    /// The same from the guard, when the supervisor was killed: from the
    /// background, and unless the caller's shell was faster.
    pub fn restore_if_raw(&self) {
        let (Some(raw), Ok(now)) = (self.raw(), tcgetattr(stdin())) else { return };
        if now.local_modes == raw.local_modes && now.input_modes == raw.input_modes {
            let _ = SigSet::from(Signal::SIGTTOU).thread_block();
            self.restore();
        }
    }

    fn raw(&self) -> Option<Termios> {
        let mut raw = self.saved.clone()?;
        raw.make_raw();
        Some(raw)
    }
}

/// Whether the terminal is ours now: a job in the background leaves it alone,
/// else the kernel would stop us (SIGTTOU, SIGTTIN). A group that began outside
/// of our PID namespace is 0 in it, which rustix takes for an error.
fn in_foreground() -> bool {
    nix::unistd::tcgetpgrp(stdin()).is_ok_and(|group| group == nix::unistd::getpgrp())
}

/// A pty: the command's side, and the master for the supervisor.
pub struct Pty {
    /// The command's side.
    pub slave: OwnedFd,
    /// The supervisor's.
    pub master: OwnedFd,
}

impl Pty {
    /// A new one of the devpts whose root `pts` is, with the modes and the
    /// size of the caller's terminal.
    pub fn open(pts: impl AsFd, like: &Terminal) -> Result<Self, Error> {
        let cannot = || "cannot open a console";
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let master = openat(pts, "ptmx", flags, Mode::empty()).tried(cannot)?;
        unlockpt(&master).tried(cannot)?;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let slave = ioctl_tiocgptpeer(&master, flags).tried(cannot)?;
        if let Some(saved) = &like.saved {
            tcsetattr(&slave, OptionalActions::Now, saved).tried(cannot)?;
        }
        if let Some(size) = like.size {
            tcsetwinsize(&slave, size).tried(cannot)?;
        }
        Ok(Self { slave, master })
    }
}

/// Starts a session of the command's own, so that nothing can push keystrokes
/// into the caller's terminal (CVE-2017-5226) and no ^C arrives twice; with a
/// console, on that. stderr joins it only if it was a terminal.
pub fn take_stdio(console: Option<&OwnedFd>) -> Result<(), Error> {
    rustix::process::setsid().tried(|| "cannot start a session")?;
    let Some(console) = console else { return Ok(()) };
    let cannot = || "cannot take the console";
    ioctl_tiocsctty(console).tried(cannot)?;
    dup2_stdin(console).tried(cannot)?;
    dup2_stdout(console).tried(cannot)?;
    if isatty(stderr()) {
        dup2_stderr(console).tried(cannot)?;
    }
    Ok(())
}

/// Bytes on their way. A page at most: what a pty takes at once.
#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    sent: usize,
}

impl Buffer {
    fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }

    /// Whether the source is still open.
    fn fill(&mut self, from: BorrowedFd) -> bool {
        self.bytes.resize(4096, 0);
        self.sent = 0;
        let read = rustix::io::read(from, &mut self.bytes);
        self.bytes.truncate(*read.as_ref().unwrap_or(&0));
        match read {
            Ok(count) => count > 0,
            // EIO: no one has the other side of the pty open any more.
            Err(errno) => matches!(errno, rustix::io::Errno::INTR | rustix::io::Errno::AGAIN),
        }
    }

    /// Whether the sink is still open.
    fn drain(&mut self, to: BorrowedFd) -> bool {
        match rustix::io::write(to, &self.bytes[self.sent..]) {
            Ok(count) => self.sent += count,
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            Err(_) => return false,
        }
        true
    }
}

/// The supervisor's part: bytes between the caller's stdio and the master.
pub struct Relay<'a> {
    terminal: &'a Terminal,
    /// Until one side hangs up.
    master: Option<OwnedFd>,
    typed: Buffer,
    shown: Buffer,
    input_open: bool,
}

impl<'a> Relay<'a> {
    /// Takes the terminal.
    pub fn new(terminal: &'a Terminal, master: OwnedFd) -> Result<Self, Error> {
        rustix::io::ioctl_fionbio(&master, true).tried(|| "cannot set up the console")?;
        terminal.set_raw();
        Ok(Self {
            terminal,
            master: Some(master),
            typed: Buffer::default(),
            shown: Buffer::default(),
            input_open: true,
        })
    }

    /// What to wait for: input, master, output. Nothing is read that cannot be
    /// passed on, and a hang-up where nothing is asked would wake us for ever.
    pub fn poll_fds(&self) -> [Option<PollFd<'_>>; 3] {
        let when = |wanted: bool, flags| if wanted { flags } else { PollFlags::empty() };
        let may_read = self.terminal.saved.is_none() || in_foreground();
        let typing = when(self.input_open && self.typed.is_empty() && may_read, PollFlags::IN);
        let master = when(self.shown.is_empty(), PollFlags::IN) | when(!self.typed.is_empty(), PollFlags::OUT);
        let showing = when(!self.shown.is_empty(), PollFlags::OUT);
        let entry = |fd, flags: PollFlags| (!flags.is_empty()).then(|| PollFd::from_borrowed_fd(fd, flags));
        [
            entry(self.terminal.input.as_fd(), typing),
            self.master.as_ref().and_then(|fd| entry(fd.as_fd(), master)),
            entry(self.terminal.output.as_fd(), showing),
        ]
    }

    /// Moves what can be moved; gives what was typed that the console's line
    /// discipline makes a signal of.
    pub fn advance(&mut self, ready: [PollFlags; 3]) -> Vec<Signal> {
        let mut signals = Vec::new();
        if !ready[0].is_empty() {
            self.input_open = self.typed.fill(self.terminal.input.as_fd());
            signals = self.signals_typed();
            if !self.input_open {
                self.end_of_input();
            }
        }
        if let Some(master) = &self.master {
            let mut open = true;
            if ready[1].contains(PollFlags::OUT) && !self.typed.is_empty() {
                open = self.typed.drain(master.as_fd());
            }
            if ready[1].intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) && self.shown.is_empty() {
                open &= self.shown.fill(master.as_fd());
            }
            if !open {
                self.master = None;
            }
        }
        if !ready[2].is_empty() && !self.shown.drain(self.terminal.output.as_fd()) {
            // No one looks any more: the console hangs up.
            self.shown = Buffer::default();
            self.master = None;
        }
        signals
    }

    /// Whether all that the command has written has been passed on.
    pub fn is_done(&self) -> bool {
        self.master.is_none() && self.shown.is_empty()
    }

    /// A pipe that ends is a ^D typed at the start of a line; a terminal that
    /// ends has hung up, and the SIGHUP that comes with it says so.
    fn end_of_input(&mut self) {
        if let Some(Ok(modes)) = self.master.as_ref().map(tcgetattr)
            && modes.local_modes.contains(LocalModes::ICANON)
        {
            self.typed.bytes.push(modes.special_codes[SpecialCodeIndex::VEOF]);
        }
    }

    fn signals_typed(&self) -> Vec<Signal> {
        let Some(Ok(modes)) = self.master.as_ref().map(tcgetattr) else { return Vec::new() };
        if !modes.local_modes.contains(LocalModes::ISIG) {
            return Vec::new();
        }
        let keys = [
            (SpecialCodeIndex::VINTR, Signal::SIGINT),
            (SpecialCodeIndex::VQUIT, Signal::SIGQUIT),
            (SpecialCodeIndex::VSUSP, Signal::SIGTSTP),
        ];
        let of = |&byte: &u8| keys.iter().find(|(key, _)| byte != 0 && modes.special_codes[*key] == byte);
        self.typed.bytes.iter().filter_map(of).map(|(_, signal)| *signal).collect()
    }

    /// The process group in the foreground of the console.
    pub fn foreground(&self) -> Option<i32> {
        let group = tcgetpgrp(self.master.as_ref()?).ok()?;
        Some(group.as_raw_nonzero().get())
    }

    /// The caller's terminal has another size now.
    pub fn resize(&self) {
        let size = tcgetwinsize(stdin()).or_else(|_| tcgetwinsize(stdout()));
        if let (Some(master), Ok(size)) = (&self.master, size) {
            let _ = tcsetwinsize(master, size);
        }
    }

    /// Gives the terminal back for a while, or for good.
    pub fn release(&self) {
        if in_foreground() {
            self.terminal.restore();
        }
    }

    /// Takes it again.
    pub fn retake(&self) {
        self.terminal.set_raw();
        self.resize();
    }
}

/// A file description of our own for a terminal, so that no one who shares the
/// caller's sees it become non-blocking; the caller's where that is refused.
fn reopened(fd: BorrowedFd) -> Result<OwnedFd, Error> {
    if isatty(fd) {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        if let Ok(own) = rustix::fs::open(format!("/proc/self/fd/{}", fd.as_raw_fd()), flags, Mode::empty()) {
            return Ok(own);
        }
    }
    rustix::io::fcntl_dupfd_cloexec(fd, 3).tried(|| "cannot duplicate the standard fds")
}
