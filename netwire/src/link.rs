//! The links of a network namespace and their addresses, as the kernel tells
//! them (rtnetlink(7)).

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;

use netlink_packet_core::{DefaultNla, NLM_F_REQUEST};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkMessage};
use netlink_packet_route::neighbour::NeighbourMessage;
use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};
use netlink_packet_route::route::{RouteHeader, RouteMessage};
use netlink_packet_route::tc::TcMessage;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use seal::Context;

use crate::declaration::Route;
use crate::socket::{DUMP, Refusal, Request, Socket, attributes_of, number};
use crate::words::Rate;

/// A hardware address of Ethernet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Mac(pub [u8; 6]);

/// An address of an interface and the length of its subnet's prefix.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// 0 to 32, or 128.
    pub prefix: u8,
}

/// A link, which is what the kernel calls an interface.
#[derive(Clone, Debug, Default)]
pub struct Link {
    /// Its number in its namespace.
    pub index: u32,
    /// Its name there: up to 15 bytes, of which only `/` and the like are excluded.
    pub name: OsString,
    /// The driver: `veth`, `bridge`, …; of hardware and of lo it is empty.
    pub kind: String,
    /// Where it has one of six bytes.
    pub mac: Option<Mac>,
    /// The longest packet, in bytes.
    pub mtu: u32,
    /// Whether it was brought up (IFF_UP).
    pub up: bool,
    /// Whether it can be heard at the other end (IFF_LOWER_UP).
    pub carrier: bool,
    /// The bridge that it is a port of.
    pub master: Option<u32>,
    /// Its peer, or the link that it sits on.
    pub below: Option<u32>,
    /// In which namespace that is, by the number that this one gives it; `None` for this one.
    pub below_nsid: Option<i32>,
    /// The driver's own attributes (IFLA_INFO_DATA).
    pub data: Vec<u8>,
    /// Its addresses.
    pub addresses: Vec<Address>,
}

/// The links of a namespace by their numbers.
#[derive(Clone, Debug, Default)]
pub struct Links(pub BTreeMap<u32, Link>);

/// The links of the socket's namespace, or of the one that it knows by the number `nsid`.
pub fn links(socket: &mut Socket, nsid: Option<i32>) -> Result<Links, Refusal> {
    let mut links = without_addresses(socket, nsid)?;
    for (index, address) in addresses(socket, nsid, None)? {
        if let Some(link) = links.0.get_mut(&index) {
            link.addresses.push(address);
        }
    }
    Ok(links)
}

/// Likewise without their addresses.
pub fn without_addresses(socket: &mut Socket, nsid: Option<i32>) -> Result<Links, Refusal> {
    let request = || {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        message.attributes.extend(nsid.map(LinkAttribute::IfNetnsId));
        Request::of(RouteNetlinkMessage::GetLink(message), DUMP)
    };
    socket.dump(request, |links: &mut Links, _, body| {
        links.0.extend(read_link(body).map(|link| (link.index, link)));
    })
}

/// The number that the socket's namespace has for another; `None` where it has none.
pub fn nsid(socket: &mut Socket, net: impl AsFd) -> Result<Option<i32>, Refusal> {
    const NETNSA_NSID: u16 = 1;
    let mut message = NsidMessage::default();
    message.attributes.push(NsidAttribute::Fd(net.as_fd().as_raw_fd() as u32));
    let mut found = None;
    socket.get(Request::of(RouteNetlinkMessage::GetNsId(message), NLM_F_REQUEST), |body| {
        let rest = body.get(4..).unwrap_or_default();
        found = attributes_of(rest).find(|(kind, _)| *kind == NETNSA_NSID).map(|(_, value)| number(value) as i32);
    })?;
    // -1: it has none.
    Ok(found.filter(|&nsid| nsid >= 0))
}

/// The unicast routes of the main table, and the links that they leave by.
pub(crate) fn routes(socket: &mut Socket) -> Result<Vec<(Route, u32)>, Refusal> {
    let request = || {
        let mut message = RouteMessage::default();
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        Request::of(RouteNetlinkMessage::GetRoute(message), DUMP)
    };
    socket.dump(request, |found: &mut Vec<_>, _, body| found.extend(read_route(body)))
}

