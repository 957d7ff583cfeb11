//! The chains and their rules. All of them are sets' work: none is longer for
//! more ports.

use netlink_packet_netfilter::NetfilterProtoFamily as Family;
use netlink_packet_netfilter::nftables::InetHookNumber::{Forward, LocalIn, LocalOut, PostRouting, PreRouting};
use netlink_packet_netfilter::nftables::{InetHookNumber, MetaKey};

use super::nft::{TABLE, Transaction};
use super::ports;
use super::rule::{Field, MARKED, Rule};

/// A chain: its name, and for a base chain its type, its hook and its place there.
pub type Chain = (&'static str, Option<(&'static str, InetHookNumber, i32)>, Vec<Rule>);

/// The link that a packet came in by: 0 for what the machine sends itself.
pub const IIF: Field = Field::Meta(MetaKey::Iif);
/// The link that it leaves by: 0 for what the machine gets itself.
const OIF: Field = Field::Meta(MetaKey::Oif);
const MARK: Field = Field::Meta(MetaKey::Mark);
const IN_BRIDGE: Field = Field::Meta(MetaKey::BriIifname);
const OUT_BRIDGE: Field = Field::Meta(MetaKey::BriOifname);
const ETHER_DESTINATION: Field = Field::Link(0, 6);

/// On frames that stay on their bridge: what is routed has not got it.
const BRIDGED: u32 = u32::MAX;
/// Before anything else.
const FIRST: i32 = -350;

/// A rule that does nothing yet.
pub fn rule() -> Rule {
    Rule::default()
}

/// Begins a chain where there may be bridges that are not netwire's.
fn scope(meta: bool, bridge: Field) -> Vec<Rule> {
    if meta { vec![rule().without(&[bridge], "names").accept()] } else { Vec::new() }
}

/// Frames to 01:80:c2:00:00:0x, which are no bridge's to forward (IEEE 802.1D, 7.12.6).
pub fn link_local() -> Rule {
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
        hooked("prerouting", PreRouting, FIRST, IN_BRIDGE, ports::prerouting()),
        hooked("forward", Forward, FIRST, IN_BRIDGE, forward()),
        hooked("output", LocalOut, FIRST, OUT_BRIDGE, output()),
        hooked("input", LocalIn, FIRST, IN_BRIDGE, input()),
        // What was accepted before has a mark, which is not to be seen by others.
        hooked("arrived", LocalIn, FIRST + 10, IN_BRIDGE, vec![rule().mark(0)]),
        hooked("leaving", PostRouting, 300, OUT_BRIDGE, vec![rule().within(&[OIF], "trunks").accept(), rule().mark(0)]),
        ("trunk", None, trunk()),
    ];
    chains.extend(ports::bound());
    chains.extend(ports::unbound());
    chains
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

/// What the bridge gets itself; there `oif` is 0. Most link-local frames come
/// straight here, and the bridge learns from those that pass. LLDP's come by no
/// hook unless the bridge is told to forward them (IFLA_BR_GROUP_FWD_MASK).
fn input() -> Vec<Rule> {
    vec![
        link_local().drop(),
        rule().within(&[IIF], "trunks").goto("trunk"),
        rule().map(&[IIF, OIF], "pairs"),
        rule().drop(),
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
pub fn write(transaction: &mut Transaction, family: Family, meta: bool, had_nat: bool, nat: bool) {
    let chains = if family == Family::Bridge { bridge(meta) } else { inet(nat) };
    transaction.delete_rules(family);
    for (name, hook, _) in &chains {
        transaction.chain(family, TABLE, name, *hook);
    }
    for (name, _, rules) in chains {
        for rule in rules {
            transaction.rule(family, TABLE, name, rule.expressions());
        }
    }
    if family == Family::Inet && had_nat && !nat {
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

#[cfg(test)]
mod tests {
    use netlink_packet_netfilter::nftables::{
        DataAttribute, ExpressionAttribute, Expressions, Immediate, ListAttribute, Lookup, VerdictAttribute,
    };

    use super::*;
    use crate::filter::sets::SETS;

    fn expressions(rule: Rule) -> Vec<Expressions> {
        let lists = rule.expressions().into_iter();
        let inner = lists.flat_map(|list| if let ListAttribute::Element(parts) = list { parts } else { vec![] });
        inner.filter_map(|part| if let ExpressionAttribute::Data(data) = part { Some(data) } else { None }).collect()
    }

    /// The chain that an expression goes to, and the set that it looks into.
    fn names(expression: &Expressions) -> (Option<&str>, Option<&str>) {
        match expression {
            Expressions::Immediate(parts) => {
                let chain = parts.iter().find_map(|part| match part {
                    Immediate::Data(DataAttribute::Verdict(verdict)) => verdict.iter().find_map(|part| match part {
                        VerdictAttribute::Chain(name) => Some(name.as_str()),
                        _ => None,
                    }),
                    _ => None,
                });
                (chain, None)
            }
            Expressions::Lookup(parts) => (
                None,
                parts.iter().find_map(|part| if let Lookup::Set(name) = part { Some(name.as_str()) } else { None }),
            ),
            _ => (None, None),
        }
    }

    #[test]
    fn rules_name_chains_and_sets_of_their_table() {
        for (family, make) in [(Family::Bridge, bridge as fn(bool) -> Vec<Chain>), (Family::Inet, inet)] {
            for option in [false, true] {
                let chains: Vec<_> = make(option).iter().map(|(name, ..)| *name).collect();
                for (name, _, rules) in make(option) {
                    for expression in rules.into_iter().flat_map(expressions) {
                        let (chain, set) = names(&expression);
                        assert!(chain.is_none_or(|chain| chains.contains(&chain)), "{name} goes to {chain:?}");
                        let there = |set: &str| SETS.iter().any(|it| it.family == family && it.layout.name == set);
                        assert!(set.is_none_or(there), "{name} looks into {set:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn chains_that_are_gone_to_end_in_a_verdict_on_everything() {
        for (name, hook, rules) in bridge(true) {
            let last = rules.into_iter().next_back().map(expressions).unwrap_or_default();
            assert!(hook.is_some() || matches!(&last[..], [Expressions::Immediate(_)]), "{name}");
        }
    }
}
