//! The program that tries system calls, under the tools.
#![allow(dead_code, reason = "no test file uses all of it")]

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::{Ran, TempDir, Who, copy_program};

/// A directory of one caller with the program in it.
pub struct Attempts {
    who: Who,
    dir: TempDir,
}

impl Attempts {
    pub fn new(who: &Who) -> Self {
        let dir = who.dir();
        copy_program(env!("CARGO_BIN_EXE_attempt"), dir.join("attempt"));
        Self { who: who.clone(), dir }
    }

    /// A file of the caller beside the program.
    pub fn file(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir.join(name);
        std::fs::write(&path, text).unwrap();
        self.who.give(&path);
        path
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What a file beside the program holds.
    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// `seal OPTIONS attempt STEPS`, in the directory.
    pub fn seal(&self, options: &[&str], steps: &[&str]) -> Command {
        let mut command = self.who.tool("seal");
        command.args(options).arg("./attempt").args(steps).current_dir(&self.dir);
        command
    }

    /// A shell script in the directory.
    pub fn sh(&self, script: &str) -> Command {
        let mut command = self.who.command("sh");
        command.args(["-c", script]).current_dir(&self.dir);
        command
    }
}

/// What it said, in one line, and the exit status as a shell has it, if it is not 0.
pub fn told(ran: &Ran) -> String {
    let status = ran.status.code().unwrap_or_else(|| 128 + ran.status.signal().expect("it has ended"));
    let mut words: Vec<String> = ran.text().lines().map(str::to_owned).collect();
    words.extend((status != 0).then(|| format!("= {status}")));
    words.join(", ")
}
