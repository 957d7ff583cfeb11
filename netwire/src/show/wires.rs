//! Which link leads where. The kernel tells of a link the number of its other
//! end, which is that of many, and a number for the namespace that this is in,
//! which only the link's own namespace knows. The kernel is asked whether that
//! number means a namespace (rtnetlink(7), RTM_GETNSID), for those that may be it.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use super::survey::{End, Far, Space};
use crate::link::Link;
use crate::net::Net;
use crate::socket::Socket;

/// Whether its other end leads back to it.
pub fn is_paired(link: &Link) -> bool {
    matches!(link.kind.as_str(), "veth" | "netkit" | "vxcan")
}

/// Whether it sits on another link.
fn is_stacked(link: &Link) -> bool {
    const KINDS: [&str; 7] = ["macvlan", "macvtap", "ipvlan", "ipvtap", "vlan", "macsec", "hsr"];
    KINDS.contains(&link.kind.as_str())
}

/// Which namespaces have which links, and what the kernel said of them.
struct Search<'a> {
    nets: &'a [&'a Net],
    /// Those with a link of this number.
    with_link: HashMap<u32, Vec<usize>>,
    /// The paired links of this number whose other end has that one.
    pairs: HashMap<(u32, u32), Vec<usize>>,
    /// What a namespace's numbers mean.
    known: HashMap<(usize, i32), usize>,
    /// The caller's own, with a socket in it.
    own: Option<(usize, Socket)>,
    /// Where parents were found, the latest last: they mostly are in one place.
    parents: Vec<usize>,
}

/// Finds out for the links of all `spaces`, which are those of `nets`, what is
/// at their other ends. `own` is the caller's own, which it may be unable to
/// enter, and a socket in it.
pub fn find(spaces: &mut [Space], nets: &[&Net], own: (usize, Socket)) {
    let mut search = Search::new(spaces, nets, own);
    for (at, space) in spaces.iter_mut().enumerate() {
        let numbers: HashSet<u32> = space.rows.iter().map(|row| row.link.index).collect();
        for row in &mut space.rows {
            row.far = match row.link.below {
                Some(below) if row.link.below_nsid.is_some() && leads(&row.link) => Far::Elsewhere(below),
                Some(below) if below != row.link.index && numbers.contains(&below) => {
                    Far::Link(End { space: at, index: below })
                }
                _ => Far::Nothing,
            };
        }
    }
    // Those first from which most wires lead away: what they tell need not be asked at the other ends.
    let mut order: Vec<usize> = (0..spaces.len()).collect();
    order.sort_by_key(|&at| Reverse(spaces[at].rows.iter().filter(|row| row.link.below_nsid.is_some()).count()));
    for at in order {
        search.join(spaces, at);
    }
}

/// Of a tunnel, what is told is itself.
fn leads(link: &Link) -> bool {
    is_paired(link) || is_stacked(link) || link.below.is_some_and(|below| below != link.index && below != 0)
}

impl<'a> Search<'a> {
    fn new(spaces: &[Space], nets: &'a [&'a Net], own: (usize, Socket)) -> Self {
        let (mut with_link, mut pairs) = (HashMap::<_, Vec<_>>::new(), HashMap::<_, Vec<_>>::new());
        for (at, space) in spaces.iter().enumerate() {
            for link in space.rows.iter().map(|row| &row.link) {
                with_link.entry(link.index).or_default().push(at);
                if let (Some(below), true, Some(_)) = (link.below, is_paired(link), link.below_nsid) {
                    pairs.entry((link.index, below)).or_default().push(at);
                }
            }
        }
        Self { nets, with_link, pairs, known: HashMap::new(), own: Some(own), parents: Vec::new() }
    }

    /// Finds the other ends of what is in one namespace.
    fn join(&mut self, spaces: &mut [Space], at: usize) {
        let mut socket = self.own.take_if(|(own, _)| *own == at).map(|(_, socket)| socket);
        for row in 0..spaces[at].rows.len() {
            let Far::Elsewhere(below) = spaces[at].rows[row].far else { continue };
            let link = &spaces[at].rows[row].link;
            let (index, paired, Some(nsid)) = (link.index, is_paired(link), link.below_nsid) else { continue };
            let found = match self.known.get(&(at, nsid)) {
                Some(&known) => Some(known),
                None => {
                    // In most namespaces there is nothing left to ask.
                    let Some(socket) = self.socket(&mut socket, at) else { return };
                    self.ask(spaces, socket, End { space: at, index }, (below, paired), nsid)
                }
            };
            let Some(found) = found else { continue };
            self.known.insert((at, nsid), found);
            let Some(far) = spaces[found].rows.iter_mut().find(|row| row.link.index == below) else { continue };
            if paired {
                if far.link.below != Some(index) {
                    continue;
                }
                if let Some(back) = far.link.below_nsid {
                    self.known.insert((found, back), at);
                }
                far.far = Far::Link(End { space: at, index });
            }
            spaces[at].rows[row].far = Far::Link(End { space: found, index: below });
        }
    }

    fn socket<'s>(&self, socket: &'s mut Option<Socket>, at: usize) -> Option<&'s mut Socket> {
        if socket.is_none() {
            self.nets[at].enter().ok()?;
            *socket = Socket::route().ok();
        }
        socket.as_mut()
    }

    /// Which namespace is the one that `from`'s calls `nsid`: those are asked for
    /// that have the link that it leads to.
    fn ask(
        &mut self,
        spaces: &[Space],
        socket: &mut Socket,
        from: End,
        (below, paired): (u32, bool),
        nsid: i32,
    ) -> Option<usize> {
        let is_it = |candidate: &usize, socket: &mut Socket| {
            *candidate != from.space && crate::link::nsid(socket, self.nets[*candidate]).ok().flatten() == Some(nsid)
        };
        if paired {
            let candidates = self.pairs.get(&(below, from.index))?;
            let leads_nowhere = |at: &usize| {
                spaces[*at].rows.iter().any(|row| row.link.index == below && matches!(row.far, Far::Elsewhere(_)))
            };
            let mut candidates: Vec<usize> = candidates.iter().copied().filter(leads_nowhere).collect();
            // What was made together has inodes close to each other.
            candidates.sort_by_key(|&at| spaces[at].inode.abs_diff(spaces[from.space].inode));
            return candidates.into_iter().find(|candidate| is_it(candidate, socket));
        }
        let candidates = self.with_link.get(&below)?;
        let found = self.parents.iter().rev().chain(candidates).copied().find(|candidate| is_it(candidate, socket))?;
        if self.parents.last() != Some(&found) {
            self.parents.retain(|parent| *parent != found);
            self.parents.push(found);
        }
        Some(found)
    }
}
