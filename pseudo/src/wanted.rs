//! Ranges of ids as unshare(1) asks for them, around the one id that is the
//! caller's own.

use std::ffi::OsStr;

use seal::Error;

use crate::idmap::{Extent, IdMap};
use crate::subid;

/// User ids or group ids.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// User ids.
    Uid,
    /// Group ids.
    Gid,
}

impl Kind {
    /// `uid` or `gid`.
    pub fn name(self) -> &'static str {
        if self == Self::Uid { "uid" } else { "gid" }
    }

    fn file(self) -> &'static str {
        if self == Self::Uid { "/etc/subuid" } else { "/etc/subgid" }
    }
}

/// One range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// This one.
    Extent(Extent),
    /// The first delegated one, from the inner id 0 on.
    Auto,
    /// The first delegated one onto itself.
    Subids,
    /// Every id of this user namespace onto itself.
    All,
}

impl Wanted {
    /// Parses `INNER:OUTER:COUNT`, util-linux 2.38's `OUTER,INNER,COUNT`,
    /// `auto`, `subids` or `all`.
    pub fn parse(text: &OsStr) -> Result<Self, Error> {
        let bad = |why: &str| Error::new(format!("map {text:?} {why}"));
        let shape = "is not INNER:OUTER:COUNT, auto, subids or all";
        let words = text.to_str().ok_or_else(|| bad(shape))?;
        match words {
            "auto" => return Ok(Self::Auto),
            "subids" => return Ok(Self::Subids),
            "all" => return Ok(Self::All),
            _ => {}
        }
        let number = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit()).then(|| word.parse().ok()).flatten();
        let numbers: Option<Vec<u32>> = words.split([':', ',']).map(number).collect();
        let extent = match (numbers.as_deref(), words.matches(',').count()) {
            (Some(&[inside, outside, count]), 0) | (Some(&[outside, inside, count]), 2) => {
                Extent { inside, outside, count }
            }
            _ => return Err(bad(shape)),
        };
        match extent {
            Extent { count: 0, .. } => Err(bad("maps no id")),
            extent if !extent.fits() => Err(bad("goes beyond the last id, 4294967294")),
            extent => Ok(Self::Extent(extent)),
        }
    }
}

/// The map of all that is `wanted`, with the inner id `single`, if any, being
/// the `own` id outside. A range leaves these two out and goes on behind them:
///
/// | wanted, `single` on 1000 | map |
/// |---|---|
/// | auto (100000, 9 ids), 0 | 0:1000:1, 1:100000:9 |
/// | auto (100000, 9 ids), 5 | 5:1000:1, 0:100000:5, 6:100005:4 |
/// | 0:100000:9, 0 | 0:1000:1, 1:100000:8 |
///
/// The delegated ranges are those of `user`. Fails where one is asked for and
/// there is none, and where two ranges overlap.
pub fn combined(
    kind: Kind,
    wanted: &[Wanted],
    single: Option<u32>,
    own: u32,
    user: u32,
    caller: &crate::Caller,
) -> Result<IdMap, Error> {
    let have = if kind == Kind::Uid { &caller.uids } else { &caller.gids };
    let mut extents: Vec<Extent> = single.map(|inside| Extent { inside, outside: own, count: 1 }).into_iter().collect();
    let mut add = |range: Extent, floating: bool| {
        for extent in around(range, single, own, floating) {
            if let Some(other) = extents.iter().find(|other| extent.overlaps(other)) {
                return Err(Error::new(format!("the {} ranges {extent} and {other} overlap", kind.name())));
            }
            extents.push(extent);
        }
        Ok(())
    };
    for range in wanted {
        match range {
            Wanted::Extent(extent) => add(*extent, false)?,
            Wanted::Auto => {
                let range = delegated(kind, user)?;
                add(Extent { inside: 0, outside: range.start, count: range.count }, true)?;
            }
            Wanted::Subids => {
                let range = delegated(kind, user)?;
                add(Extent { inside: range.start, outside: range.start, count: range.count }, false)?;
            }
            Wanted::All => have.identity().extents().iter().try_for_each(|extent| add(*extent, false))?,
        }
    }
    Ok(IdMap::new(extents))
}

/// The first range that is delegated to a user.
fn delegated(kind: Kind, uid: u32) -> Result<subid::Range, Error> {
    let names = subid::names(uid);
    subid::ranges(kind.file(), &names).into_iter().next().ok_or_else(|| {
        let name = names.first().map_or("", String::as_str);
        Error::new(format!("{} delegates nothing to {name}", kind.file())).hint(format!(
            "add a line like {name}:100000:65536, as usermod --add-sub{0}s 100000-165535 {name} does",
            kind.name()
        ))
    })
}

/// `range` without the inner id `single` and the outer id `own`: ids behind
/// them move up. One that floats has all of its outer ids mapped to some inner
/// one; else the inner ids stay within the range.
fn around(range: Extent, single: Option<u32>, own: u32, floating: bool) -> Vec<Extent> {
    let Some(single) = single else { return vec![range] };
    let mut found = Vec::new();
    let (mut inside, mut outside) = (u64::from(range.inside), u64::from(range.outside));
    let outside_end = outside + u64::from(range.count);
    let inside_end = if floating { u64::from(u32::MAX) } else { inside + u64::from(range.count) };
    loop {
        inside += u64::from(inside == u64::from(single));
        outside += u64::from(outside == u64::from(own));
        if inside >= inside_end || outside >= outside_end {
            return found;
        }
        let until = |next: u64, stop: u32, end: u64| {
            let stop = u64::from(stop);
            if stop > next && stop < end { stop - next } else { end - next }
        };
        let count = until(inside, single, inside_end).min(until(outside, own, outside_end));
        found.push(Extent { inside: inside as u32, outside: outside as u32, count: count as u32 });
        inside += count;
        outside += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(range: (u32, u32, u32), single: u32, own: u32, floating: bool) -> String {
        let range = Extent { inside: range.0, outside: range.1, count: range.2 };
        let found = around(range, Some(single), own, floating);
        found.iter().map(|extent| format!("{extent} ")).collect::<String>().trim_end().to_owned()
    }

    #[test]
    fn no_id_is_lost() {
        assert_eq!(shown((0, 100, 9), 0, 7, true), "1:100:9");
        assert_eq!(shown((0, 100, 9), 5, 7, true), "0:100:5 6:105:4");
        assert_eq!(shown((0, 100, 9), 9, 7, true), "0:100:9");
        // Adjacent is not overlapping.
        assert_eq!(shown((0, 100, 5), 5, 105, false), "0:100:5");
        assert_eq!(shown((6, 101, 5), 5, 100, false), "6:101:5");
    }

    #[test]
    fn holes_close() {
        assert_eq!(shown((0, 100, 5), 2, 7, false), "0:100:2 3:102:2");
        assert_eq!(shown((0, 100, 5), 9, 102, false), "0:100:2 2:103:2");
        assert_eq!(shown((0, 100, 1), 0, 7, false), "");
    }

    #[test]
    fn both_notations() {
        let extent = Wanted::Extent(Extent { inside: 0, outside: 1000, count: 5 });
        assert_eq!(Wanted::parse("0:1000:5".as_ref()).unwrap(), extent);
        assert_eq!(Wanted::parse("1000,0,5".as_ref()).unwrap(), extent);
        for bad in ["", "1:2", "1,2", "1:2,3", "a:1:1", "1:2:3:4", "+1:2:3", "1:2:0", "1:4294967295:1"] {
            assert!(Wanted::parse(bad.as_ref()).unwrap_err().to_string().starts_with(&format!("map {bad:?} ")));
        }
    }
}
