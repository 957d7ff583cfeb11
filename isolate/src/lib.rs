//! Make namespaces and run a command in them; and what every tool needs that
//! has a child in one: the table of namespaces, fork, signals, wait statuses,
//! and how a container is named by the PID of its supervisor.
//!
//! ```no_run
//! // A process of its own in a new network namespace, with lo up.
//! use isolate::process::{Forked, fork};
//! match fork(isolate::namespace::NET.flag).unwrap() {
//!     Forked::Child => isolate::loopback::up().unwrap(),
//!     Forked::Parent(child) => assert_eq!(child.wait().unwrap().code(), 0),
//! }
//! ```

pub mod called;
pub mod cgroup;
pub mod channel;
mod clock;
pub mod console;
pub mod container;
pub mod credentials;
pub mod fork;
pub mod inside;
pub mod loopback;
mod mounts;
pub mod named;
pub mod namespace;
pub mod options;
mod outside;
mod persist;
pub mod process;
pub mod reaper;
pub mod signal;
pub mod supervise;
mod sys;
pub mod unshare;
