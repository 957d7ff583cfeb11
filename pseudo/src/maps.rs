//! The two maps of a user namespace: the defaults, what a user asked for, and
//! writing them.

use std::ffi::OsStr;
use std::fs;
use std::process::{Child, Command};

use nix::errno::Errno;
use seal::{Context, Error};

use crate::idmap::{Extent, IdMap};
use crate::subid::{self, Range};
use crate::{Caller, userns_hint};

/// The uid map and the gid map of a new user namespace; an empty one is left
/// unwritten.
#[derive(Clone, Debug)]
pub struct Maps {
    /// User ids.
    pub uid: IdMap,
    /// Group ids.
    pub gid: IdMap,
}

impl Maps {
    /// What `caller` gets if nothing is asked for.
    ///
    /// A privileged caller: 0 onto its highest id, every other id onto itself,
    /// since uid 0 still owns much of /proc and /sys. Anyone else: 0 onto
    /// oneself, then 1, 2, … onto the ranges of /etc/subuid and /etc/subgid in
    /// file order; without those, or without `newuidmap`, that one id alone.
    pub fn default_for(caller: &Caller) -> Result<Self, Error> {
        if caller.privileged {
            return Ok(Self { uid: shifted_root(&caller.uids), gid: shifted_root(&caller.gids) });
        }
        let names = subid::names(caller.uid);
        // In a user namespace that has not got them, no one could map them.
        let ranges = |file, have: &IdMap| -> Vec<Range> {
            let within = |range: &Range| have.covers(&Extent { inside: 0, outside: range.start, count: range.count });
            subid::ranges(file, &names).into_iter().filter(within).collect()
        };
        let (uids, gids) = (ranges("/etc/subuid", &caller.uids), ranges("/etc/subgid", &caller.gids));
        // Both or none: a lone gid map would let setgroups through for uids that are not there.
        let delegated = !uids.is_empty() && !gids.is_empty() && helper("newuidmap").and(helper("newgidmap")).is_ok();
        let map = |own, ranges: &[Range]| own_then(own, if delegated { ranges } else { &[] });
        Ok(Self { uid: map(caller.uid, &uids), gid: map(caller.gid, &gids) })
    }

    /// The defaults of `caller`, each replaced by the MAP given for it.
    ///
    /// Fails where a MAP is malformed, maps ids that are not delegated to
    /// `caller`, or leaves inner 0 unmapped.
    pub fn requested(caller: &Caller, uid: Option<&OsStr>, gid: Option<&OsStr>) -> Result<Self, Error> {
        let mut maps = match (uid, gid) {
            (Some(_), Some(_)) => Self { uid: IdMap::default(), gid: IdMap::default() },
            _ => Self::default_for(caller)?,
        };
        if let Some(text) = uid {
            maps.uid = checked(text, caller, "uid", caller.uid, &caller.uids)?;
        }
        if let Some(text) = gid {
            maps.gid = checked(text, caller, "gid", caller.gid, &caller.gids)?;
        }
        Ok(maps)
    }

    /// Writes the maps of process `pid` (as /proc numbers it here), whose user
    /// namespace is new and a child of ours: directly if the kernel allows
    /// that, else by `newuidmap` and `newgidmap`, which run at the same time.
    pub fn write(&self, caller: &Caller, pid: u32) -> Result<(), Error> {
        if caller.privileged || self.is_own(caller) {
            return self.write_directly(pid, caller.privileged);
        }
        let uid = spawn("newuidmap", pid, &self.uid)?;
        let gid = spawn("newgidmap", pid, &self.gid);
        wait("newuidmap", uid)?;
        wait("newgidmap", gid?)
    }

    /// As [`Maps::write`], without helpers. Unless `privileged` over the parent
    /// user namespace, setgroups(2) is denied inside: a group could be dropped
    /// to gain what it is denied (CVE-2014-8989).
    pub fn write_directly(&self, pid: u32, privileged: bool) -> Result<(), Error> {
        if !privileged {
            write(pid, "setgroups", "deny")?;
        }
        write_unless_empty(pid, "uid_map", &self.uid)?;
        write_unless_empty(pid, "gid_map", &self.gid)
    }

    /// Whether writing them denies setgroups(2) inside.
    pub fn denies_setgroups(&self, caller: &Caller) -> bool {
        !caller.privileged && self.is_own(caller)
    }

    /// Whether only the caller's own ids are mapped, which needs no privilege.
    fn is_own(&self, caller: &Caller) -> bool {
        let own = |map: &IdMap, id| matches!(map.extents(), [one] if one.outside == id && one.count == 1);
        own(&self.uid, caller.uid) && own(&self.gid, caller.gid)
    }
}

