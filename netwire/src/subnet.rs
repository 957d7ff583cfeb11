//! The addresses of what is wired to a bridge: of its subnets, and no two alike.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;

use seal::Error;
use seal::cli::printable;

use crate::declaration::NewLink;
use crate::link::Address;
use crate::plan::Planner;
use crate::words::{End, Wanted};

impl Planner<'_> {
    /// The addresses that a wire's end gets.
    pub fn addresses(
        &mut self,
        place: usize,
        bridge: &End,
        near: &OsStr,
        new: &NewLink,
    ) -> Result<Vec<Address>, Error> {
        if new.settings.addresses.is_empty() {
            return Ok(Vec::new());
        }
        let subnets: Vec<Address> = self.world.existing(bridge)?.1.link.addresses.clone();
        let subnets: Vec<Address> = subnets.into_iter().filter(|address| !address.is_link_local()).collect();
        let has = self.world.existing(&new.end)?.1.link.addresses.clone();
        self.look_who_has_what(place, bridge)?;
        let mut addresses = Vec::new();
        for wanted in &new.settings.addresses {
            match *wanted {
                Wanted::Given(ip, prefix) => addresses.push(self.given(place, bridge, near, ip, prefix, &subnets)?),
                Wanted::Auto if subnets.is_empty() => {
                    return Err(Error::new(format!("{bridge} has no address, so no subnet to take one from")));
                }
                Wanted::Auto => {
                    let without = |subnet: &&Address| !has.iter().any(|address| subnet.subnet_holds(address.ip));
                    for subnet in subnets.iter().filter(without) {
                        addresses.push(self.free(place, bridge, subnet)?);
                    }
                }
            }
        }
        Ok(addresses)
    }

    /// An address that was chosen, which must be of a subnet and nobody else's.
    fn given(
        &mut self,
        place: usize,
        bridge: &End,
        near: &OsStr,
        ip: IpAddr,
        prefix: Option<u8>,
        subnets: &[Address],
    ) -> Result<Address, Error> {
        let of_family: Vec<_> = subnets.iter().filter(|subnet| subnet.ip.is_ipv4() == ip.is_ipv4()).collect();
        let subnet = of_family.iter().find(|subnet| subnet.subnet_holds(ip));
        let prefix = prefix.or(subnet.map(|subnet| subnet.prefix)).unwrap_or(if ip.is_ipv4() { 32 } else { 128 });
        let address = Address { ip, prefix };
        if subnet.is_none() && !of_family.is_empty() {
            let list: Vec<_> = of_family.iter().map(ToString::to_string).collect();
            return Err(Error::new(format!("{address} is in no subnet of {bridge} ({})", list.join(", "))));
        }
        if !address.is_a_hosts() {
            return Err(Error::new(format!("{address} is no address of a host")));
        }
        let taken = self.wholes.of(self.world, place, &bridge.name)?.taken.get_or_insert_default();
        let near = printable(near.as_bytes());
        match taken.insert(ip, near.clone()) {
            Some(other) if other != near => Err(Error::new(format!("{ip} is taken by {other}"))),
            _ => Ok(address),
        }
    }

    /// The lowest free address of a subnet.
    fn free(&mut self, place: usize, bridge: &End, subnet: &Address) -> Result<Address, Error> {
        let key = (place, bridge.name.clone());
        let whole = self.wholes.known.get_mut(&key).expect("its addresses were looked at");
        let (taken, reserved) = (whole.taken.get_or_insert_default(), self.wholes.reserved.get(&key));
        let first = Address::bits(subnet.first());
        let size = 1u128.checked_shl(subnet.host_bits()).map_or(u128::MAX, |size| size - 1);
        // Of two or one each is a host's (RFC 3021, RFC 6164).
        let (low, high) = match (subnet.ip, subnet.host_bits()) {
            (_, 0 | 1) => (first, first + size),
            (IpAddr::V4(_), _) => (first + 1, first + size - 1),
            (IpAddr::V6(_), _) => (first + 1, first.saturating_add(size)),
        };
        let next = whole.next.entry(subnet.network()).or_insert(low);
        while *next <= high {
            let ip = subnet.with_bits(*next);
            *next += 1;
            let is_usable = !ip.is_unspecified() && !ip.is_loopback() && !ip.is_multicast() && !is_broadcast(ip);
            if is_usable && !taken.contains_key(&ip) && !reserved.is_some_and(|reserved| reserved.contains_key(&ip)) {
                return Ok(Address { ip, ..*subnet });
            }
        }
        Err(Error::new(format!("{} has no free address", subnet.network())))
    }

    /// Asks what is at the other ends of a bridge's ports for its addresses.
    fn look_who_has_what(&mut self, place: usize, bridge: &End) -> Result<(), Error> {
        let whole = self.wholes.of(self.world, place, &bridge.name)?;
        if whole.taken.is_some() {
            return Ok(());
        }
        let members = whole.members.clone();
        let mut taken = HashMap::new();
        let mut ports = Vec::new();
        for known in self.world.links(place)?.values() {
            if members.contains(&known.link.name) {
                let name = printable(known.link.name.as_bytes());
                taken.extend(known.link.addresses.iter().map(|address| (address.ip, name.clone())));
            }
            if known.master.as_ref().is_some_and(|master| members.contains(master)) && known.link.index != 0 {
                ports.push(known.link.clone());
            }
        }
        for port in &ports {
            let name = printable(port.name.as_bytes());
            // One who takes a whole subnet for himself does not take it from the others.
            let addresses = self.world.far_addresses(place, port)?.into_iter().take(64);
            taken.extend(addresses.map(|address| (address.ip, name.clone())));
        }
        // What a port is bound to is its host's, whether that uses it now or not.
        let policy = self.world.policy(place).unwrap_or_default();
        let names: HashMap<u32, &OsString> = ports.iter().map(|port| (port.index, &port.name)).collect();
        let ipv4 = policy.ipv4.iter().map(|(port, ip)| (*port, IpAddr::V4(*ip)));
        for (port, ip) in ipv4.chain(policy.ipv6.iter().map(|(port, ip)| (*port, IpAddr::V6(*ip)))) {
            if let Some(name) = names.get(&port) {
                taken.entry(ip).or_insert_with(|| printable(name.as_bytes()));
            }
        }
        self.wholes.of(self.world, place, &bridge.name)?.taken = Some(taken);
        Ok(())
    }
}

fn is_broadcast(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(ip) if ip.is_broadcast())
}
