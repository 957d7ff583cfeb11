//! Make namespaces, and run a command in them: what `isolate` does.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};
use pseudo::wanted::{Kind, combined};
use pseudo::{Caller, Maps, userns_hint};
use seal::exec::Environment;
use seal::{Context, Error};

use crate::called::Called;
use crate::channel::{Channel, Message};
use crate::fork::{Leash, fork};
use crate::mounts::{self, Binfmt};
use crate::options::{Id, Options};
use crate::outside::{Job, Outside};
use crate::{clock, credentials, loopback, namespace, persist};

/// Becomes the command, or waits for it where it is a child; then gives its status.
pub fn run(options: &Options, called: &Called) -> Result<u8, Error> {
    if called.theirs {
        // unshare gives SIGCHLD its default, for its command too.
        seal::forget_ignored_children();
    }
    if options.namespaces == 0 && !called.theirs {
        isolate()?;
        loopback::up().map_err(|error| {
            let hint = userns_hint(error.errno());
            error.maybe_hint(hint)
        })?;
    }
    let outside = start_outside(options)?;
    if let Some((uid, gid)) = options.owner {
        own(uid, gid)?;
    }
    let own = own_ids();
    make(options.namespaces)?;
    write_maps(options, own, outside.as_ref())?;
    clock::set(options.monotonic, options.boottime)?;
    if options.fork {
        return run_child(options, called, outside);
    }
    keep(options, outside)?;
    if options.namespaces & namespace::TIME.flag != 0 {
        clock::enter()?;
    }
    Err(become_command(options, called, None))
}

/// The command as a child. The first process in a PID namespace makes it one
/// that can be bound on a file: the child waits for that.
fn run_child(options: &Options, called: &Called, outside: Option<Outside>) -> Result<u8, Error> {
    let (mut bound, wait) =
        if options.files.is_empty() { (None, None) } else { Channel::pair().map(|(a, b)| (Some(a), Some(b)))? };
    let parent = fork(options.ties, &[Signal::SIGINT, Signal::SIGTERM], wait.is_none(), |leash| {
        // This copy would keep the end of the parent from us.
        drop(bound.take());
        if let Some(wait) = &wait
            && !matches!(wait.receive(), Ok(Some(Message::Go)))
        {
            // The parent says why, or is gone.
            return 1;
        }
        called.report(&become_command(options, called, Some(leash)))
    })?;
    drop(wait);
    if let Err(error) = keep(options, outside) {
        parent.end();
        return Err(error);
    }
    bound.iter().for_each(|bound| bound.send(&Message::Go));
    let init = options.namespaces & namespace::PID.flag != 0;
    Ok(called.end_as(parent.wait(init)?))
}

/// All that is left to do in the process that becomes the command.
fn become_command(options: &Options, called: &Called, leash: Option<&Leash>) -> Error {
    let prepare = || {
        show(options)?;
        credentials::set(options.uid, options.gid, false, options.keep_caps)?;
        let keep = options.keep_caps && options.namespaces & namespace::USER.flag != 0;
        if keep { credentials::keep_capabilities() } else { Ok(()) }
    };
    if let Err(error) = prepare() {
        return error;
    }
    leash.iter().for_each(|leash| leash.tie());
    called.exec(&options.command, &environment(options))
}

/// New network and IPC namespaces, for an ordinary user in a user namespace
/// that leaves the ids as they are.
fn isolate() -> Result<(), Error> {
    let flags = namespace::NET.flag | namespace::IPC.flag;
    match unshare(CloneFlags::from_bits_retain(flags as i32)) {
        Err(Errno::EPERM) => {}
        made => return made.tried(|| "cannot create network and IPC namespaces"),
    }
    let (uid, gid) = own_ids();
    make(flags | namespace::USER.flag)?;
    write("setgroups", "deny")?;
    write("uid_map", &format!("{uid} {uid} 1"))?;
    write("gid_map", &format!("{gid} {gid} 1"))
}

