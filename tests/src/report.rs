//! What the probe says of the process that it is.

use std::collections::BTreeMap;
use std::process::Command;

use crate::Run;

/// What it found, by its name.
pub type Report = BTreeMap<String, String>;

/// What a command says that ends as the probe.
#[track_caller]
pub fn report(command: &mut Command) -> Report {
    let pair = |line: &str| line.split_once(' ').map(|(key, value)| (key.to_owned(), value.to_owned()));
    command.ran().out().lines().filter_map(pair).collect()
}

/// The permitted, effective, inheritable, bounding and ambient capabilities.
pub fn capability_sets(report: &Report) -> [u64; 5] {
    ["permitted", "effective", "inheritable", "bounding", "ambient"]
        .map(|name| u64::from_str_radix(&report[&format!("cap.{name}")], 16).unwrap())
}
