//! Namespaces, their links and what these are wired to, in the order in which
//! they are shown.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;

use seal::{Context, Error};

use super::find::{self, Found, Holder};
use super::{text, wires};
use crate::link::{Link, links};
use crate::net::Net;
use crate::socket::{Refusal, Socket};

/// A link, wherever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct End {
    /// Which of the survey's namespaces.
    pub space: usize,
    /// The link's number there.
    pub index: u32,
}

/// What a link is wired to, or sits on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Far {
    /// Nothing.
    #[default]
    Nothing,
    /// This link.
    Link(End),
    /// The link of this number in a namespace that was not found.
    Elsewhere(u32),
}

/// A link as it is shown.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// What the kernel tells of it.
    pub link: Link,
    /// What it is wired to, or sits on.
    pub far: Far,
    /// Where a vxlan floods to.
    pub remotes: Vec<IpAddr>,
    /// Under how many links it stands, as a port of theirs.
    pub depth: usize,
    /// Whether it is the last of the ports that it stands among.
    pub last: bool,
}

/// A network namespace.
#[derive(Clone, Debug, Default)]
pub struct Space {
    /// The inode that identifies it.
    pub inode: u64,
    /// Whether it is the caller's own.
    pub own: bool,
    /// Whether it was named as a target.
    pub asked: bool,
    /// The TARGET that leads to it.
    pub label: OsString,
    /// The file that holds it.
    pub path: Option<PathBuf>,
    /// The process that holds it.
    pub holder: Option<Holder>,
    /// Why nothing is known of its links.
    pub closed: Option<String>,
    /// Its links: each of them once, ports after what they are ports of.
    pub rows: Vec<Row>,
    /// How many links are left out.
    pub left_out: usize,
}

/// All that was found.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// The namespaces.
    pub spaces: Vec<Space>,
    /// Which of them are shown.
    pub shown: Vec<usize>,
}

impl Survey {
    /// Looks at every namespace that there is; shows those of `targets` and
    /// those that they are wired to, or else all.
    pub fn take(targets: &[OsString]) -> Result<Self, Error> {
        crate::net::open_many();
        let found = find::all(targets)?;
        let here = found.iter().position(|found| found.own).expect("the caller's own is always found");
        // Its own is not entered, which takes rights.
        let mut own = Socket::route().tried(|| "cannot open a netlink socket")?;
        let look = |found: &Found| Space::look(found, found.own.then_some(&mut own));
        let mut spaces = found.iter().map(look).collect::<Result<Vec<_>, _>>()?;
        let nets: Vec<&Net> = found.iter().map(|found| &found.net).collect();
        wires::find(&mut spaces, &nets, (here, own));
        // Who may not has nothing more to do there.
        let _ = nets[here].enter();
        Ok(Self::of(spaces, targets.is_empty()))
    }

    /// Puts these in order.
    pub fn of(mut spaces: Vec<Space>, all: bool) -> Self {
        for space in &mut spaces {
            space.arrange();
        }
        let mut shown: BTreeSet<usize> = (0..spaces.len()).filter(|&at| all || spaces[at].asked).collect();
        for space in spaces.iter().filter(|space| space.asked) {
            shown.extend(space.rows.iter().filter_map(Row::end).map(|end| end.space));
        }
        let far = (0..spaces.len())
            .filter(|&at| spaces[at].rows.iter().filter_map(Row::end).any(|end| spaces[end.space].asked));
        shown.extend(far);
        let mut shown: Vec<usize> = shown.into_iter().collect();
        shown.sort_by(|&a, &b| {
            let key = |at: usize| (!spaces[at].own, !spaces[at].has_bridge());
            key(a).cmp(&key(b)).then_with(|| text::natural(&spaces[a].label, &spaces[b].label))
        });
        Self { spaces, shown }
    }

    /// Leaves out what people do not look for: namespaces that have nothing but
    /// lo and no name, and where targets were given, what is not wired to them.
    pub fn for_people(mut self) -> Self {
        let asked: Vec<bool> = self.spaces.iter().map(|space| space.asked).collect();
        if asked.contains(&true) {
            for (space, _) in self.spaces.iter_mut().zip(&asked).filter(|(_, asked)| !**asked) {
                space.keep_wired_to(&asked);
            }
        } else {
            let spaces = &self.spaces;
            self.shown.retain(|&at| !spaces[at].is_bare());
        }
        self
    }

    /// The namespaces that are shown, in order.
    pub fn shown(&self) -> impl Iterator<Item = &Space> {
        self.shown.iter().map(|&at| &self.spaces[at])
    }

    /// The link that a row leads to, where that is in a picture.
    pub fn drawn_end(&self, row: &Row) -> Option<End> {
        let seen = |end: &End| {
            self.shown.contains(&end.space) && self.spaces[end.space].drawn().any(|far| far.link.index == end.index)
        };
        row.end().filter(seen)
    }

    /// The link at an end, unless it was left out.
    pub fn row(&self, end: End) -> Option<&Row> {
        self.spaces[end.space].row(end.index)
    }
}

