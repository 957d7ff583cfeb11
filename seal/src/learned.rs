//! The text of a policy that was learned, and how more is added to one.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, FlockOperation, Mode, OFlags, accessat, flock, open, openat};
use rustix::io::Errno;

use crate::file::replace;
use crate::syscalls::decide::{Decisions, Id};
use crate::syscalls::policy::Action;
use crate::syscalls::source::Source;
use crate::syscalls::table::Arch;
use crate::syscalls::{kafel, profile};
use crate::{Context, Error};

const ARCH: Arch = Arch::NATIVE;

/// What the kernel lets a process do in any case, and what a signal may add.
const ALWAYS: [&str; 4] = ["exit", "exit_group", "restart_syscall", "rt_sigreturn"];

const HEAD: &str = "// Learned: the system calls that were used, and how often.\nALLOW {\n";
const MORE: &str = "// Learned besides what follows.\nALLOW {\n";
const TAIL: &str = "}\nDEFAULT ERRNO(38) // ENOSYS\n";

/// The file that a policy is learned for, as it was before the command ran: what
/// the command makes of it, or of its name, decides nothing.
pub struct Destination {
    path: PathBuf,
    dir: OwnedFd,
    name: OsString,
    file: Option<File>,
    text: Vec<u8>,
    /// What the policy decides, if somebody else wrote it.
    theirs: Option<Theirs>,
}

struct Theirs {
    decisions: Decisions,
    default: Id,
    allowed: Id,
}

impl Destination {
    /// Opens the file, or the directory that it will be in. A policy that is
    /// there must be one that can be added to.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let cannot = || format!("cannot write the policy {path:?}");
        let name = path.file_name().ok_or_else(|| Error::new(cannot()).because(Errno::ISDIR))?.to_owned();
        let parent = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = open(parent, flags, Mode::empty()).tried(cannot)?;
        let mut file = match File::options().read(true).write(true).open(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                accessat(&dir, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS).tried(cannot)?;
                None
            }
            opened => Some(opened.tried(cannot)?),
        };
        let text = file.as_mut().map_or_else(|| Ok(Vec::new()), |file| read(file).tried(cannot))?;
        let is_ours = text.trim_ascii().is_empty() || std::str::from_utf8(&text).is_ok_and(|text| ours(text).is_some());
        let theirs = if is_ours { None } else { Some(Theirs::parse(path, &text)?) };
        Ok(Self { path: path.to_owned(), dir, name, file, text, theirs })
    }

    /// Writes the policy with these counts added: if we wrote it, a new one; if
    /// somebody else did, theirs, with what it does not allow before it.
    pub fn add(mut self, counts: &BTreeMap<u32, u64>) -> Result<(), Error> {
        let path = self.path.clone();
        let cannot = || format!("cannot write the policy {path:?}");
        let mut file = self.file.take().map_or_else(|| self.create(), Ok).tried(cannot)?;
        // Others may learn for the same file.
        flock(&file, FlockOperation::LockExclusive).tried(cannot)?;
        let now = read(&mut file).tried(cannot)?;
        let text = self.merged(&now, counts)?;
        replace(&mut file, text.as_bytes()).tried(cannot)
    }

    /// A link that the command has put there is not followed.
    fn create(&self) -> std::io::Result<File> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o666);
        let file = match openat(&self.dir, &self.name, flags | OFlags::CREATE | OFlags::EXCL, mode) {
            // Somebody else may have learned meanwhile.
            Err(Errno::EXIST) => openat(&self.dir, &self.name, flags, mode)?,
            created => created?,
        };
        let file = File::from(file);
        if file.metadata()?.is_file() { Ok(file) } else { Err(Errno::EXIST.into()) }
    }

    fn merged(&self, now: &[u8], counts: &BTreeMap<u32, u64>) -> Result<String, Error> {
        let named = counts.iter().map(|(&number, &count)| (name(number), count)).collect();
        if now.trim_ascii().is_empty() {
            return Ok(format!("{HEAD}{}{TAIL}", list(with_always(named))));
        }
        if let Some(mut before) = std::str::from_utf8(now).ok().and_then(ours) {
            for (name, count) in with_always(named) {
                let sum = before.entry(name).or_insert(0);
                *sum = sum.saturating_add(count);
            }
            return Ok(format!("{HEAD}{}{TAIL}", list(before)));
        }
        let (Some(theirs), true) = (&self.theirs, now == self.text) else {
            return Err(Error::new(format!("the policy {:?} was changed while CMD ran, and is left so", self.path)));
        };
        let decided = |number: &u32| theirs.decisions.calls.get(number).copied().unwrap_or(theirs.default);
        let added = counts.iter().filter(|(number, _)| decided(number) != theirs.allowed);
        let added: BTreeMap<_, _> = added.map(|(&number, &count)| (name(number), count)).collect();
        // Before theirs, since what matches first counts.
        let before = if added.is_empty() { String::new() } else { format!("{MORE}{}}}\n\n", list(added)) };
        Ok(before + &String::from_utf8_lossy(now))
    }
}

impl Theirs {
    fn parse(path: &Path, text: &[u8]) -> Result<Self, Error> {
        let source = Source { name: path.display().to_string(), path: Some(path.into()), text: text.to_vec() };
        if profile::is_json(text) {
            return Err(
                Error::new(format!("--learn {path:?}: that is a profile in JSON")).hint("it adds to policies in Kafel")
            );
        }
        if std::str::from_utf8(text).is_err() {
            return Err(Error::new(format!("--learn {path:?}: the policy there is not UTF-8")));
        }
        let (mut decisions, default) = Decisions::new(&[kafel::parse(source, ARCH)?])?;
        let (default, allowed) = (decisions.action(default)?, decisions.action(Action::Allow)?);
        Ok(Self { decisions, default, allowed })
    }
}

fn read(file: &mut File) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    if file.metadata()?.is_file() {
        file.rewind()?;
        file.read_to_end(&mut text)?;
    }
    Ok(text)
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
