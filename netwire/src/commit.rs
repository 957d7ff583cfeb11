//! Makes the kernel filter what a policy says.

use std::os::unix::ffi::OsStrExt;

use seal::cli::printable;
use seal::{Context, Error};

use crate::filter::{self, Policy};
use crate::link::Link;
use crate::request;
use crate::socket::{Socket, attributes_of, number};
use crate::world::World;

/// Makes the change from one to the other.
pub fn commit(world: &mut World, place: usize, from: &Policy, to: &Policy) -> Result<(), Error> {
    let cannot = |place: &str| format!("cannot filter in {place}");
    let name = world.place_name(place);
    world.enter(place)?;
    let mut socket = Socket::netfilter().tried(|| cannot(&name))?;
    let meta = filter::has_bridge_meta(&mut socket).tried(|| cannot(&name))?;
    Policy::change(from, to, meta, &mut socket).map_err(|refusal| {
        let says = refusal.says.clone();
        Error::new(cannot(&name)).because(refusal).maybe_hint(says)
    })
}

/// Fails where the kernel cannot tell the bridges of a namespace apart, and not
/// all of them are to be denied.
pub fn possible(world: &mut World, place: usize, to: &Policy) -> Result<(), Error> {
    if to.bridges.is_empty() || world.places[place].net.is_none() {
        return Ok(());
    }
    let cannot = || "cannot find out what can be filtered";
    world.enter(place)?;
    let meta =
        Socket::netfilter().tried(cannot).and_then(|mut socket| filter::has_bridge_meta(&mut socket).tried(cannot))?;
    if !meta {
        let others = world.links(place)?.values().filter(|known| known.link.kind == "bridge");
        let mut others = others.filter(|known| !to.bridges.contains_key(&known.link.index));
        if let Some(other) = others.next() {
            let other = printable(other.link.name.as_bytes());
            return Err(Error::new(format!(
                "this kernel cannot deny all on one of several bridges of a namespace, and {other} is another"
            ))
            .hint("modprobe nft_meta_bridge (CONFIG_NFT_BRIDGE_META), or give each bridge a namespace of its own"));
        }
    }
    Ok(())
}

/// Frames to 01:80:c2:00:00:0e teach a bridge where their sender is and are heard
/// by the machine itself without passing any hook, unless they are to be
/// forwarded: then they pass, and are dropped. Nor is what it has learned so far
/// to be trusted.
pub fn guard(world: &mut World, place: usize, from: &Policy, to: &Policy) -> Result<(), Error> {
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
    let cannot = format!("cannot set what the bridges of {} forward", world.place_name(place));
    for outcome in world.socket(place)?.ask(&mut requests).tried(|| cannot.clone())? {
        match outcome {
            // Deleted meanwhile.
            Err(refusal) if refusal.errno == libc::ENODEV => {}
            outcome => outcome.tried(|| cannot.clone())?,
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
