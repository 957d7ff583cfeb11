//! All that a host may try to send.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::packets::*;

/// Ends the address of frames that the kernel's bridge takes for its own without asking a filter.
pub const LLDP: u8 = 0x0e;

/// Whether a bound port may send a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Truth {
    /// It says what is so.
    Honest,
    /// It is from another, or about one, or of no protocol that is let pass, or no whole packet.
    Lie,
    /// It harms no one, and no one needs it.
    Whatever,
}

use Truth::{Honest, Lie, Whatever};

/// A frame that is tried.
#[derive(Debug)]
pub struct Shout {
    pub name: String,
    pub truth: Truth,
    pub frame: Frame,
}

impl Shout {
    /// The frame without its number.
    pub fn bytes(&self) -> &[u8] {
        let bytes = &self.frame.0;
        if bytes.last() == Some(&b'>') { &bytes[..bytes.len() - 6] } else { bytes }
    }
}

/// Who is who when `me` shouts.
#[derive(Clone, Copy)]
pub struct Cast {
    pub me: Station,
    /// Who may hear me.
    pub friend: Station,
    /// Who may not.
    pub third: Station,
    pub bridge: Station,
}

type Body = (String, u16, Vec<u8>, Truth);

/// What ends each frame that has room for it.
fn number(at: usize) -> [u8; 6] {
    let text = format!("<{at:04x}>");
    text.as_bytes().try_into().expect("there are not so many")
}

/// Which of them the frames are that were heard. Most have a number, but
/// br_netfilter cuts off what is no part of an IP packet.
pub fn which<'a>(shouts: &'a [Shout], heard: &'a [Frame]) -> Vec<(&'a Shout, &'a Frame)> {
    let by_bytes: HashMap<_, _> = shouts.iter().map(|shout| (shout.bytes(), shout)).collect();
    let find = |frame: &'a Frame| {
        let end = frame.0.len().checked_sub(6).map(|at| &frame.0[at..]).filter(|end| end[0] == b'<' && end[5] == b'>');
        let at = end.and_then(|end| usize::from_str_radix(std::str::from_utf8(&end[1..5]).ok()?, 16).ok());
        let shout = at.and_then(|at| shouts.get(at)).or_else(|| by_bytes.get(&frame.0[..]).copied())?;
        Some((shout, frame))
    };
    heard.iter().filter_map(find).collect()
}

/// Every frame: each body from each address to each.
pub fn shouts(cast: &Cast) -> Vec<Shout> {
    let Cast { me, friend, third, bridge } = *cast;
    let from = [("me", me.mac), ("third", third.mac), ("friend", friend.mac), ("bridge", bridge.mac)];
    let odd = [("stranger", STRANGER), ("all", ALL), ("nobody", Mac([0; 6]))];
    let to = [("all", ALL), ("multicast", MULTICAST), ("friend", friend.mac), ("third", third.mac)];
    let rest = [("bridge", bridge.mac), ("stranger", STRANGER)];
    let mut all: Vec<Shout> = Vec::new();
    let mut add = |name: String, truth, frame: Frame, end: bool| {
        let end = if end { number(all.len()).to_vec() } else { Vec::new() };
        all.push(Shout { name, truth, frame: Frame([frame.0, end].concat()) });
    };
    let bodies = bodies(cast);
    for (from_name, from) in from.into_iter().chain(odd) {
        for (to_name, to) in to.into_iter().chain(rest) {
            for (name, kind, body, truth) in &bodies {
                // A lie need not be told from and to everyone.
                if *truth != Honest && (from != me.mac || to == MULTICAST || to == STRANGER) {
                    continue;
                }
                let truth = if from == me.mac { *truth } else { Lie };
                let name = format!("{name}, from {from_name} to {to_name}");
                add(name, truth, Frame::new(to, from, *kind, body), true);
            }
            for (name, frame) in cut_short(cast) {
                let frame = Frame([&to.0[..], &from.0, &frame].concat());
                add(format!("{name}, from {from_name} to {to_name}"), Lie, frame, false);
            }
        }
        // What bridges speak with one another, and no bridge forwards.
        for last in 0..16 {
            let to = Mac([0x01, 0x80, 0xc2, 0, 0, last]);
            for (name, kind, body, _) in link_local(cast).iter().chain(&bodies[..3]) {
                add(format!("{name}, from {from_name} to {to}"), Lie, Frame::new(to, from, *kind, body), true);
            }
        }
    }
    all
}

