//! Who may reach whom over the bridges of a network namespace: one table of
//! nftables for frames (`bridge netwire`) and one for what is routed (`inet
//! netwire`), made of sets whose lookups cost the same however much is in them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::link::Mac;

/// Stands for a bridge's own addresses where a port is meant.
pub const BRIDGE: u32 = u32::MAX;

/// All that is filtered in a network namespace. Links are named by their
/// numbers, which the kernel does not use again.
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
