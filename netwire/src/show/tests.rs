//! What is drawn of surveys that are made by hand.

use std::net::{IpAddr, Ipv4Addr};

use super::layout::{Picture, place};
use super::survey::{End, Far, Row, Space, Survey};
use super::{dot, json, svg, tree};
use crate::link::{Address, Link};

/// A link with an address of its number, up.
fn link(index: u32, name: &str, kind: &str) -> Row {
    let ip = IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 | index));
    let addresses = vec![Address { ip, prefix: 8 }];
    let (name, kind) = (name.into(), kind.into());
    let link = Link { index, name, kind, mtu: 1500, up: true, carrier: true, addresses, ..Link::default() };
    Row { link, ..Row::default() }
}

fn space(inode: u64, label: &str, rows: Vec<Row>) -> Space {
    Space { inode, label: label.into(), path: Some(format!("/run/netns/{label}").into()), rows, ..Space::default() }
}

fn wire(spaces: &mut [Space], [a, b]: [(usize, u32); 2]) {
    for ((space, index), (far, there)) in [(a, b), (b, a)] {
        let mut rows = spaces[space].rows.iter_mut();
        let row = rows.find(|row| row.link.index == index).unwrap();
        row.far = Far::Link(End { space: far, index: there });
    }
}

/// A bridge with `hosts`, of which each two neighbours are wired to each other
/// as well; a second bridge wired to the first; a macvlan; one with nothing.
fn lab(hosts: usize) -> Survey {
    let mut near = vec![link(1, "lo", ""), link(2, "br0", "bridge"), link(3, "eth1", "")];
    let mut spaces = vec![Space { own: true, path: None, ..space(100, ".", vec![]) }];
    for host in 0..hosts {
        let mut port = link(10 + host as u32, &format!("h{host}-eth0"), "veth");
        port.link.master = Some(2);
        near.push(port);
        let rows = vec![link(1, "lo", ""), link(2, "eth0", "veth"), link(3, "x0", "veth"), link(4, "x1", "veth")];
        spaces.push(space(200 + host as u64, &format!("h{host}"), rows));
    }
    near.push(link(5, "up", "veth"));
    spaces[0].rows = near;
    let mut port = link(3, "port", "veth");
    port.link.master = Some(2);
    spaces.push(space(101, "other", vec![link(2, "br0", "bridge"), port]));
    let mut macvlan = link(2, "m0", "macvlan");
    macvlan.far = Far::Link(End { space: 0, index: 3 });
    spaces.push(space(102, "probe", vec![macvlan]));
    spaces.push(space(103, "alone", vec![link(1, "lo", "")]));
    for host in 0..hosts {
        wire(&mut spaces, [(0, 10 + host as u32), (1 + host, 2)]);
        if host > 0 {
            wire(&mut spaces, [(host, 3), (1 + host, 4)]);
        }
    }
    wire(&mut spaces, [(0, 5), (1 + hosts, 3)]);
    Survey::of(spaces, true)
}

fn overlaps(picture: &Picture) -> Vec<(usize, usize)> {
    let all = &picture.boxes;
    let apart = |a: usize, b: usize| {
        let (a, b) = (&all[a], &all[b]);
        a.x + a.width < b.x || b.x + b.width < a.x || a.y + a.height < b.y || b.y + b.height < a.y
    };
    let pairs = (0..all.len()).flat_map(|b| (0..b).map(move |a| (a, b)));
    pairs.filter(|&(a, b)| !apart(a, b)).collect()
}

#[test]
fn everything_has_a_place_of_its_own() {
    for hosts in [0, 1, 4, 40, 200] {
        let survey = lab(hosts);
        let picture = place(&survey);
        assert_eq!(picture.boxes.len(), hosts + 4);
        assert_eq!(overlaps(&picture), [], "{hosts} hosts");
        for frame in &picture.boxes {
            assert!(frame.x >= 0 && frame.x + frame.width <= picture.width);
            assert!(frame.y >= 0 && frame.y + frame.height <= picture.height);
            let rows: Vec<i32> = frame.lines.iter().map(|line| line.y).collect();
            assert!(rows.windows(2).all(|pair| pair[1] - pair[0] >= 20), "{rows:?}");
            assert!(rows.last().is_some_and(|last| last + 10 <= frame.height));
        }
    }
}

#[test]
fn wires_end_at_their_rows() {
    let survey = lab(9);
    let picture = place(&survey);
    assert_eq!(picture.wires.len(), 9 + 8 + 1 + 1);
    let mut straight = 0;
    for wire in &picture.wires {
        for (end, (x, y)) in wire.ends.into_iter().zip(wire.at) {
            let frame = picture.boxes.iter().find(|frame| frame.space == end.space).unwrap();
            let line = frame.lines.iter().find(|line| line.index == end.index).unwrap();
            assert_eq!(y, frame.y + line.y);
            assert!(x == frame.x || x == frame.x + frame.width);
        }
        straight += usize::from(wire.at[0].1 == wire.at[1].1);
    }
    // All that lead from the first column to the next.
    assert_eq!(straight, 9 + 1);
}

#[test]
fn a_tree() {
    let expected = "\
.
  br0         up  10.0.0.2/8 (bridge)
  |- h0-eth0  up  10.0.0.10/8 -- eth0@h0 10.0.0.2/8
  `- h1-eth0  up  10.0.0.11/8 -- eth0@h1 10.0.0.2/8
  eth1        up  10.0.0.3/8
  up          up  10.0.0.5/8 -- port@other 10.0.0.3/8
  lo          up  10.0.0.1/8
";
    let text = tree::render(&lab(2), false);
    assert_eq!(text.split("\n\n").next().unwrap().trim_end(), expected.trim_end());
    assert!(text.contains("\nprobe (/run/netns/probe)\n  m0  up  10.0.0.2/8 on eth1@. (macvlan)\n"), "{text}");
    assert!(tree::render(&lab(2), true).contains("  ├ h0-eth0  up  10.0.0.10/8 ─ eth0@h0 10.0.0.2/8\n"));
}

#[test]
fn names_stay_names() {
    let mut survey = lab(1);
    let hostile = "\x1b]0;\"<&>\u{202e}";
    survey.spaces[1].label = hostile.into();
    survey.spaces[1].rows[0].link.name = hostile.into();
    for text in [tree::render(&survey, true), tree::render(&survey, false), dot::render(&survey), svg::render(&survey)]
    {
        assert!(!text.contains(['\x1b', '\u{202e}']), "{text}");
    }
    assert!(dot::render(&survey).contains("label=\"\\\\u{1b}]0;\\\"<&amp;>"));
    assert!(svg::render(&survey).contains(">\\u{1b}]0;&quot;&lt;&amp;&gt;\\u{202e}<"));
    assert!(json::render(&survey).contains("\"name\":\"\\u001b]0;\\\"<&>"));
}

#[test]
fn of_one_that_was_asked_for_what_is_wired_to_it() {
    let mut spaces = lab(5).spaces;
    spaces[5].asked = true;
    let survey = Survey::of(spaces, false).for_people();
    let shown: Vec<_> = survey.shown().map(|space| (space.label.to_str().unwrap(), space.left_out)).collect();
    assert_eq!(shown, [(".", 7), ("h3", 3), ("h4", 0)]);
    let names: Vec<_> = survey.spaces[0].rows.iter().map(|row| row.link.name.to_str().unwrap()).collect();
    assert_eq!(names, ["br0", "h4-eth0"]);
}
