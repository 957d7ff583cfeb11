//! The namespaces that a topology is about and what is known of their links:
//! what was there, and what is planned.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use seal::cli::printable;
use seal::{Context, Error};

use crate::declaration::Route;
use crate::filter::Policy;
use crate::link::{self, Address, Link};
use crate::net::{self, Net};
use crate::show::find;
use crate::socket::{Refusal, Socket};
use crate::words::{End, Rate};

/// The caller's own namespace.
pub const HERE: usize = 0;

/// All that is known.
pub struct World {
    pub places: Vec<Place>,
    by_inode: HashMap<u64, usize>,
    by_target: HashMap<OsString, usize>,
    /// Named namespaces that are to be made, by their paths.
    made_later: HashMap<PathBuf, usize>,
    /// The names that a topology gives to targets.
    pub hosts: HashMap<OsString, OsString>,
    entered: usize,
    /// Whether this is to change something.
    changes: bool,
}

/// A namespace.
pub struct Place {
    /// `None` until it is made.
    pub net: Option<Net>,
    /// What it is in messages.
    pub shown: String,
    /// What ports that lead there are named for.
    pub label: String,
    /// Its links by name, once they were read.
    pub links: Option<HashMap<OsString, Known>>,
    /// The routes of the main table, once they were read.
    pub routes: Option<Vec<Route>>,
    socket: Option<Socket>,
    locked: bool,
}

/// What is known of a link.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// What the kernel says; of a planned one the number is 0.
    pub link: Link,
    /// The bridge that it is a port of.
    pub master: Option<OsString>,
    /// Where its other end is, of a planned pair.
    pub peer: Option<(usize, OsString)>,
    /// Whether it is to be deleted.
    pub leaves: bool,
}

impl World {
    /// With the lock of this namespace, if something is to `change`.
    pub fn new(change: bool) -> Result<Self, Error> {
        net::open_many();
        let mut world = Self {
            places: Vec::new(),
            by_inode: HashMap::new(),
            by_target: HashMap::from([(".".into(), HERE)]),
            made_later: HashMap::new(),
            hosts: HashMap::new(),
            entered: HERE,
            changes: change,
        };
        world.add(Net::here()?);
        world.lock(HERE)?;
        Ok(world)
    }

    /// Waits for others who change this namespace: two at once would take the
    /// same free address. Not for ever, since whoever is in it can lock it.
    pub fn lock(&mut self, place: usize) -> Result<(), Error> {
        const TRIES: u32 = 500;
        let of = &mut self.places[place];
        let Some(net) = of.net.as_ref().filter(|_| self.changes && !of.locked) else { return Ok(()) };
        for _ in 0..TRIES {
            match flock(net, FlockOperation::NonBlockingLockExclusive) {
                Err(rustix::io::Errno::WOULDBLOCK) => thread::sleep(Duration::from_millis(10)),
                locked => {
                    locked.tried(|| "cannot lock a network namespace")?;
                    break;
                }
            }
        }
        of.locked = true;
        Ok(())
    }

    /// Takes note of all namespaces that can be found.
    pub fn look_around(&mut self) -> Result<(), Error> {
        for found in find::all(&[])? {
            self.add(found.net);
        }
        Ok(())
    }

    /// The namespace that a target, or a host's name, leads to.
    pub fn place(&mut self, target: &OsStr) -> Result<usize, Error> {
        if let Some(&place) = self.by_target.get(target) {
            return Ok(place);
        }
        let host = self.hosts.get(target).cloned();
        let leads = host.as_deref().unwrap_or(target);
        let place = match self.made_later.get(&Path::new(net::NAMED).join(leads)) {
            Some(&place) if !net::is_process(leads) => place,
            _ => self.add(Net::open(leads)?),
        };
        if host.is_some() {
            self.places[place].label = target.to_string_lossy().into_owned();
        }
        self.by_target.insert(target.to_owned(), place);
        Ok(place)
    }

