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
    /// The id of the user's group.
    pub gid: u32,
    /// The home directory.
    pub home: String,
    /// The login shell, empty if none is given.
    pub shell: String,
}

/// A container's file need not be sane: more than this is not read.
const MAX: u64 = 1 << 20;

/// The first line of `file` with this user id.
pub fn by_uid(file: &Path, uid: u32) -> Option<Entry> {
    read(file)?.lines().filter_map(parse).find(|entry| entry.uid == uid)
}

/// The first line of `file` with this login name.
pub fn by_name(file: &Path, name: &str) -> Option<Entry> {
    read(file)?.lines().filter_map(parse).find(|entry| entry.name == name)
}

/// The ids of the groups in `file`, /etc/group, that list this user.
pub fn groups_of(file: &Path, name: &str) -> Vec<u32> {
    let text = read(file).unwrap_or_default();
    let of = |line: &str| {
        let fields: Vec<_> = line.split(':').collect();
        let is_member = fields.get(3)?.split(',').any(|member| member == name);
        is_member.then(|| fields[2].parse().ok()).flatten()
    };
    text.lines().filter_map(of).collect()
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
    // What is cut off would be another line.
    if bytes.len() as u64 == MAX {
        bytes.truncate(bytes.iter().rposition(|&byte| byte == b'\n')?);
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn parse(line: &str) -> Option<Entry> {
    let fields: Vec<_> = line.split(':').collect();
    let field = |index: usize| fields.get(index).copied().unwrap_or("");
    let (uid, gid) = (field(2).parse().ok()?, field(3).parse().ok()?);
    Some(Entry { name: field(0).into(), uid, gid, home: field(5).into(), shell: field(6).into() })
}
