//! The sets that hold a policy: what is in each, to and from the bytes of its
//! elements.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use netlink_packet_netfilter::NetfilterProtoFamily as Family;

use super::Policy;
use super::nft::{self, Element, Layout, Maps, Transaction};
use crate::link::Mac;
use crate::socket::{Refusal, Socket, attributes_of, number};

/// nft's numbers for what the parts of a key are (its enum datatypes).
const IPV4_ADDR: u32 = 7;
const IPV6_ADDR: u32 = 8;
const ETHER_ADDR: u32 = 9;
/// Likewise, of the number of a link.
pub const IFINDEX: u32 = 20;
/// Likewise, of its name.
pub const IFNAME: u32 = 41;

/// What a set holds.
pub type Elements = BTreeSet<Element>;

/// A set, and what of a policy is in it.
pub struct Set {
    /// The family of its table.
    pub family: Family,
    /// Its shape.
    pub layout: Layout,
    /// What it has to hold.
    pub of: fn(&Policy) -> Elements,
    /// Takes one element back into the policy, but where it says what another set says.
    into: Option<fn(&mut Policy, &Element) -> Option<()>>,
}

/// A part of a key.
trait Part: Sized + Ord {
    /// Puts it at the front of these bytes and leaves the rest.
    fn write(&self, key: &mut &mut [u8]) -> Option<()>;
    /// Takes it from there.
    fn read(key: &mut &[u8]) -> Option<Self>;
}

impl Part for u32 {
    fn write(&self, key: &mut &mut [u8]) -> Option<()> {
        put(key, self.to_ne_bytes())
    }

    fn read(key: &mut &[u8]) -> Option<Self> {
        take(key).map(u32::from_ne_bytes)
    }
}

impl Part for Mac {
    fn write(&self, key: &mut &mut [u8]) -> Option<()> {
        put(key, self.0)?;
        put(key, [0; 2])
    }

    fn read(key: &mut &[u8]) -> Option<Self> {
        let [mac @ .., _, _]: [u8; 8] = take(key)?;
        Some(Mac(mac))
    }
}

impl Part for Ipv4Addr {
    fn write(&self, key: &mut &mut [u8]) -> Option<()> {
        put(key, self.octets())
    }

    fn read(key: &mut &[u8]) -> Option<Self> {
        take::<4>(key).map(Self::from)
    }
}

impl Part for Ipv6Addr {
    fn write(&self, key: &mut &mut [u8]) -> Option<()> {
        put(key, self.octets())
    }

    fn read(key: &mut &[u8]) -> Option<Self> {
        take::<16>(key).map(Self::from)
    }
}

impl<A: Part, B: Part> Part for (A, B) {
    fn write(&self, key: &mut &mut [u8]) -> Option<()> {
        self.0.write(key)?;
        self.1.write(key)
    }

    fn read(key: &mut &[u8]) -> Option<Self> {
        Some((A::read(key)?, B::read(key)?))
    }
}

fn put<const N: usize>(key: &mut &mut [u8], bytes: [u8; N]) -> Option<()> {
    let (first, rest) = std::mem::take(key).split_first_chunk_mut()?;
    *first = bytes;
    *key = rest;
    Some(())
}

fn take<const N: usize>(key: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = key.split_first_chunk()?;
    *key = rest;
    Some(*first)
}

fn element(part: &impl Part) -> Element {
    let mut element = Element::default();
    // There is room for the longest of them all.
    let _ = part.write(&mut &mut element.key[..]);
    element
}

fn elements<'a, P: Part + 'a>(parts: impl IntoIterator<Item = &'a P>) -> Elements {
    parts.into_iter().map(element).collect()
}

/// What ports without addresses must not send from: of no use where there are none.
fn guarded<'a, P: Part + 'a>(policy: &Policy, parts: impl IntoIterator<Item = &'a P>) -> Elements {
    if policy.unbound.is_empty() { Elements::new() } else { elements(parts) }
}

fn read<P: Part>(parts: &mut BTreeSet<P>, element: &Element) -> Option<()> {
    parts.insert(P::read(&mut &element.key[..])?);
    Some(())
}

/// A name as registers hold it.
fn padded(name: &str) -> [u8; libc::IFNAMSIZ] {
    let mut bytes = [0; libc::IFNAMSIZ];
    bytes.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from);
    bytes
}

const fn set(name: &'static str, types: &'static [u32], maps: Maps, of: fn(&Policy) -> Elements) -> Set {
    let (mut length, mut at) = (0, 0);
    while at < types.len() {
        length += match types[at] {
            // In a concatenation each part fills registers of four bytes.
            ETHER_ADDR if types.len() > 1 => 8,
            ETHER_ADDR => 6,
            IPV6_ADDR | IFNAME => 16,
            _ => 4,
        };
        at += 1;
    }
    Set { family: Family::Bridge, layout: Layout { name, types, length, maps }, of, into: None }
}

