//! The chains for what a port sends: one that has addresses, and one that has none.
//!
//! A rule ends where a packet is too short for what it reads, so what accepts a
//! packet reads all that it is accepted for, and each chain ends in a verdict.

use netlink_packet_netfilter::nftables::MetaKey;

use super::rule::{Field, Rule};
use super::rules::{Chain, IIF, link_local, rule};

const PROTOCOL: Field = Field::Meta(MetaKey::EtherTypeProtocol);
const L4PROTO: Field = Field::Meta(MetaKey::L4Proto);
const ETHER_SOURCE: Field = Field::Link(6, 6);
const ETHER_TYPE: Field = Field::Link(12, 2);
const VLAN: Field = Field::Link(14, 2);
const ARP_HARDWARE: Field = Field::Network(0, 2);
const ARP_PROTOCOL: Field = Field::Network(2, 2);
const ARP_LENGTHS: [Field; 2] = [Field::Network(4, 1), Field::Network(5, 1)];
const ARP_OPERATION: Field = Field::Network(6, 2);
const ARP_MAC: Field = Field::Network(8, 6);
const ARP_IP: Field = Field::Network(14, 4);
const IPV4_SOURCE: Field = Field::Network(12, 4);
const IPV6_LENGTH: Field = Field::Network(4, 2);
const IPV6_NEXT: Field = Field::Network(6, 1);
const IPV6_SOURCE: Field = Field::Network(8, 16);
const FRAGMENT_OFFSET: Field = Field::Fragment(2, 2);
const FRAGMENT_OFFSETS: [u8; 2] = [0xff, 0xf8];
const ICMPV6_TYPE: Field = Field::Transport(0, 1);
const ND_TARGET: Field = Field::Transport(8, 16);
const IPV4: [u8; 2] = [0x08, 0x00];
const ARP: [u8; 2] = [0x08, 0x06];
const IPV6: [u8; 2] = [0x86, 0xdd];
const VLANS: [[u8; 2]; 2] = [[0x81, 0x00], [0x88, 0xa8]];
const ICMPV6: [u8; 1] = [58];
const UNSPECIFIED: [u8; 16] = [0; 16];
/// RFC 4861: what asks for a neighbour or a router, what answers, and what redirects.
const ROUTER_SOLICITATION: [u8; 1] = [133];
const NEIGHBOUR_SOLICITATION: [u8; 1] = [135];
const NEIGHBOUR_ADVERTISEMENT: [u8; 1] = [136];
const REDIRECT: [u8; 1] = [137];

/// What a port sends, before the bridge learns from it.
pub fn prerouting() -> Vec<Rule> {
    vec![
        rule().within(&[IIF], "trunks").accept(),
        link_local().drop(),
        rule().within(&[IIF], "unbound").goto("unbound"),
        rule().without(&[IIF, ETHER_SOURCE], "macs").drop(),
        rule().is(ETHER_TYPE, &IPV4).goto("bound_ip4"),
        rule().is(ETHER_TYPE, &ARP).goto("bound_arp"),
        rule().is(ETHER_TYPE, &IPV6).goto("bound_ip6"),
        rule().drop(),
    ]
}

/// What a port may send that has addresses.
pub fn bound() -> Vec<Chain> {
    let arp = || {
        let ethernet = rule().is(ETHER_TYPE, &ARP).is(ARP_HARDWARE, &[0, 1]).is(ARP_PROTOCOL, &IPV4);
        let [mac, ip] = ARP_LENGTHS;
        ethernet.is(mac, &[6]).is(ip, &[4]).within(&[IIF, ARP_MAC], "macs")
    };
    let ip4 = vec![rule().is(ETHER_TYPE, &IPV4).within(&[IIF, IPV4_SOURCE], "ipv4").accept(), rule().drop()];
    let arp = vec![
        arp().within(&[IIF, ARP_IP], "ipv4").accept(),
        // Who asks whether an address is free has none yet (RFC 5227).
        arp().is(ARP_OPERATION, &[0, 1]).is(ARP_IP, &[0; 4]).accept(),
        rule().drop(),
    ];
    let mut chains = vec![("bound_ip4", None, ip4), ("bound_arp", None, arp)];
    chains.extend(bound_ip6());
    chains
}

