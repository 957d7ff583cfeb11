//! Which network namespaces there are, and who holds them.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use isolate::container;
use isolate::named::Named;
use isolate::namespace::NET;
use rustix::fs::stat;
use seal::{Context, Error};

use super::text;
use crate::net::{NAMED, Net};

/// A namespace and who holds it.
pub struct Found {
    /// The namespace.
    pub net: Net,
    /// Whether it is the caller's own.
    pub own: bool,
    /// Whether it was named as a target.
    pub asked: bool,
    /// The TARGET that leads to it.
    pub label: OsString,
    /// The file that holds it, in [`NAMED`] or as it was named.
    pub path: Option<PathBuf>,
    /// Who is in it, or supervises it.
    pub holder: Option<Holder>,
}

/// A process that holds a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its PID.
    pub pid: i32,
    /// Its name; of a container's supervisor the container's command.
    pub command: OsString,
    /// Whether it is a container's supervisor.
    pub container: bool,
}

impl Holder {
    /// What it is.
    pub fn what(&self) -> &'static str {
        if self.container { "container" } else { "process" }
    }

    /// In words: `process 42 sh`.
    pub fn shown(&self, utf8: bool) -> String {
        format!("{} {} {}", self.what(), self.pid, text::command(&self.command, utf8)).trim_end().to_owned()
    }
}

/// What /proc and [`NAMED`] say, by the inodes of the namespaces.
#[derive(Default)]
struct Seen {
    paths: HashMap<u64, PathBuf>,
    containers: HashMap<u64, Holder>,
    /// The processes with the lowest PIDs, but for this one.
    processes: BTreeMap<u64, i32>,
}

/// All that can be found, each once; those of `targets` have to be there.
pub fn all(targets: &[OsString]) -> Result<Vec<Found>, Error> {
    let here = Net::here()?;
    let seen = Seen::look(here.inode).tried(|| "cannot look for network namespaces")?;
    let mut found: BTreeMap<u64, Found> = BTreeMap::new();
    for target in targets {
        let net = Net::open(target)?;
        found.entry(net.inode).or_insert_with(|| seen.found(net, here.inode, Some(target)));
    }
    let own = here.inode;
    found.entry(own).or_insert_with(|| seen.found(here, own, None));
    let by_path = seen.paths.iter().map(|(&inode, path)| (inode, path.clone()));
    let by_pid = seen.processes.iter().map(|(&inode, pid)| (inode, format!("/proc/{pid}/ns/net").into()));
    for (inode, path) in by_path.chain(by_pid) {
        if found.contains_key(&inode) {
            continue;
        }
        // What is gone meanwhile is not there.
        let Some(net) = open(&path, inode)? else { continue };
        found.insert(inode, seen.found(net, own, None));
    }
    Ok(found.into_values().collect())
}

/// `None` if it is gone, another by now or not to be opened.
fn open(path: &Path, inode: u64) -> Result<Option<Net>, Error> {
    let cannot = || format!("cannot open {path:?}");
    match File::open(path) {
        Ok(file) => {
            let net = Net::of(file.into(), String::new(), String::new())?;
            Ok(Some(net).filter(|net| net.inode == inode))
        }
        Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => Err(error).tried(cannot),
        Err(_) => Ok(None),
    }
}

impl Seen {
    fn look(own: u64) -> io::Result<Self> {
        let mut seen = Self::default();
        let me = rustix::process::getpid().as_raw_nonzero().get();
        let mut pids: Vec<i32> = fs::read_dir("/proc")?
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|&pid| pid != me)
            .collect();
        pids.sort_unstable();
        for pid in pids {
            if let Some(inode) = inode_of(pid) {
                seen.processes.entry(inode).or_insert(pid);
            }
        }
        // Of a namespace that nobody else is in.
        seen.processes.entry(own).or_insert(me);
        let device = stat("/proc/self/ns/net")?.st_dev;
        for entry in fs::read_dir(NAMED).into_iter().flatten().flatten() {
            // Looked at, not opened: it may be a FIFO.
            let Ok(stat) = stat(entry.path()) else { continue };
            if stat.st_dev == device {
                let path = seen.paths.entry(stat.st_ino).or_insert_with(|| entry.path());
                // Of several names always the same.
                if entry.path() < *path {
                    *path = entry.path();
                }
            }
        }
        for container in container::all()? {
            let holder =
                Holder { pid: container.supervisor, command: container.command.join(OsStr::new(" ")), container: true };
            let supervisors = inode_of(container.supervisor);
            // One that shares its supervisor's network is not who holds it.
            if let Some(inode) = inside(container.supervisor).filter(|&inode| Some(inode) != supervisors) {
                seen.containers.entry(inode).or_insert(holder);
            }
        }
        Ok(seen)
    }

    fn found(&self, mut net: Net, own: u64, target: Option<&OsString>) -> Found {
        let own = net.inode == own;
        let named = self.paths.get(&net.inode);
        let asked_path = target.filter(|target| target.as_bytes().contains(&b'/'));
        let asked_pid = target.and_then(|target| digits(target.as_bytes().split(|&byte| byte == b':').next()?));
        let pid = asked_pid.or_else(|| self.processes.get(&net.inode).copied());
        let holder = self.containers.get(&net.inode).cloned().or_else(|| pid.map(process));
        let path = named.cloned().or_else(|| asked_path.map(PathBuf::from));
        let label = match (&path, &holder) {
            _ if own => ".".into(),
            (Some(path), _) => target_of(path),
            (None, Some(holder)) => holder.pid.to_string().into(),
            (None, None) => format!("net:[{}]", net.inode).into(),
        };
        // For errors; a target is called what the user calls it.
        if target.is_none() {
            net.shown = label.to_string_lossy().into_owned();
        }
        Found { own, asked: target.is_some(), label, path, holder, net }
    }
}

/// The word that names this file as a TARGET.
fn target_of(path: &Path) -> OsString {
    let name = path.strip_prefix(NAMED).ok().map(Path::as_os_str);
    // All digits mean a PID.
    name.filter(|name| name.as_bytes().iter().any(|byte| !byte.is_ascii_digit() && *byte != b':'))
        .unwrap_or(path.as_os_str())
        .to_owned()
}

fn process(pid: i32) -> Holder {
    let mut command = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    command.pop_if(|byte| *byte == b'\n');
    Holder { pid, command: OsString::from_vec(command), container: false }
}

fn inode_of(pid: i32) -> Option<u64> {
    NET.inode(u32::try_from(pid).ok()).ok()
}

/// The namespace of a container, whose init may be a reaper that lets nobody look into it.
fn inside(supervisor: i32) -> Option<u64> {
    let candidates = Named::parse(OsStr::new(&supervisor.to_string())).and_then(|named| named.candidates()).ok()?;
    candidates.into_iter().find_map(inode_of)
}

fn digits(bytes: &[u8]) -> Option<i32> {
    std::str::from_utf8(bytes).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()
}