impl Set {
    const fn back(mut self, into: fn(&mut Policy, &Element) -> Option<()>) -> Self {
        self.into = Some(into);
        self
    }

    const fn inet(mut self) -> Self {
        self.family = Family::Inet;
        self
    }
}

/// All of them. The first is in no rule, and neither are some others: they
/// only tell who comes later what was wished.
pub const SETS: &[Set] = &[
    set("bridges", &[IFINDEX], Maps::ToName, |policy| {
        policy.bridges.iter().map(|(bridge, name)| Element { name: padded(name), ..element(bridge) }).collect()
    })
    .back(|policy, element| {
        let name = String::from_utf8_lossy(&element.name).trim_end_matches('\0').to_owned();
        policy.bridges.insert(u32::read(&mut &element.key[..])?, name);
        Some(())
    }),
    set("names", &[IFNAME], Maps::No, |policy| {
        let name = |name: &String| Element {
            key: std::array::from_fn(|at| *padded(name).get(at).unwrap_or(&0)),
            ..Element::default()
        };
        policy.bridges.values().map(name).collect()
    }),
    set("open", &[IFINDEX], Maps::No, |policy| elements(&policy.open))
        .back(|policy, element| read(&mut policy.open, element)),
    set("trunks", &[IFINDEX], Maps::No, |policy| elements(&policy.trunks))
        .back(|policy, element| read(&mut policy.trunks, element)),
    set("macs", &[IFINDEX, ETHER_ADDR], Maps::No, |policy| elements(&policy.macs))
        .back(|policy, element| read(&mut policy.macs, element)),
    set("ipv4", &[IFINDEX, IPV4_ADDR], Maps::No, |policy| elements(&policy.ipv4))
        .back(|policy, element| read(&mut policy.ipv4, element)),
    set("ipv6", &[IFINDEX, IPV6_ADDR], Maps::No, |policy| elements(&policy.ipv6))
        .back(|policy, element| read(&mut policy.ipv6, element)),
    set("unbound", &[IFINDEX], Maps::No, |policy| elements(&policy.unbound))
        .back(|policy, element| read(&mut policy.unbound, element)),
    set("own_macs", &[ETHER_ADDR], Maps::No, |policy| elements(&policy.own_macs))
        .back(|policy, element| read(&mut policy.own_macs, element)),
    set("own_ipv4", &[IPV4_ADDR], Maps::No, |policy| elements(&policy.own_ipv4))
        .back(|policy, element| read(&mut policy.own_ipv4, element)),
    set("own_ipv6", &[IPV6_ADDR], Maps::No, |policy| elements(&policy.own_ipv6))
        .back(|policy, element| read(&mut policy.own_ipv6, element)),
    set("bound_macs", &[ETHER_ADDR], Maps::No, |policy| guarded(policy, policy.macs.iter().map(|(_, mac)| mac))),
    set("bound_ipv4", &[IPV4_ADDR], Maps::No, |policy| guarded(policy, policy.ipv4.iter().map(|(_, ip)| ip))),
    set("bound_ipv6", &[IPV6_ADDR], Maps::No, |policy| guarded(policy, policy.ipv6.iter().map(|(_, ip)| ip))),
    set("pairs", &[IFINDEX, IFINDEX], Maps::ToAccept, |policy| elements(&policy.pairs))
        .back(|policy, element| read(&mut policy.pairs, element)),
    set("together", &[IFINDEX, IFINDEX], Maps::No, |policy| elements(&policy.together))
        .back(|policy, element| read(&mut policy.together, element))
        .inet(),
    set("nat", &[IFINDEX, IFINDEX], Maps::No, |policy| elements(&policy.nat))
        .back(|policy, element| read(&mut policy.nat, element))
        .inet(),
    set("uplinks", &[IFINDEX], Maps::No, |policy| elements(&policy.uplinks))
        .back(|policy, element| read(&mut policy.uplinks, element))
        .inet(),
];

/// Fills a policy from all sets; one that is not there is empty.
pub fn read_all(socket: &mut Socket) -> Result<Policy, Refusal> {
    let mut policy = Policy::default();
    for set in SETS {
        let Some(into) = set.into else { continue };
        for element in dump(socket, set)? {
            into(&mut policy, &element).ok_or(Refusal { errno: libc::EBADMSG, says: None })?;
        }
    }
    Ok(policy)
}

