//! Filters of system calls, seen by a program that tries them.
#![forbid(unsafe_code)]

mod actions;
#[path = "../attempts/mod.rs"]
mod attempts;
mod errors;
mod explain;
mod grammar;
mod log;
mod programs;
