//! The capabilities that a command has (capabilities(7)).

use std::str::FromStr;

use caps::Capability;
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, CapabilitySets, capabilities, configure_capability_in_ambient_set,
    remove_capability_from_bounding_set, set_capabilities, set_capabilities_secure_bits,
};

use crate::nearest::nearest;
use crate::{Context, Error};

/// A set of capabilities, capability N as bit N.
pub type Set = u64;

/// Every one that is known.
pub const ALL: Set = (1 << 41) - 1;

const SETPCAP: Set = 1 << 8;

/// What `--caps` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    all: bool,
    /// In their order: whether they are added or dropped.
    changes: Vec<(bool, Set)>,
}

impl Wanted {
    /// Parses `none`, `all`, or a list that adds (`+net_bind_service`, the `+` may
    /// be left out) and drops (`-sys_admin`). It starts from `none`, or from
    /// `all` where it drops first. All are those that the caller has.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut wanted = Self { all: text.starts_with('-'), changes: Vec::new() };
        for (index, word) in text.split(',').enumerate() {
            match word {
                "none" | "all" if index == 0 => wanted.all = word == "all",
                _ => {
                    let name = word.strip_prefix(['+', '-']).unwrap_or(word);
                    wanted.changes.push((!word.starts_with('-'), 1 << by_name(name)?));
                }
            }
        }
        Ok(wanted)
    }

    /// No capability at all.
    pub fn none() -> Self {
        Self { all: false, changes: Vec::new() }
    }

    /// The set that is meant, by one who has `permitted`.
    pub fn of(&self, permitted: Set) -> Result<Set, Error> {
        let start = if self.all { permitted } else { 0 };
        let wanted = self.changes.iter().fold(start, |set, &(add, one)| if add { set | one } else { set & !one });
        match wanted & !permitted {
            0 => Ok(wanted),
            missing => Err(Error::new(format!("--caps {}: this process has no such capability", names(missing)))),
        }
    }
}

fn by_name(name: &str) -> Result<u8, Error> {
    let full = caps::to_canonical(name);
    if let Ok(capability) = Capability::from_str(&full) {
        return Ok(capability.index());
    }
    let all = caps::all();
    let known: Vec<String> = all.iter().map(|one| one.to_string()[4..].to_lowercase()).collect();
    let hint = match nearest(&name.to_lowercase(), known.iter().map(String::as_str)) {
        Some(near) => format!("did you mean {near}?"),
        None => "capabilities(7) lists them; none and all come first".into(),
    };
    Err(Error::new(format!("--caps: unknown capability {name:?}")).hint(hint))
}

/// Whether a capability, by the name CAP_…, is in a set.
pub fn contains(set: Set, name: &str) -> bool {
    Capability::from_str(name).is_ok_and(|capability| set & capability.bitmask() != 0)
}

fn names(set: Set) -> String {
    let mut all: Vec<_> = caps::all().into_iter().filter(|one| set & one.bitmask() != 0).collect();
    all.sort_by_key(Capability::index);
    all.iter().map(|one| one.to_string()[4..].to_lowercase()).collect::<Vec<_>>().join(",")
}

/// The capabilities that this process is permitted.
pub fn permitted() -> Result<Set, Error> {
    Ok(capabilities(None).tried(|| "cannot read the capabilities")?.permitted.bits())
}

/// Makes what is permitted effective, where a change of ids took that away.
pub fn regain() -> Result<(), Error> {
    let cannot = || "cannot use the capabilities";
    let own = capabilities(None).tried(cannot)?;
    set_capabilities(None, CapabilitySets { effective: own.permitted, ..own }).tried(cannot)
}

/// Makes none effective; they stay permitted.
pub fn lay_down() -> Result<(), Error> {
    let cannot = || "cannot lay the capabilities down";
    let own = capabilities(None).tried(cannot)?;
    set_capabilities(None, CapabilitySets { effective: CapabilitySet::empty(), ..own }).tried(cannot)
}