    /// A named namespace that is to be: its place, if it has to be made.
    pub fn netns(&mut self, name: &OsStr) -> Result<Option<usize>, Error> {
        let path = net::named(name)?;
        if Net::is_there(&path)? {
            return Ok(None);
        }
        if let Some(&place) = self.made_later.get(&path) {
            return Ok(Some(place));
        }
        // It will have lo alone.
        let lo = Link { index: 1, name: "lo".into(), ..Link::default() };
        let links = Some(HashMap::from([("lo".into(), Known { link: lo, ..Known::default() })]));
        let (label, shown) = (name.to_string_lossy().into_owned(), printable(name.as_encoded_bytes()));
        let place = self.add_place(Place {
            net: None,
            shown,
            label,
            links,
            routes: Some(Vec::new()),
            socket: None,
            locked: true,
        });
        self.made_later.insert(path, place);
        Ok(Some(place))
    }

    fn add(&mut self, net: Net) -> usize {
        if let Some(&place) = self.by_inode.get(&net.inode) {
            return place;
        }
        self.by_inode.insert(net.inode, self.places.len());
        let (shown, label) = (printable(net.shown.as_bytes()), net.label.clone());
        self.add_place(Place { net: Some(net), shown, label, links: None, routes: None, socket: None, locked: false })
    }

    fn add_place(&mut self, place: Place) -> usize {
        self.places.push(place);
        self.places.len() - 1
    }

    /// A namespace that was planned is there now, and this process in it.
    pub fn made(&mut self, place: usize, net: Net) -> Result<(), Error> {
        self.by_inode.insert(net.inode, place);
        self.places[place].net = Some(net);
        self.entered = place;
        self.socket(place).map(drop)
    }

    /// Takes this process into a namespace.
    pub fn enter(&mut self, place: usize) -> Result<(), Error> {
        if self.entered != place {
            self.net(place).enter()?;
            self.entered = place;
        }
        Ok(())
    }

    /// A namespace that is there.
    pub fn net(&self, place: usize) -> &Net {
        self.places[place].net.as_ref().expect("it is entered after it was made")
    }

    /// A socket in a namespace, which is kept open.
    pub fn socket(&mut self, place: usize) -> Result<&mut Socket, Error> {
        if self.places[place].socket.is_none() {
            self.enter(place)?;
            let made = match Socket::route() {
                // Each can be made again.
                Err(error) if error.raw_os_error() == Some(libc::EMFILE) => {
                    self.places.iter_mut().for_each(|place| place.socket = None);
                    Socket::route()
                }
                made => made,
            };
            self.places[place].socket = Some(made.tried(|| "cannot make a netlink socket")?);
        }
        Ok(self.places[place].socket.as_mut().expect("it was made above"))
    }

    /// The links of a namespace by name.
    pub fn links(&mut self, place: usize) -> Result<&mut HashMap<OsString, Known>, Error> {
        if self.places[place].links.is_none() {
            let found = link::links(self.socket(place)?, None).map_err(|error| self.unreadable(place, error))?;
            let names: HashMap<u32, OsString> = found.0.values().map(|link| (link.index, link.name.clone())).collect();
            let known = |link: Link| {
                let master = link.master.and_then(|master| names.get(&master).cloned());
                (link.name.clone(), Known { link, master, ..Known::default() })
            };
            self.places[place].links = Some(found.0.into_values().map(known).collect());
        }
        Ok(self.places[place].links.as_mut().expect("they were read above"))
    }

    fn unreadable(&self, place: usize, refusal: Refusal) -> Error {
        Error::new(format!("cannot read the links of {}", self.place_name(place))).because(refusal)
    }

    /// A namespace, for messages.
    pub fn place_name(&self, place: usize) -> String {
        match self.places[place].shown.as_str() {
            "" => "this network namespace".into(),
            shown => shown.into(),
        }
    }

    /// A link that is there or planned, where its end says.
    pub fn known(&mut self, end: &End) -> Result<Option<&mut Known>, Error> {
        let place = self.place(&end.target)?;
        Ok(self.links(place)?.get_mut(&end.name))
    }

