//! Bridges as users see them: one whole, however many of the kernel's it takes,
//! what is wired to it, and which of its addresses are free.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;

use seal::Error;
use seal::cli::printable;

use crate::declaration::{Kind, NewLink, Settings};
use crate::link::{Address, Mac};
use crate::plan::Planner;
use crate::policy::Edit;
use crate::step::{Make, Phase, What};
use crate::words::{End, NAME_MAX, Wanted};
use crate::world::{Known, World};

/// The kernel's limit, BR_MAX_PORTS less the port 0.
const PORTS_MAX: usize = 1023;
/// How many of them are for wires: a frame for all is queued once a port, and
/// the queue, net.core.netdev_max_backlog, holds 1,000; the last would not hear it.
const WIRES_MAX: usize = 900;
/// How many further bridges can be tied to one.
const TRUNKS_MAX: usize = 64;
/// From how many wires in one go their bridges are made quiet.
const MANY: usize = 128;

/// The links of a namespace by name.
pub type Links = HashMap<OsString, Known>;

/// The bridges that were looked at.
#[derive(Default)]
pub struct Wholes {
    pub known: HashMap<(usize, OsString), Whole>,
    /// Addresses that were chosen for what is yet to be wired, and for which end.
    pub reserved: HashMap<(usize, OsString), HashMap<IpAddr, String>>,
    /// How many wires are declared.
    wires: usize,
}

/// A bridge and those that it is spread over.
pub struct Whole {
    /// The one that has the name, and `NAME.1`, `NAME.2`, ….
    pub members: Vec<OsString>,
    /// How many ports each has.
    ports: Vec<usize>,
    /// Who has which address, once that was asked for.
    pub taken: Option<HashMap<IpAddr, String>>,
    /// Where to look on for a free address, a subnet.
    pub next: HashMap<Address, u128>,
}

/// A bridge and those that it is spread over: `NAME.1`, `NAME.2`, …, each tied to it.
pub fn members(links: &Links, root: &OsStr) -> Vec<OsString> {
    let mut members: Vec<_> = links.contains_key(root).then(|| root.to_owned()).into_iter().collect();
    for number in 1.. {
        let mut member = root.to_owned();
        member.push(format!(".{number}"));
        if root_of(links, &member) != root {
            break;
        }
        members.push(member);
    }
    members
}

/// The bridge that this one is a part of, or itself.
pub fn root_of(links: &Links, member: &OsStr) -> OsString {
    let bytes = member.as_bytes();
    let dot = bytes.iter().rposition(|byte| *byte == b'.');
    let is_number = |rest: &[u8]| !rest.is_empty() && rest.iter().all(u8::is_ascii_digit);
    let root = dot.filter(|dot| is_number(&bytes[dot + 1..])).map(|dot| OsStr::from_bytes(&bytes[..dot]));
    let down = &trunk_of(member)[1];
    let tied = root.filter(|root| links.get(down).is_some_and(|trunk| trunk.master.as_deref() == Some(root)));
    tied.unwrap_or(member).to_owned()
}

/// The ports that lead from one member of a bridge to another.
pub fn trunks(links: &Links, members: &[OsString]) -> Vec<OsString> {
    let names = members.iter().skip(1).flat_map(|member| trunk_of(member));
    names.filter(|name| links.contains_key(name)).collect()
}

/// The ports of a bridge, and of those that it is spread over, that lead elsewhere.
pub fn wires<'a>(links: &'a Links, root: &OsStr) -> impl Iterator<Item = &'a Known> {
    let members = members(links, root);
    let trunks = trunks(links, &members);
    links.values().filter(move |known| {
        known.master.as_ref().is_some_and(|master| members.contains(master)) && !trunks.contains(&known.link.name)
    })
}

/// The two ends of the pair that ties a further member to the first.
fn trunk_of(member: &OsStr) -> [OsString; 2] {
    ["-up", "-dn"].map(|end| {
        let mut name = member.to_owned();
        name.push(end);
        name
    })
}

