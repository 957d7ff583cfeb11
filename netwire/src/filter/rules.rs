//! The chains and their rules. All of them are sets' work: none is longer for
//! more ports.
//!
//! A rule ends where a packet is too short for what it reads, so what accepts
//! a packet reads all that it is accepted for, and each chain ends in a drop.

use netlink_packet_netfilter::NetfilterProtoFamily as Family;
use netlink_packet_netfilter::nftables::InetHookNumber::{Forward, LocalIn, LocalOut, PostRouting, PreRouting};
use netlink_packet_netfilter::nftables::{InetHookNumber, MetaKey};

use super::nft::{TABLE, Transaction};
use super::rule::{Field, MARKED, Rule};

/// A chain: its name, and for a base chain its type, its hook and its place there.
type Chain = (&'static str, Option<(&'static str, InetHookNumber, i32)>, Vec<Rule>);

const IIF: Field = Field::Meta(MetaKey::Iif);
const OIF: Field = Field::Meta(MetaKey::Oif);
const MARK: Field = Field::Meta(MetaKey::Mark);
const PROTOCOL: Field = Field::Meta(MetaKey::EtherTypeProtocol);
const L4PROTO: Field = Field::Meta(MetaKey::L4Proto);
const IN_BRIDGE: Field = Field::Meta(MetaKey::BriIifname);
const OUT_BRIDGE: Field = Field::Meta(MetaKey::BriOifname);

const ETHER_DESTINATION: Field = Field::Link(0, 6);
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

/// On frames that stay on their bridge: what is routed has not got it.
const BRIDGED: u32 = u32::MAX;
/// Before anything else.
const FIRST: i32 = -350;

fn rule() -> Rule {
    Rule::default()
}

/// Begins a chain where there may be bridges that are not netwire's.
fn scope(meta: bool, bridge: Field) -> Vec<Rule> {
    if meta { vec![rule().without(&[bridge], "names").accept()] } else { Vec::new() }
}

/// Frames to 01:80:c2:00:00:0x, which no bridge forwards (IEEE 802.1D, 7.12.6).
fn link_local() -> Rule {
    rule().bits(ETHER_DESTINATION, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xf0], &[0x01, 0x80, 0xc2, 0, 0, 0])
}

fn filter(hook: InetHookNumber, place: i32) -> Option<(&'static str, InetHookNumber, i32)> {
    Some(("filter", hook, place))
}

/// The chains of the table `bridge netwire`.
fn bridge(meta: bool) -> Vec<Chain> {
    let hooked = |name, hook, place, bridge, rules: Vec<Rule>| {
        (name, filter(hook, place), scope(meta, bridge).into_iter().chain(rules).collect())
    };
    let mut chains = vec![
        hooked("prerouting", PreRouting, FIRST, IN_BRIDGE, prerouting()),
        hooked("forward", Forward, FIRST, IN_BRIDGE, forward()),
        hooked("output", LocalOut, FIRST, OUT_BRIDGE, output()),
        hooked("input", LocalIn, FIRST, IN_BRIDGE, input()),
        // What was accepted before has a mark, which is not to be seen by others.
        hooked("arrived", LocalIn, FIRST + 10, IN_BRIDGE, vec![rule().mark(0)]),
        hooked("leaving", PostRouting, 300, OUT_BRIDGE, vec![rule().within(&[OIF], "trunks").accept(), rule().mark(0)]),
        ("trunk", None, trunk()),
    ];
    chains.extend(bound());
    chains.extend(unbound());
    chains
}

/// What a port sends, before the bridge learns from it.
fn prerouting() -> Vec<Rule> {
    vec![
        rule().within(&[IIF], "trunks").accept(),
        rule().within(&[IIF], "unbound").goto("unbound"),
        link_local().drop(),
        rule().without(&[IIF, ETHER_SOURCE], "macs").drop(),
        rule().is(ETHER_TYPE, &IPV4).goto("bound_ip4"),
        rule().is(ETHER_TYPE, &ARP).goto("bound_arp"),
        rule().is(ETHER_TYPE, &IPV6).goto("bound_ip6"),
        rule().drop(),
    ]
}

/// What goes from port to port. The mark of a frame is its source only behind
/// a trunk: elsewhere it may be anyone's.
fn forward() -> Vec<Rule> {
    vec![
        rule().within(&[IIF], "trunks").goto("trunk"),
        rule().within(&[OIF], "trunks").mark_source().accept(),
        rule().mark(BRIDGED),
        rule().map(&[IIF, OIF], "pairs"),
        rule().drop(),
    ]
}

