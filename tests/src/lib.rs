//! What the tests share: the two callers that every test runs as, fresh roots
//! for them, commands with a deadline, containers that run, and a terminal.
//!
//! ```no_run
//! use tests::{Run, both};
//!
//! both(|who| {
//!     let root = who.busybox();
//!     assert_eq!(who.contain(&root, &["--ro"], "echo hello").ran().out(), "hello");
//! });
//! ```
#![forbid(unsafe_code)]

pub mod cgroups;
mod lab;
mod names;
mod report;
mod roots;
mod run;
mod running;
mod tempdir;
mod terminal;
mod wait;
mod who;

pub use names::{Names, lists};
pub use report::{Report, capability_sets, report};
pub use roots::{Root, copy_program};
pub use run::{Ran, Run};
pub use running::Running;
pub use tempdir::TempDir;
pub use terminal::Terminal;
pub use wait::{eventually, mark, marked, noise};
pub use who::{Who, as_root, as_user, both};
