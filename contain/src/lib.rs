//! Run a command in a container: a root file system built from mounts, and
//! namespaces of its own.
//!
//! Three processes. The *supervisor* ([`run`]) stays outside, holds the
//! terminal, forwards signals and tells how it ended. The *guard* is the init
//! of an outer PID namespace: it assembles the root in a mount namespace that
//! is more privileged than the container's, so that what it mounts is locked
//! there, and when it dies the kernel takes every process of the container
//! with it. The *init* moves in and becomes the command.
//!
//! ```no_run
//! let options = contain::options::parse().unwrap();
//! std::process::exit(contain::run(options).unwrap().into());
//! ```

mod dev;
mod ephemeral;
mod guard;
mod helper;
mod ids;
mod init;
mod mount;
pub mod options;
mod remount;
mod root;
mod skeleton;
mod spec;
mod supervisor;

pub use supervisor::run;
