//! Who may reach whom: from what users declare to what is filtered.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use seal::Error;
use seal::cli::printable;

use crate::bridge::wires;
use crate::commit::{possible, speaks_stp};
use crate::declaration::Declaration;
use crate::edit::{Editor, fresh};
use crate::filter::Policy;
use crate::link::{Address, Mac};
use crate::plan::Planner;
use crate::step::{Phase, What};
use crate::words::End;
use crate::world::Known;

/// A change of who may reach whom in a namespace. Links are named.
#[derive(Clone, Debug)]
pub enum Edit {
    DenyAll {
        bridge: OsString,
        except_bridge: bool,
    },
    AllowAll {
        bridge: OsString,
    },
    Pair {
        sides: [Side; 2],
        allow: bool,
    },
    Bind {
        ports: Vec<OsString>,
        any: bool,
    },
    /// A new port of a bridge.
    Wired {
        bridge: OsString,
        port: OsString,
        /// Of what is at the port, where it was not there before.
        mac: Option<Mac>,
        addresses: Vec<IpAddr>,
    },
    /// What is at this port was given these addresses, too.
    Rebind {
        port: OsString,
        mac: Option<Mac>,
        addresses: Vec<IpAddr>,
    },
    Nat {
        bridge: OsString,
        out: OsString,
        forwarded: bool,
    },
    NoNat {
        bridge: OsString,
        out: OsString,
    },
    /// Links were deleted.
    Gone,
}

impl Edit {
    /// Pairs are of ports that are bound, and those of bridges where all is denied.
    fn order(&self) -> u8 {
        match self {
            Self::DenyAll { .. } | Self::AllowAll { .. } => 0,
            Self::Wired { .. } | Self::Rebind { .. } => 1,
            Self::Bind { .. } => 2,
            Self::Pair { .. } | Self::Nat { .. } | Self::NoNat { .. } => 3,
            Self::Gone => 4,
        }
    }
}

/// Whom a pair is about.
#[derive(Clone, Debug)]
pub enum Side {
    /// The bridge's own addresses.
    Bridge,
    /// What is at these ports.
    Ports(Vec<OsString>),
}

/// The edits of each namespace, with the lines that they stand in and what
/// `--dry-run` says of them.
#[derive(Default)]
pub struct Policies(BTreeMap<usize, Edits>);

type Edits = Vec<(Option<usize>, Edit, Option<String>)>;

impl Policies {
    pub fn add(&mut self, place: usize, line: Option<usize>, edit: Edit, says: Option<String>) {
        self.0.entry(place).or_default().push((line, edit, says));
    }
}