/// What a frame can hold.
fn bodies(cast: &Cast) -> Vec<Body> {
    let mut all = Vec::new();
    all.extend(of_ipv4(cast));
    all.extend(of_arp(cast));
    all.extend(of_ipv6(cast));
    all.extend(of_neighbours(cast));
    all.extend(behind_headers(cast));
    let tagged = all.iter().filter(|body| body.3 == Honest).flat_map(tags).collect::<Vec<_>>();
    all.extend(tagged);
    all.extend(other_protocols(cast));
    all
}

fn body(name: impl Into<String>, kind: u16, truth: Truth, body: Vec<u8>) -> Body {
    (name.into(), kind, body, truth)
}

fn of_ipv4(&Cast { me, friend, third, bridge }: &Cast) -> Vec<Body> {
    let mut all = vec![
        body("UDP", IPV4, Honest, ipv4(me.ipv4, third.ipv4, UDP, &datagram(b"?"))),
        body("ping", IPV4, Honest, ipv4(me.ipv4, third.ipv4, 1, &echo4())),
        body("UDP to all", IPV4, Honest, ipv4(me.ipv4, Ipv4Addr::BROADCAST, UDP, &datagram(b"?"))),
        body("a protocol", IPV4, Honest, ipv4(me.ipv4, third.ipv4, 253, b"?")),
        body("IGMP", IPV4, Whatever, ipv4(me.ipv4, Ipv4Addr::new(224, 0, 0, 1), 2, &[0x11, 0, 0xee, 0xff, 0, 0, 0, 0])),
    ];
    for (name, fragment) in [("a first fragment", 0x2000), ("a later fragment", 0x2010), ("a last one", 0x0020)] {
        let packet = |from| ipv4_with(&[], fragment, (from, third.ipv4), UDP, &datagram(b"?"));
        all.push(body(name, IPV4, Honest, packet(me.ipv4)));
        all.push(body(format!("{name} of the third's"), IPV4, Lie, packet(third.ipv4)));
    }
    // A source route, with options before what nobody reads, and no end.
    let route = [131, 7, 4, 10, 0, 0, me.ipv4.octets()[3], 0];
    all.push(body("options", IPV4, Honest, ipv4_with(&route, 0, (me.ipv4, third.ipv4), UDP, &datagram(b"?"))));
    let lies = [third.ipv4, friend.ipv4, bridge.ipv4, Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, Ipv4Addr::LOCALHOST];
    for from in lies.into_iter().chain([Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(10, 0, 0, 77)]) {
        for (protocol, data) in [(UDP, datagram(b"?")), (1, echo4())] {
            all.push(body(format!("{protocol} from {from}"), IPV4, Lie, ipv4(from, third.ipv4, protocol, &data)));
        }
        let options = ipv4_with(&route, 0, (from, friend.ipv4), UDP, &datagram(b"?"));
        all.push(body(format!("options from {from}"), IPV4, Lie, options));
    }
    all
}

fn of_arp(&Cast { me, friend, third, bridge }: &Cast) -> Vec<Body> {
    let zero = Mac([0; 6]);
    let mut all = vec![
        body("who has", ARP, Honest, arp(1, (me.mac, me.ipv4), (zero, third.ipv4))),
        body("is it free", ARP, Honest, arp(1, (me.mac, Ipv4Addr::UNSPECIFIED), (zero, third.ipv4))),
        body("here I am", ARP, Honest, arp(2, (me.mac, me.ipv4), (third.mac, third.ipv4))),
        body("gratuitous", ARP, Honest, arp(1, (me.mac, me.ipv4), (zero, me.ipv4))),
    ];
    for mac in [me.mac, third.mac, friend.mac, bridge.mac, STRANGER, ALL, zero] {
        for ip in [me.ipv4, third.ipv4, friend.ipv4, bridge.ipv4, Ipv4Addr::new(10, 0, 0, 99), Ipv4Addr::UNSPECIFIED] {
            for operation in [1, 2, 3, 9] {
                if mac == me.mac && (ip == me.ipv4 || ip.is_unspecified()) {
                    continue;
                }
                for (target, about) in [(zero, ip), (friend.mac, friend.ipv4)] {
                    let name = format!("ARP {operation} of {mac} at {ip} to {about}");
                    all.push(body(name, ARP, Lie, arp(operation, (mac, ip), (target, about))));
                }
            }
        }
    }
    // Lengths and kinds that are not those of Ethernet and IPv4.
    for (at, byte) in [(1, 6), (1, 0), (2, 0x86), (4, 5), (4, 0), (5, 16), (5, 0)] {
        let mut packet = arp(2, (me.mac, me.ipv4), (friend.mac, friend.ipv4));
        packet[at] = byte;
        all.push(body(format!("ARP with {byte} at {at}"), ARP, Lie, packet));
    }
    all.push(body("RARP", 0x8035, Lie, arp(4, (me.mac, me.ipv4), (me.mac, me.ipv4))));
    all
}

