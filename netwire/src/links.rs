//! Links that are to be: what has to be made, and whether what is there is that.

use std::ffi::{OsStr, OsString};
use std::net::IpAddr;

use seal::Error;
use seal::cli::printable;

use crate::declaration::{Kind, NewLink, Settings};
use crate::link::{Link, Mac};
use crate::plan::{Planner, plain};
use crate::step::{Make, Phase, What, is_vxlan};
use crate::words::End;
use crate::world::Known;

impl Planner<'_> {
    /// Whether a link sits on one that is to be made but was not yet.
    pub fn waits(&mut self, link: &NewLink) -> Result<bool, Error> {
        let (Kind::Macvlan { parent, .. } | Kind::Ipvlan { parent, .. } | Kind::Vlan { parent, .. }) = &link.kind
        else {
            return Ok(false);
        };
        Ok(self.world.known(parent)?.is_none())
    }

    pub fn link(&mut self, new: &NewLink) -> Result<(), Error> {
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
                // One that it is made with would be that of its ports as soon as it has any.
                make.settings.mtu = None;
            }
            let (large, make_mtu) = (make.large, make.settings.mtu);
            self.step(phase, from, What::Link(Box::new(make)), says);
            let settings = Settings { mtu: make_mtu, ..new.settings.clone() };
            self.planned(place, &new.end.name, kind, &settings)?;
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
        let place = self.world.place(&end.target)?;
        self.declared.insert((place, end.name.clone()));
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
            if !is_vxlan(&data, id, local, port) {
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
}
