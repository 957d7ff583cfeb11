//! A place for network namespaces: network, mounts and processes of its own, a
//! fresh /run, for root and, by `pseudo`, for the ordinary user. All of it is
//! gone when its script ends.

use std::process::Command;

use crate::{Ran, Run, Who};

/// What every script starts with; the comments there say what each function does.
const FUNCTIONS: &str = include_str!("lab/lab.sh");

impl Who {
    /// Runs a script (POSIX sh, `-eu`) in a new lab, where it has the functions
    /// of `lab/lab.sh` and is PID 1, in an empty directory of the lab's own.
    #[track_caller]
    pub fn lab(&self, script: &str) -> Ran {
        let ran = self.lab_command(script).ran();
        Ran { command: format!("as {}: {script}", self.name), ..ran }
    }

    /// The command that [`Who::lab`] runs, for tests that look on.
    pub fn lab_command(&self, script: &str) -> Command {
        let mut command = self.tool(if self.is_root() { "isolate" } else { "pseudo" });
        if !self.is_root() {
            command.arg("isolate");
        }
        command.args(["-n", "-m", "-p", "--fork", "--mount-proc", "--kill-child"]);
        command.args(["sh", "-euc", &format!("{FUNCTIONS}\n{script}")]);
        command.env("TALK", include_str!("lab/talk.py")).env("STATE", include_str!("lab/state.py"));
        command
    }
}
