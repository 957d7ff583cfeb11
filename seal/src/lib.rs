//! Seal a process before it starts, and the contract every tool keeps on its
//! way to becoming another program: one form of message, one set of exit
//! statuses, one way to find and execute a command.
//!
//! ```no_run
//! // Become a copy of /bin/true that nothing can write to.
//! let program = seal::memfd::find("true".as_ref()).unwrap();
//! let copy = seal::memfd::sealed(&program).unwrap();
//! panic!("{}", copy.exec(&["true".into()]));
//! ```

mod access;
pub mod caps;
pub mod cli;
mod error;
pub mod exec;
pub mod getopt;
mod identity;
mod learn;
pub mod memfd;
mod nearest;
pub mod own;
pub mod passwd;
mod sealing;
pub mod signal;
mod sys;
pub mod syscalls;

pub use error::{Context, Error};
pub use sealing::{OPTIONS, Sealing};
pub use sys::{borrow, die_by, exit, forget_ignored_children, ignore_children, mount_setattr, start};
