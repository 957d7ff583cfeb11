//! The text of a policy that was learned, and how more is added to one.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;

use crate::syscalls::policy::Action;
use crate::syscalls::source::Source;
use crate::syscalls::table::Arch;
use crate::syscalls::{decide, kafel, profile};
use crate::{Context, Error};

const ARCH: Arch = Arch::NATIVE;

/// What the kernel lets a process do in any case, and what a signal may add.
const ALWAYS: [&str; 4] = ["exit", "exit_group", "restart_syscall", "rt_sigreturn"];

const HEAD: &str = "// Learned: the system calls that were used, and how often.\nALLOW {\n";
const MORE: &str = "// Learned besides what follows.\nALLOW {\n";
const TAIL: &str = "}\nDEFAULT ERRNO(38) // ENOSYS\n";

/// The text of the policy in `file` with these counts added: if we wrote it, a
/// new one; if somebody else did, theirs, with what it does not allow before it.
pub fn merged(path: &Path, file: &mut File, counts: &BTreeMap<u32, u64>) -> Result<String, Error> {
    let mut text = Vec::new();
    file.rewind().ok();
    if file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        file.read_to_end(&mut text).tried(|| format!("cannot read the policy {path:?}"))?;
    }
    let named: BTreeMap<String, u64> = counts.iter().map(|(&number, &count)| (name(number), count)).collect();
    if text.trim_ascii().is_empty() {
        return Ok(format!("{HEAD}{}{TAIL}", list(with_always(named))));
    }
    if let Some(mut before) = std::str::from_utf8(&text).ok().and_then(ours) {
        for (name, count) in with_always(named) {
            let sum = before.entry(name).or_insert(0);
            *sum = sum.saturating_add(count);
        }
        return Ok(format!("{HEAD}{}{TAIL}", list(before)));
    }
    let source = Source { name: path.display().to_string(), path: Some(path.into()), text };
    if profile::is_json(&source.text) {
        return Err(
            Error::new(format!("--learn {path:?}: that is a profile in JSON")).hint("it adds to policies in Kafel")
        );
    }
    let theirs = String::from_utf8(source.text.clone())
        .map_err(|_| Error::new(format!("--learn {path:?}: the policy there is not UTF-8")))?;
    let policy = kafel::parse(source, ARCH)?;
    let (mut decisions, default) = decide::Decisions::new(&[policy])?;
    let allowed = decisions.action(Action::Allow)?;
    let default = decisions.action(default)?;
    let decided = |number: &u32| decisions.calls.get(number).copied().unwrap_or(default);
    let added = counts.iter().filter(|(number, _)| decided(number) != allowed);
    let added: BTreeMap<_, _> = added.map(|(&number, &count)| (name(number), count)).collect();
    // Before theirs, since what matches first counts.
    let before = if added.is_empty() { String::new() } else { format!("{MORE}{}}}\n\n", list(added)) };
    Ok(before + &theirs)
}

fn with_always(mut counts: BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    for name in ALWAYS {
        counts.entry(name.to_owned()).or_insert(0);
    }
    counts
}

/// As Kafel itself knows it.
fn name(number: u32) -> String {
    ARCH.by_number(number).map_or_else(|| format!("SYSCALL[{number}]"), |call| call.entry.to_owned())
}

fn list(counts: BTreeMap<String, u64>) -> String {
    let last = counts.len().saturating_sub(1);
    let mut text = String::new();
    for (index, (name, count)) in counts.into_iter().enumerate() {
        let comma = if index == last { "" } else { "," };
        let _ = writeln!(text, "    {:24} // {count}", format!("{name}{comma}"));
    }
    text
}

/// The counts in a policy that is as we write it.
fn ours(text: &str) -> Option<BTreeMap<String, u64>> {
    let lines = text.strip_prefix(HEAD)?.strip_suffix(TAIL)?.lines();
    let counts: Option<BTreeMap<String, u64>> = lines
        .map(|line| {
            let (name, count) = line.split_once("//")?;
            Some((name.trim().trim_end_matches(',').to_owned(), count.trim().parse().ok()?))
        })
        .collect();
    let counts = counts?;
    (format!("{HEAD}{}{TAIL}", list(counts.clone())) == text).then_some(counts)
}
