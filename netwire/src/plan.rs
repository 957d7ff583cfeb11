//! What has to be done so that all that is declared is there: steps, none of
//! which is for what is there already.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use seal::Error;
use seal::cli::printable;

use crate::bridge::{Wholes, members, trunks};
use crate::declaration::{Declaration, Kind, NewLink, Route, Settings};
use crate::link::Address;
use crate::net;
use crate::policy::{Edit, Policies};
use crate::step::{Phase, Step, What};
use crate::words::{End, Rate, Wanted};
use crate::world::{HERE, World};

/// A declaration and the line it stands in, of a topology.
pub struct Item {
    pub line: Option<usize>,
    pub declaration: Declaration,
}

/// A failure, and the line that it is about.
pub type Failure = (Option<usize>, Error);

/// The steps as they come to be known.
pub struct Planner<'a> {
    pub world: &'a mut World,
    pub wholes: Wholes,
    pub policies: Policies,
    pub steps: Vec<Step>,
    /// Whether what is declared must not be there yet.
    pub strict: bool,
    pub line: Option<usize>,
    /// What is to be there.
    pub declared: HashSet<(usize, OsString)>,
    /// What is to be down in the end.
    downs: HashSet<(usize, OsString)>,
    /// What was said of what, since no two lines may say otherwise.
    said: HashMap<(usize, OsString, String), String>,
}

/// The steps to make all of this so, in their order. A command is `strict`: what
/// it makes must not be there.
pub fn plan(world: &mut World, items: &[Item], strict: bool) -> Result<Vec<Step>, Failure> {
    let (wholes, policies) = (Wholes::default(), Policies::default());
    let mut planner = Planner {
        world,
        wholes,
        policies,
        steps: Vec::new(),
        strict,
        line: None,
        declared: HashSet::new(),
        downs: HashSet::new(),
        said: HashMap::new(),
    };
    planner.all(items).map_err(|error| (planner.line, error))?;
    let mut steps = planner.steps;
    steps.sort_by_key(|step| (step.phase, step.place));
    Ok(steps)
}

/// In which order links are made: each kind after those that it may sit on.
fn order(kind: &Kind) -> u8 {
    match kind {
        Kind::Bridge => 0,
        Kind::Vxlan { .. } | Kind::Tap { .. } | Kind::Dummy => 1,
        Kind::Veth { .. } | Kind::Wire { .. } => 2,
        Kind::Macvlan { .. } | Kind::Ipvlan { .. } | Kind::Vlan { .. } => 3,
    }
}