/// To be asked for in the old user namespace: in the new one nobody is anyone yet.
fn own_ids() -> (u32, u32) {
    (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}

fn make(flags: u64) -> Result<(), Error> {
    if flags == 0 {
        return Ok(());
    }
    unshare(CloneFlags::from_bits_retain(flags as i32)).map_err(|errno| {
        let names: Vec<_> = namespace::ALL.iter().filter(|one| flags & one.flag != 0).map(|one| one.name).collect();
        let s = if names.len() == 1 { "" } else { "s" };
        let error = Error::new(format!("cannot create {} namespace{s}", names.join(", "))).because(errno);
        if flags & namespace::USER.flag != 0 {
            error.maybe_hint(userns_hint(errno as i32))
        } else {
            let hint = "only root may do that outside of a user namespace of his own: add -r (--map-root-user)";
            error.maybe_hint((errno == Errno::EPERM).then_some(hint))
        }
    })
}

/// Whatever has to be done with the rights of before, in two steps: maps of
/// more than one's own id, then files.
fn start_outside(options: &Options) -> Result<Option<Outside>, Error> {
    let ranges = !options.map_users.is_empty() || !options.map_groups.is_empty();
    if !ranges && options.files.is_empty() {
        return Ok(None);
    }
    let pid = own_pid()?;
    let mut jobs: Vec<Job> = Vec::new();
    let caller = Caller::current()?;
    let maps = if ranges { Some(range_maps(options, &caller)?) } else { None };
    let write_maps = || maps.as_ref().map_or(Ok(()), |maps| maps.write(&caller, pid));
    let bind = || persist::bind(pid, &options.files);
    if maps.is_some() {
        jobs.push(&write_maps);
    }
    if !options.files.is_empty() {
        jobs.push(&bind);
    }
    Outside::start(&jobs).map(Some)
}

/// This process as /proc numbers it.
fn own_pid() -> Result<u32, Error> {
    let cannot = || "cannot find this process in /proc";
    let link = fs::read_link("/proc/self").tried(cannot)?;
    link.to_str().and_then(|pid| pid.parse().ok()).ok_or_else(|| Error::new(cannot()))
}

fn range_maps(options: &Options, caller: &Caller) -> Result<Maps, Error> {
    let map = |kind, wanted: &[_], single: Option<Id>, own| {
        let single = if wanted.is_empty() { None } else { single.map(|id| id.or(own)) };
        combined(kind, wanted, single, own, caller)
    };
    // The creator is who owns the id that is mapped.
    let (uid, gid) = options.owner.unwrap_or((caller.uid, caller.gid));
    Ok(Maps {
        uid: map(Kind::Uid, &options.map_users, options.map_user, uid)?,
        gid: map(Kind::Gid, &options.map_groups, options.map_group, gid)?,
    })
}

impl Id {
    fn or(self, own: u32) -> u32 {
        match self {
            Self::Number(id) => id,
            Self::Own => own,
        }
    }
}

/// One's own id alone is written from inside, which takes no privilege.
fn write_maps(options: &Options, own: (u32, u32), outside: Option<&Outside>) -> Result<(), Error> {
    let own_group = options.map_group.filter(|_| options.map_groups.is_empty());
    // Only before the gid map, and without privilege only so (CVE-2014-8989).
    if own_group.is_some() || options.setgroups == Some(false) {
        write("setgroups", "deny")?;
    } else if options.setgroups == Some(true) {
        write("setgroups", "allow")?;
    }
    if let Some(outside) = outside.filter(|_| !options.map_users.is_empty() || !options.map_groups.is_empty()) {
        outside.step()?;
    }
    if let Some(id) = options.map_user.filter(|_| options.map_users.is_empty()) {
        write("uid_map", &format!("{} {} 1", id.or(own.0), own.0))?;
    }
    if let Some(id) = own_group {
        write("gid_map", &format!("{} {} 1", id.or(own.1), own.1))?;
    }
    Ok(())
}

fn write(file: &str, text: &str) -> Result<(), Error> {
    fs::write(format!("/proc/self/{file}"), text).map_err(|source| {
        let hint = userns_hint(source.raw_os_error().unwrap_or(0));
        Error::new(format!("cannot write {file} {text:?}")).because(source).maybe_hint(hint)
    })
}

/// The user namespace will belong to this user.
fn own(uid: u32, gid: u32) -> Result<(), Error> {
    let cannot = || format!("cannot become the owner {uid}:{gid}");
    setgroups(&[]).tried(cannot)?;
    setgid(Gid::from_raw(gid)).tried(cannot)?;
    setuid(Uid::from_raw(uid)).tried(cannot)
}

/// Binds the files, and lets the helper go.
fn keep(options: &Options, outside: Option<Outside>) -> Result<(), Error> {
    let Some(outside) = outside else { return Ok(()) };
    let bound = if options.files.is_empty() { Ok(()) } else { outside.step() };
    outside.end();
    bound
}

/// What CMD will see of the file system.
fn show(options: &Options) -> Result<(), Error> {
    let binfmt = match &options.binfmt {
        Some(dir) => Some((Binfmt::new()?, dir)),
        None => None,
    };
    let is_new = options.namespaces & namespace::MNT.flag != 0;
    if let Some(how) = options.propagation.0.filter(|_| is_new) {
        mounts::propagate(how)?;
    }
    if let (Some((binfmt, _)), Some(interpreter)) = (&binfmt, &options.interpreter) {
        binfmt.register(interpreter)?;
    }
    mounts::enter(options.root.as_deref(), options.cwd.as_deref())?;
    if let Some(dir) = &options.proc {
        let is_private = options.root.is_some() || options.propagation.is_private();
        mounts::proc(dir, is_private)?;
    }
    if let Some((binfmt, dir)) = binfmt {
        binfmt.attach(dir)?;
    }
    Ok(())
}

fn environment(options: &Options) -> Environment {
    let Some(names) = &options.environment else { return Environment::inherited() };
    let is_kept = |name: &OsString| !name.as_bytes().is_empty() && names.contains(name);
    Environment::new(std::env::vars_os().filter(|(name, _)| is_kept(name)))
}
