//! The requests that change links, addresses and routes (rtnetlink(7)).

use std::ffi::OsStr;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::{DefaultNla, NLA_F_NESTED, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, InfoBridge, InfoData, InfoIpVlan, InfoKind, InfoMacVlan, InfoVeth, InfoVlan, InfoVxlan,
    LinkAttribute, LinkFlags, LinkInfo, LinkMessage, MacVlanMode,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcMessage};

use crate::declaration::Route;
use crate::link::{Address, Mac, family, ifname};
use crate::socket::Request;
use crate::words::Rate;

const MAKE: u16 = NLM_F_CREATE | NLM_F_EXCL;

/// A link that is to be made: what every kind has.
pub struct Make<'a> {
    pub name: &'a OsStr,
    pub mac: Option<Mac>,
    pub mtu: Option<u32>,
    /// Where it is to be, if that is not where it is asked for.
    pub net: Option<BorrowedFd<'a>>,
    /// The bridge that it is to be a port of.
    pub master: Option<u32>,
}

impl Make<'_> {
    fn attributes(&self) -> Vec<LinkAttribute> {
        let mut attributes = vec![ifname(self.name)];
        attributes.extend(self.mac.map(|mac| LinkAttribute::Address(mac.0.to_vec())));
        attributes.extend(self.mtu.map(LinkAttribute::Mtu));
        attributes.extend(self.net.map(|net| LinkAttribute::NetNsFd(net.as_raw_fd())));
        attributes.extend(self.master.map(LinkAttribute::Controller));
        attributes
    }

    fn request(&self, kind: InfoKind, data: Option<InfoData>, more: Option<LinkAttribute>) -> Request {
        let mut message = LinkMessage::default();
        message.attributes = self.attributes();
        message.attributes.extend(more);
        let info = std::iter::once(LinkInfo::Kind(kind)).chain(data.map(LinkInfo::Data)).collect();
        message.attributes.push(LinkAttribute::LinkInfo(info));
        Request::new(RouteNetlinkMessage::NewLink(message), MAKE)
    }

    /// A bridge; `quiet` is one that does not look into multicast, since that
    /// takes a bridge with many ports that comes up a time that grows with
    /// their square.
    pub fn bridge(&self, quiet: bool) -> Request {
        let data = quiet.then(|| InfoData::Bridge(vec![InfoBridge::MulticastSnooping(false)]));
        self.request(InfoKind::Bridge, data, None)
    }

    pub fn dummy(&self) -> Request {
        self.request(InfoKind::Dummy, None, None)
    }

    /// A pair. Each end has one queue: it uses no more anyway, and shrinking
    /// from one a processor is what takes longest when a pair is made.
    pub fn veth(&self, peer: &Make) -> Request {
        let queues = [LinkAttribute::NumTxQueues(1), LinkAttribute::NumRxQueues(1)];
        let mut far = LinkMessage::default();
        far.attributes = peer.attributes();
        far.attributes.extend(queues.clone());
        let mut message = LinkMessage::default();
        message.attributes = self.attributes();
        message.attributes.extend(queues);
        let data = InfoData::Veth(InfoVeth::Peer(far));
        message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth), LinkInfo::Data(data)]));
        Request::new(RouteNetlinkMessage::NewLink(message), MAKE)
    }

    pub fn macvlan(&self, parent: u32, mode: u32) -> Request {
        let data = InfoData::MacVlan(vec![InfoMacVlan::Mode(MacVlanMode::from(mode))]);
        self.request(InfoKind::MacVlan, Some(data), Some(LinkAttribute::Link(parent)))
    }

    pub fn ipvlan(&self, parent: u32, mode: u16) -> Request {
        let data = InfoData::IpVlan(vec![InfoIpVlan::Mode(mode.into())]);
        self.request(InfoKind::IpVlan, Some(data), Some(LinkAttribute::Link(parent)))
    }

    pub fn vlan(&self, parent: u32, id: u16) -> Request {
        self.request(InfoKind::Vlan, Some(InfoData::Vlan(vec![InfoVlan::Id(id)])), Some(LinkAttribute::Link(parent)))
    }

    pub fn vxlan(&self, id: u32, local: IpAddr, port: u16) -> Request {
        let local = match local {
            IpAddr::V4(ip) => InfoVxlan::Local(ip),
            IpAddr::V6(ip) => InfoVxlan::Local6(ip),
        };
        let data = vec![InfoVxlan::Id(id), local, InfoVxlan::Port(port), InfoVxlan::Learning(true)];
        self.request(InfoKind::Vxlan, Some(InfoData::Vxlan(data)), None)
    }
}

