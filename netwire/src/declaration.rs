//! What is to be: one declaration is one command, or one line of a topology.

use std::ffi::OsString;
use std::fmt;
use std::net::IpAddr;

use seal::cli::printable;

use crate::link::{Address, Mac};
use crate::words::{End, Rate, Wanted};

/// A command, but for those that only look.
#[derive(Clone, Debug)]
pub enum Declaration {
    /// In a topology: TARGET has this name.
    Host { name: OsString, target: OsString },
    /// A named network namespace.
    Netns(OsString),
    /// A link.
    Link(Box<NewLink>),
    /// What a link that is there is to have.
    Set { end: End, settings: Settings, up: Option<bool> },
    /// A route; `dest` is `None` for all that has no other.
    Route { target: OsString, route: Route },
    /// lo is up.
    Lo(OsString),
    /// Nothing reaches anything over this bridge.
    DenyAll { bridge: End, except_bridge: bool },
    /// All reach all.
    AllowAll(End),
    /// These two reach one another, or no longer.
    Pair { bridge: End, sides: [OsString; 2], allow: bool },
    /// What is at this port may send from the addresses that it has now, or from any.
    Bind { bridge: End, side: OsString, any: bool },
    /// What leaves the bridge by this link gets that link's address, or no longer.
    Nat { bridge: End, out: OsString, off: bool },
    /// The link is not there.
    DelLink(End),
    /// The named network namespace is not there.
    DelNetns(OsString),
}

impl Declaration {
    /// The bridge, or what may be one, that it is about.
    pub fn bridge(&self) -> Option<&End> {
        match self {
            Self::Link(link) => match &link.kind {
                Kind::Bridge => Some(&link.end),
                Kind::Wire { bridge } | Kind::Vxlan { bridge, .. } => Some(bridge),
                _ => None,
            },
            Self::DenyAll { bridge, .. }
            | Self::Pair { bridge, .. }
            | Self::Bind { bridge, .. }
            | Self::Nat { bridge, .. } => Some(bridge),
            Self::AllowAll(bridge) | Self::DelLink(bridge) => Some(bridge),
            _ => None,
        }
    }
}

/// A link that is to be.
#[derive(Clone, Debug)]
pub struct NewLink {
    /// Its name and namespace.
    pub end: End,
    /// What it is.
    pub kind: Kind,
    /// What it is to have.
    pub settings: Settings,
    /// Gateways of default routes.
    pub via: Vec<IpAddr>,
}

/// The kinds of links.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A bridge.
    Bridge,
    /// A pair; the other end has settings of its own.
    Veth { peer: End, settings: Settings },
    /// A pair whose other end is a port of this bridge.
    Wire { bridge: End },
    /// A link on top of another that has an own hardware address.
    Macvlan { parent: End, mode: u32 },
    /// Likewise with its parent's.
    Ipvlan { parent: End, mode: u16 },
    /// The frames of another link with this tag (IEEE 802.1Q).
    Vlan { parent: End, id: u16 },
    /// A port of this bridge that leads to other machines (RFC 7348).
    Vxlan { bridge: End, id: u32, local: IpAddr, remotes: Vec<IpAddr>, port: u16 },
    /// One whose frames a program reads and writes.
    Tap { owner: Option<u32>, bridge: Option<OsString> },
    /// One that swallows everything.
    Dummy,
}

/// What links of every kind can have.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Addresses, to be there beside what is there.
    pub addresses: Vec<Wanted>,
    /// The hardware address.
    pub mac: Option<Mac>,
    /// The longest packet, in bytes.
    pub mtu: Option<u32>,
    /// How much may leave in a second.
    pub rate: Option<Rate>,
}

/// A route of the main table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where to; of prefix 0 if it is the default.
    pub to: Address,
    /// The next router.
    pub via: Option<IpAddr>,
    /// The interface.
    pub dev: Option<OsString>,
    /// The less, the sooner it is taken.
    pub metric: Option<u32>,
}

impl Route {
    /// Whether this one, which is there, is what `wanted` asks for.
    pub fn is_what_is_wanted(&self, wanted: &Self) -> bool {
        self.to == wanted.to
            && self.via == wanted.via
            && (wanted.dev.is_none() || self.dev == wanted.dev)
            && (wanted.metric.is_none() || self.metric == wanted.metric)
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.to.prefix == 0 {
            write!(f, "default")?
        } else {
            write!(f, "{}", self.to)?
        }
        if let Some(via) = self.via {
            write!(f, " via {via}")?;
        }
        if let (Some(dev), None) = (&self.dev, self.via) {
            write!(f, " dev {}", printable(dev.as_encoded_bytes()))?;
        }
        self.metric.map_or(Ok(()), |metric| write!(f, " metric {metric}"))
    }
}