fn of_ipv6(&Cast { me, friend, third, bridge }: &Cast) -> Vec<Body> {
    let nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let mut all = Vec::new();
    let own = [me.ipv6, me.link_local()].map(|from| (from, Honest));
    let others = [third, friend, bridge].map(|other| [other.ipv6, other.link_local()]);
    let strange = [Ipv6Addr::UNSPECIFIED, Ipv6Addr::LOCALHOST, nodes, Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x77)];
    let lies = others.into_iter().flatten().chain(strange).map(|from| (from, Lie));
    for (from, truth) in own.into_iter().chain(lies) {
        for to in [third.ipv6, third.link_local(), nodes] {
            all.push(body(format!("UDP {from} to {to}"), IPV6, truth, ipv6(from, to, UDP, &datagram(b"?"))));
            let echo = icmp6(from, to, 128, &[0, 1, 0, 1]);
            all.push(body(format!("ping {from} to {to}"), IPV6, truth, ipv6(from, to, ICMPV6, &echo)));
        }
        // A tunnel, which only its ends look into.
        let inner = ipv6(third.ipv6, friend.ipv6, UDP, &datagram(b"?"));
        all.push(body(format!("a tunnel from {from}"), IPV6, truth, ipv6(from, friend.ipv6, 41, &inner)));
        all.push(body(
            format!("nothing from {from}"),
            IPV6,
            if truth == Honest { Whatever } else { Lie },
            ipv6(from, friend.ipv6, 59, &[]),
        ));
    }
    all
}

/// Neighbour discovery.
fn of_neighbours(&Cast { me, friend, third, bridge }: &Cast) -> Vec<Body> {
    let nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let mut all = Vec::new();
    let mut add = |name: String, truth, from, message: Vec<u8>| {
        all.push(body(name, IPV6, truth, ipv6(from, nodes, ICMPV6, &message)));
    };
    for from in [me.ipv6, me.link_local()] {
        add("asks without a MAC".into(), Honest, from, neighbour(135, (from, nodes), third.ipv6, &[]));
        add("answers without a MAC".into(), Honest, from, neighbour(136, (from, nodes), me.ipv6, &[]));
        for (mac, truth) in [(me.mac, Honest), (third.mac, Lie), (friend.mac, Lie), (bridge.mac, Lie), (STRANGER, Lie)]
        {
            let [source, target] = [tells_mac(1, mac), tells_mac(2, mac)];
            add(format!("asks of {mac}"), truth, from, neighbour(135, (from, nodes), third.ipv6, &source));
            add(format!("answers {mac}"), truth, from, neighbour(136, (from, nodes), from, &target));
            for other in [third, friend, bridge] {
                for about in [other.ipv6, other.link_local()] {
                    let name = format!("answers {mac} for {about}");
                    add(name, Lie, from, neighbour(136, (from, nodes), about, &target));
                    let redirect = [&[0; 4][..], &me.link_local().octets(), &about.octets(), &target].concat();
                    add(format!("redirects {about} to {mac}"), Lie, from, icmp6(from, nodes, 137, &redirect));
                }
            }
            // The second option is the lie.
            let two = [tells_mac(2, me.mac), tells_mac(2, mac)].concat();
            let truth = if truth == Honest { Whatever } else { Lie };
            add(format!("answers twice, {mac}"), truth, from, neighbour(136, (from, nodes), from, &two));
            let two = [tells_mac(1, me.mac), tells_mac(1, mac)].concat();
            add(format!("asks twice, {mac}"), truth, from, neighbour(135, (from, nodes), third.ipv6, &two));
            add(
                format!("asks for a router, {mac}"),
                truth,
                from,
                icmp6(from, nodes, 133, &[&[0; 4], &source[..]].concat()),
            );
            let router = [&[64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0][..], &source].concat();
            add(format!("is a router at {mac}"), Lie, from, icmp6(from, nodes, 134, &router));
        }
    }
    for other in [third, friend, bridge] {
        for from in [other.ipv6, other.link_local(), Ipv6Addr::UNSPECIFIED] {
            let target = tells_mac(2, me.mac);
            add(format!("answers as {from}"), Lie, from, neighbour(136, (from, nodes), other.ipv6, &target));
            let source = tells_mac(1, me.mac);
            let truth = if from.is_unspecified() { Whatever } else { Lie };
            add(format!("asks as {from}"), truth, from, neighbour(135, (from, nodes), third.ipv6, &source));
            add(
                format!("is a router as {from}"),
                Lie,
                from,
                icmp6(from, nodes, 134, &[64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0]),
            );
        }
    }
    let reports = [(131, vec![0; 20]), (132, vec![0; 20]), (143, vec![0; 4])];
    for (kind, rest) in reports {
        let message = icmp6(third.link_local(), nodes, kind, &rest);
        add(format!("listens as another, {kind}"), Lie, third.link_local(), message);
    }
    all
}

