//! The words that declarations are made of: ends, addresses, rates.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;

use seal::Error;
use seal::cli::{number, printable};

use crate::link::{Address, Mac};

/// The longest name of an interface (IFNAMSIZ, less its NUL).
pub const NAME_MAX: usize = 15;

/// One end of a link: `IFNAME@TARGET`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct End {
    /// The interface.
    pub name: OsString,
    /// The namespace that it is in, as it was given; `.` is the caller's own.
    pub target: OsString,
}

/// An address that an interface is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The next free one of each subnet of the bridge.
    Auto,
    /// This one, with the prefix of the bridge's subnet if it has none.
    Given(IpAddr, Option<u8>),
}

/// How many bits a second may leave; 0 is as many as there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate(pub u64);

impl End {
    /// Parses `IFNAME` or `IFNAME@TARGET`.
    pub fn parse(word: &OsStr) -> Result<Self, Error> {
        let bytes = word.as_bytes();
        let at = bytes.iter().position(|byte| *byte == b'@');
        let (name, target) = at.map_or((bytes, &b"."[..]), |at| (&bytes[..at], &bytes[at + 1..]));
        if target.is_empty() {
            return Err(Error::usage(format!("{word:?} names no target after the @")));
        }
        Ok(Self { name: interface(OsStr::from_bytes(name))?, target: OsStr::from_bytes(target).to_owned() })
    }

    /// The other interface in the same namespace.
    pub fn beside(&self, name: impl Into<OsString>) -> Self {
        Self { name: name.into(), target: self.target.clone() }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = printable(self.name.as_bytes());
        if self.target == "." { f.write_str(&name) } else { write!(f, "{name}@{}", printable(self.target.as_bytes())) }
    }
}

impl Rate {
    /// What another queueing discipline says.
    pub const FOREIGN: Self = Self(u64::MAX);
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(1_000_000_000, "gbit"), (1_000_000, "mbit"), (1_000, "kbit"), (1, "bit")];
        let (factor, unit) = units.into_iter().find(|(factor, _)| self.0.is_multiple_of(*factor)).unwrap_or((1, "bit"));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

/// A name for an interface (dev_valid_name() of the kernel).
pub fn interface(name: &OsStr) -> Result<OsString, Error> {
    let bytes = name.as_bytes();
    if bytes.len() > NAME_MAX {
        return Err(Error::new(format!("the interface name {name:?} has {} bytes, more than {NAME_MAX}", bytes.len())));
    }
    let bad = |byte: &u8| matches!(byte, b'/' | b':' | b'@' | 0) || byte.is_ascii_whitespace() || *byte == 0x0b;
    if bytes.is_empty() || name == "." || name == ".." || bytes.iter().any(bad) {
        return Err(Error::new(format!("{name:?} is no name for an interface")));
    }
    Ok(name.to_owned())
}

/// Parses `auto`, `ADDRESS` or `ADDRESS/PREFIX`.
pub fn wanted(word: &OsStr) -> Result<Wanted, Error> {
    if word == "auto" {
        return Ok(Wanted::Auto);
    }
    let (ip, prefix) = subnet(word).ok_or_else(|| Error::usage(format!("{word:?} is no address")))?;
    let of_hosts = !ip.is_unspecified() && !ip.is_multicast() && !matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    let of_hosts = of_hosts && prefix.is_none_or(|prefix| Address { ip, prefix }.is_a_hosts());
    if of_hosts {
        Ok(Wanted::Given(ip, prefix))
    } else {
        Err(Error::new(format!("{} is no address of a host", word.display())))
    }
}

/// Parses `ADDRESS` or `ADDRESS/PREFIX`.
pub fn subnet(word: &OsStr) -> Option<(IpAddr, Option<u8>)> {
    let text = word.to_str()?;
    let (ip, prefix) = text.split_once('/').map_or((text, None), |(ip, prefix)| (ip, Some(prefix)));
    let ip: IpAddr = ip.parse().ok()?;
    let Some(prefix) = prefix else { return Some((ip, None)) };
    let bits = number(prefix, 10)?;
    (bits <= if ip.is_ipv4() { 32 } else { 128 }).then_some((ip, Some(bits as u8)))
}

