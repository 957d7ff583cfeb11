//! From what users declare of who may reach whom to what is filtered.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::net::{IpAddr, Ipv6Addr};
use std::os::unix::ffi::OsStrExt;

use seal::cli::printable;
use seal::{Context, Error};

use crate::bridge::Wholes;
use crate::filter::{self, BRIDGE, Policy};
use crate::link::{Link, Mac};
use crate::plan::Failure;
use crate::policy::{Edit, Side};
use crate::request;
use crate::socket::{Socket, attributes_of, number};
use crate::world::World;

/// What the edits make of what is filtered in a namespace now: before, and after.
pub fn edited(world: &mut World, place: usize, edits: &[(Option<usize>, Edit)]) -> Result<(Policy, Policy), Failure> {
    let before = world.policy(place).map_err(|error| (None, error))?;
    let mut policy = before.clone();
    for (line, edit) in edits {
        edit_policy(world, place, &mut policy, edit).map_err(|error| (*line, error))?;
    }
    let mut wholes = Wholes::default();
    let swept = edits.iter().any(|(_, edit)| matches!(edit, Edit::Gone));
    refresh(world, &mut wholes, place, &mut policy, swept).map_err(|error| (edits[0].0, error))?;
    Ok((before, policy))
}

/// Makes the change from one to the other.
pub fn commit(world: &mut World, place: usize, from: &Policy, to: &Policy) -> Result<(), Error> {
    let cannot = |place: &str| format!("cannot filter in {place}");
    let name = world.place_name(place);
    world.enter(place)?;
    let mut socket = Socket::netfilter().tried(|| cannot(&name))?;
    let meta = filter::has_bridge_meta(&mut socket).tried(|| cannot(&name))?;
    if !meta {
        let others = world.links(place)?.values().filter(|known| known.link.kind == "bridge");
        let mut others = others.filter(|known| !to.bridges.contains_key(&known.link.index));
        if let Some(other) = others.next().filter(|_| !to.bridges.is_empty()) {
            let other = printable(other.link.name.as_bytes());
            return Err(Error::new(format!(
                "this kernel cannot deny all on one of several bridges of a namespace, and {other} is another"
            ))
            .hint("modprobe nft_meta_bridge (CONFIG_NFT_BRIDGE_META), or give each bridge a namespace of its own"));
        }
    }
    Policy::change(from, to, meta, &mut socket).map_err(|refusal| {
        let says = refusal.says.clone();
        Error::new(cannot(&name)).because(refusal).maybe_hint(says.map(|says| format!("the kernel says: {says}")))
    })?;
    guard(world, place, from, to)
}

/// Frames to 01:80:c2:00:00:0e teach a bridge where their sender is and are heard
/// by the machine itself without passing any hook, unless they are to be
/// forwarded: then they pass, and are dropped. Nor is what it has learned so far
/// to be trusted.
fn guard(world: &mut World, place: usize, from: &Policy, to: &Policy) -> Result<(), Error> {
    let mut requests = Vec::new();
    for known in world.links(place)?.values() {
        let (link, mask) = (&known.link, groups_forwarded(&known.link.data));
        match (from.bridges.contains_key(&link.index), to.bridges.contains_key(&link.index)) {
            (false, true) => {
                requests.extend([request::forward_groups(link.index, mask | LLDP), request::flush(link.index)])
            }
            (true, false) if !known.leaves => requests.push(request::forward_groups(link.index, mask & !LLDP)),
            _ => {}
        }
    }
    for outcome in world.socket(place)?.ask(&mut requests).tried(|| "cannot ask the kernel")? {
        match outcome {
            // Deleted meanwhile.
            Err(refusal) if refusal.errno == libc::ENODEV => {}
            outcome => outcome.tried(|| format!("cannot guard the bridges of {}", world.place_name(place)))?,
        }
    }
    Ok(())
}

const LLDP: u16 = 1 << 0x0e;