impl Wholes {
    /// The bridge of this name, which is there or planned.
    pub fn of(&mut self, world: &mut World, place: usize, name: &OsStr) -> Result<&mut Whole, Error> {
        let key = (place, name.to_owned());
        if !self.known.contains_key(&key) {
            let links = world.links(place)?;
            let members = members(links, name);
            let mut counts: HashMap<&OsStr, usize> = HashMap::new();
            for known in links.values() {
                *counts.entry(known.master.as_deref().unwrap_or_default()).or_default() += 1;
            }
            let ports = members.iter().map(|member| counts.get(member.as_os_str()).copied().unwrap_or(0)).collect();
            self.known.insert(key.clone(), Whole { members, ports, taken: None, next: HashMap::new() });
        }
        Ok(self.known.get_mut(&key).expect("it was put there above"))
    }
}

impl Planner<'_> {
    /// A bridge that has to be there, or planned.
    pub fn bridge(&mut self, end: &End) -> Result<End, Error> {
        let (_, known) = self.world.existing(end)?;
        if known.link.kind == "bridge" { Ok(end.clone()) } else { Err(Error::new(format!("{end} is no bridge"))) }
    }

    /// Takes note of the addresses that are chosen for a wire.
    pub fn reserve(&mut self, new: &NewLink) -> Result<(), Error> {
        let Kind::Wire { bridge } = &new.kind else { return Ok(()) };
        self.wholes.wires += 1;
        let key = (self.world.place(&bridge.target)?, bridge.name.clone());
        let reserved = self.wholes.reserved.entry(key).or_default();
        for wanted in &new.settings.addresses {
            if let Wanted::Given(ip, _) = wanted
                && let Some(other) = reserved.insert(*ip, new.end.to_string())
            {
                return Err(Error::new(format!("{ip} is taken by {other}")));
            }
        }
        Ok(())
    }

    /// Whether bridges are better made without looking into multicast at first.
    pub fn are_many(&self) -> bool {
        self.wholes.wires > MANY
    }

    pub fn wire(&mut self, bridge: &End, new: &NewLink) -> Result<(), Error> {
        let bridge = &self.bridge(bridge)?;
        let [place, far_place] = [self.world.place(&bridge.target)?, self.world.place(&new.end.target)?];
        let is_there = self.is_there(&new.end, "veth")?;
        let mut mac = new.settings.mac;
        let near = if is_there {
            self.near(place, bridge, far_place, &new.end)?
        } else {
            // The bridge's own, where that is not what every link has.
            let mtu = self.world.existing(bridge)?.1.link.mtu;
            // Known before the host at the other end can change it.
            mac = Some(mac.map_or_else(Mac::random, Ok)?);
            let mut made = new.clone();
            made.settings.mtu = new.settings.mtu.or(Some(mtu).filter(|mtu| !matches!(mtu, 0 | 1500)));
            made.settings.mac = mac;
            self.new_wire(place, bridge, far_place, &made)?
        };
        let addresses = self.addresses(place, bridge, &near.name, new)?;
        let before = self.steps.len();
        self.settle(&new.end, &new.settings, &addresses)?;
        let is_changed = is_there && self.steps.len() > before;
        if is_there {
            self.settle(&near, &Settings { mtu: new.settings.mtu, ..Settings::default() }, &[])?;
        }
        self.up(&new.end, Phase::Inside)?;
        self.up(&near, Phase::Ports)?;
        let port = near.name;
        let addresses = addresses.iter().map(|address| address.ip).collect();
        let edit = match is_changed {
            true => Edit::Rebind { port, mac, addresses },
            false => Edit::Wired { bridge: bridge.name.clone(), port, mac, addresses },
        };
        self.policies.add(place, self.line(), edit, None);
        self.via(&new.end, &new.via)
    }

    /// The port of the bridge that a link is wired to.
    fn near(&mut self, place: usize, bridge: &End, far_place: usize, end: &End) -> Result<End, Error> {
        let far = self.world.links(far_place)?[&end.name].clone();
        let near = self.world.links(place)?.values().find(|near| Some(near.link.index) == far.link.below).cloned();
        let is_wired = Error::new(format!("{end} exists and is not wired to {bridge}"));
        let Some(near) = near else { return Err(is_wired) };
        let whole = self.wholes.of(self.world, place, &bridge.name)?;
        let is_port = near.master.as_ref().is_some_and(|master| whole.members.contains(master));
        if is_port && self.world.are_peers(place, &near, far_place, &far)? {
            Ok(bridge.beside(near.link.name))
        } else {
            Err(is_wired)
        }
    }

    fn new_wire(&mut self, place: usize, bridge: &End, far_place: usize, new: &NewLink) -> Result<End, Error> {
        let label = self.world.places[far_place].label.clone();
        let links = self.world.links(place)?;
        // Long names that are alike may come to the same when they are cut.
        let mut names = (0..16).map(|attempt| port_name(&label, &new.end.name, attempt));
        let Some(name) = names.find(|name| !links.contains_key(name)) else {
            let name = bridge.beside(port_name(&label, &new.end.name, 0));
            return Err(Error::new(format!("{name}, as the port for {} would be called, exists", new.end)));
        };
        let near = bridge.beside(name);
        let member = self.room(place, bridge)?;
        let mut make = Make::of(new, place, None);
        make.name.clone_from(&near.name);
        make.settings = Settings { mtu: new.settings.mtu, ..Settings::default() };
        make.master = Some(member.clone());
        make.peer = Some((far_place, new.end.name.clone(), new.settings.clone()));
        let says = format!("wire {} to {bridge} as {}", new.end, printable(near.name.as_bytes()));
        self.step(Phase::Wires, place, What::Link(Box::new(make)), says);
        self.planned(place, &near.name, "veth", &Settings::default())?;
        self.planned(far_place, &new.end.name, "veth", &new.settings)?;
        self.pair((place, &near.name), (far_place, &new.end.name))?;
        self.world.existing(&near)?.1.master = Some(member);
        self.step(Phase::Upon, place, What::Quiet { name: near.name.clone(), many: self.are_many() }, String::new());
        Ok(near)
    }

    /// The member that has room for one more port, which may have to be made.
    fn room(&mut self, place: usize, bridge: &End) -> Result<OsString, Error> {
        let whole = self.wholes.of(self.world, place, &bridge.name)?;
        for (at, ports) in whole.ports.iter_mut().enumerate() {
            let trunks = if at == 0 { whole.members.len() - 1 } else { 1 };
            if *ports < WIRES_MAX + trunks {
                *ports += 1;
                return Ok(whole.members[at].clone());
            }
        }
        if whole.ports[0] >= PORTS_MAX || whole.members.len() > TRUNKS_MAX {
            return Err(Error::new(format!("{bridge} has all the ports that it can have")));
        }
        let mut member = bridge.name.clone();
        member.push(format!(".{}", whole.members.len()));
        let [up, down] = trunk_of(&member);
        if up.len() > NAME_MAX {
            return Err(Error::new(format!("{bridge} has all the ports that it can have"))
                .hint(format!("a shorter name leaves room for further ones, such as {}", printable(up.as_bytes()))));
        }
        whole.ports[0] += 1;
        whole.members.push(member.clone());
        // The trunk, and the wire that it is made for.
        whole.ports.push(2);
        self.member(place, bridge, &member, up, down)?;
        Ok(member)
    }

    /// A further bridge, tied to the first.
    fn member(
        &mut self,
        place: usize,
        bridge: &End,
        member: &OsString,
        up: OsString,
        down: OsString,
    ) -> Result<(), Error> {
        let end = bridge.beside(member.clone());
        for name in [member, &up, &down] {
            if self.world.known(&bridge.beside(name.clone()))?.is_some() {
                return Err(Error::new(format!(
                    "{}, which {bridge} needs for more ports, exists",
                    bridge.beside(name.clone())
                )));
            }
        }
        let bare = |name: &OsString, kind| NewLink {
            end: bridge.beside(name.clone()),
            kind,
            settings: Settings::default(),
            via: vec![],
        };
        let mut make = Make::of(&bare(member, Kind::Bridge), place, None);
        make.large = true;
        self.step(
            Phase::Links,
            place,
            What::Link(Box::new(make)),
            format!("create the bridge {end}, part of {bridge}"),
        );
        self.planned(place, member, "bridge", &Settings::default())?;
        self.step(Phase::Upon, place, What::Quiet { name: member.clone(), many: false }, String::new());
        let mut make = Make::of(&bare(&up, Kind::Wire { bridge: end.clone() }), place, None);
        make.master = Some(member.clone());
        make.peer = Some((place, down.clone(), Settings::default()));
        self.step(Phase::Wires, place, What::Link(Box::new(make)), String::new());
        for (name, master) in [(&up, member), (&down, &bridge.name)] {
            self.planned(place, name, "veth", &Settings::default())?;
            self.world.existing(&bridge.beside(name.clone()))?.1.master = Some(master.clone());
            self.step(Phase::Upon, place, What::Quiet { name: name.clone(), many: true }, String::new());
        }
        self.pair((place, &up), (place, &down))?;
        self.step(Phase::Upon, place, What::Master { name: down.clone(), bridge: bridge.name.clone() }, String::new());
        for (name, phase) in [(up, Phase::Ports), (down, Phase::Ports), (member.clone(), Phase::Bridges)] {
            self.up(&bridge.beside(name), phase)?;
        }
        self.step(Phase::After, place, What::Snoop(member.clone()), String::new());
        Ok(())
    }
}

