//! The clocks of a time namespace (time_namespaces(7)).

use std::os::fd::AsFd;
use std::{fmt, fs};

use nix::sched::{CloneFlags, setns};
use seal::{Context, Error};

/// A time to add to a clock, to the nanosecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offset {
    seconds: i64,
    /// Always forward: half a second back is -1 s and 500,000,000 ns.
    nanoseconds: u32,
}

impl Offset {
    /// Parses seconds, fractions and a sign allowed: `-1.5`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim_ascii_start();
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(whole) || !is_number(fraction) || fraction.len() > 9 {
            return None;
        }
        let nanoseconds = format!("{fraction:0<9}").parse::<i128>().ok()?;
        let total = whole.parse::<i64>().ok()? as i128 * NANO + nanoseconds;
        let total = if negative { -total } else { total };
        Some(Self { seconds: total.div_euclid(NANO).try_into().ok()?, nanoseconds: total.rem_euclid(NANO) as u32 })
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = i128::from(self.seconds) * NANO + i128::from(self.nanoseconds);
        let (sign, total) = (if total < 0 { "-" } else { "" }, total.unsigned_abs());
        let (whole, fraction) = (total / NANO as u128, format!("{:09}", total % NANO as u128));
        let text = format!("{sign}{whole}.{fraction}");
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

const NANO: i128 = 1_000_000_000;

/// Sets the clocks of the time namespace that this process has unshared. It
/// must be empty still: the kernel freezes them with the first process in it.
pub fn set(monotonic: Option<Offset>, boottime: Option<Offset>) -> Result<(), Error> {
    for (clock, offset) in [("monotonic", monotonic), ("boottime", boottime)] {
        let Some(offset) = offset else { continue };
        let Offset { seconds, nanoseconds } = offset;
        fs::write("/proc/self/timens_offsets", format!("{clock} {seconds} {nanoseconds}\n")).map_err(|source| {
            let range = source.raw_os_error() == Some(libc::ERANGE);
            Error::new(format!("cannot move the {clock} clock by {offset} s"))
                .because(source)
                .maybe_hint(range.then_some("it can go neither below 0 nor beyond 146 years"))
        })?;
    }
    Ok(())
}

/// Moves this process into the time namespace that it has unshared, where
/// otherwise only its children would be. An exec does it too since Linux 6.3.
pub fn enter() -> Result<(), Error> {
    let cannot = || "cannot enter the new time namespace";
    let namespace = fs::File::open("/proc/self/ns/time_for_children").tried(cannot)?;
    setns(namespace.as_fd(), CloneFlags::from_bits_retain(libc::CLONE_NEWTIME)).tried(cannot)
}

#[cfg(test)]
mod tests {
    use super::Offset;

    #[test]
    fn fractions_and_signs() {
        for (text, seconds, nanoseconds) in [
            ("5", 5, 0),
            ("-5", -5, 0),
            ("1.5", 1, 500_000_000),
            ("-0.25", -1, 750_000_000),
            ("+0.000000001", 0, 1),
            ("-0", 0, 0),
        ] {
            assert_eq!(Offset::parse(text), Some(Offset { seconds, nanoseconds }), "{text}");
        }
        for text in ["", "-", ".5", "1.", "1e3", "1.0000000001", "--1", "99999999999999999999", "x"] {
            assert_eq!(Offset::parse(text), None, "{text}");
        }
    }
}
