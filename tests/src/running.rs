//! A command that runs while the test looks on.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::{fs, thread};

use nix::sys::signal::Signal;

use crate::wait::{DEADLINE, eventually, kill};

/// A command that runs, its stdin, stdout and stderr in our hands. It is
/// killed when this is dropped.
pub struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Running {
    /// Starts it; stderr goes where ours goes, unless the command says otherwise.
    pub fn start(command: &mut Command) -> Self {
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let stdin = child.stdin.take();
        Self { child, stdin, lines }
    }

    /// Starts it and waits until it says `ready`.
    #[track_caller]
    pub fn ready(command: &mut Command) -> Self {
        let running = Self::start(command);
        assert_eq!(running.line(), "ready");
        running
    }

    /// Starts it with this terminal as stdin and stdout.
    pub(crate) fn start_on(command: &mut Command, terminal: &OwnedFd) -> Self {
        let terminal = || terminal.try_clone().expect("fds are left");
        let spawned = command.stdin(terminal()).stdout(terminal()).spawn();
        let child = spawned.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, stdin: None, lines: channel().1 }
    }

    /// The next line that it writes.
    #[track_caller]
    pub fn line(&self) -> String {
        self.lines.recv_timeout(DEADLINE).expect("it writes a line")
    }

    /// Writes a line to it.
    pub fn say(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("its stdin is open");
        writeln!(stdin, "{line}").expect("it reads");
    }

    /// Ends its input.
    pub fn hang_up(&mut self) {
        self.stdin = None;
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The init of the container that it supervises: its grandchild.
    pub fn init(&self) -> Option<i32> {
        self.guard().and_then(child)
    }

    /// The guard of the container that it supervises: its child.
    pub fn guard(&self) -> Option<i32> {
        child(self.pid() as i32)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal);
    }

    /// Its state letter (proc_pid_stat(5)).
    pub fn state(&self) -> char {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        stat.rsplit_once(") ").unwrap().1.chars().next().unwrap()
    }

    /// Waits for its end: its exit status, or minus the signal that killed it.
    #[track_caller]
    pub fn end(&mut self) -> i32 {
        let mut status = None;
        eventually("the command ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        let status = status.unwrap();
        status.code().unwrap_or_else(|| -status.signal().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The first child of a process.
fn child(pid: i32) -> Option<i32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}