impl Planner<'_> {
    fn all(&mut self, items: &[Item]) -> Result<(), Error> {
        self.names(items)?;
        // Before anything is read there.
        for item in items {
            self.line = item.line;
            if let Some(bridge) = item.declaration.bridge() {
                let place = self.world.place(&bridge.target)?;
                self.world.lock(place)?;
            }
        }
        for item in items {
            if let Declaration::Set { end, up: Some(false), .. } = &item.declaration {
                self.line = item.line;
                let place = self.world.place(&end.target)?;
                self.downs.insert((place, end.name.clone()));
            }
        }
        let mut links: Vec<(Option<usize>, &NewLink)> = Vec::new();
        for item in items {
            if let Declaration::Link(link) = &item.declaration {
                links.push((item.line, link));
            }
        }
        links.sort_by_key(|(_, link)| order(&link.kind));
        // What has no address of its own choice gets one that no other has chosen.
        for (line, link) in &links {
            self.line = *line;
            self.reserve(link)?;
        }
        let mut later = std::mem::take(&mut links);
        while !later.is_empty() {
            let before = later.len();
            for (line, link) in std::mem::take(&mut later) {
                self.line = line;
                if self.waits(link)? { later.push((line, link)) } else { self.link(link)? }
            }
            if later.len() == before {
                // None of them has a parent: the first says so.
                (self.line, _) = later[0];
                self.link(later[0].1)?;
            }
        }
        for item in items {
            self.line = item.line;
            self.change(&item.declaration)?;
        }
        self.line = None;
        self.policies_last()
    }

    /// Hosts, and namespaces that are to be made, which all else may name.
    fn names(&mut self, items: &[Item]) -> Result<(), Error> {
        for item in items {
            self.line = item.line;
            if let Declaration::Host { name, target } = &item.declaration {
                let before = self.world.hosts.insert(name.clone(), target.clone());
                if before.is_some_and(|before| before != *target) {
                    return Err(Error::new(format!("there are two hosts {name:?}")));
                }
            }
        }
        for item in items {
            let Declaration::Netns(name) = &item.declaration else { continue };
            self.line = item.line;
            if let Some(place) = self.world.netns(name)? {
                let says = format!("create the network namespace {}", printable(name.as_encoded_bytes()));
                self.step(Phase::Netns, place, What::Netns(name.clone()), says);
            } else if self.strict {
                return Err(Error::new(format!("the network namespace {name:?} exists")));
            }
        }
        Ok(())
    }

    /// What else than links is declared.
    fn change(&mut self, declaration: &Declaration) -> Result<(), Error> {
        match declaration {
            // Every name leads somewhere, used or not.
            Declaration::Host { name, .. } => self.world.place(name).map(drop),
            Declaration::Netns(_) | Declaration::Link(_) => Ok(()),
            Declaration::Set { end, settings, up } => self.set(end, settings, *up),
            Declaration::Route { target, route } => {
                let place = self.world.place(target)?;
                self.route(place, route.clone())
            }
            Declaration::Lo(target) => {
                let lo = End { name: "lo".into(), target: target.clone() };
                self.up(&lo, Phase::Inside)
            }
            Declaration::DelLink(end) => self.delete(end),
            Declaration::DelNetns(name) => {
                let path = Path::new(net::NAMED).join(name);
                if path.symlink_metadata().is_ok() {
                    net::Net::is_there(&path)?;
                    let says = format!("delete the network namespace {}", printable(name.as_encoded_bytes()));
                    self.step(Phase::Delete, HERE, What::DelNetns(name.clone()), says);
                } else if self.strict {
                    return Err(net::missing(&name.to_string_lossy()));
                }
                Ok(())
            }
            policy => self.policy(policy),
        }
    }

    pub fn step(&mut self, phase: Phase, place: usize, what: What, says: String) {
        self.steps.push(Step { line: self.line, phase, place, what, says });
    }

    fn set(&mut self, end: &End, settings: &Settings, up: Option<bool>) -> Result<(), Error> {
        let (place, _) = self.world.existing(end)?;
        let (before, addresses) = (self.steps.len(), plain(&settings.addresses));
        self.settle(end, settings, &addresses)?;
        if self.steps.len() > before {
            self.rebind(place, end, settings.mac, &addresses)?;
        }
        if let Some(up) = up {
            self.say(end, "to be", if up { "up" } else { "down" })?;
        }
        match up {
            Some(true) => self.up(end, Phase::Inside),
            // As late as can be: routes go with it, and do not come back.
            Some(false) => self.bring(end, false, Phase::Down),
            None => Ok(()),
        }
    }

    /// Steps for what a link has not yet of what it is to have.
    pub fn settle(&mut self, end: &End, settings: &Settings, addresses: &[Address]) -> Result<(), Error> {
        if let Some(mac) = settings.mac {
            self.say(end, "--mac", mac)?;
        }
        if let Some(mtu) = settings.mtu {
            self.say(end, "--mtu", mtu)?;
        }
        if let Some(rate) = settings.rate {
            self.say(end, "--rate", rate)?;
        }
        let (place, known) = self.world.existing(end)?;
        let (is_new, name, before) = (known.link.index == 0, end.name.clone(), known.link.clone());
        (known.link.mac, known.link.mtu) = (settings.mac.or(before.mac), settings.mtu.unwrap_or(before.mtu));
        if let Some(mac) = settings.mac.filter(|mac| before.mac != Some(*mac)) {
            self.step(
                Phase::Inside,
                place,
                What::Mac { name: name.clone(), mac, before: before.mac },
                format!("give {end} the MAC address {mac}"),
            );
        }
        if let Some(mtu) = settings.mtu.filter(|mtu| before.mtu != *mtu) {
            let what = What::Mtu { name: name.clone(), mtu, before: before.mtu };
            // A link with less has no IPv6 (RFC 8200, 5), and does not get it back.
            let phase = if mtu < 1280 { Phase::Down } else { Phase::Inside };
            self.step(phase, place, what, format!("give {end} the MTU {mtu}"));
        }
        if let Some(rate) = settings.rate {
            let before = if is_new { Rate(0) } else { self.world.rate(place, before.index)? };
            if before == Rate::FOREIGN {
                return Err(Error::new(format!("{end} has a queueing discipline already"))
                    .hint("tc qdisc show tells which; tc qdisc del takes it away"));
            }
            if before != rate {
                let says =
                    if rate.0 == 0 { format!("lift the limit of {end}") } else { format!("limit {end} to {rate}") };
                self.step(Phase::Inside, place, What::Rate { name: name.clone(), rate, before }, says);
            }
        }
        for address in addresses {
            let known = self.world.existing(end)?.1;
            if known.link.addresses.contains(address) {
                continue;
            }
            if let Some(other) = known.link.addresses.iter().find(|other| other.ip == address.ip) {
                return Err(Error::new(format!("{end} has the address {other}, not {address}")));
            }
            known.link.addresses.push(*address);
            let what = What::Address { name: name.clone(), address: *address };
            self.step(Phase::Inside, place, what, format!("add {address} to {end}"));
        }
        Ok(())
    }

    pub fn up(&mut self, end: &End, phase: Phase) -> Result<(), Error> {
        let place = self.world.place(&end.target)?;
        if self.downs.contains(&(place, end.name.clone())) { Ok(()) } else { self.bring(end, true, phase) }
    }

    /// Fails where another line has said otherwise.
    pub fn say(&mut self, end: &End, what: impl Into<String>, value: impl ToString) -> Result<(), Error> {
        let (what, value) = (what.into(), value.to_string());
        let place = self.world.place(&end.target)?;
        match self.said.insert((place, end.name.clone(), what.clone()), value.clone()) {
            Some(other) if other != value => {
                Err(Error::new(format!("{end}: {what} {other} and {what} {value} exclude one another")))
            }
            _ => Ok(()),
        }
    }

    fn bring(&mut self, end: &End, up: bool, phase: Phase) -> Result<(), Error> {
        let (place, known) = self.world.existing(end)?;
        if known.link.up != up {
            known.link.up = up;
            let says = format!("bring {end} {}", if up { "up" } else { "down" });
            self.step(phase, place, What::Up { name: end.name.clone(), up }, says);
        }
        Ok(())
    }

    /// Default routes by gateways that the link reaches.
    pub fn via(&mut self, end: &End, gateways: &[IpAddr]) -> Result<(), Error> {
        for &gateway in gateways {
            let (place, known) = self.world.existing(end)?;
            if !known.link.addresses.iter().any(|address| address.subnet_holds(gateway)) {
                return Err(Error::new(format!("the gateway {gateway} is in no subnet of {end}")));
            }
            let any = if gateway.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
            let to = Address { ip: any, prefix: 0 };
            self.route(place, Route { to, via: Some(gateway), dev: Some(end.name.clone()), metric: None })?;
        }
        Ok(())
    }

    fn route(&mut self, place: usize, route: Route) -> Result<(), Error> {
        if let Some(dev) = &route.dev
            && !self.world.links(place)?.contains_key(dev)
        {
            let place = self.world.place_name(place);
            return Err(Error::new(format!("there is no {} in {place}", printable(dev.as_encoded_bytes()))));
        }
        let there = self.world.routes(place)?;
        if there.iter().any(|one| one.is_what_is_wanted(&route)) {
            return Ok(());
        }
        there.push(route.clone());
        let says = format!("add the route {route} in {}", self.world.place_name(place));
        self.step(Phase::Routes, place, What::Route(route), says);
        Ok(())
    }

    fn delete(&mut self, end: &End) -> Result<(), Error> {
        let Some(known) = self.world.known(end)? else {
            return if self.strict { Err(Error::new(format!("there is no {end}"))) } else { Ok(()) };
        };
        if known.link.kind.is_empty() {
            return Err(Error::new(format!("{end} cannot be deleted: it is no link that was made")));
        }
        let is_bridge = known.link.kind == "bridge";
        let place = self.world.place(&end.target)?;
        if self.declared.contains(&(place, end.name.clone())) {
            return Err(Error::new(format!("{end} is both declared and deleted")));
        }
        let mut names = vec![end.name.clone()];
        if is_bridge {
            // Those that it was spread over, with what ties them to it.
            names = members(self.world.links(place)?, &end.name);
            names.extend(trunks(self.world.links(place)?, &names).into_iter().step_by(2));
        }
        for (near_place, near) in self.world.peers(place, end)? {
            // It goes with its other end.
            if let Some(near) = self.world.links(near_place)?.get_mut(&near.link.name) {
                near.leaves = true;
            }
            self.policies.add(near_place, self.line, Edit::Gone, None);
        }
        self.policies.add(place, self.line, Edit::Gone, None);
        for name in names {
            let says = format!("delete {}", end.beside(name.clone()));
            if let Some(known) = self.world.links(place)?.get_mut(&name).filter(|known| !known.leaves) {
                known.leaves = true;
                self.step(Phase::Delete, place, What::DelLink(name), says);
            }
        }
        Ok(())
    }

    pub fn line(&self) -> Option<usize> {
        self.line
    }
}

/// Addresses that say all themselves.
pub fn plain(wanted: &[Wanted]) -> Vec<Address> {
    let one = |wanted: &Wanted| match *wanted {
        Wanted::Auto => None,
        Wanted::Given(ip, prefix) => {
            Some(Address { ip, prefix: prefix.unwrap_or(if ip.is_ipv4() { 32 } else { 128 }) })
        }
    };
    wanted.iter().filter_map(one).collect()
}