    /// A link that has to be there, or planned, and its namespace.
    pub fn existing(&mut self, end: &End) -> Result<(usize, &mut Known), Error> {
        let place = self.place(&end.target)?;
        let known = self.links(place)?.get_mut(&end.name);
        known.map(|known| (place, known)).ok_or_else(|| Error::new(format!("there is no {end}")))
    }

    /// The number that the namespace `of` is known by in `within`; `None` where
    /// it has none, or is the same.
    pub fn nsid(&mut self, within: usize, of: usize) -> Result<Option<i32>, Error> {
        let Some(net) = self.places[of].net.as_ref().filter(|_| within != of) else { return Ok(None) };
        let fd = net.as_fd().try_clone_to_owned().tried(|| "cannot hold a network namespace")?;
        link::nsid(self.socket(within)?, fd).tried(|| "cannot tell which network namespaces are wired to one another")
    }

    /// Whether `far` in `far_place` is the other end of `near` in `near_place`.
    pub fn are_peers(&mut self, near_place: usize, near: &Known, far_place: usize, far: &Known) -> Result<bool, Error> {
        if let Some((place, name)) = &near.peer {
            return Ok(*place == far_place && *name == far.link.name);
        }
        let (near, far) = (&near.link, &far.link);
        let cross = near.below == Some(far.index) && far.below == Some(near.index) && far.index != 0;
        let same = near.below_nsid.is_none() && far.below_nsid.is_none();
        if !cross || near_place == far_place || same {
            return Ok(cross && near_place == far_place && same);
        }
        Ok(near.below_nsid.is_some() && self.nsid(near_place, far_place)? == near.below_nsid)
    }

    /// The other ends of a link, in the namespaces that are known.
    pub fn peers(&mut self, place: usize, end: &End) -> Result<Vec<(usize, Known)>, Error> {
        let far = self.existing(end)?.1.clone();
        let mut found = Vec::new();
        for near_place in 0..self.places.len() {
            let is_peer = |near: &&Known| match &near.peer {
                Some((place_of, name)) => *place_of == place && *name == far.link.name,
                None => Some(near.link.index) == far.link.below,
            };
            // What may not be entered is nobody's to wire to.
            let Ok(links) = self.links(near_place) else { continue };
            let Some(near) = links.values().find(is_peer).cloned() else { continue };
            if self.are_peers(near_place, &near, place, &far)? {
                found.push((near_place, near));
            }
        }
        Ok(found)
    }

    /// What is at the other end of a port, with its addresses; `None` where that
    /// cannot be told.
    pub fn far(&mut self, place: usize, port: &Link) -> Result<Option<Link>, Error> {
        self.ask_far(place, port, |socket, index| link::link(socket, port.below_nsid, index))
    }

    /// Its addresses alone.
    pub fn far_addresses(&mut self, place: usize, port: &Link) -> Result<Vec<Address>, Error> {
        let asked = self.ask_far(place, port, |socket, index| link::addresses_of(socket, port.below_nsid, index));
        asked.map(Option::unwrap_or_default)
    }

    fn ask_far<T>(
        &mut self,
        place: usize,
        port: &Link,
        ask: impl Fn(&mut Socket, u32) -> Result<T, Refusal>,
    ) -> Result<Option<T>, Error> {
        let Some(index) = port.below.filter(|_| port.kind == "veth") else { return Ok(None) };
        match ask(self.socket(place)?, index) {
            Ok(found) => Ok(Some(found)),
            // Gone, or in a namespace of somebody else's.
            Err(refusal) if matches!(refusal.errno, libc::ENODEV | libc::EACCES | libc::EPERM | libc::EINVAL) => {
                Ok(None)
            }
            Err(refusal) => Err(self.unreadable(place, refusal)),
        }
    }