fn change(index: u32, attributes: Vec<LinkAttribute>) -> Request {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes = attributes;
    Request::new(RouteNetlinkMessage::SetLink(message), 0)
}

pub fn up(index: u32, up: bool) -> Request {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
    message.header.change_mask = LinkFlags::Up;
    Request::new(RouteNetlinkMessage::SetLink(message), 0)
}

pub fn mac(index: u32, mac: Mac) -> Request {
    change(index, vec![LinkAttribute::Address(mac.0.to_vec())])
}

pub fn mtu(index: u32, mtu: u32) -> Request {
    change(index, vec![LinkAttribute::Mtu(mtu)])
}

pub fn master(index: u32, master: u32) -> Request {
    change(index, vec![LinkAttribute::Controller(master)])
}

/// No link-local address is made for it when it comes up (addr_gen_mode): as a
/// port of a bridge it has no use for one.
pub fn no_own_address(index: u32) -> Request {
    const NONE: u8 = 1;
    const IN6_ADDR_GEN_MODE: u16 = 8;
    let mode = AfSpecInet6::Other(DefaultNla::new(IN6_ADDR_GEN_MODE, vec![NONE]));
    change(index, vec![LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![mode])])])
}

fn bridge(index: u32, data: InfoBridge) -> Request {
    let info = vec![LinkInfo::Kind(InfoKind::Bridge), LinkInfo::Data(InfoData::Bridge(vec![data]))];
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes.push(LinkAttribute::LinkInfo(info));
    Request::new(RouteNetlinkMessage::NewLink(message), 0)
}

/// The bridge looks into multicast again.
pub fn snoop(index: u32) -> Request {
    bridge(index, InfoBridge::MulticastSnooping(true))
}

/// The bridge forgets who is where.
pub fn flush(index: u32) -> Request {
    bridge(index, InfoBridge::FdbFlush)
}

/// Which frames to link-local addresses are forwarded, a bit each
/// (group_fwd_mask).
pub fn forward_groups(index: u32, mask: u16) -> Request {
    bridge(index, InfoBridge::GroupFwdMask(mask))
}

pub fn delete(index: u32) -> Request {
    let mut message = LinkMessage::default();
    message.header.index = index;
    Request::new(RouteNetlinkMessage::DelLink(message), 0)
}

/// To add an address, for use at once (IFA_F_NODAD), or to delete it.
pub fn address(index: u32, address: &Address, add: bool) -> Request {
    let mut message = AddressMessage::default();
    message.header.family = family(address.ip);
    message.header.prefix_len = address.prefix;
    message.header.index = index;
    message.attributes = vec![AddressAttribute::Local(address.ip), AddressAttribute::Address(address.ip)];
    if !add {
        return Request::new(RouteNetlinkMessage::DelAddress(message), 0);
    }
    match address.ip {
        IpAddr::V4(ip) if address.prefix < 31 => {
            let broadcast = ip.to_bits() | (u32::MAX >> address.prefix);
            message.attributes.push(AddressAttribute::Broadcast(broadcast.into()));
        }
        IpAddr::V4(_) => {}
        IpAddr::V6(_) => message.header.flags = AddressHeaderFlags::Nodad,
    }
    Request::new(RouteNetlinkMessage::NewAddress(message), MAKE)
}