/// What hides behind extension headers and in fragments.
fn behind_headers(&Cast { me, friend, third, .. }: &Cast) -> Vec<Body> {
    let nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let (from, lie) = (me.link_local(), tells_mac(2, me.mac));
    let mut all = Vec::new();
    let answer = |from| neighbour(136, (from, nodes), third.ipv6, &lie);
    for headers in [&[0][..], &[60], &[43], &[0, 60], &[60, 60, 60], &[0, 43, 60]] {
        let name = |what: &str| format!("{what} behind {headers:?}");
        let data = datagram(b"?");
        all.push(body(name("UDP"), IPV6, Honest, extended(from, nodes, headers, UDP, &data)));
        all.push(body(name("another's UDP"), IPV6, Lie, extended(third.ipv6, nodes, headers, UDP, &data)));
        all.push(body(name("an answer"), IPV6, Lie, extended(from, nodes, headers, ICMPV6, &answer(from))));
        let asks = neighbour(135, (from, nodes), third.ipv6, &tells_mac(1, friend.mac));
        all.push(body(name("a question"), IPV6, Lie, extended(from, nodes, headers, ICMPV6, &asks)));
        let inside = fragment6(ICMPV6, 0, false, &answer(from));
        all.push(body(name("a whole fragment"), IPV6, Lie, extended(from, nodes, headers, 44, &inside)));
    }
    for (name, offset, more) in [("a whole", 0, false), ("a first", 0, true)] {
        let inside = fragment6(ICMPV6, offset, more, &answer(from));
        all.push(body(format!("{name} fragment that answers"), IPV6, Lie, ipv6(from, nodes, 44, &inside)));
    }
    for (offset, more) in [(0, false), (0, true), (64, true), (64, false)] {
        let inside = fragment6(UDP, offset, more, &datagram(b"12345678"));
        let name = format!("a fragment at {offset}, {more}");
        all.push(body(&*name, IPV6, Honest, ipv6(from, nodes, 44, &inside)));
        all.push(body(name + " of another's", IPV6, Lie, ipv6(third.ipv6, nodes, 44, &inside)));
    }
    // The first has the headers alone, and what makes it a lie comes in the next.
    let split = fragment6(60, 0, true, &[ICMPV6, 0, 1, 4, 0, 0, 0, 0]);
    all.push(body("a fragment of headers alone", IPV6, Lie, ipv6(from, nodes, 44, &split)));
    let nested = fragment6(44, 0, false, &fragment6(ICMPV6, 0, false, &answer(from)));
    all.push(body("a fragment in a fragment", IPV6, Lie, ipv6(from, nodes, 44, &nested)));
    all
}

/// The same body behind tags.
fn tags((name, kind, inner, _): &Body) -> Vec<Body> {
    let tags: [&[u16]; 8] = [
        &[0x8100, 0],
        &[0x8100, 1],
        &[0x8100, 0xefff],
        &[0x88a8, 0],
        &[0x88a8, 5],
        &[0x88a8, 5, 0x8100, 6],
        &[0x8100, 0, 0x8100, 0],
        &[0x9100, 1, 0x8100, 1],
    ];
    let tagged = |words: &&[u16]| {
        let rest: Vec<u8> = words[1..].iter().chain([kind]).flat_map(|word| word.to_be_bytes()).collect();
        body(format!("{name} tagged {words:x?}"), words[0], Lie, [rest, inner.clone()].concat())
    };
    tags.iter().map(tagged).collect()
}