/// Which frames to link-local addresses a bridge forwards.
fn groups_forwarded(data: &[u8]) -> u16 {
    const IFLA_BR_GROUP_FWD_MASK: u16 = 9;
    let found = attributes_of(data).find(|(kind, _)| *kind == IFLA_BR_GROUP_FWD_MASK);
    found.and_then(|(_, value)| value.first_chunk()).map_or(0, |bytes| u16::from_ne_bytes(*bytes))
}

/// Whether a bridge listens to the spanning tree's frames, which pass no hook either.
pub fn speaks_stp(link: &Link) -> bool {
    const IFLA_BR_STP_STATE: u16 = 5;
    attributes_of(&link.data).any(|(kind, value)| kind == IFLA_BR_STP_STATE && number(value) != 0)
}

/// The number of a link of the place; `None` if it is yet to be made.
fn index(world: &mut World, place: usize, name: &OsStr) -> Result<Option<u32>, Error> {
    Ok(world.links(place)?.get(name).map(|known| known.link.index).filter(|&index| index != 0))
}

/// Changes a policy; false where links that it is about are yet to be made.
pub fn edit_policy(world: &mut World, place: usize, policy: &mut Policy, edit: &Edit) -> Result<bool, Error> {
    match edit {
        Edit::DenyAll { bridge, except_bridge } => {
            let Some(number) = index(world, place, bridge)? else { return Ok(false) };
            let is_new = policy.bridges.insert(number, bridge.to_string_lossy().into_owned()).is_none();
            if *except_bridge {
                policy.open.insert(number);
            } else if policy.open.remove(&number) {
                policy.pairs.retain(|(one, other)| *one != BRIDGE && *other != BRIDGE);
            }
            if is_new {
                let bridge = bridge.clone();
                let ports: Vec<_> = world
                    .links(place)?
                    .values()
                    .filter(|known| known.master.as_ref() == Some(&bridge))
                    .cloned()
                    .collect();
                for port in ports {
                    bind(world, place, policy, &port.link)?;
                }
            }
        }
        Edit::AllowAll { bridge } => {
            let Some(number) = index(world, place, bridge)? else { return Ok(true) };
            policy.bridges.remove(&number);
        }
        Edit::Wired { bridge, port } => {
            let Some(number) = index(world, place, bridge)? else { return Ok(false) };
            if policy.bridges.contains_key(&number) {
                let Some(known) = world.links(place)?.get(port).cloned().filter(|known| known.link.index != 0) else {
                    return Ok(false);
                };
                if !is_bound(policy, known.link.index) {
                    bind(world, place, policy, &known.link)?;
                }
            } else {
                // Where the kernel cannot tell the bridges of a namespace apart, that has to be said.
                return Ok(policy.bridges.is_empty());
            }
        }
        Edit::Rebind { port } => {
            let Some(known) = world.links(place)?.get(port).cloned() else { return Ok(true) };
            if policy.macs.iter().any(|(number, _)| *number == known.link.index) {
                unbind(policy, known.link.index);
                bind(world, place, policy, &known.link)?;
                // What that will be is known only when it is done.
                return Ok(false);
            }
        }
        Edit::Bind { ports, any } => {
            for port in ports {
                let Some(known) = world.links(place)?.get(port).cloned().filter(|known| known.link.index != 0) else {
                    return Ok(false);
                };
                denied(world, place, policy, &known.link.name)?;
                unbind(policy, known.link.index);
                if *any {
                    policy.unbound.insert(known.link.index);
                } else if !bind(world, place, policy, &known.link)? {
                    return Err(unbindable(&known.link));
                }
            }
        }
        Edit::Gone => {}
        Edit::Pair { sides, allow } => return pair(world, place, policy, sides, *allow),
        Edit::Nat { bridge, out, forwarded } => {
            let (Some(bridge), Some(out)) = (index(world, place, bridge)?, index(world, place, out)?) else {
                return Ok(false);
            };
            let is_new = policy.nat.insert((bridge, out));
            if is_new && !forwarded {
                policy.uplinks.insert(out);
            }
        }
    }
    Ok(true)
}