/// To add a route to the main table, or to delete it.
pub fn route(route: &Route, dev: Option<u32>, add: bool) -> Request {
    let bytes = |ip| match ip {
        IpAddr::V4(ip) => RouteAddress::Inet(ip),
        IpAddr::V6(ip) => RouteAddress::Inet6(ip),
    };
    let mut message = RouteMessage::default();
    message.header.address_family = family(route.to.ip);
    message.header.destination_prefix_length = route.to.prefix;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Boot;
    message.header.scope = if route.via.is_some() { RouteScope::Universe } else { RouteScope::Link };
    message.header.kind = RouteType::Unicast;
    if route.to.prefix > 0 {
        message.attributes.push(RouteAttribute::Destination(bytes(route.to.ip)));
    }
    message.attributes.extend(route.via.map(|via| RouteAttribute::Gateway(bytes(via))));
    message.attributes.extend(dev.map(RouteAttribute::Oif));
    message.attributes.extend(route.metric.map(RouteAttribute::Priority));
    if add {
        Request::new(RouteNetlinkMessage::NewRoute(message), MAKE)
    } else {
        Request::new(RouteNetlinkMessage::DelRoute(message), 0)
    }
}

/// What a vxlan does not know the place of goes there, too, or no longer.
pub fn remote(index: u32, remote: IpAddr, add: bool) -> Request {
    let mut message = NeighbourMessage::default();
    message.header.family = netlink_packet_route::AddressFamily::Bridge;
    message.header.ifindex = index;
    message.header.state = NeighbourState::Permanent;
    message.header.flags = NeighbourFlags::Own;
    let destination = match remote {
        IpAddr::V4(ip) => NeighbourAddress::Inet(ip),
        IpAddr::V6(ip) => NeighbourAddress::Inet6(ip),
    };
    message.attributes =
        vec![NeighbourAttribute::LinkLayerAddress(vec![0; 6]), NeighbourAttribute::Destination(destination)];
    if add {
        Request::new(RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE | NLM_F_APPEND)
    } else {
        Request::new(RouteNetlinkMessage::DelNeighbour(message), 0)
    }
}

/// Limits what leaves by a link with a token bucket filter (tc-tbf(8)), or no
/// longer.
pub fn rate(index: u32, rate: Rate) -> Request {
    let mut message = TcMessage::with_index(index as i32);
    message.header.parent = TcHandle::ROOT;
    if rate.0 == 0 {
        return Request::new(RouteNetlinkMessage::DelQueueDiscipline(message), 0);
    }
    const TCA_OPTIONS: u16 = 2;
    message.attributes = vec![
        TcAttribute::Kind("tbf".into()),
        TcAttribute::Other(DefaultNla::new(TCA_OPTIONS | NLA_F_NESTED, token_bucket(rate))),
    ];
    Request::new(RouteNetlinkMessage::NewQueueDiscipline(message), NLM_F_CREATE | NLM_F_REPLACE)
}

/// The attributes TCA_TBF_*: 10 ms at once, but no less than a large packet
/// that is segmented later, and 50 ms waiting.
fn token_bucket(rate: Rate) -> Vec<u8> {
    const ETHERNET: u8 = 1;
    const PARMS: u16 = 1;
    const RATE64: u16 = 4;
    const BURST: u16 = 6;
    let bytes = rate.0 / 8;
    let burst = (bytes / 100).clamp(64 << 10, u64::from(u32::MAX) / 2) as u32;
    let limit = (bytes / 20).saturating_add(u64::from(burst)).min(u64::from(u32::MAX)) as u32;
    // struct tc_tbf_qopt: two of struct tc_ratespec, limit, buffer, mtu.
    let mut parameters = vec![0; 36];
    parameters[1] = ETHERNET;
    parameters[8..12].copy_from_slice(&u32::try_from(bytes).unwrap_or(u32::MAX).to_ne_bytes());
    parameters[24..28].copy_from_slice(&limit.to_ne_bytes());
    let mut attributes = Vec::new();
    let mut push = |kind: u16, value: &[u8]| {
        attributes.extend_from_slice(&(value.len() as u16 + 4).to_ne_bytes());
        attributes.extend_from_slice(&kind.to_ne_bytes());
        attributes.extend_from_slice(value);
    };
    push(PARMS, &parameters);
    push(BURST, &burst.to_ne_bytes());
    if u32::try_from(bytes).is_err() {
        push(RATE64, &bytes.to_ne_bytes());
    }
    attributes
}
