//! `--list`: the containers that run.

use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use isolate::container::{self, Container};
use isolate::process;
use seal::cli::printable;
use seal::{Context, Error};

struct Row {
    container: Container,
    uid: u32,
    user: String,
    since: String,
}

/// Prints a table, or JSON: an array of objects.
pub fn run(json: bool) -> Result<u8, Error> {
    let found = container::all().tried(|| "cannot read /proc")?;
    let rows: Vec<Row> = found.into_iter().filter_map(row).collect();
    let text = if json { as_json(&rows) } else { as_table(&rows) };
    std::io::stdout().write_all(text.as_bytes()).tried(|| "cannot write to stdout")?;
    Ok(0)
}

/// `None` if it has ended meanwhile.
fn row(container: Container) -> Option<Row> {
    let pid = container.supervisor;
    let uid = process::user(pid)?;
    let user = seal::passwd::by_uid(Path::new("/etc/passwd"), uid).map_or(uid.to_string(), |entry| entry.name);
    Some(Row { since: timestamp(started(pid)?), container, uid, user })
}

/// When a process started, in seconds since the epoch.
fn started(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let ticks: u64 = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()?;
    let booted = fs::read_to_string("/proc/stat").ok()?;
    let booted: u64 = booted.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(booted + ticks / rustix::param::clock_ticks_per_second())
}

/// As `2026-01-31T12:00:00Z`. The days are counted from March, so that the
/// leap day is a year's last.
fn timestamp(seconds: u64) -> String {
    let days = seconds / 86400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let second = seconds % 86400;
    format!("{year}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

fn as_table(rows: &[Row]) -> String {
    let header = ["PID", "INIT", "USER", "SINCE", "ROOT", "COMMAND"].map(str::to_owned);
    let cells = |row: &Row| {
        let words: Vec<_> = row.container.command.iter().map(|word| printable(word.as_bytes())).collect();
        let root = printable(row.container.root.as_os_str().as_bytes());
        let pids = [row.container.supervisor.to_string(), row.container.init.to_string()];
        let [pid, init] = pids;
        [pid, init, row.user.clone(), row.since.clone(), root, words.join(" ")]
    };
    let lines: Vec<[String; 6]> = std::iter::once(header).chain(rows.iter().map(cells)).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..5).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        for (cell, width) in line.iter().zip(&widths) {
            text += &format!("{cell:width$}  ");
        }
        text += &line[5];
        text.push('\n');
    }
    text
}

fn as_json(rows: &[Row]) -> String {
    let object = |row: &Row| {
        let Container { supervisor, init, root, command } = &row.container;
        let command: Vec<_> = command.iter().map(|word| quoted(word.as_bytes())).collect();
        format!(
            "{{\"pid\":{supervisor},\"init\":{init},\"user\":{},\"uid\":{},\"since\":\"{}\",\"root\":{},\"command\":[{}]}}",
            quoted(row.user.as_bytes()),
            row.uid,
            row.since,
            quoted(root.as_os_str().as_bytes()),
            command.join(",")
        )
    };
    let objects: Vec<_> = rows.iter().map(object).collect();
    format!("[{}]\n", objects.join(","))
}

/// A JSON string (RFC 8259); bytes that are not UTF-8 become U+FFFD.
fn quoted(bytes: &[u8]) -> String {
    let mut text = String::from('"');
    for c in String::from_utf8_lossy(bytes).chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            c if c.is_control() => text += &format!("\\u{:04x}", u32::from(c)),
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps() {
        assert_eq!(timestamp(0), "1970-01-01T00:00:00Z");
        assert_eq!(timestamp(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(timestamp(1_798_761_599), "2026-12-31T23:59:59Z");
    }

    #[test]
    fn strings() {
        assert_eq!(quoted(b"a\"\\\n\xff"), "\"a\\\"\\\\\\u000a\u{fffd}\"");
        assert_eq!(printable(b"a\x1b[2J"), "a\\u{1b}[2J");
    }
}
