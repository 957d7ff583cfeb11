//! Frames, from their bytes.

use std::fmt::{self, Display};
use std::net::{Ipv4Addr, Ipv6Addr};

/// A hardware address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mac(pub [u8; 6]);

impl Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: Vec<_> = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        f.write_str(&bytes.join(":"))
    }
}

pub const ALL: Mac = Mac([0xff; 6]);
pub const MULTICAST: Mac = Mac([0x33, 0x33, 0, 0, 0, 1]);
pub const STRANGER: Mac = Mac([0x02, 0x11, 0x22, 0x33, 0x44, 0x55]);

pub const IPV4: u16 = 0x0800;
pub const ARP: u16 = 0x0806;
pub const IPV6: u16 = 0x86dd;

pub const UDP: u8 = 17;
pub const ICMPV6: u8 = 58;

/// What a host is known by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Station {
    pub mac: Mac,
    pub ipv4: Ipv4Addr,
    pub ipv6: Ipv6Addr,
}

impl Station {
    /// That of the host with this number.
    pub const fn of(number: u8) -> Self {
        Self {
            mac: Mac([2, 0, 0, 0, 0, number]),
            ipv4: Ipv4Addr::new(10, 0, 0, number),
            ipv6: Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, number as u16),
        }
    }

    /// The address that its MAC makes.
    pub fn link_local(&self) -> Ipv6Addr {
        let [a, b, c, d, e, f] = self.mac.0;
        Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
    }

    pub fn cidr4(&self) -> String {
        format!("{}/24", self.ipv4)
    }

    pub fn cidr6(&self) -> String {
        format!("{}/64", self.ipv6)
    }

    /// An honest frame for another host with a word in it.
    pub fn says_to(&self, to: &Self, word: &[u8]) -> Frame {
        Frame::new(to.mac, self.mac, IPV4, &ipv4(self.ipv4, to.ipv4, UDP, &datagram(word)))
    }

    /// Whether a frame says that it is of this host: by its MAC, its IPv4, IPv6 or ARP source.
    pub fn seems_to_send(&self, frame: &Frame) -> bool {
        let body = &frame.0[14.min(frame.0.len())..];
        let has = |at: usize, bytes: &[u8]| body.get(at..at + bytes.len()) == Some(bytes);
        let by_protocol = match frame.kind() {
            Some(IPV4) => has(12, &self.ipv4.octets()),
            Some(ARP) => has(8, &self.mac.0) || has(14, &self.ipv4.octets()),
            Some(IPV6) => has(8, &self.ipv6.octets()) || has(8, &self.link_local().octets()),
            _ => false,
        };
        by_protocol || frame.0.get(6..12) == Some(&self.mac.0[..])
    }
}

/// The bytes of a frame.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame(pub Vec<u8>);

impl Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Frame {
    pub fn new(to: Mac, from: Mac, kind: u16, body: &[u8]) -> Self {
        Self([&to.0[..], &from.0, &kind.to_be_bytes(), body].concat())
    }

    /// The inverse of its text.
    #[track_caller]
    pub fn parse(text: &str) -> Self {
        let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap_or_else(|_| panic!("{text} is no frame"));
        Self((0..text.len()).step_by(2).map(byte).collect())
    }

    /// Its ethertype.
    pub fn kind(&self) -> Option<u16> {
        Some(u16::from_be_bytes(self.0.get(12..14)?.try_into().ok()?))
    }

    pub fn holds(&self, word: &[u8]) -> bool {
        self.0.windows(word.len()).any(|window| window == word)
    }

    /// With these words, such as a VLAN tag, before its ethertype.
    pub fn tagged(&self, words: &[u16]) -> Self {
        let tags: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        Self([&self.0[..12], &tags, &self.0[12..]].concat())
    }
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
    let sum: u32 = bytes.chunks(2).map(word).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    (!(sum + (sum >> 16)) as u16).to_be_bytes()
}

/// UDP without a checksum, which nobody needs to take.
pub fn datagram(data: &[u8]) -> Vec<u8> {
    let length = 8 + data.len() as u16;
    [&[0x12, 0x34, 0, 9][..], &length.to_be_bytes(), &[0, 0], data].concat()
}

