//! From what users declare of who may reach whom to what is filtered.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::{OsStr, OsString};
use std::net::{IpAddr, Ipv6Addr};
use std::os::unix::ffi::OsStrExt;

use seal::Error;
use seal::cli::printable;

use crate::bridge::{Links, members, root_of, trunks, wires};
use crate::filter::{BRIDGE, Policy};
use crate::link::{Link, Mac};
use crate::plan::Failure;
use crate::policy::{Edit, Side};
use crate::world::World;

/// How many addresses of a host a port is bound to; who has more has been told
/// what to have by nobody.
const ADDRESSES_MAX: usize = 64;

/// What the edits make of what is filtered in a namespace now: before, and after.
pub fn edited(world: &mut World, place: usize, edits: &[(Option<usize>, Edit)]) -> Result<(Policy, Policy), Failure> {
    let before = world.policy(place).map_err(|error| (None, error))?;
    let fresh = fresh(edits.iter().map(|(_, edit)| edit));
    let mut editor = Editor { world, place, policy: before.clone(), planning: false, fresh };
    // What is about links that are gone does not stand against others.
    editor.refresh(false).map_err(|error| (edits[0].0, error))?;
    for (line, edit) in edits {
        editor.edit(edit).map_err(|error| (*line, error))?;
    }
    let swept = edits.iter().any(|(_, edit)| matches!(edit, Edit::Gone));
    editor.refresh(swept).map_err(|error| (edits[0].0, error))?;
    Ok((before, editor.policy))
}

/// The ports of wires that are being made.
pub fn fresh<'a>(edits: impl Iterator<Item = &'a Edit>) -> HashSet<OsString> {
    let port = |edit: &Edit| match edit {
        Edit::Wired { port, mac: Some(_), .. } => Some(port.clone()),
        _ => None,
    };
    edits.filter_map(port).collect()
}

/// A policy that is being changed.
pub struct Editor<'a> {
    pub world: &'a mut World,
    pub place: usize,
    pub policy: Policy,
    /// Whether links may be yet to be made.
    pub planning: bool,
    /// See [`fresh`].
    pub fresh: HashSet<OsString>,
}

