//! `isolate` called `unshare` and `inject` called `nsenter`, compared with
//! util-linux's: one table of command lines, each of them given to both.
//!
//! What the command finds must be the same, unless the row says what differs
//! and why. What the installed util-linux cannot do is tested in `unshare.rs`
//! and `nsenter.rs` beside this directory.
#![forbid(unsafe_code)]

mod compare;
mod nsenter;
mod nsenter_errors;
mod row;
mod unshare;
mod unshare_errors;
mod unshare_ids;
mod world;

use compare::compare;
use row::Row;
use tests::{as_root, as_user};

const TABLES: [&[Row]; 5] =
    [unshare::ROWS, unshare_ids::ROWS, unshare_errors::ROWS, nsenter::ROWS, nsenter_errors::ROWS];

#[test]
fn ours_does_what_util_linuxs_does_for_root() {
    as_root(|who| compare(who, &TABLES));
}

#[test]
fn ours_does_what_util_linuxs_does_for_a_user() {
    as_user(|who| compare(who, &TABLES));
}

#[test]
fn the_table_is_wide() {
    let rows: Vec<_> = TABLES.iter().flat_map(|table| table.iter()).collect();
    assert!(rows.len() >= 250, "{} rows", rows.len());
    for (at, row) in rows.iter().enumerate() {
        let same = |other: &&&Row| (other.tool, other.args, other.under) == (row.tool, row.args, row.under);
        let twice = rows[at + 1..].iter().filter(same).any(|other| other.root && row.root || other.user && row.user);
        assert!(!twice, "twice in the table: {row:?}");
    }
}