fn bound_ip6() -> Vec<Chain> {
    let ip6 = || rule().is(ETHER_TYPE, &IPV6);
    let icmp6 = || ip6().is(L4PROTO, &ICMPV6);
    let all = vec![
        ip6().any_bit(FRAGMENT_OFFSET, &FRAGMENT_OFFSETS).goto("bound_source6"),
        ip6().is(Field::Fragmented, &[1]).goto("bound_fragment6"),
        ip6().is(L4PROTO, &ICMPV6).goto("bound_icmp6"),
        ip6().other_than(L4PROTO, &ICMPV6).goto("bound_source6"),
        rule().drop(),
    ];
    let icmp = vec![
        // Who joins a group before he has an address (RFC 3590).
        icmp6().is(IPV6_SOURCE, &UNSPECIFIED).above(ICMPV6_TYPE, &[129]).below(ICMPV6_TYPE, &[133]).accept(),
        icmp6().is(IPV6_SOURCE, &UNSPECIFIED).is(ICMPV6_TYPE, &[143]).accept(),
        icmp6().below(ICMPV6_TYPE, &ROUTER_SOLICITATION).goto("bound_source6"),
        icmp6().above(ICMPV6_TYPE, &REDIRECT).goto("bound_source6"),
        // Neighbour discovery; behind an extension header no one needs it.
        ip6().is(IPV6_NEXT, &ICMPV6).goto("neighbour"),
        rule().drop(),
    ];
    let neighbour = vec![
        icmp6().within(&[IIF, IPV6_SOURCE], "ipv6").is(ICMPV6_TYPE, &NEIGHBOUR_ADVERTISEMENT).goto("answer"),
        icmp6().within(&[IIF, IPV6_SOURCE], "ipv6").goto("question"),
        icmp6().is(IPV6_SOURCE, &UNSPECIFIED).goto("question"),
        rule().drop(),
    ];
    vec![
        ("bound_ip6", None, all),
        ("bound_fragment6", None, first_fragment(&ip6, &|rule| rule.goto("bound_source6"), "bound_icmp6")),
        ("bound_icmp6", None, icmp),
        ("bound_source6", None, vec![ip6().within(&[IIF, IPV6_SOURCE], "ipv6").accept(), rule().drop()]),
        ("neighbour", None, neighbour),
        ("answer", None, answer()),
        ("question", None, question()),
    ]
}

/// A first fragment, without which the others are of no use. It must tell what
/// all of them are: with an extension header it may end before that, and what
/// follows its end in the frame, where it is no part of it, may tell a lie.
fn first_fragment(ip6: &dyn Fn() -> Rule, accept: &dyn Fn(Rule) -> Rule, icmp6: &str) -> Vec<Rule> {
    const NEXT: Field = Field::Fragment(0, 1);
    // IPv4, TCP, UDP, IPv6, GRE, ESP, SCTP
    let mut rules: Vec<_> = [4, 6, 17, 41, 47, 50, 132].map(|next| accept(ip6().is(NEXT, &[next]))).into();
    rules.push(ip6().is(IPV6_NEXT, &[44]).is(NEXT, &ICMPV6).above(IPV6_LENGTH, &[0, 8]).goto(icmp6));
    rules.push(rule().drop());
    rules
}

/// A message of this type whose options begin here: as long as without any, or
/// with one that gives a link-layer address, which has to be the sender's.
/// Others' would have a neighbour send them what it means to send back.
fn with_mac(kind: [u8; 1], options: u32, option: u8) -> [Rule; 2] {
    let message = || rule().is(ETHER_TYPE, &IPV6).is(L4PROTO, &ICMPV6).is(ICMPV6_TYPE, &kind);
    let long = |length: u32| (length as u16).to_be_bytes();
    [
        message().is(IPV6_LENGTH, &long(options)),
        message()
            .is(IPV6_LENGTH, &long(options + 8))
            .is(Field::Transport(options, 2), &[option, 1])
            .within(&[IIF, Field::Transport(options + 2, 6)], "macs"),
    ]
}

fn answer() -> Vec<Rule> {
    const TARGET_MAC: u8 = 2;
    let answers = with_mac(NEIGHBOUR_ADVERTISEMENT, 24, TARGET_MAC);
    let mut rules: Vec<_> =
        answers.into_iter().map(|message| message.within(&[IIF, ND_TARGET], "ipv6").accept()).collect();
    rules.push(rule().drop());
    rules
}