impl Editor<'_> {
    /// Changes the policy; false where links that it is about are yet to be made.
    pub fn edit(&mut self, edit: &Edit) -> Result<bool, Error> {
        match edit {
            Edit::DenyAll { bridge, except_bridge } => self.deny_all(bridge, *except_bridge),
            Edit::AllowAll { bridge } => {
                let links = self.world.links(self.place)?;
                let numbers: Vec<u32> = members(links, bridge).iter().map(|name| links[name].link.index).collect();
                self.policy.bridges.retain(|number, _| !numbers.contains(number));
                Ok(true)
            }
            Edit::Wired { bridge, port, mac, addresses } => self.wired(bridge, port, *mac, addresses),
            Edit::Rebind { port, mac, addresses } => self.rebind(port, *mac, addresses),
            Edit::Bind { ports, any } => self.bind_all(ports, *any),
            Edit::Pair { sides, allow } => self.pair(sides, *allow),
            Edit::Nat { bridge, out, forwarded } => {
                let (Some(bridge), Some(out)) = (self.link(bridge)?, self.link(out)?) else { return Ok(false) };
                let is_new = self.policy.nat.insert((bridge.index, out.index));
                if is_new && !forwarded {
                    self.policy.uplinks.insert(out.index);
                }
                Ok(true)
            }
            Edit::NoNat { bridge, out } => {
                if let (Some(bridge), Some(out)) = (self.link(bridge)?, self.link(out)?) {
                    self.policy.nat.remove(&(bridge.index, out.index));
                }
                Ok(true)
            }
            Edit::Gone => Ok(true),
        }
    }

    /// A link of this name; `None` if it is yet to be made.
    fn link(&mut self, name: &OsStr) -> Result<Option<Link>, Error> {
        if !self.planning {
            self.world.index(self.place, name)?;
        }
        let known = self.world.links(self.place)?.get(name);
        Ok(known.map(|known| known.link.clone()).filter(|link| link.index != 0))
    }

    fn deny_all(&mut self, bridge: &OsString, except_bridge: bool) -> Result<bool, Error> {
        let Some(link) = self.link(bridge)? else { return Ok(false) };
        let mut ports: Vec<Link> =
            wires(self.world.links(self.place)?, bridge).map(|known| known.link.clone()).collect();
        ports.retain(|port| port.index != 0);
        ports.sort_by_key(|port| port.index);
        let is_new = self.policy.bridges.insert(link.index, bridge.to_string_lossy().into_owned()).is_none();
        if except_bridge {
            self.policy.open.insert(link.index);
        } else if self.policy.open.remove(&link.index) {
            let of_bridge = |side: &u32| ports.iter().any(|port| port.index == *side);
            self.policy
                .pairs
                .retain(|(one, other)| !(*one == BRIDGE && of_bridge(other) || *other == BRIDGE && of_bridge(one)));
        }
        if is_new {
            // Its own addresses are nobody else's.
            self.refresh(false)?;
            for port in ports.iter().filter(|port| !self.fresh.contains(&port.name)).cloned().collect::<Vec<_>>() {
                self.bind(&port)?;
            }
        }
        Ok(true)
    }

    /// A port that netwire has made is bound to what it has declared, not to
    /// what the host at the other end may have made of that.
    fn wired(&mut self, bridge: &OsStr, port: &OsStr, mac: Option<Mac>, ips: &[IpAddr]) -> Result<bool, Error> {
        let Some(bridge) = self.link(bridge)? else { return Ok(false) };
        if !self.policy.bridges.contains_key(&bridge.index) {
            // Where the kernel cannot tell the bridges of a namespace apart, that has to be said.
            return Ok(!self.planning || self.policy.bridges.is_empty());
        }
        let Some(port) = self.link(port)? else { return Ok(false) };
        match (self.mac_of(port.index), mac) {
            (Some(mac), _) => self.bind_to(&port, mac, ips)?,
            _ if self.policy.unbound.contains(&port.index) => {}
            (None, Some(mac)) => self.bind_to(&port, mac, ips)?,
            (None, None) => drop(self.bind(&port)?),
        }
        Ok(true)
    }

    fn rebind(&mut self, port: &OsStr, mac: Option<Mac>, ips: &[IpAddr]) -> Result<bool, Error> {
        let Some(port) = self.link(port)? else { return Ok(true) };
        let Some(before) = self.mac_of(port.index) else { return Ok(true) };
        if mac.is_some_and(|mac| mac != before) {
            self.policy.macs.remove(&(port.index, before));
            self.policy.ipv6.remove(&(port.index, link_local(before)));
        }
        self.bind_to(&port, mac.unwrap_or(before), ips)?;
        Ok(true)
    }

    fn bind_all(&mut self, ports: &[OsString], any: bool) -> Result<bool, Error> {
        for port in ports {
            let Some(port) = self.link(port)? else { return Ok(false) };
            self.denied(&port.name)?;
            self.unbind(port.index);
            if any {
                self.policy.unbound.insert(port.index);
            } else if !self.bind(&port)? {
                return Err(unbindable(&port));
            }
        }
        Ok(true)
    }

    fn pair(&mut self, sides: &[Side; 2], allow: bool) -> Result<bool, Error> {
        let mut numbers = [Vec::new(), Vec::new()];
        for (side, numbers) in sides.iter().zip(&mut numbers) {
            let Side::Ports(ports) = side else {
                numbers.push(BRIDGE);
                continue;
            };
            for port in ports {
                let Some(port) = self.link(port)? else { return Ok(false) };
                let bridge = self.denied(&port.name)?;
                if !allow
                    && self.policy.open.contains(&bridge)
                    && matches!(sides, [Side::Bridge, _] | [_, Side::Bridge])
                {
                    let name = printable(port.name.as_bytes());
                    return Err(Error::new(format!("{name} reaches the bridge itself, as all do"))
                        .hint("deny-all without --except-bridge comes first"));
                }
                // One that others have made is denied until now.
                let is_bound = self.mac_of(port.index).is_some() || self.policy.unbound.contains(&port.index);
                if allow && !is_bound && !self.bind(&port)? {
                    return Err(unbindable(&port));
                }
                numbers.push(port.index);
            }
        }
        let both = numbers[0].iter().flat_map(|&one| numbers[1].iter().map(move |&other| (one, other)));
        for pair in both.flat_map(|(one, other)| [(one, other), (other, one)]) {
            if allow {
                self.policy.pairs.insert(pair)
            } else {
                self.policy.pairs.remove(&pair)
            };
        }
        Ok(true)
    }

    /// The bridge, where all is denied, that a port is of; fails where all is allowed anyway.
    fn denied(&mut self, port: &OsStr) -> Result<u32, Error> {
        let links = self.world.links(self.place)?;
        let master = links.get(port).and_then(|known| known.master.clone()).unwrap_or_default();
        let root = root_of(links, &master);
        let number = links.get(&root).map_or(0, |known| known.link.index);
        if self.policy.bridges.contains_key(&number) {
            return Ok(number);
        }
        let name = printable(root.as_bytes());
        Err(Error::new(format!("{name} is open to all")).hint(format!("netwire deny-all {name} comes first")))
    }

    fn mac_of(&self, port: u32) -> Option<Mac> {
        self.policy.macs.range((port, Mac([0; 6]))..=(port, Mac([u8::MAX; 6]))).next().map(|(_, mac)| *mac)
    }

    fn unbind(&mut self, port: u32) {
        self.policy.unbound.remove(&port);
        self.policy.macs.retain(|(number, _)| *number != port);
        self.policy.ipv4.retain(|(number, _)| *number != port);
        self.policy.ipv6.retain(|(number, _)| *number != port);
    }

    /// Binds a port to what is at its other end now; false where that cannot be told.
    fn bind(&mut self, port: &Link) -> Result<bool, Error> {
        let Some(far) = self.world.far(self.place, port)? else { return Ok(false) };
        let Some(mac) = far.mac else { return Ok(false) };
        if far.addresses.len() > ADDRESSES_MAX {
            let name = printable(port.name.as_bytes());
            return Err(Error::new(format!("there are more than {ADDRESSES_MAX} addresses at {name}")));
        }
        let ips: Vec<IpAddr> = far.addresses.iter().map(|address| address.ip).collect();
        self.bind_to(port, mac, &ips)?;
        Ok(true)
    }

    /// Binds a port to these addresses, which must be nobody else's.
    fn bind_to(&mut self, port: &Link, mac: Mac, ips: &[IpAddr]) -> Result<(), Error> {
        let number = port.index;
        let policy = &mut self.policy;
        let mut clash = None;
        if !policy.macs.contains(&(number, mac)) {
            let other = policy.macs.iter().find(|(_, other)| *other == mac).map(|(other, _)| *other);
            let other = other.or(policy.own_macs.contains(&mac).then_some(BRIDGE));
            clash = clash.or(other.map(|other| (mac.to_string(), other)));
        }
        for ip in ips.iter().copied().chain([IpAddr::V6(link_local(mac))]) {
            let other = match ip {
                IpAddr::V4(ip) if policy.ipv4.insert((number, ip)) => {
                    let own = policy.own_ipv4.contains(&ip).then_some(BRIDGE);
                    policy
                        .ipv4
                        .iter()
                        .find(|(other, same)| *other != number && *same == ip)
                        .map(|(other, _)| *other)
                        .or(own)
                }
                IpAddr::V6(ip) if policy.ipv6.insert((number, ip)) => {
                    let own = policy.own_ipv6.contains(&ip).then_some(BRIDGE);
                    policy
                        .ipv6
                        .iter()
                        .find(|(other, same)| *other != number && *same == ip)
                        .map(|(other, _)| *other)
                        .or(own)
                }
                _ => None,
            };
            clash = clash.or(other.map(|other| (ip.to_string(), other)));
        }
        policy.macs.insert((number, mac));
        let Some((what, other)) = clash else { return Ok(()) };
        let links = self.world.links(self.place)?;
        let other =
            links.values().find(|known| known.link.index == other).map(|known| printable(known.link.name.as_bytes()));
        let other = other.unwrap_or_else(|| "the bridge itself".into());
        Err(Error::new(format!("{what} at {} is the address of {other}", printable(port.name.as_bytes()))))
    }

    /// Derives what follows from what was declared and what is there, and drops
    /// what is about links that are gone; with those that are to be deleted,
    /// where they are `swept`.
    pub fn refresh(&mut self, swept: bool) -> Result<(), Error> {
        let mut links = self.world.links(self.place)?.clone();
        links.retain(|_, known| known.link.index != 0 && !(swept && known.leaves));
        let names: BTreeMap<u32, OsString> =
            links.values().map(|known| (known.link.index, known.link.name.clone())).collect();
        let mut new = Policy { nat: std::mem::take(&mut self.policy.nat), ..Policy::default() };
        let (mut ports, mut open) = (BTreeSet::new(), BTreeSet::new());
        for root in self.policy.bridges.keys() {
            // By its number: it may have another name now.
            let Some(name) = names.get(root).filter(|name| root_of(&links, name) == **name) else { continue };
            derive(&mut new, &links, name);
            let wires: Vec<u32> = wires(&links, name).map(|known| known.link.index).collect();
            if self.policy.open.contains(root) {
                new.open.insert(*root);
                open.extend(wires.iter().copied());
            }
            ports.extend(wires);
        }
        let old = &self.policy;
        new.macs = old.macs.iter().filter(|(port, _)| ports.contains(port)).copied().collect();
        new.ipv4 = old.ipv4.iter().filter(|(port, _)| ports.contains(port)).copied().collect();
        new.ipv6 = old.ipv6.iter().filter(|(port, _)| ports.contains(port)).copied().collect();
        new.unbound = old.unbound.intersection(&ports).copied().collect();
        let is_there = |side: &u32| *side == BRIDGE || ports.contains(side);
        new.pairs = old.pairs.iter().filter(|(one, other)| is_there(one) && is_there(other)).copied().collect();
        new.pairs.extend(open.iter().flat_map(|&port| [(port, BRIDGE), (BRIDGE, port)]));
        new.nat.retain(|(bridge, out)| names.contains_key(bridge) && names.contains_key(out));
        // They forward still, and nothing else says for whom.
        new.uplinks = old.uplinks.iter().filter(|out| names.contains_key(out)).copied().collect();
        self.policy = new;
        Ok(())
    }
}

