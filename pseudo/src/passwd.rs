//! /etc/passwd, read without libc: a static program must not load NSS modules
//! from a place that it does not trust (CVE-2019-14271).

use std::fs;
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

/// The first line of `file` with this user id.
pub fn by_uid(file: &Path, uid: u32) -> Option<Entry> {
    // A name need not be UTF-8, and a container's file need not be sane.
    let text = String::from_utf8_lossy(&fs::read(file).ok()?).into_owned();
    text.lines().filter_map(parse).find(|entry| entry.uid == uid)
}

fn parse(line: &str) -> Option<Entry> {
    let fields: Vec<_> = line.split(':').collect();
    let shell = fields.get(6).copied().unwrap_or("");
    Some(Entry { name: fields[0].into(), uid: fields.get(2)?.parse().ok()?, shell: shell.into() })
}