fn question() -> Vec<Rule> {
    const SOURCE_MAC: u8 = 1;
    let mut rules: Vec<_> = with_mac(NEIGHBOUR_SOLICITATION, 24, SOURCE_MAC)
        .into_iter()
        .chain(with_mac(ROUTER_SOLICITATION, 8, SOURCE_MAC))
        .map(Rule::accept)
        .collect();
    // Whether an address is free is asked with a number in place of a MAC (RFC 7527).
    let nonce = rule().is(ETHER_TYPE, &IPV6).is(L4PROTO, &ICMPV6).is(ICMPV6_TYPE, &NEIGHBOUR_SOLICITATION);
    rules.push(nonce.is(IPV6_LENGTH, &[0, 32]).is(Field::Transport(24, 2), &[14, 1]).accept());
    rules.push(rule().drop());
    rules
}

/// Drops where a field is in one of these sets.
fn none_of<'a>(begin: &'a dyn Fn() -> Rule, field: Field, sets: [&'a str; 2]) -> impl Iterator<Item = Rule> + 'a {
    sets.into_iter().map(move |set| begin().within(&[field], set).drop())
}

const NO_MACS: [&str; 2] = ["own_macs", "bound_macs"];
const NO_IPV4: [&str; 2] = ["own_ipv4", "bound_ipv4"];
const NO_IPV6: [&str; 2] = ["own_ipv6", "bound_ipv6"];

/// What a port may send that has none: all but what is another's. A tag does
/// not hide it, since one with the number 0 is as good as none to whom it reaches.
pub fn unbound() -> Vec<Chain> {
    let arp = || rule().is(PROTOCOL, &ARP);
    let ip4 = || rule().is(PROTOCOL, &IPV4);

    let mut all: Vec<_> = none_of(&rule, ETHER_SOURCE, NO_MACS).collect();
    all.extend([arp().goto("unbound_arp"), ip4().goto("unbound_ip4"), rule().is(PROTOCOL, &IPV6).goto("unbound_ip6")]);
    // Tags within such a tag, which the kernel takes off likewise.
    all.extend(VLANS.map(|vlan| rule().is(PROTOCOL, &vlan).bits(VLAN, &[0x0f, 0xff], &[0, 0]).drop()));
    all.push(rule().accept());

    let others = none_of(&arp, ARP_MAC, NO_MACS).chain(none_of(&arp, ARP_IP, NO_IPV4));
    let no_arp = others.chain([rule().accept()]).collect();
    let no_ip4 = none_of(&ip4, IPV4_SOURCE, NO_IPV4).chain([rule().accept()]).collect();
    let mut chains = vec![("unbound", None, all), ("unbound_arp", None, no_arp), ("unbound_ip4", None, no_ip4)];
    chains.extend(unbound_ip6());
    chains
}

fn unbound_ip6() -> Vec<Chain> {
    let ip6 = || rule().is(PROTOCOL, &IPV6);
    let icmp6 = || ip6().is(L4PROTO, &ICMPV6);
    let mut all: Vec<_> = none_of(&ip6, IPV6_SOURCE, NO_IPV6).collect();
    all.extend([
        ip6().any_bit(FRAGMENT_OFFSET, &FRAGMENT_OFFSETS).accept(),
        ip6().is(Field::Fragmented, &[1]).goto("unbound_fragment6"),
        icmp6().goto("unbound_icmp6"),
        ip6().other_than(L4PROTO, &ICMPV6).accept(),
        rule().drop(),
    ]);
    let mut icmp = vec![
        icmp6().below(ICMPV6_TYPE, &NEIGHBOUR_ADVERTISEMENT).accept(),
        icmp6().above(ICMPV6_TYPE, &NEIGHBOUR_ADVERTISEMENT).accept(),
    ];
    icmp.extend(none_of(&icmp6, ND_TARGET, NO_IPV6));
    // Not a fragment, whose target may come later.
    icmp.extend([icmp6().is(IPV6_NEXT, &ICMPV6).accept(), rule().drop()]);
    vec![
        ("unbound_ip6", None, all),
        ("unbound_fragment6", None, first_fragment(&ip6, &Rule::accept, "unbound_icmp6")),
        ("unbound_icmp6", None, icmp),
    ]
}