pub fn ipv4(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, body: &[u8]) -> Vec<u8> {
    ipv4_with(&[], 0, (from, to), protocol, body)
}

/// With options and what the fragment field says.
pub fn ipv4_with(
    options: &[u8],
    fragment: u16,
    (from, to): (Ipv4Addr, Ipv4Addr),
    protocol: u8,
    body: &[u8],
) -> Vec<u8> {
    let header = 20 + options.len();
    let length = ((header + body.len()) as u16).to_be_bytes();
    let [high, low] = fragment.to_be_bytes();
    let start = [0x40 | (header / 4) as u8, 0, length[0], length[1], 0, 7, high, low, 64, protocol, 0, 0];
    let mut packet = [&start[..], &from.octets(), &to.octets(), options].concat();
    let sum = checksum(&packet);
    packet[10..12].copy_from_slice(&sum);
    [packet, body.to_vec()].concat()
}

/// ICMP that asks for an echo.
pub fn echo4() -> Vec<u8> {
    let mut message = [8, 0, 0, 0, 0, 1, 0, 1].to_vec();
    let sum = checksum(&message);
    message[2..4].copy_from_slice(&sum);
    message
}

/// ARP for Ethernet and IPv4.
pub fn arp(operation: u16, (mac, ip): (Mac, Ipv4Addr), (target, about): (Mac, Ipv4Addr)) -> Vec<u8> {
    let start = [0, 1, 8, 0, 6, 4];
    [&start[..], &operation.to_be_bytes(), &mac.0, &ip.octets(), &target.0, &about.octets()].concat()
}

pub fn ipv6(from: Ipv6Addr, to: Ipv6Addr, next: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u16).to_be_bytes();
    [&[0x60, 0, 0, 0][..], &length, &[next, 255], &from.octets(), &to.octets(), body].concat()
}

/// An ICMPv6 message with its checksum.
pub fn icmp6(from: Ipv6Addr, to: Ipv6Addr, kind: u8, body: &[u8]) -> Vec<u8> {
    let mut message = [&[kind, 0, 0, 0][..], body].concat();
    let length = (message.len() as u32).to_be_bytes();
    let pseudo = [&from.octets()[..], &to.octets(), &length, &[0, 0, 0, ICMPV6], &message].concat();
    message[2..4].copy_from_slice(&checksum(&pseudo));
    message
}

/// An option of neighbour discovery that tells a MAC: 1 the source's, 2 the target's.
pub fn tells_mac(option: u8, mac: Mac) -> Vec<u8> {
    [&[option, 1][..], &mac.0].concat()
}

/// A message of neighbour discovery (RFC 4861) about an address.
pub fn neighbour(kind: u8, (from, to): (Ipv6Addr, Ipv6Addr), about: Ipv6Addr, options: &[u8]) -> Vec<u8> {
    // Solicited and override, where it is an answer.
    let flags = if kind == 136 { 0x60 } else { 0 };
    icmp6(from, to, kind, &[&[flags, 0, 0, 0][..], &about.octets(), options].concat())
}

/// These, and what they are followed by: next header, its length in eight
/// bytes less one, and padding.
pub fn extended(from: Ipv6Addr, to: Ipv6Addr, headers: &[u8], last: u8, body: &[u8]) -> Vec<u8> {
    let next = headers.iter().skip(1).chain([&last]);
    // A routing header whose segments are all done, or six bytes of padding as one option.
    let header = |(kind, next): (&u8, &u8)| {
        if *kind == 43 { [*next, 0, 0, 0, 0, 0, 0, 0] } else { [*next, 0, 1, 4, 0, 0, 0, 0] }
    };
    let headers_bytes: Vec<u8> = headers.iter().zip(next).flat_map(header).collect();
    ipv6(from, to, headers[0], &[&headers_bytes, body].concat())
}

/// A fragment header, whose offset is in bytes, and what follows it.
pub fn fragment6(next: u8, offset: u16, more: bool, body: &[u8]) -> Vec<u8> {
    let place = (offset | u16::from(more)).to_be_bytes();
    [&[next, 0, place[0], place[1], 0, 0, 0, 9][..], body].concat()
}
