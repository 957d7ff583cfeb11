//! Who may reach whom over the bridges of a network namespace: one table of
//! nftables for frames (`bridge netwire`) and one for what is routed (`inet
//! netwire`), made of sets whose lookups cost the same however much is in them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use netlink_packet_netfilter::NetfilterProtoFamily as Family;

use crate::link::Mac;
use crate::socket::{Refusal, Socket};
use nft::{TABLE, Transaction};

mod nft;
mod ports;
mod rule;
mod rules;
mod sets;

/// Stands for a bridge's own addresses where a port is meant. No link has this
/// number, and a hook where a frame comes from no port, or goes to none, tells it.
pub const BRIDGE: u32 = 0;

/// All that is filtered in a network namespace. Links are named by their
/// numbers: each change drops what is about links that are gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// The bridges where all is denied that is not allowed, with their names.
    pub bridges: BTreeMap<u32, String>,
    /// Which of them are one and the same to users: `(bridge, bridge)` for each
    /// two that are wired together, and each with itself. Nothing is routed
    /// from one to the other.
    pub together: BTreeSet<(u32, u32)>,
    /// Those of them whose own addresses every port reaches.
    pub open: BTreeSet<u32>,
    /// The ports that lead to another bridge of the same whole.
    pub trunks: BTreeSet<u32>,
    /// The hardware addresses that a port may send from.
    pub macs: BTreeSet<(u32, Mac)>,
    /// The IPv4 addresses that a port may send from.
    pub ipv4: BTreeSet<(u32, Ipv4Addr)>,
    /// Likewise of IPv6.
    pub ipv6: BTreeSet<(u32, Ipv6Addr)>,
    /// The ports that may send from any address that is not another's.
    pub unbound: BTreeSet<u32>,
    /// The addresses of the bridges themselves, which no port may send from.
    pub own_macs: BTreeSet<Mac>,
    /// Likewise.
    pub own_ipv4: BTreeSet<Ipv4Addr>,
    /// Likewise.
    pub own_ipv6: BTreeSet<Ipv6Addr>,
    /// Who may send to whom: a port, or [`BRIDGE`], and a port, or [`BRIDGE`].
    pub pairs: BTreeSet<(u32, u32)>,
    /// What is masqueraded: what comes from this bridge and leaves by this link.
    pub nat: BTreeSet<(u32, u32)>,
    /// The links that forwarded nothing before: what comes in by them is
    /// forwarded only as an answer to what was masqueraded.
    pub uplinks: BTreeSet<u32>,
}

impl Policy {
    /// What is filtered in the namespace of this socket.
    pub fn read(socket: &mut Socket) -> Result<Self, Refusal> {
        loop {
            let before = sets::generation(socket)?;
            let policy = sets::read_all(socket)?;
            // The sets are told one by one: not of what was between two changes.
            if sets::generation(socket)? == before {
                return Ok(policy);
            }
        }
    }

    /// Makes of what is filtered, `from`, what has to be, all of it at once or
    /// nothing. `meta` says that there may be bridges that are left alone, for
    /// which the kernel has to have what [`has_bridge_meta`] finds out; else
    /// what is no port of these bridges can send nothing over any.
    ///
    /// Frames of LLDP pass by all hooks, and a bridge learns from them whose
    /// they say they are, unless it is told to forward them, which brings them
    /// here: bit 14 of IFLA_BR_GROUP_FWD_MASK, for every one of these bridges.
    pub fn change(from: &Self, to: &Self, meta: bool, socket: &mut Socket) -> Result<(), Refusal> {
        const FAMILIES: [Family; 2] = [Family::Bridge, Family::Inet];
        if from == to {
            return Ok(());
        }
        let mut transaction = Transaction::default();
        for family in FAMILIES {
            // Where nothing is denied, frames are none of its business.
            if !to.needs(family) {
                transaction.delete_table(family);
                continue;
            }
            transaction.table(family, TABLE);
            sets::SETS.iter().filter(|set| set.family == family).for_each(|set| transaction.set(family, &set.layout));
            rules::write(&mut transaction, family, meta, !from.nat.is_empty(), !to.nat.is_empty());
            let before = if from.needs(family) { from } else { &Self::default() };
            sets::change(family, before, to, &mut transaction);
        }
        transaction.send(socket)
    }
}

impl Policy {
    /// Whether it takes a table of this family.
    fn needs(&self, family: Family) -> bool {
        match family {
            Family::Bridge => !self.bridges.is_empty(),
            _ => !self.together.is_empty() || !self.nat.is_empty() || !self.uplinks.is_empty(),
        }
    }
}

/// Whether rules can tell one bridge from another (CONFIG_NFT_BRIDGE_META).
/// The transaction that finds out ends with what always fails, so that nothing
/// of it is ever there.
pub fn has_bridge_meta(socket: &mut Socket) -> Result<bool, Refusal> {
    let mut transaction = Transaction::default();
    rules::write_probe(&mut transaction, "netwire-probe");
    match transaction.send(socket) {
        Ok(()) => Ok(true),
        Err(refusal) => match refusal.errno {
            libc::EEXIST => Ok(true),
            libc::EOPNOTSUPP | libc::ENOENT | libc::EINVAL => Ok(false),
            _ => Err(refusal),
        },
    }
}