/// What is known of a bridge where all is denied, and of those it is spread over.
fn derive(policy: &mut Policy, links: &Links, root: &OsStr) {
    let names = members(links, root);
    let trunks = trunks(links, &names);
    policy.trunks.extend(trunks.iter().filter_map(|trunk| links.get(trunk)).map(|known| known.link.index));
    let members: Vec<&Link> = names.iter().filter_map(|name| links.get(name)).map(|known| &known.link).collect();
    for member in &members {
        policy.bridges.insert(member.index, member.name.to_string_lossy().into_owned());
        policy.together.extend(members.iter().map(|other| (member.index, other.index)));
        policy.own_macs.extend(member.mac);
        policy.own_ipv6.extend(member.mac.map(link_local));
        // A link-local one comes by itself, and late.
        for address in member.addresses.iter().filter(|address| !address.is_link_local()) {
            match address.ip {
                IpAddr::V4(ip) => policy.own_ipv4.insert(ip),
                IpAddr::V6(ip) => policy.own_ipv6.insert(ip),
            };
        }
    }
}

fn unbindable(port: &Link) -> Error {
    let name = printable(port.name.as_bytes());
    Error::new(format!("{name} cannot be bound to addresses: it is no veth whose other end can be looked at"))
        .hint(format!("netwire bind BR {name} --any lets it send from any that is not another's"))
}

/// The link-local address that a MAC address makes (RFC 4291, appendix A).
fn link_local(Mac([a, b, c, d, e, f]): Mac) -> Ipv6Addr {
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}
