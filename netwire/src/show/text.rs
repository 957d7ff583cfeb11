//! What others chose, as text that steers nothing, and the words for links.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::survey::{End, Far, Row, Space, Survey};
use crate::link::{Link, ip_of};
use crate::socket::{attributes_of, number};

/// How much of a command is shown.
const COMMAND: usize = 40;

/// A name of any bytes as characters that steer no terminal, turn no line
/// around and are allowed in XML; in ASCII alone if `utf8` is false.
pub fn safe(name: &OsStr, utf8: bool) -> String {
    let mut text = String::new();
    for chunk in name.as_bytes().utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => text.push_str("\\\\"),
                c if c.is_control() || steers(c) || !(utf8 || c.is_ascii()) => text.extend(c.escape_default()),
                c => text.push(c),
            }
        }
        for byte in chunk.invalid() {
            text += &format!("\\x{byte:02x}");
        }
    }
    text
}

/// Characters that are not seen but change how others are, and those that XML has not.
fn steers(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
        || u32::from(c) & 0xfffe == 0xfffe
}

/// A command, not longer than fits a title.
pub fn command(command: &OsStr, utf8: bool) -> String {
    let text = safe(command, utf8);
    if text.chars().count() <= COMMAND {
        return text;
    }
    let cut: String = text.chars().take(COMMAND - 3).collect();
    cut + "..."
}

/// How wide a text is, in columns: East Asian characters take two.
pub fn width(text: &str) -> usize {
    let wide = |c: char| {
        matches!(u32::from(c), 0x1100..0x1160 | 0x2e80..0xd7a4 | 0xf900..0xfb00 | 0xfe30..0xfe70 | 0xff00..0xff61
            | 0x1_f300..0x4_0000)
    };
    text.chars().map(|c| if wide(c) { 2 } else { 1 }).sum()
}

/// The order of names in which eth10 comes after eth9.
pub fn natural(a: &OsStr, b: &OsStr) -> Ordering {
    let (mut left, mut right) = (a.as_bytes(), b.as_bytes());
    while let (Some(x), Some(y)) = (left.first(), right.first()) {
        let order = if x.is_ascii_digit() && y.is_ascii_digit() {
            let (mine, yours) = (leading_digits(&mut left), leading_digits(&mut right));
            mine.len().cmp(&yours.len()).then_with(|| mine.cmp(yours))
        } else {
            (left, right) = (&left[1..], &right[1..]);
            x.cmp(y)
        };
        if order.is_ne() {
            return order;
        }
    }
    left.len().cmp(&right.len()).then_with(|| a.cmp(b))
}

/// Takes the digits off the front, and gives them without their leading zeros.
fn leading_digits<'a>(text: &mut &'a [u8]) -> &'a [u8] {
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at(length);
    *text = rest;
    &digits[digits.iter().take_while(|byte| **byte == b'0').count().min(length - 1)..]
}

/// Its addresses but those of every link's own.
pub fn addresses(link: &Link) -> Vec<String> {
    link.addresses.iter().filter(|address| !address.is_link_local()).map(ToString::to_string).collect()
}

/// What a link is wired to or sits on, as an end, and the addresses of that.
pub fn far(survey: &Survey, space: &Space, row: &Row, utf8: bool) -> Option<(String, Vec<String>)> {
    match row.far {
        Far::Nothing => None,
        Far::Elsewhere(index) => Some((format!("interface {index}, out of sight"), Vec::new())),
        Far::Link(end) => {
            let addresses = survey.row(end).map_or_else(Vec::new, |far| addresses(&far.link));
            Some((end_shown(survey, Some(space), end, utf8), addresses))
        }
    }
}

/// A link as users name it: `eth0@web`; without what is after the `@` where it
/// is `within` that.
pub fn end_shown(survey: &Survey, within: Option<&Space>, end: End, utf8: bool) -> String {
    let space = &survey.spaces[end.space];
    let name = survey.row(end).map_or_else(|| format!("interface {}", end.index), |row| safe(&row.link.name, utf8));
    if within.is_some_and(|within| within.inode == space.inode) {
        return name;
    }
    format!("{name}@{}", safe(&space.label, utf8))
}