    /// The routes of the main table.
    pub fn routes(&mut self, place: usize) -> Result<&mut Vec<Route>, Error> {
        if self.places[place].routes.is_none() {
            let names: HashMap<u32, OsString> =
                self.links(place)?.values().map(|known| (known.link.index, known.link.name.clone())).collect();
            let found = link::routes(self.socket(place)?).map_err(|error| self.unreadable(place, error))?;
            let routes = found.into_iter().map(|(route, dev)| Route { dev: names.get(&dev).cloned(), ..route });
            self.places[place].routes = Some(routes.collect());
        }
        Ok(self.places[place].routes.as_mut().expect("they were read above"))
    }

    /// How much may leave by a link.
    pub fn rate(&mut self, place: usize, index: u32) -> Result<Rate, Error> {
        link::rate(self.socket(place)?, index).map_err(|error| self.unreadable(place, error))
    }

    /// Where a vxlan sends what it does not know the place of.
    pub fn remotes(&mut self, place: usize, name: &OsStr) -> Result<Vec<IpAddr>, Error> {
        let index = self.index(place, name)?;
        link::remotes(self.socket(place)?, index).map_err(|error| self.unreadable(place, error))
    }

    /// What is filtered in a namespace; nothing if it is yet to be made.
    pub fn policy(&mut self, place: usize) -> Result<Policy, Error> {
        if self.places[place].net.is_none() {
            return Ok(Policy::default());
        }
        self.enter(place)?;
        let read = match Socket::netfilter() {
            Err(error) if error.raw_os_error() == Some(libc::EPROTONOSUPPORT) => return Ok(Policy::default()),
            made => made.and_then(|mut socket| Policy::read(&mut socket).map_err(Into::into)),
        };
        match read {
            // Without nftables nothing is.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP)) => {
                Ok(Policy::default())
            }
            Err(error) => {
                let who = (error.raw_os_error() == Some(libc::EPERM)).then(|| self.net(place).who_may());
                let tried = format!("cannot read what is filtered in {}", self.place_name(place));
                Err(Error::new(tried).because(error).maybe_hint(who))
            }
            Ok(policy) => Ok(policy),
        }
    }

    /// What a file below /proc/sys/net says; `None` if the namespace or the
    /// link is yet to be made.
    pub fn sysctl(&mut self, place: usize, file: &Path) -> Result<Option<String>, Error> {
        if self.places[place].net.is_none() {
            return Ok(None);
        }
        self.enter(place)?;
        let path = Path::new("/proc/sys/net").join(file);
        match fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            read => Ok(Some(read.tried(|| format!("cannot read {path:?}"))?.trim().to_owned())),
        }
    }

    /// The number of a link, which may have been made since the last look.
    pub fn index(&mut self, place: usize, name: &OsStr) -> Result<u32, Error> {
        let there = self.links(place)?.get(name).map(|known| known.link.index).filter(|&index| index != 0);
        if let Some(index) = there {
            return Ok(index);
        }
        let found = link::without_addresses(self.socket(place)?, None);
        let found = found.map_err(|error| self.unreadable(place, error))?;
        let mut others = Vec::new();
        let known = self.links(place)?;
        for link in found.0.into_values() {
            if let Some(known) = known.get_mut(&link.name).filter(|known| known.link.index == 0) {
                known.link.index = link.index;
                (known.link.below, known.link.below_nsid) = (link.below, link.below_nsid);
                known.link.mac = known.link.mac.or(link.mac);
                others.extend(
                    known.master.as_ref().and(known.peer.clone().zip(link.below)).map(|peer| (peer, link.below_nsid)),
                );
            }
        }
        // A port says the number of the other end: of the one that it was made
        // with, if that is where it was made.
        for (((far, name), index), nsid) in others {
            if self.nsid(place, far)? == nsid
                && let Some(known) = self.links(far)?.get_mut(&name).filter(|known| known.link.index == 0)
            {
                known.link.index = index;
            }
        }
        let known = self.links(place)?;
        let found = known.get(name).map(|known| known.link.index).filter(|&index| index != 0);
        found.ok_or_else(|| {
            Error::new(format!("there is no {} any more", printable(std::os::unix::ffi::OsStrExt::as_bytes(name))))
        })
    }
}
