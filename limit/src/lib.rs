//! How much a command may use: cgroups of both versions, rlimits, the wall
//! clock; and what it has used.
//!
//! ```no_run
//! // `limit memory=512M time=600 make`
//! let words = ["memory=512M", "time=600", "make"].map(Into::into).to_vec();
//! let status = limit::run(words).unwrap();
//! ```
//!
//! What holds for a process alone is set before it becomes the command. For the
//! rest two processes stay: the one that was called, and a guard, the command's
//! parent, which sees to its end should the first be killed.

mod attribute;
mod cgroup;
mod guard;
mod options;
mod report;
mod rlimit;
mod supervise;
mod sys;
mod systemd;
mod tree;
mod value;

use std::ffi::OsString;

use seal::Error;
use seal::exec::{Environment, Image};

use options::Options;

/// Runs what these words, which do not have the name of the program, ask for.
/// Gives the exit status: the command's, 124 or 137 where a limit has ended it.
pub fn run(words: Vec<OsString>) -> Result<u8, Error> {
    let mut options = options::parse(words)?;
    let command = options.command.clone();
    let ran =
        Image::find(&command[0], &command, &Environment::inherited()).and_then(|image| match options.supervised() {
            true => supervise::run(&mut options, &image),
            false => Err(become_command(&options, &image)),
        });
    if let (Err(error), Some(report)) = (&ran, &mut options.report) {
        // What went wrong first is told, however that ends.
        let _ = report.write(&report::Outcome::never_started(error).json());
    }
    ran
}

/// What a process takes on by itself, and the exec. Returns only on failure.
fn become_command(options: &Options, image: &Image) -> Error {
    let attributes = options.attributes.iter().try_for_each(attribute::Attribute::apply);
    // Last: they hold for us, too.
    match attributes.and_then(|()| options.rlimits.iter().try_for_each(rlimit::Change::apply)) {
        Ok(()) => image.exec(),
        Err(error) => error,
    }
}