/// Parses an address of a host.
pub fn address(word: &OsStr) -> Result<IpAddr, Error> {
    word.to_str().and_then(|text| text.parse().ok()).ok_or_else(|| Error::usage(format!("{word:?} is no address")))
}

/// Parses six hexadecimal bytes of one host's address.
pub fn mac(word: &OsStr) -> Result<Mac, Error> {
    let bad = || Error::usage(format!("{word:?} is no MAC address of a host, such as 02:00:00:00:00:01"));
    let mut bytes = [0; 6];
    let mut parts = word.to_str().ok_or_else(bad)?.split(':');
    for byte in &mut bytes {
        let part = parts.next().filter(|part| part.len() == 2 && part.bytes().all(|digit| digit.is_ascii_hexdigit()));
        *byte = part.and_then(|part| u8::from_str_radix(part, 16).ok()).ok_or_else(bad)?;
    }
    let of_a_host = parts.next().is_none() && bytes[0] & 1 == 0 && bytes != [0; 6];
    if of_a_host { Ok(Mac(bytes)) } else { Err(bad()) }
}

/// Parses a rate in bits a second: `10mbit`, `1gbit`, `500kbit`, `8000bit`; `none` is no limit.
pub fn rate(word: &OsStr) -> Result<Rate, Error> {
    let bad = || Error::usage(format!("{word:?} is no rate such as 10mbit, 500kbit, 1gbit"));
    let text = word.to_str().ok_or_else(bad)?;
    if text == "none" {
        return Ok(Rate(0));
    }
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "bit" => 1,
        "kbit" => 1_000,
        "mbit" => 1_000_000,
        "gbit" => 1_000_000_000,
        _ => return Err(bad()),
    };
    let bits = number.parse().ok().and_then(|number: u64| number.checked_mul(factor)).ok_or_else(bad)?;
    if bits > 4_000_000_000_000 {
        return Err(Error::new(format!("{text} is more than 4000gbit")));
    }
    // The kernel counts bytes.
    if bits >= 8 { Ok(Rate(bits / 8 * 8)) } else { Err(Error::new(format!("{text} is less than 8bit"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends() {
        let end = End::parse(OsStr::new("eth0@/run/netns/4242")).unwrap();
        assert_eq!((end.name.as_os_str(), end.target.as_os_str()), ("eth0".as_ref(), "/run/netns/4242".as_ref()));
        assert_eq!(End::parse(OsStr::new("br0")).unwrap().target, ".");
        for word in ["", "@web", "a b", "a:1", "a/b", "..", "br0@", "sixteen-bytes-xx"] {
            assert!(End::parse(OsStr::new(word)).is_err(), "{word}");
        }
    }

    #[test]
    fn numbers() {
        assert_eq!(rate(OsStr::new("10mbit")).unwrap(), Rate(10_000_000));
        for word in ["10", "mbit", "-1mbit", "10 mbit", "7bit", "99999999999gbit"] {
            assert!(rate(OsStr::new(word)).is_err(), "{word}");
        }
        assert_eq!(mac(OsStr::new("02:00:00:00:00:0a")).unwrap().to_string(), "02:00:00:00:00:0a");
        for word in ["01:00:00:00:00:01", "00:00:00:00:00:00", "02:00:00:00:00", "2:0:0:0:0:1", "02:00:00:00:00:01:02"]
        {
            assert!(mac(OsStr::new(word)).is_err(), "{word}");
        }
        for word in ["10.0.0.1/33", "10.0.0.0.1", "fd00::1/129", "10.0.0.1/+8", "0.0.0.0", "255.255.255.255", "ff02::1"]
        {
            assert!(wanted(OsStr::new(word)).is_err(), "{word}");
        }
    }
}
