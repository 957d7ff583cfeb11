//! What has to be done so that all that is declared is there: steps, none of
//! which is for what is there already.

use std::ffi::{OsStr, OsString};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use seal::Error;
use seal::cli::printable;

use crate::bridge::Wholes;
use crate::declaration::{Declaration, Kind, NewLink, Route, Settings};
use crate::link::{Address, Link, Mac};
use crate::net::{self, Found, Net};
use crate::policy::{Edit, Policies};
use crate::step::{Make, Phase, Step, What};
use crate::words::{End, Wanted};
use crate::world::{Known, World};

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
    line: Option<usize>,
}

/// The steps to make all of this so, in their order. A command is `strict`: what
/// it makes must not be there.
pub fn plan(world: &mut World, items: &[Item], strict: bool) -> Result<Vec<Step>, Failure> {
    let (wholes, policies) = (Wholes::default(), Policies::default());
    let mut planner = Planner { world, wholes, policies, steps: Vec::new(), strict, line: None };
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
            match &item.declaration {
                Declaration::Host { name, target } => {
                    let before = self.world.hosts.insert(name.clone(), target.clone());
                    if before.is_some_and(|before| before != *target) {
                        return Err(Error::new(format!("there are two hosts {name:?}")));
                    }
                }
                Declaration::Netns(name) => {
                    self.world.coming.insert(name.clone());
                }
                _ => {}
            }
        }
        for item in items {
            let Declaration::Netns(name) = &item.declaration else { continue };
            self.line = item.line;
            match Net::find(Path::new(net::NAMED).join(name).as_os_str()) {
                Ok(Found::Net(_)) if self.strict => {
                    return Err(Error::new(format!("the network namespace {name:?} exists")));
                }
                Ok(_) => {}
                Err(error) if error.errno() == libc::ENOENT => {
                    let place = self.world.place(name)?;
                    let says = format!("create the network namespace {}", printable(name.as_encoded_bytes()));
                    self.step(Phase::Netns, place, What::Netns(name.clone()), says);
                }
                Err(error) => return Err(error),
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
            Declaration::DelNetns(name) => match Net::find(Path::new(net::NAMED).join(name).as_os_str()) {
                Err(error) if error.errno() == libc::ENOENT => {
                    if self.strict {
                        Err(net::missing(&name.to_string_lossy()))
                    } else {
                        Ok(())
                    }
                }
                found => {
                    found?;
                    let says = format!("delete the network namespace {}", printable(name.as_encoded_bytes()));
                    self.step(Phase::Delete, crate::world::HERE, What::DelNetns(name.clone()), says);
                    Ok(())
                }
            },
            policy => self.policy(policy),
        }
    }

    pub fn step(&mut self, phase: Phase, place: usize, what: What, says: String) {
        self.steps.push(Step { line: self.line, phase, place, what, says });
    }

    /// Whether a link sits on one that is to be made but was not yet.
    fn waits(&mut self, link: &NewLink) -> Result<bool, Error> {
        let (Kind::Macvlan { parent, .. } | Kind::Ipvlan { parent, .. } | Kind::Vlan { parent, .. }) = &link.kind
        else {
            return Ok(false);
        };
        Ok(self.world.known(parent)?.is_none())
    }

    fn link(&mut self, new: &NewLink) -> Result<(), Error> {
        match &new.kind {
            Kind::Wire { bridge } => return self.wire(bridge, new),
            Kind::Veth { peer, settings } => return self.veth(new, peer, settings),
            Kind::Vxlan { bridge, remotes, .. } => return self.vxlan(bridge, new, remotes),
            _ => {}
        }
        let place = self.world.place(&new.end.target)?;
        let (kind, parent) = match &new.kind {
            Kind::Bridge => ("bridge", None),
            Kind::Dummy => ("dummy", None),
            Kind::Tap { .. } => ("tun", None),
            Kind::Macvlan { parent, .. } => ("macvlan", Some(parent)),
            Kind::Ipvlan { parent, .. } => ("ipvlan", Some(parent)),
            _ => ("vlan", if let Kind::Vlan { parent, .. } = &new.kind { Some(parent) } else { None }),
        };
        let parent = parent.map(|parent| self.parent(parent, &new.end, kind, place)).transpose()?;
        if !self.is_there(&new.end, kind)? {
            let says = format!("create the {} {}", if kind == "tun" { "tap" } else { kind }, new.end);
            let (from, parent) = parent.map_or((place, None), |(place, name)| (place, Some(name)));
            let phase = if from == place && parent.is_none() { Phase::Links } else { Phase::Upon };
            let mut make = Make::of(new, place, parent);
            if kind == "bridge" {
                make.large = self.are_many();
                // One that it got from its ports would change with them.
                make.settings.mac = make.settings.mac.or(Some(Mac::random()?));
            }
            let large = make.large;
            self.step(phase, from, What::Link(Box::new(make)), says);
            self.planned(place, &new.end.name, kind, &new.settings)?;
            if large {
                self.step(Phase::After, place, What::Snoop(new.end.name.clone()), String::new());
            }
        }
        let addresses = plain(&new.settings.addresses);
        self.settle(&new.end, &new.settings, &addresses)?;
        if let Kind::Tap { bridge: Some(bridge), .. } = &new.kind {
            self.port(&new.end.beside(bridge), &new.end)?;
        }
        self.up(&new.end, if kind == "bridge" { Phase::Bridges } else { Phase::Inside })?;
        self.via(&new.end, &new.via)
    }

    /// The parent of a link that is made upon another; one that is there must sit on it.
    fn parent(&mut self, parent: &End, end: &End, kind: &str, place: usize) -> Result<(usize, OsString), Error> {
        let (from, known) = self.world.existing(parent)?;
        let (index, name) = (known.link.index, known.link.name.clone());
        if let Some(there) = self.world.links(place)?.get(&end.name).filter(|there| there.link.index != 0) {
            let (below, nsid) = (there.link.below, there.link.below_nsid);
            let sits = below == Some(index) && nsid == self.world.nsid(place, from)?;
            if !sits && !self.strict {
                return Err(Error::new(format!("{end} exists and is no {kind} of {parent}")));
            }
        }
        Ok((from, name))
    }

    /// Whether a link of this kind is there; another is an error.
    pub fn is_there(&mut self, end: &End, kind: &str) -> Result<bool, Error> {
        let strict = self.strict;
        match self.world.known(end)? {
            None => Ok(false),
            Some(_) if strict => Err(Error::new(format!("{end} exists"))),
            Some(known) if known.link.index == 0 => Err(Error::new(format!("{end} is declared twice"))),
            Some(known) if known.link.kind == kind => Ok(true),
            Some(known) => {
                let is = if known.link.kind.is_empty() { "hardware" } else { &known.link.kind };
                Err(Error::new(format!("{end} exists and is {is}, not {kind}")))
            }
        }
    }

    /// Takes note of a link that will be there.
    pub fn planned(&mut self, place: usize, name: &OsStr, kind: &str, settings: &Settings) -> Result<(), Error> {
        let mut link = Link { name: name.to_owned(), kind: kind.to_owned(), mac: settings.mac, ..Link::default() };
        link.mtu = settings.mtu.unwrap_or(0);
        self.world.links(place)?.insert(name.to_owned(), Known { link, ..Known::default() });
        Ok(())
    }

    fn veth(&mut self, new: &NewLink, peer: &End, settings: &Settings) -> Result<(), Error> {
        let [near, far] = [self.world.place(&new.end.target)?, self.world.place(&peer.target)?];
        if near == far && new.end.name == peer.name {
            return Err(Error::new(format!("both ends are {}", new.end)));
        }
        match [self.is_there(&new.end, "veth")?, self.is_there(peer, "veth")?] {
            [true, true] => {
                let one = self.world.links(near)?[&new.end.name].clone();
                let other = self.world.links(far)?[&peer.name].clone();
                if !self.world.are_peers(near, &one, far, &other)? {
                    return Err(Error::new(format!("{} and {peer} exist and are no pair", new.end)));
                }
            }
            [false, false] => {
                let says = format!("create the veth {} with the peer {peer}", new.end);
                let mut make = Make::of(new, near, None);
                make.peer = Some((far, peer.name.clone(), settings.clone()));
                self.step(Phase::Links, near, What::Link(Box::new(make)), says);
                self.planned(near, &new.end.name, "veth", &new.settings)?;
                self.planned(far, &peer.name, "veth", settings)?;
                self.pair((near, &new.end.name), (far, &peer.name))?;
            }
            [there, _] => {
                let (there, not) = if there { (&new.end, peer) } else { (peer, &new.end) };
                return Err(Error::new(format!("{there} exists and {not} does not: they are no pair")));
            }
        }
        for (end, settings) in [(&new.end, &new.settings), (peer, settings)] {
            self.settle(end, settings, &plain(&settings.addresses))?;
            self.up(end, Phase::Inside)?;
        }
        self.via(&new.end, &new.via)
    }

    /// Takes note that these two will be one another's other end.
    pub fn pair(&mut self, one: (usize, &OsStr), other: (usize, &OsStr)) -> Result<(), Error> {
        for (near, far) in [(one, other), (other, one)] {
            if let Some(known) = self.world.links(near.0)?.get_mut(near.1) {
                known.peer = Some((far.0, far.1.to_owned()));
            }
        }
        Ok(())
    }

    fn vxlan(&mut self, bridge: &End, new: &NewLink, remotes: &[IpAddr]) -> Result<(), Error> {
        let place = self.world.place(&bridge.target)?;
        if self.world.known(bridge)?.is_none() {
            let is_new =
                NewLink { end: bridge.clone(), kind: Kind::Bridge, settings: Settings::default(), via: vec![] };
            self.link(&is_new)?;
        }
        let is_there = self.is_there(&new.end, "vxlan")?;
        if is_there {
            let Kind::Vxlan { id, local, port, .. } = new.kind else { return Ok(()) };
            let data = self.world.links(place)?[&new.end.name].link.data.clone();
            if !crate::step::is_vxlan(&data, id, local, port) {
                return Err(Error::new(format!("{} exists and is another vxlan", new.end)));
            }
        } else {
            let make = Make::of(new, place, None);
            self.step(Phase::Links, place, What::Link(Box::new(make)), format!("create the vxlan {}", new.end));
            self.planned(place, &new.end.name, "vxlan", &new.settings)?;
        }
        let there = if is_there { self.world.remotes(place, &new.end.name)? } else { Vec::new() };
        for &remote in remotes.iter().filter(|remote| !there.contains(remote)) {
            let what = What::Remote { name: new.end.name.clone(), remote };
            self.step(Phase::Inside, place, what, format!("add the remote {remote} to {}", new.end));
        }
        self.settle(&new.end, &new.settings, &[])?;
        self.port(bridge, &new.end)?;
        self.up(&new.end, Phase::Ports)
    }

    /// Makes a link of the bridge's own namespace its port.
    fn port(&mut self, bridge: &End, end: &End) -> Result<(), Error> {
        let bridge = &self.bridge(bridge)?;
        let (place, known) = self.world.existing(end)?;
        match &known.master {
            Some(master) if *master == bridge.name => return Ok(()),
            Some(master) => {
                let master = printable(master.as_encoded_bytes());
                return Err(Error::new(format!("{end} is a port of {master}, not of {bridge}")));
            }
            None => known.master = Some(bridge.name.clone()),
        }
        let what = What::Master { name: end.name.clone(), bridge: bridge.name.clone() };
        self.step(Phase::Upon, place, what, format!("make {end} a port of {bridge}"));
        Ok(())
    }

    fn set(&mut self, end: &End, settings: &Settings, up: Option<bool>) -> Result<(), Error> {
        let (place, _) = self.world.existing(end)?;
        self.settle(end, settings, &plain(&settings.addresses))?;
        if !settings.addresses.is_empty() || settings.mac.is_some() {
            self.rebind(place, end)?;
        }
        match up {
            Some(true) => self.up(end, Phase::Inside),
            Some(false) => self.bring(end, false, Phase::Inside),
            None => Ok(()),
        }
    }

    /// Steps for what a link has not yet of what it is to have.
    pub fn settle(&mut self, end: &End, settings: &Settings, addresses: &[Address]) -> Result<(), Error> {
        let (place, known) = self.world.existing(end)?;
        let (is_new, name, before) = (known.link.index == 0, end.name.clone(), known.link.clone());
        if let Some(mac) = settings.mac.filter(|mac| !is_new && before.mac != Some(*mac)) {
            self.step(
                Phase::Inside,
                place,
                What::Mac { name: name.clone(), mac, before: before.mac },
                format!("give {end} the MAC address {mac}"),
            );
        }
        if let Some(mtu) = settings.mtu.filter(|mtu| !is_new && before.mtu != *mtu) {
            let what = What::Mtu { name: name.clone(), mtu, before: before.mtu };
            self.step(Phase::Inside, place, what, format!("give {end} the MTU {mtu}"));
        }
        if let Some(rate) = settings.rate {
            let before = if is_new { crate::words::Rate(0) } else { self.world.rate(place, before.index)? };
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
        self.bring(end, true, phase)
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
        if known.link.index == 0 && end.name != "lo" {
            return Err(Error::new(format!("{end} is both declared and deleted")));
        }
        let is_bridge = known.link.kind == "bridge";
        let place = self.world.place(&end.target)?;
        let mut names = vec![end.name.clone()];
        if is_bridge {
            // Those that it was spread over, and what is filtered there.
            let whole = self.wholes.of(self.world, place, &end.name)?;
            names.extend(whole.members.iter().skip(1).cloned());
            names.extend(
                whole
                    .trunks(self.world.links(place)?)
                    .into_iter()
                    .filter(|name| name.as_encoded_bytes().ends_with(b"-dn")),
            );
            self.policies.add(place, self.line, Edit::AllowAll { bridge: end.name.clone() }, None);
        }
        for name in names {
            let says = format!("delete {}", end.beside(name.clone()));
            self.step(Phase::Delete, place, What::DelLink(name), says);
        }
        Ok(())
    }

    pub fn line(&self) -> Option<usize> {
        self.line
    }

    pub fn set_line(&mut self, line: Option<usize>) {
        self.line = line;
    }
}

/// Addresses that say all themselves.
fn plain(wanted: &[Wanted]) -> Vec<Address> {
    let one = |wanted: &Wanted| match *wanted {
        Wanted::Auto => None,
        Wanted::Given(ip, prefix) => {
            Some(Address { ip, prefix: prefix.unwrap_or(if ip.is_ipv4() { 32 } else { 128 }) })
        }
    };
    wanted.iter().filter_map(one).collect()
}