/// Whether packets come and go.
pub fn state(link: &Link) -> &'static str {
    match (link.up, link.carrier) {
        (false, _) => "down",
        (true, false) => "no carrier",
        (true, true) => "up",
    }
}

/// What is not as it mostly is: the kind and what belongs to it, the MTU.
pub fn details(row: &Row) -> Vec<String> {
    let link = &row.link;
    let mut all = Vec::new();
    match link.kind.as_str() {
        "" | "veth" => {}
        "macvlan" | "macvtap" => all.push(mode(link, &[(1, "private"), (2, "vepa"), (4, "bridge"), (8, "passthru")])),
        "ipvlan" | "ipvtap" => all.push(mode(link, &[(0, "l2"), (1, "l3"), (2, "l3s")])),
        "vlan" => all.push(format!("vlan {}", value(link, 1).map_or(0, short))),
        "vxlan" => all.extend(vxlan(row)),
        "tun" => all.push(if value(link, 3) == Some(&[1]) { "tun" } else { "tap" }.to_owned()),
        kind => all.push(safe(OsStr::new(kind), false)),
    }
    if !matches!(link.mtu, 1500 | 65536) {
        all.push(format!("mtu {}", link.mtu));
    }
    all
}

/// An attribute of the driver's own.
fn value(link: &Link, kind: u16) -> Option<&[u8]> {
    attributes_of(&link.data).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

fn short(value: &[u8]) -> u32 {
    value.first_chunk().map_or(0, |bytes| u16::from_ne_bytes(*bytes).into())
}

/// IFLA_MACVLAN_MODE and IFLA_IPVLAN_MODE are both 1, of 32 and 16 bits.
fn mode(link: &Link, names: &[(u32, &str)]) -> String {
    let mode = value(link, 1).map(|value| if value.len() == 2 { short(value) } else { number(value) });
    let name = names.iter().find(|(bits, _)| Some(*bits) == mode).map_or("", |(_, name)| name);
    format!("{} {name}", link.kind).trim_end().to_owned()
}

/// The id, where it comes from and goes to (IFLA_VXLAN_*). What was given as the
/// remote is in the forwarding table, too, unless it was taken out there.
fn vxlan(row: &Row) -> Vec<String> {
    const ID: u16 = 1;
    const LOCAL: [u16; 2] = [4, 17];
    const PORT: u16 = 15;
    let value = |kind| value(&row.link, kind);
    let local = LOCAL.into_iter().find_map(|kind| ip_of(value(kind)?)).filter(|ip| !ip.is_unspecified());
    let port = value(PORT).and_then(|value| Some(u16::from_be_bytes(*value.first_chunk()?)));
    let mut all = vec![format!("vxlan {}", value(ID).map_or(0, number))];
    all.extend(local.map(|ip| format!("from {ip}")));
    let remotes: Vec<String> = row.remotes.iter().map(ToString::to_string).collect();
    all.extend((!remotes.is_empty()).then(|| format!("to {}", remotes.join(" "))));
    all.extend(port.filter(|&port| port != 4789).map(|port| format!("port {port}")));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_steers() {
        let name = OsStr::from_bytes(b"a\x1b[2J\xff\xe2\x80\xae\\\xc3\xa9");
        assert_eq!(safe(name, true), "a\\u{1b}[2J\\xff\\u{202e}\\\\é");
        assert_eq!(safe(name, false), "a\\u{1b}[2J\\xff\\u{202e}\\\\\\u{e9}");
        assert_eq!(safe(OsStr::new("\u{ffff}\u{9b}"), true), "\\u{ffff}\\u{9b}");
    }

    #[test]
    fn natural_order() {
        let mut names = ["h10-eth0", "h9-eth0", "h009", "h", "h9-eth10", "h9-eth9"].map(OsStr::new);
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["h", "h009", "h9-eth0", "h9-eth9", "h9-eth10", "h10-eth0"]);
    }
}