impl Planner<'_> {
    pub fn policy(&mut self, declaration: &Declaration) -> Result<(), Error> {
        let Some(bridge) = declaration.bridge() else { return Ok(()) };
        let bridge = self.bridge(bridge)?;
        let (place, name) = (self.world.place(&bridge.target)?, bridge.name.clone());
        match declaration {
            Declaration::DenyAll { except_bridge, .. } => {
                self.say(&bridge, "to be", if *except_bridge { "denied but for itself" } else { "denied" })?;
            }
            Declaration::AllowAll(_) => self.say(&bridge, "to be", "open")?,
            Declaration::Pair { sides, allow, .. } => {
                let mut sides: Vec<_> = sides.iter().map(|side| printable(side.as_bytes())).collect();
                sides.sort();
                self.say(&bridge, sides.join(" "), if *allow { "allowed" } else { "denied" })?;
            }
            _ => {}
        }
        let (edit, says) = match declaration {
            Declaration::DenyAll { except_bridge, .. } => {
                if speaks_stp(&self.world.existing(&bridge)?.1.link) {
                    return Err(Error::new(format!("{bridge} speaks STP, whose frames cannot be filtered"))
                        .hint(format!("ip link set {bridge} type bridge stp_state 0")));
                }
                let except = if *except_bridge { " but the bridge itself" } else { "" };
                (Edit::DenyAll { bridge: name, except_bridge: *except_bridge }, format!("deny all on {bridge}{except}"))
            }
            Declaration::AllowAll(_) => (Edit::AllowAll { bridge: name }, format!("allow all on {bridge}")),
            Declaration::Pair { sides, allow, .. } => {
                let words: Vec<_> = sides.iter().map(|side| printable(side.as_bytes())).collect();
                let says = format!("{} {} on {bridge}", if *allow { "allow" } else { "deny" }, words.join(" "));
                let sides = [self.side(place, &bridge, &sides[0])?, self.side(place, &bridge, &sides[1])?];
                if let [Side::Bridge, Side::Bridge] = sides {
                    return Err(Error::usage("the bridge reaches itself"));
                }
                (Edit::Pair { sides, allow: *allow }, says)
            }
            Declaration::Bind { side, any, .. } => {
                let Side::Ports(ports) = self.side(place, &bridge, side)? else {
                    return Err(Error::usage("the bridge itself is bound to nothing"));
                };
                let to = if *any { "any address" } else { "its addresses" };
                (Edit::Bind { ports, any: *any }, format!("bind {} of {bridge} to {to}", printable(side.as_bytes())))
            }
            Declaration::Nat { out, off, .. } => {
                let out = bridge.beside(out.clone());
                if let Some(master) = &self.world.existing(&out)?.1.master {
                    let master = printable(master.as_bytes());
                    return Err(Error::new(format!("{out} is a port of {master}, and no way out")));
                }
                if *off {
                    let edit = Edit::NoNat { bridge: name, out: out.name.clone() };
                    self.policies.add(
                        place,
                        self.line(),
                        edit,
                        Some(format!("no longer masquerade what leaves {bridge} by {out}")),
                    );
                    return Ok(());
                }
                let forwarded = self.forward(place, &bridge, &out)?;
                let edit = Edit::Nat { bridge: name, out: out.name.clone(), forwarded };
                (edit, format!("masquerade what leaves {bridge} by {out}"))
            }
            _ => return Ok(()),
        };
        self.policies.add(place, self.line(), edit, Some(says));
        Ok(())
    }

    /// Whom a word of `allow` means.
    fn side(&mut self, place: usize, bridge: &End, word: &OsStr) -> Result<Side, Error> {
        if word == "." {
            return Ok(Side::Bridge);
        }
        let is_end = word.as_bytes().contains(&b'@');
        let mut ports: Vec<Known> = wires(self.world.links(place)?, &bridge.name).cloned().collect();
        ports.sort_by(|one, other| one.link.name.cmp(&other.link.name));
        if !is_end && ports.iter().any(|port| port.link.name == word) {
            return Ok(Side::Ports(vec![word.to_owned()]));
        }
        let end = if is_end { Some(End::parse(word)?) } else { None };
        let target = end.as_ref().map_or(word, |end| &end.target);
        let hint = format!("nor is it a port of {bridge}");
        let far_place = self.world.place(target).map_err(|error| if is_end { error } else { error.or_hint(&hint) })?;
        let fars = self.world.links(far_place)?.clone();
        let by_index: HashMap<u32, _> = fars.values().map(|far| (far.link.index, far)).collect();
        let mut found = Vec::new();
        for port in ports {
            let far = match &port.peer {
                Some((_, name)) => fars.get(name),
                None => port.link.below.and_then(|below| by_index.get(&below).copied()),
            };
            let Some(far) = far.filter(|far| end.as_ref().is_none_or(|end| end.name == far.link.name)) else {
                continue;
            };
            if self.world.are_peers(place, &port, far_place, far)? {
                found.push(port.link.name);
            }
        }
        if found.is_empty() {
            return Err(Error::new(format!("{} is not wired to {bridge}", printable(word.as_bytes()))));
        }
        Ok(Side::Ports(found))
    }

    /// After `set` of what may be at a port of a bridge where all is denied.
    pub fn rebind(&mut self, place: usize, end: &End, mac: Option<Mac>, addresses: &[Address]) -> Result<(), Error> {
        let addresses: Vec<IpAddr> = addresses.iter().map(|address| address.ip).collect();
        let edit = |port: &OsStr| Edit::Rebind { port: port.to_owned(), mac, addresses: addresses.clone() };
        // Of a bridge's own, all that is filtered takes note.
        self.policies.add(place, self.line(), edit(&end.name), None);
        if self.world.peers(place, end)?.is_empty() && self.world.existing(end)?.1.link.kind == "veth" {
            // The bridge may be in a namespace that nobody has named.
            self.world.look_around()?;
        }
        for (near_place, near) in self.world.peers(place, end)? {
            if near.master.is_some() {
                self.policies.add(near_place, self.line(), edit(&near.link.name), None);
            }
        }
        Ok(())
    }

    /// Turns forwarding on for what comes by these two; whether `out` did it before.
    fn forward(&mut self, place: usize, bridge: &End, out: &End) -> Result<bool, Error> {
        let global = |address: &crate::link::Address| address.ip.is_ipv6() && !address.is_link_local();
        let has_ipv6 = self.world.existing(bridge)?.1.link.addresses.iter().any(global);
        let mut forwarded = true;
        for end in [out, bridge] {
            let name = Path::new(&end.name);
            let mut files = vec![Path::new("ipv4/conf").join(name).join("forwarding")];
            if has_ipv6 {
                // Since Linux 6.17 a link can forward while the others do not.
                let alone = Path::new("ipv6/conf/all/force_forwarding");
                let has = Path::new("/proc/sys/net").join(alone).exists();
                let of_link = Path::new("ipv6/conf").join(name).join("force_forwarding");
                files.push(if has { of_link } else { PathBuf::from("ipv6/conf/all/forwarding") });
            }
            for file in files {
                if self.world.sysctl(place, &file)?.as_deref() == Some("1") {
                    continue;
                }
                forwarded &= end != out;
                let says = format!("turn {} on", file.display());
                let there = |step: &crate::step::Step| matches!(&step.what, What::Sysctl { file: other, .. } if *other == file && step.place == place);
                if !self.steps.iter().any(there) {
                    self.step(Phase::After, place, What::Sysctl { file, value: "1" }, says);
                }
            }
        }
        Ok(forwarded)
    }

    /// The steps for all edits of each namespace: what is about links that are
    /// to be deleted goes after them, since without it they would be open.
    pub fn policies_last(&mut self) -> Result<(), Error> {
        for (place, mut edits) in std::mem::take(&mut self.policies.0) {
            edits.sort_by_key(|(_, edit, _)| edit.order());
            let quiet = |edit: &Edit| matches!(edit, Edit::Wired { .. } | Edit::Rebind { .. } | Edit::Gone);
            let quiet = edits.iter().all(|(_, edit, _)| quiet(edit));
            let before = match self.world.policy(place) {
                // Who may not look may not do the rest either, which says so better.
                Err(error) if quiet && error.errno() == libc::EPERM => continue,
                before => before?,
            };
            if quiet && before == Policy::default() {
                continue;
            }
            self.world.lock(place)?;
            let before = self.world.policy(place)?;
            let gone = edits.iter().position(|(_, edit, _)| matches!(edit, Edit::Gone)).unwrap_or(edits.len());
            let after = edits.split_off(gone);
            let policy = self.policy_step(Phase::Policy, place, &before, edits)?;
            if !after.is_empty() {
                self.policy_step(Phase::Swept, place, &policy, after)?;
            }
        }
        Ok(())
    }

    /// The step for these edits, if they change anything, and what they lead to.
    fn policy_step(&mut self, phase: Phase, place: usize, before: &Policy, edits: Edits) -> Result<Policy, Error> {
        let (mut says, mut all_there) = (Vec::new(), true);
        let fresh = fresh(edits.iter().map(|(_, edit, _)| edit));
        let mut editor = Editor { world: &mut *self.world, place, policy: before.clone(), planning: true, fresh };
        editor.refresh(false)?;
        for (line, edit, text) in &edits {
            self.line = *line;
            let old = text.as_ref().map(|_| editor.policy.clone());
            let resolved = editor.edit(edit)?;
            all_there &= resolved;
            says.extend(text.clone().filter(|_| !resolved || old.as_ref() != Some(&editor.policy)));
        }
        if all_there {
            editor.refresh(phase == Phase::Swept)?;
        }
        let policy = editor.policy;
        if !edits.is_empty() && (!all_there || policy != *before) {
            possible(self.world, place, &policy)?;
            self.line = edits[0].0;
            let edits = edits.into_iter().map(|(line, edit, _)| (line, edit)).collect();
            self.step(phase, place, What::Policy(edits), says.join("\n"));
        }
        Ok(policy)
    }
}
