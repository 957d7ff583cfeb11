//! Values with units.

use std::time::Duration;

use seal::Error;

const BYTES: &[(&str, u128)] =
    &[("", 1), ("k", 1 << 10), ("m", 1 << 20), ("g", 1 << 30), ("t", 1 << 40), ("p", 1 << 50), ("e", 1 << 60)];

/// In nanoseconds.
const TIMES: &[(&str, u128)] = &[
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

/// A number of bytes: `512M`, `1.5G`, `4096`; units are powers of 1024.
pub fn bytes(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let number = lower.strip_suffix("ib").or_else(|| lower.strip_suffix('b')).unwrap_or(&lower);
    // Part of a byte is a slip, and so is `10b` of a number without a unit.
    if number.ends_with(|c: char| c.is_ascii_digit()) && (number.contains('.') || number != lower) {
        return None;
    }
    scaled(number, BYTES, "")
}

/// A span of time, in seconds if it has no unit: `90`, `1.5h`, `200ms`.
pub fn duration(text: &str) -> Option<Duration> {
    time_in(text, "s")
}

/// A span of time, in `unit` if it has none.
pub fn time_in(text: &str, unit: &str) -> Option<Duration> {
    scaled(text, TIMES, unit).map(Duration::from_nanos)
}

/// A number without sign and unit.
pub fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|_| text.starts_with(|c: char| c.is_ascii_digit()))
}

/// A number in thousandths, which need not be whole.
pub fn thousandths(text: &str) -> Option<u64> {
    scaled(text, &[("", 1000)], "")
}

fn scaled(text: &str, units: &[(&str, u128)], default: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = if unit.is_empty() { default } else { unit };
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let whole = if whole.is_empty() && number.len() > 1 { "0" } else { whole };
    if fraction.is_empty() || fraction.len() > 18 {
        return None;
    }
    let parse = |digits: &str| digits.parse::<u128>().ok();
    let fraction = parse(fraction)?.checked_mul(*factor)? / 10u128.pow(fraction.len() as u32);
    u64::try_from(parse(whole)?.checked_mul(*factor)?.checked_add(fraction)?).ok()
}

/// The numbers of a list such as `0-2,5` (cpuset(7)), each below 65,536.
pub fn list(text: &str) -> Option<Vec<usize>> {
    let mut found = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let bounds = (number(first)?, number(last)?);
        if bounds.0 > bounds.1 || bounds.1 > u16::MAX.into() {
            return None;
        }
        found.extend(bounds.0 as usize..=bounds.1 as usize);
    }
    found.sort_unstable();
    found.dedup();
    Some(found)
}

/// Bytes as people say them: `512 MiB`.
pub fn shown_bytes(bytes: u64) -> String {
    let units = [(1u64 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{} {name}", trimmed(bytes as f64 / *unit as f64, 2)),
        None => format!("{bytes} bytes"),
    }
}

/// Seconds without needless zeros: `2 s`, `0.25 s`.
pub fn shown_time(time: Duration) -> String {
    format!("{} s", trimmed(time.as_secs_f64(), 6))
}

fn trimmed(value: f64, digits: usize) -> String {
    format!("{value:.digits$}").trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// What is wrong with `name=value`.
pub fn bad(name: &str, value: &str, wants: &str) -> Error {
    Error::new(format!("{name}={value:?} is not {wants}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, is) in [
            ("0", Some(0)),
            ("4096", Some(4096)),
            ("512M", Some(512 << 20)),
            ("512MiB", Some(512 << 20)),
            ("1.5g", Some(3 << 29)),
            ("16E", None),
            ("15E", Some(15 << 60)),
            ("1.5", None),
            ("10b", None),
            ("", None),
            ("M", None),
            (".5M", Some(512 << 10)),
            (".M", None),
            ("1.M", None),
            ("-1", None),
            ("+1", None),
            ("12Q", None),
            ("1 M", None),
            ("1.2.3M", None),
        ] {
            assert_eq!(bytes(text), is, "{text}");
        }
        assert_eq!(shown_bytes(512 << 20), "512 MiB");
        assert_eq!(shown_bytes(3 << 29), "1.5 GiB");
        assert_eq!(shown_bytes(100), "100 bytes");
    }

    #[test]
    fn times() {
        for (text, is) in [
            ("90", Some(90_000)),
            ("0.25", Some(250)),
            ("1.5h", Some(5_400_000)),
            ("200ms", Some(200)),
            ("2m", Some(120_000)),
            ("1d", Some(86_400_000)),
            ("2M", None),
            ("s", None),
            ("1e3", None),
            ("999999999999", None),
        ] {
            assert_eq!(duration(text), is.map(Duration::from_millis), "{text}");
        }
        assert_eq!(time_in("500", "us"), Some(Duration::from_micros(500)));
        assert_eq!(shown_time(Duration::from_millis(2000)), "2 s");
        assert_eq!(shown_time(Duration::from_millis(250)), "0.25 s");
    }

    #[test]
    fn lists() {
        assert_eq!(list("0-2,5,1"), Some(vec![0, 1, 2, 5]));
        for text in ["", "a", "1-", "2-1", "0-99999999", "1,,2"] {
            assert_eq!(list(text), None, "{text}");
        }
        assert_eq!(thousandths("1.5"), Some(1500));
    }
}