fn pair(world: &mut World, place: usize, policy: &mut Policy, sides: &[Side; 2], allow: bool) -> Result<bool, Error> {
    let mut numbers = [Vec::new(), Vec::new()];
    for (side, numbers) in sides.iter().zip(&mut numbers) {
        let Side::Ports(ports) = side else {
            numbers.push(BRIDGE);
            continue;
        };
        for port in ports {
            let Some(known) = world.links(place)?.get(port).cloned().filter(|known| known.link.index != 0) else {
                return Ok(false);
            };
            denied(world, place, policy, port)?;
            // One that others have made is denied until now.
            if allow && !is_bound(policy, known.link.index) && !bind(world, place, policy, &known.link)? {
                return Err(unbindable(&known.link));
            }
            numbers.push(known.link.index);
        }
    }
    for &one in &numbers[0] {
        for &other in &numbers[1] {
            for pair in [(one, other), (other, one)] {
                if allow {
                    policy.pairs.insert(pair)
                } else {
                    policy.pairs.remove(&pair)
                };
            }
        }
    }
    Ok(true)
}

/// Fails where all is allowed anyway.
fn denied(world: &mut World, place: usize, policy: &Policy, port: &OsStr) -> Result<(), Error> {
    let links = world.links(place)?;
    let master = links.get(port).and_then(|known| known.master.clone()).unwrap_or_default();
    let name = String::from_utf8_lossy(master.as_bytes());
    // A further member of a whole is denied with the first.
    let root = name.rsplit_once('.').map_or(&*name, |(root, _)| root);
    let is_denied = policy.bridges.values().any(|bridge| *bridge == *name || bridge == root);
    if is_denied {
        return Ok(());
    }
    let name = printable(master.as_bytes());
    Err(Error::new(format!("{name} is open to all")).hint(format!("netwire deny-all {name} comes first")))
}

fn unbindable(port: &Link) -> Error {
    let name = printable(port.name.as_bytes());
    Error::new(format!("{name} cannot be bound to addresses: it is no veth whose other end can be looked at"))
        .hint(format!("netwire bind BR {name} --any lets it send from any that is not another's"))
}

fn is_bound(policy: &Policy, port: u32) -> bool {
    policy.unbound.contains(&port) || policy.macs.iter().any(|(number, _)| *number == port)
}

fn unbind(policy: &mut Policy, port: u32) {
    policy.unbound.remove(&port);
    policy.macs.retain(|(number, _)| *number != port);
    policy.ipv4.retain(|(number, _)| *number != port);
    policy.ipv6.retain(|(number, _)| *number != port);
}

/// Binds a port to the addresses that are at its other end now; false where
/// that cannot be told.
fn bind(world: &mut World, place: usize, policy: &mut Policy, port: &Link) -> Result<bool, Error> {
    let Some(far) = world.far(place, port)? else { return Ok(false) };
    let Some(mac) = far.mac else { return Ok(false) };
    if let Some((other, _)) = policy.macs.iter().find(|(number, other)| *other == mac && *number != port.index) {
        let other = world.links(place)?.values().find(|known| known.link.index == *other);
        let other = other.map_or_else(|| "another port".into(), |known| printable(known.link.name.as_bytes()));
        return Err(Error::new(format!(
            "the MAC address {mac} at {} is that of {other}",
            printable(port.name.as_bytes())
        )));
    }
    policy.macs.insert((port.index, mac));
    policy.ipv6.insert((port.index, link_local(mac)));
    for address in &far.addresses {
        match address.ip {
            IpAddr::V4(ip) => policy.ipv4.insert((port.index, ip)),
            IpAddr::V6(ip) => policy.ipv6.insert((port.index, ip)),
        };
    }
    Ok(true)
}

