//! The ranges of subordinate ids that /etc/subuid and /etc/subgid delegate
//! (subuid(5)).

use std::fs;
use std::path::Path;

use seal::passwd;

/// A delegated range: `count` ids from `start` on.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    pub start: u32,
    pub count: u32,
}

/// The names that a line may have for user `uid`: the login name and the number.
pub fn names(uid: u32) -> Vec<String> {
    // Users that are not in /etc/passwd: newuidmap checks what is claimed here.
    let name =
        passwd::by_uid(Path::new("/etc/passwd"), uid).map(|entry| entry.name).or_else(|| std::env::var("USER").ok());
    name.into_iter().chain([uid.to_string()]).collect()
}

/// The ranges that `file` delegates to any of `names`, in file order.
pub fn ranges(file: &str, names: &[String]) -> Vec<Range> {
    let Ok(text) = fs::read(file) else { return Vec::new() };
    let parse = |line: &str| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        let range = Range { start: fields.next()?.parse().ok()?, count: fields.next()?.parse().ok()? };
        (range.count > 0 && names.iter().any(|name| name == owner)).then_some(range)
    };
    String::from_utf8_lossy(&text).lines().filter_map(parse).collect()
}
