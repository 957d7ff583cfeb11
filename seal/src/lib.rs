//! Seal a process before it starts, and the contract every tool keeps on its
//! way to becoming another program: one form of message, one set of exit
//! statuses, one way to find and execute a command.
//!
//! ```no_run
//! // Become /bin/true without capabilities, unable to start anything else.
//! let mut sealing = seal::Sealing::default();
//! sealing.set("caps", Some("none".as_ref())).unwrap();
//! sealing.set("deny-syscalls", Some("fork,vfork,clone,clone3".as_ref())).unwrap();
//! sealing.prepare("example", seal::caps::permitted().unwrap(), true).unwrap();
//! panic!("{}", sealing.exec(&["true".into()], &seal::exec::Environment::inherited()));
//! ```

mod access;
pub mod caps;
pub mod cli;
mod error;
pub mod exec;
mod file;
pub mod getopt;
mod identity;
mod learn;
mod learned;
pub mod memfd;
pub mod nearest;
mod options;
pub mod own;
pub mod passwd;
mod personality;
pub mod remains;
mod sealing;
pub mod signal;
mod sys;
pub mod syscalls;

pub use error::{Context, Error};
pub use options::{GROUP, OPTIONS};
pub use sealing::Sealing;
pub use sys::{
    borrow, die_by, exit, fds_but, forget_ignored_children, ignore_children, mount_setattr, set_parent_death_signal,
    start,
};