/// The link-local address that a MAC address makes (RFC 4291, appendix A).
fn link_local(Mac([a, b, c, d, e, f]): Mac) -> Ipv6Addr {
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

/// Derives what follows from what was declared and what is there, and drops
/// what is about links that are gone; with those that are to be deleted, where
/// they are `swept`.
pub fn refresh(
    world: &mut World,
    wholes: &mut Wholes,
    place: usize,
    policy: &mut Policy,
    swept: bool,
) -> Result<(), Error> {
    let mut links = world.links(place)?.clone();
    links.retain(|_, known| !(swept && known.leaves));
    let names: Vec<OsString> = policy.bridges.values().map(OsString::from).collect();
    let is_further = |name: &OsString| {
        names
            .iter()
            .any(|root| name.as_bytes().strip_prefix(root.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'.')))
    };
    let roots: Vec<(u32, OsString)> =
        policy.bridges.iter().map(|(number, name)| (*number, OsString::from(name))).collect();
    let roots = roots
        .into_iter()
        .filter(|(number, name)| !is_further(name) && links.get(name).is_some_and(|known| known.link.index == *number));
    let (mut ports, mut open) = (BTreeSet::new(), BTreeSet::new());
    let mut new = Policy { nat: std::mem::take(&mut policy.nat), ..Policy::default() };
    for (root, name) in roots {
        let whole = wholes.of(world, place, &name)?;
        let trunks = whole.trunks(&links);
        let members: Vec<_> = whole.members.iter().filter_map(|member| links.get(member)).collect();
        for member in &members {
            new.bridges.insert(member.link.index, member.link.name.to_string_lossy().into_owned());
            new.together.extend(members.iter().map(|other| (member.link.index, other.link.index)));
            new.own_macs.extend(member.link.mac);
            new.own_ipv6.extend(member.link.mac.map(link_local));
            // A link-local one comes by itself, and late.
            for address in member.link.addresses.iter().filter(|address| !address.is_link_local()) {
                match address.ip {
                    IpAddr::V4(ip) => new.own_ipv4.insert(ip),
                    IpAddr::V6(ip) => new.own_ipv6.insert(ip),
                };
            }
        }
        new.trunks.extend(trunks.iter().filter_map(|trunk| links.get(trunk)).map(|known| known.link.index));
        let is_member = |master: &OsString| members.iter().any(|member| member.link.name == *master);
        let of_whole = links.values().filter(|known| known.master.as_ref().is_some_and(is_member));
        let of_whole: Vec<_> =
            of_whole.filter(|known| !trunks.contains(&known.link.name)).map(|known| known.link.index).collect();
        if policy.open.contains(&root) {
            new.open.insert(root);
            open.extend(of_whole.iter().copied());
        }
        ports.extend(of_whole);
    }
    new.macs = policy.macs.iter().filter(|(port, _)| ports.contains(port)).copied().collect();
    new.ipv4 = policy.ipv4.iter().filter(|(port, _)| ports.contains(port)).copied().collect();
    new.ipv6 = policy.ipv6.iter().filter(|(port, _)| ports.contains(port)).copied().collect();
    new.unbound = policy.unbound.intersection(&ports).copied().collect();
    let is_there = |side: &u32| *side == BRIDGE || ports.contains(side);
    new.pairs = policy.pairs.iter().filter(|(one, other)| is_there(one) && is_there(other)).copied().collect();
    new.pairs.extend(open.iter().flat_map(|&port| [(port, BRIDGE), (BRIDGE, port)]));
    let exists: BTreeSet<u32> = links.values().map(|known| known.link.index).collect();
    new.nat.retain(|(bridge, out)| exists.contains(bridge) && exists.contains(out));
    new.uplinks = policy.uplinks.iter().filter(|out| new.nat.iter().any(|(_, other)| other == *out)).copied().collect();
    *policy = new;
    Ok(())
}
