//! Signals by name.

use nix::sys::signal::Signal;

/// The number of a signal by its name, with or without SIG, in any case:
/// `TERM`, `sigterm`, `RTMIN+3`.
pub fn by_name(name: &str) -> Option<i32> {
    let name = name.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let realtime = |base: i32, offset: &str| match offset {
        "" => Some(base),
        offset if offset.starts_with(['+', '-']) => Some(base.saturating_add(offset.parse::<i32>().ok()?)),
        _ => None,
    };
    let number = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(offset), _) => realtime(libc::SIGRTMIN(), offset)?,
        (_, Some(offset)) => realtime(libc::SIGRTMAX(), offset)?,
        _ => {
            let name = match name {
                "IOT" => "ABRT",
                "POLL" => "IO",
                "CLD" => "CHLD",
                name => name,
            };
            return Some(format!("SIG{name}").parse::<Signal>().ok()? as i32);
        }
    };
    (libc::SIGRTMIN()..=libc::SIGRTMAX()).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::by_name;

    #[test]
    fn names() {
        for (name, number) in [
            ("TERM", 15),
            ("sigkill", 9),
            ("IOT", libc::SIGABRT),
            ("POLL", libc::SIGIO),
            ("CLD", libc::SIGCHLD),
            ("RTMIN", libc::SIGRTMIN()),
            ("RTMAX-1", libc::SIGRTMAX() - 1),
        ] {
            assert_eq!(by_name(name), Some(number), "{name}");
        }
        for name in ["15", "", "SIG", "NOSUCH", "RTMIN-1", "RTMAX+1", "RTMIN3"] {
            assert_eq!(by_name(name), None, "{name}");
        }
    }
}
