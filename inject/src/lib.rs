//! Enter the namespaces, the root and the cgroups of something that runs.
//!
//! The supervisor joins everything from outside and stays there with the
//! caller's terminal. Its child, a reaper in the container's PID namespace,
//! never execs; it has the command as its own child and takes with it whatever
//! that leaves behind.
//!
//! ```no_run
//! let options = inject::options::parse().unwrap();
//! std::process::exit(inject::run(options).unwrap().into());
//! ```

#![forbid(unsafe_code)]

mod carry;
mod cgroup;
mod enter;
mod list;
pub mod options;
mod remains;
mod target;

pub use enter::run;
