//! Filters of system calls (seccomp(2)).

mod aarch64;
pub mod decide;
mod explain;
pub mod explore;
pub mod filters;
pub mod kafel;
pub mod policy;
pub mod profile;
pub mod program;
pub mod source;
pub mod table;
mod x86_64;
