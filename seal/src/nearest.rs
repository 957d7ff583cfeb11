//! What may have been meant by a name that is not known.

/// The one of `names` that is nearest to `name`, if it is near: a letter more
/// or less, another one, or two that changed places, one in four letters.
pub fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let within = name.len().div_ceil(4);
    // Nobody means anything by a name as long as this.
    if name.len() > 64 {
        return None;
    }
    let names = names.filter(|other| other.len().abs_diff(name.len()) <= within);
    names
        .map(|other| (distance(name.as_bytes(), other.as_bytes()), other))
        .filter(|near| near.0 <= within)
        .min()
        .map(|near| near.1)
}

/// The optimal string alignment distance.
fn distance(one: &[u8], other: &[u8]) -> usize {
    let mut before = vec![0; other.len() + 1];
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for i in 1..=one.len() {
        let mut row = vec![i];
        for j in 1..=other.len() {
            let changed = usize::from(one[i - 1] != other[j - 1]);
            let mut least = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + changed);
            if i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1] {
                least = least.min(before[j - 2] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_near() {
        let near = |name| nearest(name, ["open", "openat", "close", "getppid"].into_iter());
        assert_eq!(near("opne"), Some("open"));
        assert_eq!(near("opeanat"), Some("openat"));
        assert_eq!(near("getpid"), Some("getppid"));
        assert_eq!(near("xyzzy"), None);
    }
}
