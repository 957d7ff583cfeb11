//! For scripts.

use std::ffi::OsStr;

use serde::Serialize;

use super::survey::{Far, Row, Space, Survey, is_bridge};

#[derive(Serialize)]
struct JsonSpace {
    net: u64,
    name: String,
    path: Option<String>,
    pid: Option<i32>,
    command: Option<String>,
    container: bool,
    /// Why nothing is known of the links.
    error: Option<String>,
    links: Vec<JsonLink>,
}

#[derive(Serialize)]
struct JsonLink {
    name: String,
    index: u32,
    kind: Option<String>,
    mac: Option<String>,
    mtu: u32,
    up: bool,
    carrier: bool,
    addresses: Vec<String>,
    bridge: Option<String>,
    peer: Option<JsonEnd>,
    parent: Option<JsonEnd>,
}

/// `net` and `name` are null where the namespace was not found.
#[derive(Serialize)]
struct JsonEnd {
    net: Option<u64>,
    name: Option<String>,
    index: u32,
}

/// An array of namespaces, on one line.
pub fn render(survey: &Survey) -> String {
    let spaces: Vec<JsonSpace> = survey.shown().map(|space| of_space(survey, space)).collect();
    let text = serde_json::to_string(&spaces).expect("strings and numbers can be written as JSON");
    // JSON lets these pass, but a terminal takes some of them for the start of a sequence.
    let raw = |c: char| ('\x7f'..='\u{9f}').contains(&c);
    let escaped = |c: char| if raw(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    let text = if text.contains(raw) { text.chars().map(escaped).collect() } else { text };
    text + "\n"
}

fn text(text: &OsStr) -> String {
    text.to_string_lossy().into_owned()
}

fn of_space(survey: &Survey, space: &Space) -> JsonSpace {
    JsonSpace {
        net: space.inode,
        name: text(&space.label),
        path: space.path.as_ref().map(|path| text(path.as_os_str())),
        pid: space.holder.as_ref().map(|holder| holder.pid),
        command: space.holder.as_ref().map(|holder| text(&holder.command)),
        container: space.holder.as_ref().is_some_and(|holder| holder.container),
        error: space.closed.clone(),
        links: space.rows.iter().map(|row| of_row(survey, space, row)).collect(),
    }
}

fn of_row(survey: &Survey, space: &Space, row: &Row) -> JsonLink {
    let link = &row.link;
    let end = match row.far {
        Far::Nothing => None,
        Far::Elsewhere(index) => Some(JsonEnd { net: None, name: None, index }),
        Far::Link(end) => {
            let name = survey.row(end).map(|far| text(&far.link.name));
            Some(JsonEnd { net: Some(survey.spaces[end.space].inode), name, index: end.index })
        }
    };
    let (peer, parent) = if row.is_paired() { (end, None) } else { (None, end) };
    JsonLink {
        name: text(&link.name),
        index: link.index,
        kind: Some(link.kind.clone()).filter(|kind| !kind.is_empty()),
        mac: link.mac.map(|mac| mac.to_string()),
        mtu: link.mtu,
        up: link.up,
        carrier: link.carrier,
        addresses: link.addresses.iter().map(ToString::to_string).collect(),
        bridge: space.master_of(row).filter(|master| is_bridge(&master.link)).map(|master| text(&master.link.name)),
        peer,
        parent,
    }
}