impl Space {
    fn look(found: &Found, own: Option<&mut Socket>) -> Result<Self, Error> {
        let cannot = || format!("cannot look at the links of {:?}", found.label);
        let read = |socket: &mut Socket| rows(socket).tried(cannot);
        let rows = match own {
            Some(own) => read(own),
            None => found.net.enter().and_then(|()| read(&mut Socket::route().tried(cannot)?)),
        };
        let (rows, closed) = match rows {
            Ok(rows) => (rows, None),
            Err(error) if found.asked => return Err(error),
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        Ok(Self {
            inode: found.net.inode,
            own: found.own,
            asked: found.asked,
            label: found.label.clone(),
            path: found.path.clone(),
            holder: found.holder.clone(),
            closed,
            rows,
            left_out: 0,
        })
    }

    /// Bridges first, ports under what they are ports of, lo last.
    fn arrange(&mut self) {
        let rows = std::mem::take(&mut self.rows);
        let masters: BTreeSet<u32> = rows.iter().filter_map(|row| row.link.master).collect();
        let there: BTreeSet<u32> = rows.iter().map(|row| row.link.index).collect();
        let mut below: BTreeMap<Option<u32>, Vec<Row>> = BTreeMap::new();
        for row in rows {
            below.entry(row.link.master.filter(|master| there.contains(master))).or_default().push(row);
        }
        for rows in below.values_mut() {
            let rank = |link: &Link| (!masters.contains(&link.index) && !is_bridge(link), link.name == "lo");
            rows.sort_by(|a, b| {
                rank(&a.link).cmp(&rank(&b.link)).then_with(|| text::natural(&a.link.name, &b.link.name))
            });
        }
        self.place(None, 0, &mut below);
    }

    fn place(&mut self, under: Option<u32>, depth: usize, below: &mut BTreeMap<Option<u32>, Vec<Row>>) {
        let rows = below.remove(&under).unwrap_or_default();
        let count = rows.len();
        for (at, row) in rows.into_iter().enumerate() {
            let index = row.link.index;
            self.rows.push(Row { depth, last: at + 1 == count, ..row });
            self.place(Some(index), depth + 1, below);
        }
    }

    fn keep_wired_to(&mut self, asked: &[bool]) {
        let mut keep: BTreeSet<u32> = BTreeSet::new();
        // Ports come after what they are ports of.
        for row in self.rows.iter().rev() {
            if row.end().is_some_and(|end| asked[end.space]) || keep.contains(&row.link.index) {
                keep.extend([Some(row.link.index), row.link.master].into_iter().flatten());
            }
        }
        let before = self.rows.len();
        self.rows.retain(|row| keep.contains(&row.link.index));
        self.left_out = before - self.rows.len();
        self.arrange();
    }

    /// Whether it has nothing but lo, or nothing that may be seen, and only a process in it.
    fn is_bare(&self) -> bool {
        let nameless = self.path.is_none() && !self.holder.as_ref().is_some_and(|holder| holder.container);
        let nothing = self.rows.iter().all(|row| row.link.name == "lo");
        nothing && nameless && !self.own && !self.asked
    }

    /// The rows that a picture has: lo only where it is alone.
    pub fn drawn(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.link.name != "lo" || self.rows.len() == 1)
    }

    /// Whether others are wired together here.
    pub fn has_bridge(&self) -> bool {
        self.rows.iter().any(|row| is_bridge(&row.link))
    }

    /// The row of the link of this number.
    pub fn row(&self, index: u32) -> Option<&Row> {
        self.rows.iter().find(|row| row.link.index == index)
    }

    /// The link that a row's is a port of.
    pub fn master_of(&self, row: &Row) -> Option<&Row> {
        self.row(row.link.master?)
    }

    /// What a picture calls it.
    pub fn title(&self) -> String {
        if self.own { "here".to_owned() } else { text::safe(&self.label, true) }
    }

    /// Who holds it, in a few words, where its label stands beside them.
    pub fn held_by_shortly(&self) -> String {
        match &self.holder {
            Some(holder) if self.label == *holder.pid.to_string() => {
                format!("{} {}", holder.what(), text::command(&holder.command, true)).trim_end().to_owned()
            }
            Some(holder) => holder.shown(true),
            None => self.held_by(true),
        }
    }

    /// Who holds it: `/run/netns/web, process 42 sh`.
    pub fn held_by(&self, utf8: bool) -> String {
        let path = self.path.as_ref().filter(|path| path.as_os_str() != self.label);
        let path = path.map(|path| text::safe(path.as_os_str(), utf8));
        let holder = self.holder.as_ref().map(|holder| holder.shown(utf8));
        [path, holder].into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

impl Row {
    /// The link that it is wired to or sits on, where that was found.
    pub fn end(&self) -> Option<End> {
        match self.far {
            Far::Link(end) => Some(end),
            _ => None,
        }
    }

    /// Whether the other end is a peer, which leads here as this one leads there.
    pub fn is_paired(&self) -> bool {
        wires::is_paired(&self.link)
    }
}

/// Whether it is a bridge.
pub fn is_bridge(link: &Link) -> bool {
    link.kind == "bridge"
}

/// The links of the socket's namespace.
fn rows(socket: &mut Socket) -> Result<Vec<Row>, Refusal> {
    let links = links(socket, None)?.0.into_values();
    let mut rows: Vec<Row> = links.map(|link| Row { link, ..Row::default() }).collect();
    for row in rows.iter_mut().filter(|row| row.link.kind == "vxlan") {
        row.remotes = crate::link::remotes(socket, row.link.index)?;
    }
    Ok(rows)
}