/// Protocols beside IP, and packets that are no such.
fn other_protocols(cast: &Cast) -> Vec<Body> {
    let Cast { me, third, .. } = *cast;
    let mut all = link_local(cast);
    // PPPoE, MPLS, 802.1X, MACsec, EtherCAT, IPX, AppleTalk, LLDP, loopback, FIP, batman, ours.
    let kinds = [
        0x8863, 0x8864, 0x8847, 0x8848, 0x888e, 0x88e5, 0x88a4, 0x8137, 0x809b, 0x88cc, 0x9000, 0x8914, 0x4305, 0x88b5,
        0x0600, 0x0601, 0xffff, 0x0801, 0x86de, 0x0807,
    ];
    for kind in kinds {
        let packet = ipv4(me.ipv4, third.ipv4, UDP, &datagram(b"?"));
        all.push(body(format!("protocol {kind:#x}"), kind, Lie, packet));
    }
    // One protocol in the other's name.
    all.push(body("IPv6 as IPv4", IPV4, Lie, ipv6(me.ipv6, third.ipv6, UDP, &datagram(b"?"))));
    all.push(body("IPv4 as IPv6", IPV6, Lie, ipv4(me.ipv4, third.ipv4, UDP, &datagram(b"?"))));
    all.push(body("IPv4 as ARP", ARP, Lie, ipv4(me.ipv4, third.ipv4, UDP, &datagram(b"?"))));
    all.push(body("nothing as IPv4", IPV4, Lie, vec![0; 60]));
    all.push(body("nothing as IPv6", IPV6, Lie, vec![0; 60]));
    all.push(body("nothing as ARP", ARP, Lie, vec![0; 60]));
    all
}

/// What bridges and switches say, behind LLC where its kind is a length.
fn link_local(&Cast { me, third, .. }: &Cast) -> Vec<Body> {
    // The root of a spanning tree with the best of priorities.
    let root = [&[0x42, 0x42, 3, 0, 0, 0, 0, 0, 0, 0][..], &me.mac.0, &[0; 4], &[0, 0], &me.mac.0, &[0x80, 1]].concat();
    let names = [&[2, 7, 4][..], &me.mac.0, &[4, 2, 7, b'x', 6, 2, 0, 120, 0, 0]].concat();
    let snap = [&[0xaa, 0xaa, 3, 0, 0, 0, 8, 6][..], &arp(2, (me.mac, third.ipv4), (third.mac, third.ipv4))].concat();
    vec![
        body("STP", root.len() as u16, Lie, root),
        body("LLDP", 0x88cc, Lie, names),
        body("SNAP with ARP", snap.len() as u16, Lie, snap),
        body("LLC without an end", 0, Lie, vec![0xe0, 0xe0, 3]),
        body("LACP", 0x8809, Lie, vec![1, 1, 1, 20, 0, 1]),
        body("PAUSE", 0x8808, Lie, vec![0, 1, 0xff, 0xff]),
        body("802.1X", 0x888e, Lie, vec![1, 1, 0, 0]),
    ]
}

/// Packets without an end; there is no room for a number.
fn cut_short(&Cast { me, friend, third, .. }: &Cast) -> Vec<(String, Vec<u8>)> {
    let answer = arp(2, (me.mac, me.ipv4), (friend.mac, friend.ipv4));
    let packet = ipv4(me.ipv4, third.ipv4, UDP, &[]);
    let six = ipv6(me.ipv6, third.ipv6, ICMPV6, &neighbour(136, (me.ipv6, third.ipv6), me.ipv6, &[]));
    let wholes = [("IPv4", IPV4, packet, 16), ("ARP", ARP, answer, 18), ("IPv6", IPV6, six, 24)];
    let mut all = vec![("no protocol".into(), vec![]), ("half a protocol".into(), vec![8])];
    for (name, kind, packet, end) in wholes {
        for length in [0, 1, 2, 8, 14, end - 1] {
            let frame = [&kind.to_be_bytes()[..], &packet[..length]].concat();
            all.push((format!("{length} bytes of {name}"), frame));
        }
    }
    all.push(("half a tag".into(), vec![0x81, 0, 0]));
    all.push(("a tag alone".into(), vec![0x81, 0, 0, 1, 8, 0]));
    all
}