/// 0 onto the highest id that there is, every other id onto itself.
fn shifted_root(ids: &IdMap) -> IdMap {
    // The initial namespace shows 4294967295 ids, so its last id is 4294967294.
    let highest = ids.extents().iter().map(|extent| extent.inside + (extent.count - 1)).max().unwrap_or(0);
    let mut extents = vec![Extent { inside: 0, outside: highest, count: 1 }];
    for extent in ids.extents() {
        let first = extent.inside.max(1);
        let end = (extent.inside + (extent.count - 1)).min(highest.saturating_sub(1));
        if first <= end {
            extents.push(Extent { inside: first, outside: first, count: end - first + 1 });
        }
    }
    IdMap::new(extents)
}

fn own_then(own: u32, ranges: &[Range]) -> IdMap {
    let mut extents = vec![Extent { inside: 0, outside: own, count: 1 }];
    let mut inside = 1u32;
    for range in ranges {
        let Some(next) = inside.checked_add(range.count) else { break };
        extents.push(Extent { inside, outside: range.start, count: range.count });
        inside = next;
    }
    IdMap::new(extents)
}

fn checked(text: &OsStr, caller: &Caller, kind: &str, own: u32, have: &IdMap) -> Result<IdMap, Error> {
    let map = IdMap::parse(text)?;
    let file = format!("/etc/sub{kind}");
    let ranges = if caller.privileged { Vec::new() } else { subid::ranges(&file, &subid::names(caller.uid)) };
    let delegated = |extent: &Extent| {
        if caller.privileged {
            return have.covers(extent);
        }
        let within = |range: &Range| {
            let offset = extent.outside.checked_sub(range.start);
            offset.is_some_and(|offset| u64::from(offset) + u64::from(extent.count) <= range.count.into())
        };
        (extent.outside == own && extent.count == 1) || ranges.iter().any(within)
    };
    if let Some(extent) = map.extents().iter().find(|extent| !delegated(extent)) {
        let error = Error::new(format!("map {text:?}: \"{extent}\" maps {kind}s that are not delegated to you"));
        return Err(if caller.privileged {
            error.hint(format!("this user namespace does not have them: /proc/self/{kind}_map"))
        } else {
            error.hint(format!("yours are {own} and those in {file}"))
        });
    }
    if map.outside(0).is_none() {
        return Err(Error::new(format!("map {text:?}: nothing is mapped to {kind} 0")));
    }
    Ok(map)
}

fn write_unless_empty(pid: u32, file: &str, map: &IdMap) -> Result<(), Error> {
    if map.extents().is_empty() { Ok(()) } else { write(pid, file, &lines(map)) }
}

fn lines(map: &IdMap) -> String {
    map.extents().iter().map(|e| format!("{} {} {}\n", e.inside, e.outside, e.count)).collect()
}

fn write(pid: u32, file: &str, text: &str) -> Result<(), Error> {
    let path = format!("/proc/{pid}/{file}");
    fs::write(&path, text).map_err(|source| {
        let errno = source.raw_os_error().filter(|&errno| errno != Errno::EINVAL as i32);
        let hint = userns_hint(errno.unwrap_or(0));
        Error::new(format!("cannot write {file} {:?}", text.trim_end())).because(source).maybe_hint(hint)
    })
}

fn helper(program: &str) -> Result<(), Error> {
    seal::memfd::find(program.as_ref()).map(|_| ())
}

/// `None` where there is nothing to write.
fn spawn(program: &str, pid: u32, map: &IdMap) -> Result<Option<Child>, Error> {
    if map.extents().is_empty() {
        return Ok(None);
    }
    let numbers = map.extents().iter().flat_map(|e| [e.inside, e.outside, e.count]).map(|number| number.to_string());
    Command::new(program).arg(pid.to_string()).args(numbers).spawn().map(Some).map_err(|source| {
        let missing = source.raw_os_error() == Some(Errno::ENOENT as i32);
        Error::new(format!("cannot run {program}"))
            .because(source)
            .maybe_hint(missing.then_some("it comes with shadow's uidmap package"))
    })
}

fn wait(program: &str, child: Option<Child>) -> Result<(), Error> {
    let Some(mut child) = child else { return Ok(()) };
    let status = child.wait().tried(|| format!("cannot wait for {program}"))?;
    if status.success() {
        return Ok(());
    }
    Err(Error::new(format!("{program} refused the map: {status}")).hint(
        "it must be set-uid root or have its file capability, and the ranges must be in /etc/subuid and /etc/subgid",
    ))
}
