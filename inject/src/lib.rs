//! Enter the namespaces, the root and the cgroups of something that runs.
//!
//! The supervisor joins everything from outside and stays there with the
//! caller's terminal. Its child, a reaper in the container's PID namespace,
//! never execs; it has the command as its own child and takes with it whatever
//! that leaves behind.
//!
//! Where single namespaces are named, it enters those alone and becomes the
//! command, as nsenter(1) does.
//!
//! ```no_run
//! isolate::called::run("inject", "nsenter", |called| inject::run(inject::options::parse(called)?, called));
//! ```

#![forbid(unsafe_code)]

mod carry;
mod cgroup;
mod enter;
mod follow;
mod join;
mod list;
pub mod options;
mod target;

use isolate::called::Called;
use seal::Error;

/// Does what was asked for; gives the exit status if it does not become the command.
pub fn run(mut options: options::Options, called: &Called) -> Result<u8, Error> {
    if options.list {
        return list::run(options.json);
    }
    if called.theirs || options.names_namespaces() {
        return join::run(&mut options, called);
    }
    seal::own::ensure_sealed()?;
    if let Some(status) = options.sealing.prepare("inject", seal::caps::ALL, true)? {
        return Ok(status);
    }
    enter::run(&options)
}