/// What came over another bridge of the same whole, to a port or (where `oif`
/// is 0) to the bridge.
fn trunk() -> Vec<Rule> {
    vec![rule().within(&[OIF], "trunks").accept(), rule().map(&[Field::Source, OIF], "pairs"), rule().drop()]
}

/// What the bridge sends itself; there `iif` is 0.
fn output() -> Vec<Rule> {
    vec![
        rule().within(&[OIF], "trunks").mark(super::BRIDGE | MARKED).accept(),
        rule().map(&[IIF, OIF], "pairs"),
        rule().drop(),
    ]
}

/// What the bridge gets itself; there `oif` is 0. Link-local frames come
/// straight here, and the bridge learns from those that pass.
fn input() -> Vec<Rule> {
    vec![
        link_local().drop(),
        rule().within(&[IIF], "trunks").goto("trunk"),
        rule().map(&[IIF, OIF], "pairs"),
        rule().drop(),
    ]
}

/// What a port may send that has addresses.
fn bound() -> Vec<Chain> {
    let arp = || {
        let ethernet = rule().is(ETHER_TYPE, &ARP).is(ARP_HARDWARE, &[0, 1]).is(ARP_PROTOCOL, &IPV4);
        let [mac, ip] = ARP_LENGTHS;
        ethernet.is(mac, &[6]).is(ip, &[4]).within(&[IIF, ARP_MAC], "macs")
    };
    let ip6 = || rule().is(ETHER_TYPE, &IPV6);
    let icmp6 = || ip6().is(L4PROTO, &ICMPV6);
    vec![
        (
            "bound_ip4",
            None,
            vec![rule().is(ETHER_TYPE, &IPV4).within(&[IIF, IPV4_SOURCE], "ipv4").accept(), rule().drop()],
        ),
        (
            "bound_arp",
            None,
            vec![
                arp().within(&[IIF, ARP_IP], "ipv4").accept(),
                // Who asks whether an address is free has none yet (RFC 5227).
                arp().is(ARP_OPERATION, &[0, 1]).is(ARP_IP, &[0; 4]).accept(),
                rule().drop(),
            ],
        ),
        (
            "bound_ip6",
            None,
            vec![
                // Of no use without the first, which has all headers or is dropped.
                ip6().any_bit(Field::Fragment, &[0xff, 0xf8]).goto("bound_source6"),
                ip6().is(L4PROTO, &ICMPV6).goto("bound_icmp6"),
                ip6().other_than(L4PROTO, &ICMPV6).goto("bound_source6"),
                rule().drop(),
            ],
        ),
        (
            "bound_icmp6",
            None,
            vec![
                // Who joins a group before he has an address (RFC 3590).
                icmp6().is(IPV6_SOURCE, &UNSPECIFIED).above(ICMPV6_TYPE, &[129]).below(ICMPV6_TYPE, &[133]).accept(),
                icmp6().is(IPV6_SOURCE, &UNSPECIFIED).is(ICMPV6_TYPE, &[143]).accept(),
                icmp6().below(ICMPV6_TYPE, &ROUTER_SOLICITATION).goto("bound_source6"),
                icmp6().above(ICMPV6_TYPE, &REDIRECT).goto("bound_source6"),
                // Neighbour discovery; behind an extension header no one needs it.
                ip6().is(IPV6_NEXT, &ICMPV6).goto("neighbour"),
                rule().drop(),
            ],
        ),
        ("bound_source6", None, vec![ip6().within(&[IIF, IPV6_SOURCE], "ipv6").accept(), rule().drop()]),
        (
            "neighbour",
            None,
            vec![
                icmp6().within(&[IIF, IPV6_SOURCE], "ipv6").is(ICMPV6_TYPE, &NEIGHBOUR_ADVERTISEMENT).goto("answer"),
                icmp6().within(&[IIF, IPV6_SOURCE], "ipv6").goto("question"),
                icmp6().is(IPV6_SOURCE, &UNSPECIFIED).goto("question"),
                rule().drop(),
            ],
        ),
        ("answer", None, answer()),
        ("question", None, question()),
    ]
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

/// What a port may send that has none: all but what is another's. A tag does
/// not hide it, since one with the number 0 is as good as none to whom it reaches.
fn unbound() -> Vec<Chain> {
    let not = |rules: &mut Vec<Rule>, field, sets: [&str; 2], begin: &dyn Fn() -> Rule| {
        rules.extend(sets.map(|set| begin().within(&[field], set).drop()));
    };
    const MACS: [&str; 2] = ["own_macs", "bound_macs"];
    const IPV4S: [&str; 2] = ["own_ipv4", "bound_ipv4"];
    const IPV6S: [&str; 2] = ["own_ipv6", "bound_ipv6"];
    let ip6 = || rule().is(PROTOCOL, &IPV6);
    let icmp6 = || ip6().is(L4PROTO, &ICMPV6);

    let (mut all, mut arp, mut ip4, mut six, mut icmp) = (vec![], vec![], vec![], vec![], vec![]);
    not(&mut all, ETHER_SOURCE, MACS, &rule);
    all.extend([
        rule().is(PROTOCOL, &ARP).goto("unbound_arp"),
        rule().is(PROTOCOL, &IPV4).goto("unbound_ip4"),
        rule().is(PROTOCOL, &IPV6).goto("unbound_ip6"),
    ]);
    // Tags within such a tag, which the kernel takes off likewise.
    all.extend(VLANS.map(|vlan| rule().is(PROTOCOL, &vlan).bits(VLAN, &[0x0f, 0xff], &[0, 0]).drop()));
    all.push(rule().accept());

    not(&mut arp, ARP_MAC, MACS, &|| rule().is(PROTOCOL, &ARP));
    not(&mut arp, ARP_IP, IPV4S, &|| rule().is(PROTOCOL, &ARP));
    arp.push(rule().accept());

    not(&mut ip4, IPV4_SOURCE, IPV4S, &|| rule().is(PROTOCOL, &IPV4));
    ip4.push(rule().accept());

    not(&mut six, IPV6_SOURCE, IPV6S, &ip6);
    six.extend([
        ip6().any_bit(Field::Fragment, &[0xff, 0xf8]).accept(),
        icmp6().goto("unbound_icmp6"),
        ip6().other_than(L4PROTO, &ICMPV6).accept(),
        rule().drop(),
    ]);

    icmp.extend([
        icmp6().below(ICMPV6_TYPE, &NEIGHBOUR_ADVERTISEMENT).accept(),
        icmp6().above(ICMPV6_TYPE, &NEIGHBOUR_ADVERTISEMENT).accept(),
    ]);
    not(&mut icmp, ND_TARGET, IPV6S, &icmp6);
    // Not a fragment, whose target may come later.
    icmp.extend([icmp6().is(IPV6_NEXT, &ICMPV6).accept(), rule().drop()]);
    vec![
        ("unbound", None, all),
        ("unbound_arp", None, arp),
        ("unbound_ip4", None, ip4),
        ("unbound_ip6", None, six),
        ("unbound_icmp6", None, icmp),
    ]
}

/// The chains of the table `inet netwire`. Connections are tracked only where
/// something is masqueraded: that alone costs all traffic.
fn inet(nat: bool) -> Vec<Chain> {
    // With br_netfilter bridged frames come here, too.
    let routed = rule().within(&[IIF, OIF], "together").bits(MARK, &MARKED.to_ne_bytes(), &[0; 4]);
    let mut forward = vec![routed.drop()];
    let mut chains = Vec::new();
    if nat {
        const ESTABLISHED_OR_RELATED: u32 = 2 | 4;
        let answer = rule().within(&[OIF, IIF], "nat");
        forward.push(answer.any_bit(Field::Connection, &ESTABLISHED_OR_RELATED.to_ne_bytes()).accept());
        forward.push(rule().within(&[OIF, IIF], "nat").drop());
        let masquerade = vec![rule().within(&[IIF, OIF], "nat").masquerade()];
        chains.push(("postrouting", Some(("nat", PostRouting, 100)), masquerade));
    }
    forward.push(rule().within(&[IIF], "uplinks").drop());
    chains.push(("forward", filter(Forward, -10), forward));
    chains
}

/// Adds to a transaction all chains, where they are not there, and their rules
/// anew, whatever was there.
pub fn write(transaction: &mut Transaction, meta: bool, had_nat: bool, nat: bool) {
    for (family, chains) in [(Family::Bridge, bridge(meta)), (Family::Inet, inet(nat))] {
        transaction.delete_rules(family);
        for (name, hook, _) in &chains {
            transaction.chain(family, TABLE, name, *hook);
        }
        for (name, _, rules) in chains {
            for rule in rules {
                transaction.rule(family, TABLE, name, rule.expressions());
            }
        }
    }
    if had_nat && !nat {
        transaction.delete_chain(Family::Inet, "postrouting");
    }
}

/// Adds a rule, in a table and a chain of its own, that only some kernels take.
pub fn write_probe(transaction: &mut Transaction, table: &str) {
    transaction.table(Family::Bridge, table);
    transaction.chain(Family::Bridge, table, "probe", None);
    let probe = rule().other_than(IN_BRIDGE, &[0; libc::IFNAMSIZ]);
    transaction.rule(Family::Bridge, table, "probe", probe.expressions());
    transaction.new_table(Family::Bridge, table);
}