/// Leaves the command exactly the capabilities of `wanted`, whatever its uid:
/// they stay in the bounding, permitted, effective, inheritable and ambient set.
///
/// The bounding set needs CAP_SETPCAP; who does not have it keeps that set,
/// which is out of reach once no_new_privs is set.
pub fn limit(wanted: Set, securebits: Option<u32>) -> Result<(), Error> {
    let cannot = || "cannot limit the capabilities";
    let own = capabilities(None).tried(cannot)?;
    let (permitted, may) = (own.permitted.bits(), own.effective.bits() & SETPCAP != 0);
    let each = |set: Set| (0..64).map(|bit| 1 << bit).filter(move |bit| set & bit != 0);
    if may {
        for one in each(!wanted) {
            match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(one)) {
                // The last one was the last that this kernel has.
                Err(rustix::io::Errno::INVAL) => break,
                result => result.tried(|| "cannot limit the bounding capabilities")?,
            }
        }
    }
    let set = |effective: Set, permitted: Set, inheritable: Set| {
        let of = CapabilitySet::from_bits_retain;
        let sets = CapabilitySets { effective: of(effective), permitted: of(permitted), inheritable: of(inheritable) };
        set_capabilities(None, sets).tried(cannot)
    };
    set(permitted, permitted, wanted)?;
    for one in each(permitted) {
        configure_capability_in_ambient_set(CapabilitySet::from_bits_retain(one), wanted & one != 0)
            .tried(|| format!("cannot set the ambient capability {}", names(one)))?;
    }
    set_securebits(securebits)?;
    set(wanted, wanted, wanted)
}

/// Without keep-caps, which no exec leaves set.
const SECUREBITS: [(&str, u32); 7] = [
    ("noroot", 1 << 0),
    ("noroot-locked", 1 << 1),
    ("no-setuid-fixup", 1 << 2),
    ("no-setuid-fixup-locked", 1 << 3),
    ("keep-caps-locked", 1 << 5),
    ("no-cap-ambient-raise", 1 << 6),
    ("no-cap-ambient-raise-locked", 1 << 7),
];

/// Parses what `--securebits` asks for: names with commas.
pub fn parse_securebits(text: &str) -> Result<u32, Error> {
    text.split(',').try_fold(0, |bits, word| {
        // setpriv(1) writes them with underscores.
        let name = word.replace('_', "-");
        let found = SECUREBITS.iter().find(|(known, _)| *known == name);
        let known = SECUREBITS.map(|(known, _)| known).join(", ");
        let unknown = || Error::new(format!("--securebits: unknown bit {word:?}")).hint(format!("there are {known}"));
        Ok(bits | found.ok_or_else(unknown)?.1)
    })
}

/// Sets the securebits, which needs CAP_SETPCAP.
pub fn set_securebits(bits: Option<u32>) -> Result<(), Error> {
    let Some(bits) = bits else { return Ok(()) };
    set_capabilities_secure_bits(CapabilitiesSecureBits::from_bits_retain(bits)).map_err(|errno| {
        let hint = (errno == rustix::io::Errno::PERM).then_some("that takes CAP_SETPCAP, and bits that are not locked");
        Error::new("cannot set the securebits").because(errno).maybe_hint(hint)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_add_and_drop() {
        let all = 0b1111_0000_1111;
        for (text, set) in [
            ("none", 0),
            ("all", all),
            ("chown,fowner", 0b1001),
            ("none,+chown", 1),
            ("all,-chown,-CAP_SETPCAP", 0b1110_0000_1110),
            ("-chown", all & !1),
            ("all,-chown,+chown", all),
        ] {
            assert_eq!(Wanted::parse(text).unwrap().of(all).unwrap(), set, "{text}");
        }
        let missing = Wanted::parse("kill").unwrap().of(all).unwrap_err().to_string();
        assert_eq!(missing, "--caps kill: this process has no such capability");
        assert!(Wanted::parse("chown,all").is_err());
        assert!(Wanted::parse("").is_err());
    }
}