/// What the port for an interface is called: `LABEL-IF`, shortened so that it
/// stays one of a kind where that is too long.
fn port_name(label: &str, interface: &OsStr, attempt: u8) -> OsString {
    let clean = |c: char| if c.is_whitespace() || c.is_control() || "/:@".contains(c) { '_' } else { c };
    let label: String = label.chars().map(clean).collect();
    let mut name = OsString::from(format!("{label}-"));
    name.push(interface);
    if name.len() <= NAME_MAX {
        return name;
    }
    // FNV-1a, folded to 16 bits.
    let bytes = name.as_bytes().iter().copied().chain([attempt]);
    let hash = bytes.fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let hash = format!("{:04x}", (hash >> 16) ^ (hash & 0xffff));
    let (head, tail) = if interface.len() < NAME_MAX - 5 {
        (label, interface.to_owned())
    } else {
        (label + "-" + &interface.to_string_lossy(), OsString::new())
    };
    let room = NAME_MAX - 4 - if tail.is_empty() { 0 } else { 1 + tail.len() };
    let mut short = OsString::from(&head[..head.floor_char_boundary(room)]);
    short.push(hash);
    if !tail.is_empty() {
        short.push("-");
        short.push(tail);
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_names() {
        let name = |label, interface: &str| port_name(label, OsStr::new(interface), 0).into_string().unwrap();
        assert_eq!(name("web", "eth0"), "web-eth0");
        assert_eq!(name("a b", "eth0"), "a_b-eth0");
        for (label, interface) in [("averyveryverylonglabel", "eth0"), ("web", "fifteen-bytes-x"), ("é", "tenbytes-i")]
        {
            assert!(name(label, interface).len() <= NAME_MAX, "{label} {interface}");
        }
        assert_ne!(name("averyveryverylong1", "eth0"), name("averyveryverylong2", "eth0"));
        assert!(name("averyveryverylong1", "eth0").ends_with("-eth0"));
    }
}