/// struct rtmsg and its attributes.
fn read_route(body: &[u8]) -> Option<(Route, u32)> {
    let (header, rest) = body.split_at_checked(12)?;
    let any = match i32::from(header[0]) {
        libc::AF_INET => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        libc::AF_INET6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    if header[4] != libc::RT_TABLE_MAIN || header[7] != libc::RTN_UNICAST {
        return None;
    }
    let mut route = Route { to: Address { ip: any, prefix: header[1] }, via: None, dev: None, metric: None };
    let mut dev = 0;
    for (kind, value) in attributes_of(rest) {
        match kind {
            libc::RTA_DST => route.to.ip = ip_of(value)?,
            libc::RTA_GATEWAY => route.via = ip_of(value),
            libc::RTA_OIF => dev = number(value),
            libc::RTA_PRIORITY => route.metric = Some(number(value)),
            _ => {}
        }
    }
    Some((route, dev))
}

/// How much may leave by a link; 0 where no token bucket filter says.
pub(crate) fn rate(socket: &mut Socket, index: u32) -> Result<Rate, Refusal> {
    const ROOT: u32 = u32::MAX;
    const KIND: u16 = 1;
    const OPTIONS: u16 = 2;
    const PARMS: u16 = 1;
    const RATE64: u16 = 4;
    let request = || Request::of(RouteNetlinkMessage::GetQueueDiscipline(TcMessage::with_index(index as i32)), DUMP);
    socket.dump(request, |rate: &mut Rate, _, body| {
        // struct tcmsg: the link at 4, the parent at 12.
        let Some((header, rest)) = body.split_at_checked(20) else { return };
        let of_link = number(&header[4..]) == index && number(&header[12..]) == ROOT;
        let kind = attributes_of(rest).find(|(kind, _)| *kind == KIND).map_or(&[][..], |(_, value)| value);
        if of_link && kind != b"tbf\0" && number(&header[8..]) != 0 {
            // One that somebody has made has a number.
            *rate = Rate::FOREIGN;
        }
        if !of_link || kind != b"tbf\0" {
            return;
        }
        for (_, options) in attributes_of(rest).filter(|(kind, _)| *kind == OPTIONS) {
            for (kind, value) in attributes_of(options) {
                match kind {
                    PARMS if rate.0 == 0 => rate.0 = 8 * u64::from(number(value.get(8..).unwrap_or_default())),
                    RATE64 => rate.0 = 8 * value.first_chunk().map_or(0, |bytes| u64::from_ne_bytes(*bytes)),
                    _ => {}
                }
            }
        }
    })
}

/// Where a vxlan sends what it does not know the place of.
pub(crate) fn remotes(socket: &mut Socket, index: u32) -> Result<Vec<IpAddr>, Refusal> {
    const NDA_DST: u16 = 1;
    const NDA_LLADDR: u16 = 2;
    let request = || {
        let mut message = NeighbourMessage::default();
        message.header.family = AddressFamily::Bridge;
        message.header.ifindex = index;
        Request::of(RouteNetlinkMessage::GetNeighbour(message), DUMP)
    };
    socket.dump(request, |found: &mut Vec<_>, _, body| {
        let Some((header, rest)) = body.split_at_checked(12) else { return };
        let any = attributes_of(rest).any(|(kind, value)| kind == NDA_LLADDR && value == [0; 6]);
        if any && number(&header[4..]) == index {
            found.extend(attributes_of(rest).find(|(kind, _)| *kind == NDA_DST).and_then(|(_, value)| ip_of(value)));
        }
    })
}

/// One link with its addresses, by its number; ENODEV where there is none.
pub fn link(socket: &mut Socket, nsid: Option<i32>, index: u32) -> Result<Link, Refusal> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    let mut link = get(socket, nsid, message)?;
    link.addresses = addresses_of(socket, nsid, index)?;
    Ok(link)
}

/// The addresses of one link.
pub fn addresses_of(socket: &mut Socket, nsid: Option<i32>, index: u32) -> Result<Vec<Address>, Refusal> {
    Ok(addresses(socket, nsid, Some(index))?.into_iter().map(|(_, address)| address).collect())
}

fn get(socket: &mut Socket, nsid: Option<i32>, mut message: LinkMessage) -> Result<Link, Refusal> {
    message.attributes.extend(nsid.map(LinkAttribute::IfNetnsId));
    let mut found = None;
    socket.get(Request::of(RouteNetlinkMessage::GetLink(message), NLM_F_REQUEST), |body| found = read_link(body))?;
    found.ok_or(Refusal { errno: libc::ENODEV, says: None })
}

/// The addresses of all links, or of one.
fn addresses(socket: &mut Socket, nsid: Option<i32>, index: Option<u32>) -> Result<Vec<(u32, Address)>, Refusal> {
    let request = || {
        let mut message = AddressMessage::default();
        message.header.index = index.unwrap_or(0);
        message.attributes.extend(nsid.map(AddressAttribute::TargetNetNsId));
        Request::of(RouteNetlinkMessage::GetAddress(message), DUMP)
    };
    socket.dump(request, |found: &mut Vec<_>, _, body| found.extend(read_address(body)))
}

/// The attribute for a name, of whatever bytes it is.
pub fn ifname(name: &OsStr) -> LinkAttribute {
    const IFLA_IFNAME: u16 = 3;
    LinkAttribute::Other(DefaultNla::new(IFLA_IFNAME, [name.as_bytes(), b"\0"].concat()))
}