fn dump(socket: &mut Socket, set: &Set) -> Result<Elements, Refusal> {
    loop {
        let request = || nft::elements_request(set.family, set.layout.name);
        let found: Vec<Element> = match socket.dump(request, |found, _, body| read_elements(found, body)) {
            Err(refusal) if refusal.errno == libc::ENOENT => return Ok(Elements::new()),
            found => found?,
        };
        // While the kernel grows a hash table, a dump tells of some elements twice and skips as many others.
        let (told, elements) = (found.len(), found.into_iter().collect::<Elements>());
        if elements.len() == told {
            return Ok(elements);
        }
    }
}

/// The elements in a message: struct nfgenmsg and a list.
fn read_elements(found: &mut Vec<Element>, body: &[u8]) {
    const LIST: u16 = 3;
    const KEY: u16 = 1;
    const DATA: u16 = 2;
    const VALUE: u16 = 1;
    fn copy(to: &mut [u8], data: &[u8]) {
        // A verdict is no value, and always the same.
        let value = attributes_of(data).find(|(kind, _)| *kind == VALUE).map_or(&[][..], |(_, value)| value);
        to.iter_mut().zip(value).for_each(|(to, from)| *to = *from);
    }
    let lists = attributes_of(body.get(4..).unwrap_or_default()).filter(|(kind, _)| *kind == LIST);
    for (_, element) in lists.flat_map(|(_, list)| attributes_of(list)) {
        let mut read = Element::default();
        for (kind, data) in attributes_of(element) {
            match kind {
                KEY => copy(&mut read.key, data),
                DATA => copy(&mut read.name, data),
                _ => {}
            }
        }
        found.push(read);
    }
}

/// The number that each change of nftables in this namespace raises.
pub fn generation(socket: &mut Socket) -> Result<u32, Refusal> {
    const ID: u16 = 1;
    let mut generation = 0;
    socket.get(nft::generation_request(), |body| {
        let id = attributes_of(body.get(4..).unwrap_or_default()).find(|(kind, _)| *kind == ID);
        generation = id.map_or(0, |(_, value)| number(value));
    })?;
    Ok(generation)
}

/// Adds to a transaction what has to change in every set.
pub fn change(of_family: Family, from: &Policy, to: &Policy, transaction: &mut Transaction) {
    for Set { family, layout, of, .. } in SETS.iter().filter(|set| set.family == of_family) {
        let (before, after) = (of(from), of(to));
        // A name that changes is the same key twice, which has to go first.
        transaction.delete_elements(*family, layout, before.difference(&after));
        transaction.add_elements(*family, layout, after.difference(&before));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        let (mac, v4, v6) = (Mac([2, 0, 0, 0, 0, 1]), Ipv4Addr::new(10, 0, 0, 1), Ipv6Addr::LOCALHOST);
        Policy {
            bridges: [(1, "a-name-of-15-by".to_owned()), (2, "br0".to_owned())].into(),
            together: [(1, 2)].into(),
            open: [3].into(),
            trunks: [4].into(),
            macs: [(5, mac), (u32::MAX, Mac([0xff; 6]))].into(),
            ipv4: [(6, v4)].into(),
            ipv6: [(7, v6)].into(),
            unbound: [8].into(),
            own_macs: [mac].into(),
            own_ipv4: [v4].into(),
            own_ipv6: [v6].into(),
            pairs: [(9, super::super::BRIDGE), (9, 10)].into(),
            nat: [(11, 12)].into(),
            uplinks: [13].into(),
        }
    }

    #[test]
    fn a_policy_comes_back_from_its_elements() {
        let mut back = Policy::default();
        for set in SETS {
            let Some(into) = set.into else { continue };
            (set.of)(&policy()).iter().for_each(|element| assert_eq!(into(&mut back, element), Some(())));
        }
        assert_eq!(back, policy());
    }

    #[test]
    fn no_key_is_longer_than_its_set_says() {
        for set in SETS {
            let elements = (set.of)(&policy());
            assert!(!elements.is_empty(), "{}", set.layout.name);
            for element in elements {
                assert!(element.key[set.layout.length as usize..].iter().all(|byte| *byte == 0), "{}", set.layout.name);
            }
        }
    }

    #[test]
    fn what_no_port_can_forge_is_not_kept() {
        let bound = Policy { unbound: BTreeSet::new(), ..policy() };
        for set in SETS.iter().filter(|set| set.layout.name.starts_with("bound_")) {
            assert_eq!(((set.of)(&bound).len(), (set.of)(&policy()).is_empty()), (0, false), "{}", set.layout.name);
        }
    }
}
