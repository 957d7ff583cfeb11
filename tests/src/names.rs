//! The tools under the names of util-linux's.

use std::ffi::OsStr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{TempDir, Who};

/// Whether a `--help` lists this option.
pub fn lists(help: &str, option: &str) -> bool {
    let option = format!("--{option}");
    let name = |word: &str| word.trim_end_matches(',').split(['=', '[']).next() == Some(&option);
    help.split_whitespace().any(name)
}

/// A directory where `unshare` is `isolate` and `nsenter` is `inject`.
#[derive(Debug)]
pub struct Names {
    dir: TempDir,
    owner: Who,
}

impl Names {
    /// A new one, removed when this is dropped.
    pub fn new(who: &Who) -> Self {
        let dir = TempDir::new(std::env::temp_dir(), who);
        let tools = PathBuf::from(std::env::var_os("NSTOOLS_BIN").expect("NSTOOLS_BIN is not set: run tests/run"));
        for (name, tool) in [("unshare", "isolate"), ("nsenter", "inject")] {
            symlink(tools.join(tool), dir.join(name)).expect("it is empty");
        }
        Self { dir, owner: who.clone() }
    }

    /// Where they are.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// A command of the owner that finds them in PATH before util-linux's.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.owner.command(program);
        let path = command.get_envs().find(|(name, _)| *name == "PATH").and_then(|(_, value)| value);
        let path = format!("{}:{}", self.dir.display(), path.expect("it has one").display());
        command.env("PATH", path);
        command
    }

    /// `unshare ARGS`.
    pub fn unshare(&self, args: &[&str]) -> Command {
        let mut command = self.command("unshare");
        command.args(args);
        command
    }

    /// `nsenter ARGS`.
    pub fn nsenter(&self, args: &[&str]) -> Command {
        let mut command = self.command("nsenter");
        command.args(args);
        command
    }
}
