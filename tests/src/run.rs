//! Commands that are waited for, with a deadline.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;

use crate::wait::{DEADLINE, kill};

/// A command that has run.
#[derive(Debug)]
pub struct Ran {
    /// What it was, for messages.
    pub command: String,
    /// What it wrote to stdout.
    pub stdout: Vec<u8>,
    /// What it wrote to stderr.
    pub stderr: String,
    /// How it ended.
    pub status: ExitStatus,
}

/// What can be run to its end.
pub trait Run {
    /// Runs it and waits.
    #[track_caller]
    fn ran(&mut self) -> Ran;

    /// Likewise with these bytes on stdin.
    #[track_caller]
    fn ran_with(&mut self, input: &[u8]) -> Ran;
}

impl Run for Command {
    #[track_caller]
    fn ran(&mut self) -> Ran {
        finish(self, None)
    }

    #[track_caller]
    fn ran_with(&mut self, input: &[u8]) -> Ran {
        finish(self.stdin(Stdio::piped()), Some(input.to_vec()))
    }
}

#[track_caller]
fn finish(command: &mut Command, input: Option<Vec<u8>>) -> Ran {
    let name = format!("{command:?}");
    let spawned = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = spawned.unwrap_or_else(|error| panic!("{name}: {error}"));
    let pid = child.id();
    let writer = child.stdin.take().map(|mut stdin| {
        // It may not want to read all of it.
        thread::spawn(move || drop(stdin.write_all(&input.unwrap_or_default())))
    });
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(child.wait_with_output()));
    let output = receiver.recv_timeout(DEADLINE).unwrap_or_else(|_| {
        kill(pid, nix::sys::signal::Signal::SIGKILL);
        panic!("{name} does not end");
    });
    let output = output.unwrap();
    if let Some(writer) = writer {
        writer.join().unwrap();
    }
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    Ran { command: name, stdout: output.stdout, stderr, status: output.status }
}

impl Ran {
    /// What it wrote, without the last newline. It must have succeeded, and
    /// said nothing on stderr.
    #[track_caller]
    pub fn out(&self) -> String {
        assert_eq!((self.status.code(), self.stderr.as_str()), (Some(0), ""), "{self:#?}");
        self.text()
    }

    /// What it wrote, without the last newline, however it ended.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end().to_owned()
    }

    /// Its exit status; a command that a signal killed has none.
    #[track_caller]
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| panic!("killed by signal {:?}: {self:#?}", self.status.signal()))
    }

    /// What it said on stderr. It must have failed with this status.
    #[track_caller]
    pub fn fails(&self, status: i32) -> &str {
        assert_eq!(self.status.code(), Some(status), "{self:#?}");
        &self.stderr
    }
}
