//! One thing to do, and what takes it back.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;

use crate::declaration::{Kind, NewLink, Route, Settings};
use crate::link::{Address, Mac, ip_of};
use crate::policy::Edit;
use crate::socket::{attributes_of, number};
use crate::words::Rate;

/// When it is done: links before what they are to have, who may reach whom
/// before ports come up, and bridges last, since every link that comes up
/// would tell all its neighbours.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Phase {
    Netns,
    Links,
    Wires,
    Upon,
    Inside,
    Policy,
    Ports,
    Bridges,
    After,
    Routes,
    /// What cannot be taken back as it was.
    Down,
    Delete,
    /// What is filtered for what was deleted.
    Swept,
}

/// A step.
pub struct Step {
    pub line: Option<usize>,
    pub phase: Phase,
    pub place: usize,
    pub what: What,
    /// What it does, as `--dry-run` tells it; empty for what belongs to another step.
    pub says: String,
}

/// What is done. Links are named: their numbers are not known before they are made.
pub enum What {
    Netns(OsString),
    Link(Box<Make>),
    Master {
        name: OsString,
        bridge: OsString,
    },
    /// No address of its own when it comes up, nor, of many, IPv6 at all.
    Quiet {
        name: OsString,
        many: bool,
    },
    Mac {
        name: OsString,
        mac: Mac,
        before: Option<Mac>,
    },
    Mtu {
        name: OsString,
        mtu: u32,
        before: u32,
    },
    Rate {
        name: OsString,
        rate: Rate,
        before: Rate,
    },
    Address {
        name: OsString,
        address: Address,
    },
    Remote {
        name: OsString,
        remote: IpAddr,
    },
    Up {
        name: OsString,
        up: bool,
    },
    /// A bridge that was made without looks into multicast.
    Snoop(OsString),
    Policy(Vec<(Option<usize>, Edit)>),
    /// This file below /proc/sys/net, as it is seen in the namespace.
    Sysctl {
        file: PathBuf,
        value: &'static str,
    },
    Route(Route),
    DelLink(OsString),
    DelNetns(OsString),
}

/// A link to make.
pub struct Make {
    pub name: OsString,
    pub kind: Kind,
    pub settings: Settings,
    /// Where it is to be.
    pub place: usize,
    /// The link in the step's namespace that it sits on.
    pub parent: Option<OsString>,
    /// The bridge of the step's namespace that it is a port of.
    pub master: Option<OsString>,
    /// The other end of a pair.
    pub peer: Option<(usize, OsString, Settings)>,
    /// Whether a bridge is to have many ports.
    pub large: bool,
}

impl Make {
    pub fn of(new: &NewLink, place: usize, parent: Option<OsString>) -> Self {
        Self {
            name: new.end.name.clone(),
            kind: new.kind.clone(),
            settings: new.settings.clone(),
            place,
            parent,
            master: None,
            peer: None,
            large: false,
        }
    }

    /// The driver, as the kernel calls it.
    pub fn driver(&self) -> &'static str {
        match self.kind {
            Kind::Bridge => "bridge",
            Kind::Veth { .. } | Kind::Wire { .. } => "veth",
            Kind::Macvlan { .. } => "macvlan",
            Kind::Ipvlan { .. } => "ipvlan",
            Kind::Vlan { .. } => "vlan",
            Kind::Vxlan { .. } => "vxlan",
            Kind::Tap { .. } => "tap",
            Kind::Dummy => "dummy",
        }
    }

    /// The module that has the driver, and its option in the kernel's configuration.
    pub fn module(&self) -> (&'static str, &'static str) {
        match self.driver() {
            "bridge" => ("bridge", "CONFIG_BRIDGE"),
            "veth" => ("veth", "CONFIG_VETH"),
            "macvlan" => ("macvlan", "CONFIG_MACVLAN"),
            "ipvlan" => ("ipvlan", "CONFIG_IPVLAN"),
            "vlan" => ("8021q", "CONFIG_VLAN_8021Q"),
            "vxlan" => ("vxlan", "CONFIG_VXLAN"),
            "tap" => ("tun", "CONFIG_TUN"),
            _ => ("dummy", "CONFIG_DUMMY"),
        }
    }
}

/// Whether the driver's attributes are those of this vxlan.
pub fn is_vxlan(data: &[u8], id: u32, local: IpAddr, port: u16) -> bool {
    const ID: u16 = 1;
    const LOCAL: u16 = 4;
    const PORT: u16 = 15;
    const LOCAL6: u16 = 17;
    attributes_of(data).all(|(kind, value)| match kind {
        ID => number(value) == id,
        LOCAL | LOCAL6 => ip_of(value) == Some(local),
        PORT => value == port.to_be_bytes(),
        _ => true,
    })
}