/// struct ifinfomsg and its attributes.
fn read_link(body: &[u8]) -> Option<Link> {
    let (header, rest) = body.split_at_checked(16)?;
    let flags = number(&header[8..]);
    let up = |bit: i32| flags & bit as u32 != 0;
    let mut link = Link { index: number(&header[4..]), ..Link::default() };
    (link.up, link.carrier) = (up(libc::IFF_UP), up(libc::IFF_LOWER_UP));
    for (kind, value) in attributes_of(rest) {
        match kind {
            libc::IFLA_IFNAME => link.name = OsStr::from_bytes(value.strip_suffix(b"\0").unwrap_or(value)).to_owned(),
            libc::IFLA_ADDRESS => link.mac = value.try_into().ok().map(Mac),
            libc::IFLA_MTU => link.mtu = number(value),
            libc::IFLA_MASTER => link.master = Some(number(value)),
            libc::IFLA_LINK => link.below = Some(number(value)),
            libc::IFLA_LINK_NETNSID => link.below_nsid = Some(number(value) as i32),
            libc::IFLA_LINKINFO => {
                for (kind, value) in attributes_of(value) {
                    match kind {
                        libc::IFLA_INFO_KIND => {
                            link.kind = String::from_utf8_lossy(value).trim_end_matches('\0').to_owned();
                        }
                        libc::IFLA_INFO_DATA => link.data = value.to_owned(),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Some(link)
}

/// struct ifaddrmsg and its attributes; only of IPv4 and IPv6.
fn read_address(body: &[u8]) -> Option<(u32, Address)> {
    let (header, rest) = body.split_at_checked(8)?;
    let mut ip = None;
    for (kind, value) in attributes_of(rest) {
        // Of an address with a peer, IFA_LOCAL is the own one.
        if kind == libc::IFA_LOCAL || (kind == libc::IFA_ADDRESS && ip.is_none()) {
            ip = ip_of(value);
        }
    }
    Some((number(&header[4..]), Address { ip: ip?, prefix: header[1] }))
}

/// An address of 4 or 16 bytes.
pub fn ip_of(value: &[u8]) -> Option<IpAddr> {
    if let Ok(bytes) = <[u8; 4]>::try_from(value) {
        return Some(IpAddr::from(bytes));
    }
    <[u8; 16]>::try_from(value).ok().map(IpAddr::from)
}

/// The family of an address, for the kernel.
pub fn family(ip: IpAddr) -> AddressFamily {
    if ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

impl Mac {
    /// One that is nobody's: random, of the locally administered (IEEE 802, 8.2).
    pub fn random() -> Result<Self, seal::Error> {
        let mut bytes = [0; 6];
        rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
            .tried(|| "cannot get random bytes for a MAC address")?;
        bytes[0] = bytes[0] & 0xfe | 2;
        Ok(Self(bytes))
    }
}

impl Address {
    /// Its bits, of which an IPv4 address has the lowest 32.
    pub fn bits(ip: IpAddr) -> u128 {
        match ip {
            IpAddr::V4(ip) => u128::from(ip.to_bits()),
            IpAddr::V6(ip) => ip.to_bits(),
        }
    }

    /// How many bits the host has in its subnet.
    pub fn host_bits(&self) -> u32 {
        (if self.ip.is_ipv4() { 32 } else { 128 }) - u32::from(self.prefix)
    }

    /// Whether an address is of this one's subnet.
    pub fn subnet_holds(&self, ip: IpAddr) -> bool {
        let differ = Self::bits(self.ip) ^ Self::bits(ip);
        self.ip.is_ipv4() == ip.is_ipv4() && differ.checked_shr(self.host_bits()).unwrap_or(0) == 0
    }

    /// Whether a host can have it: it is not its subnet's own first address nor,
    /// of IPv4, the last, which is for all (RFC 4291, 2.6.1; RFC 3021).
    pub fn is_a_hosts(&self) -> bool {
        let host = 1u128.checked_shl(self.host_bits()).map_or(u128::MAX, |size| size - 1);
        let bits = Self::bits(self.ip) & host;
        self.host_bits() < 2 || bits != 0 && !(self.ip.is_ipv4() && bits == host)
    }

    /// The first address of its subnet, whose host bits are 0.
    pub fn first(&self) -> IpAddr {
        let host = 1u128.checked_shl(self.host_bits()).map_or(u128::MAX, |size| size - 1);
        self.with_bits(Self::bits(self.ip) & !host)
    }

    /// Its subnet.
    pub fn network(&self) -> Self {
        Self { ip: self.first(), ..*self }
    }

    /// An address of the same family.
    pub fn with_bits(&self, bits: u128) -> IpAddr {
        if self.ip.is_ipv4() { IpAddr::V4((bits as u32).into()) } else { IpAddr::V6(bits.into()) }
    }

    /// Whether it is one of every link's own (RFC 4291, 2.5.6).
    pub fn is_link_local(&self) -> bool {
        matches!(self.ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.prefix)
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}
