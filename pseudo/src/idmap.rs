//! One id map: `START:LOWER:COUNT[,START:LOWER:COUNT]...`, inside first, outside second.

use std::ffi::OsStr;
use std::fmt;

use seal::Error;

/// A run of ids: `count` ids from `inside` on are `outside` and those that
/// follow in the parent user namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The first id inside.
    pub inside: u32,
    /// The id that it is outside.
    pub outside: u32,
    /// How many ids; never 0.
    pub count: u32,
}

/// The extents of a `uid_map` or `gid_map` (user_namespaces(7)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdMap(Vec<Extent>);

/// The kernel takes no more extents than this since Linux 4.15.
const MAX_EXTENTS: usize = 340;

impl IdMap {
    /// A map of these extents.
    pub fn new(extents: Vec<Extent>) -> Self {
        Self(extents)
    }

    /// Parses a MAP as a user gives it: `0:1000:1,1:100000:65536` makes inner
    /// 0 outer 1000 and inner 1 to 65536 outer 100000 to 165535.
    ///
    /// The error names the extent that is malformed, empty, beyond the last id
    /// (4294967294), or overlaps an earlier one on either side.
    pub fn parse(text: &OsStr) -> Result<Self, Error> {
        let bad = |part: &str, why: &str| Error::new(format!("map {text:?}: {part:?} {why}"));
        let map = text.to_str().ok_or_else(|| Error::new(format!("map {text:?} is not START:LOWER:COUNT")))?;
        if map.is_empty() {
            return Err(Error::new("the map is empty"));
        }
        let mut extents: Vec<(Extent, &str)> = Vec::new();
        for part in map.split(',') {
            let extent = Extent::parse(part).ok_or_else(|| bad(part, "is not START:LOWER:COUNT"))?;
            if extent.count == 0 {
                return Err(bad(part, "maps no id"));
            }
            if !extent.fits() {
                return Err(bad(part, "goes beyond the last id, 4294967294"));
            }
            if let Some((_, other)) = extents.iter().find(|(other, _)| extent.overlaps(other)) {
                return Err(bad(part, &format!("overlaps {other:?}")));
            }
            extents.push((extent, part));
        }
        if extents.len() > MAX_EXTENTS {
            return Err(Error::new(format!("map of {} extents: the kernel takes {MAX_EXTENTS}", extents.len())));
        }
        Ok(Self(extents.into_iter().map(|(extent, _)| extent).collect()))
    }

    /// Parses what the kernel shows in /proc/PID/uid_map.
    pub fn from_proc(text: &str) -> Self {
        let number = |word: Option<&str>| word?.parse().ok();
        let extent = |line: &str| {
            let mut words = line.split_ascii_whitespace();
            Some(Extent { inside: number(words.next())?, outside: number(words.next())?, count: number(words.next())? })
        };
        Self(text.lines().filter_map(extent).collect())
    }

    /// The extents, in the order given.
    pub fn extents(&self) -> &[Extent] {
        &self.0
    }

    /// What the inner `id` is outside.
    pub fn outside(&self, id: u32) -> Option<u32> {
        let extent = self.0.iter().find(|extent| id.wrapping_sub(extent.inside) < extent.count)?;
        Some(extent.outside + (id - extent.inside))
    }

    /// Whether some inner id is `id` outside.
    pub fn has_outside(&self, id: u32) -> bool {
        self.0.iter().any(|extent| id.wrapping_sub(extent.outside) < extent.count)
    }

    /// Every inner id onto itself: what a namespace inside this one repeats.
    pub fn identity(&self) -> Self {
        Self(self.0.iter().map(|extent| Extent { outside: extent.inside, ..*extent }).collect())
    }

    /// Whether every id is the same on both sides.
    pub fn is_identity(&self) -> bool {
        self.0.iter().all(|extent| extent.inside == extent.outside)
    }

    /// Whether the outer ids of `extent` are all inner ids of this map.
    pub fn covers(&self, extent: &Extent) -> bool {
        let end = u64::from(extent.outside) + u64::from(extent.count);
        let mut next = u64::from(extent.outside);
        // Each round takes one extent further; adjacent extents count as one.
        while next < end {
            let Some(have) = self.0.iter().find(|have| next.wrapping_sub(have.inside.into()) < u64::from(have.count))
            else {
                return false;
            };
            next = u64::from(have.inside) + u64::from(have.count);
        }
        true
    }
}

impl Extent {
    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split(':').map(|word| {
            // FromStr takes a sign, an id has none.
            word.bytes().all(|byte| byte.is_ascii_digit()).then(|| word.parse::<u32>().ok())?
        });
        let extent = Self { inside: numbers.next()??, outside: numbers.next()??, count: numbers.next()?? };
        numbers.next().is_none().then_some(extent)
    }

    /// (uid_t)-1 is no id.
    pub(crate) fn fits(&self) -> bool {
        let last = u64::from(u32::MAX);
        u64::from(self.inside) + u64::from(self.count) <= last
            && u64::from(self.outside) + u64::from(self.count) <= last
    }

    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let meet = |a: u32, b: u32| {
            let (a, b) = (u64::from(a), u64::from(b));
            a < b + u64::from(other.count) && b < a + u64::from(self.count)
        };
        meet(self.inside, other.inside) || meet(self.outside, other.outside)
    }
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.inside, self.outside, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(map: &str) -> String {
        IdMap::parse(map.as_ref()).unwrap_err().to_string()
    }

    #[test]
    fn parses_extents_in_order() {
        let map = IdMap::parse("0:1000:1,1:100000:65536".as_ref()).unwrap();
        assert_eq!(map.outside(0), Some(1000));
        assert_eq!(map.outside(65536), Some(165535));
        assert_eq!(map.outside(65537), None);
    }

    #[test]
    fn names_the_part_that_is_wrong() {
        assert_eq!(error("0:1:1,0:5:1"), r#"map "0:1:1,0:5:1": "0:5:1" overlaps "0:1:1""#);
        assert_eq!(error("0:1:9,20:9:2"), r#"map "0:1:9,20:9:2": "20:9:2" overlaps "0:1:9""#);
        assert_eq!(error("0:1:0"), r#"map "0:1:0": "0:1:0" maps no id"#);
        for beyond in ["0:1:4294967295", "4294967295:0:1", "0:4294967295:1"] {
            assert!(error(beyond).ends_with("goes beyond the last id, 4294967294"), "{beyond}");
        }
        for malformed in ["0:1", "0:1:2:3", "0:-1:1", "+0:1:1", "a", "0:1:4294967296", ","] {
            assert!(error(malformed).ends_with("is not START:LOWER:COUNT"), "{malformed}");
        }
        assert_eq!(error(""), "the map is empty");
    }

    #[test]
    fn covers_across_adjacent_extents() {
        let map = IdMap::parse("0:1000:1,1:100000:10".as_ref()).unwrap();
        assert!(map.covers(&Extent { inside: 7, outside: 0, count: 11 }));
        assert!(!map.covers(&Extent { inside: 7, outside: 0, count: 12 }));
    }
}
