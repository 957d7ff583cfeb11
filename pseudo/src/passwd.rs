//! /etc/passwd, read without libc: a static program must not load NSS modules
//! from a place that it does not trust (CVE-2019-14271).

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The fields of one line of /etc/passwd that matters here.
pub struct Entry {
    /// The login name.
    pub name: String,
    /// The user id.
    pub uid: u32,
    /// The login shell, empty if none is given.
    pub shell: String,
}

/// A container's file need not be sane: more than this is not read.
const MAX: u64 = 1 << 20;

/// The first line of `file` with this user id.
pub fn by_uid(file: &Path, uid: u32) -> Option<Entry> {
    read(file)?.lines().filter_map(parse).find(|entry| entry.uid == uid)
}

/// The id on the first line of `file`, /etc/passwd or /etc/group, with this name.
pub fn id(file: &Path, name: &str) -> Option<u32> {
    let text = read(file)?;
    let mut lines = text.lines().map(|line| line.split(':'));
    lines.find_map(|mut fields| if fields.next() == Some(name) { fields.nth(1) } else { None })?.parse().ok()
}

fn read(file: &Path) -> Option<String> {
    // A FIFO must not hang us, and a name need not be UTF-8.
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(file).ok()?;
    let mut bytes = Vec::new();
    file.take(MAX).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn parse(line: &str) -> Option<Entry> {
    let fields: Vec<_> = line.split(':').collect();
    let shell = fields.get(6).copied().unwrap_or("");
    Some(Entry { name: fields[0].into(), uid: fields.get(2)?.parse().ok()?, shell: shell.into() })
}
