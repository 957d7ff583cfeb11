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
use crate::fork::{Starting, fork};
use crate::mounts::{self, Binfmt};
use crate::options::{Id, Options};
use crate::outside::Outside;
use crate::{clock, credentials, loopback, namespace, persist};

/// Becomes the command, or waits for it where it is a child; then gives its status.
pub fn run(options: &Options, called: &Called) -> Result<u8, Error> {
    if called.theirs {
        // unshare gives SIGCHLD its default, for its command too.
        seal::forget_ignored_children();
    }
    let outside = start_outside(options)?;
    if let Some((uid, gid)) = options.owner {
        become_owner(uid, gid)?;
    }
    if options.namespaces == 0 && !called.theirs {
        isolate()?;
        loopback::up().map_err(|error| {
            let hint = userns_hint(error.errno());
            error.maybe_hint(hint)
        })?;
    }
    let own = own_ids();
    make(options.namespaces)?;
    write_maps(options, own, outside.as_ref())?;
    clock::set(options.monotonic, options.boottime)?;
    if options.namespaces & namespace::TIME.flag != 0 {
        clock::enter()?;
    }
    let bind_files = |outside: Option<&Outside>| outside.map_or(Ok(()), Outside::step);
    if !options.fork {
        bind_files(outside.as_ref())?;
        // The command is to have no child that it does not know.
        outside.into_iter().for_each(Outside::end);
        return Err(become_command(options, called, None));
    }
    let init = options.namespaces & namespace::PID.flag != 0;
    let parent = fork(options.ties, &[Signal::SIGINT, Signal::SIGTERM], init, |starting| {
        // Only with a process in it is a PID namespace one that can be bound.
        let error = match bind_files(outside.as_ref()) {
            Ok(()) => become_command(options, called, Some(starting)),
            Err(error) => error,
        };
        called.report(&error)
    })?;
    outside.into_iter().for_each(Outside::end);
    Ok(called.end_as(parent.wait()?))
}

/// All that is left to do in the process that becomes the command.
fn become_command(options: &Options, called: &Called, starting: Option<&Starting>) -> Error {
    let prepare = || {
        set_up_files(options)?;
        credentials::set(options.uid, options.gid, false, options.keep_caps)?;
        let keep = options.keep_caps && options.namespaces & namespace::USER.flag != 0;
        if keep { credentials::keep_capabilities() } else { Ok(()) }
    };
    if let Err(error) = prepare() {
        return error;
    }
    let environment = environment(options);
    starting.iter().for_each(|starting| starting.before_exec());
    called.exec(&options.command, &environment)
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
        let error = Error::new(format!("cannot create {}", namespace::names(flags))).because(errno);
        let of_user = flags & namespace::USER.flag != 0;
        match errno {
            Errno::ENOSPC => error.hint(limits(flags)),
            Errno::EPERM if !of_user => {
                error.hint("only root may do that outside of a user namespace of his own: add -r (--map-root-user)")
            }
            _ if of_user => error.maybe_hint(userns_hint(errno as i32)),
            _ => error,
        }
    })
}

/// What ENOSPC is about (namespaces(7)).
fn limits(flags: u64) -> String {
    let made = namespace::ALL.iter().filter(|one| flags & one.flag != 0);
    let names: Vec<_> = made.map(|one| format!("user.max_{}_namespaces", one.name)).collect();
    format!("a limit is reached, or they nest too deep: sysctl {}", names.join(" "))
}

/// Whatever has to be done with the rights of before, in two steps: maps of
/// more than one's own id, then files.
fn start_outside(options: &Options) -> Result<Option<Outside>, Error> {
    let ranges = options.maps_ranges();
    if !ranges && options.files.is_empty() {
        return Ok(None);
    }
    let pid = own_pid()?;
    let maps = if ranges { Some(range_maps(options, Caller::current()?)?) } else { None };
    let write_maps = || maps.as_ref().map_or(Ok(()), |(caller, maps)| maps.write(caller, pid));
    let bind = || persist::bind(pid, &options.files);
    Outside::start(&[&write_maps, &bind]).map(Some)
}

/// This process as /proc numbers it.
fn own_pid() -> Result<u32, Error> {
    let cannot = || "cannot find this process in /proc";
    let link = fs::read_link("/proc/self").tried(cannot)?;
    link.to_str().and_then(|pid| pid.parse().ok()).ok_or_else(|| Error::new(cannot()))
}

fn range_maps(options: &Options, caller: Caller) -> Result<(Caller, Maps), Error> {
    let user = options.owner.map_or(caller.uid, |(uid, _)| uid);
    let map = |kind, wanted: &[_], single: Option<Id>, own| {
        let single = if wanted.is_empty() { None } else { single.map(|id| id.or(own)) };
        combined(kind, wanted, single, own, user, &caller)
    };
    // The creator is who owns the id that is mapped.
    let (uid, gid) = options.owner.unwrap_or((caller.uid, caller.gid));
    let maps = Maps {
        uid: map(Kind::Uid, &options.map_users, options.map_user, uid)?,
        gid: map(Kind::Gid, &options.map_groups, options.map_group, gid)?,
    };
    if options.setgroups == Some(true) && maps.denies_setgroups(&caller) {
        return Err(Error::new("--setgroups=allow and a map of your own ids alone exclude each other"));
    }
    Ok((caller, maps))
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
    if let Some(outside) = outside {
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
        let errno = source.raw_os_error().filter(|&errno| errno != libc::EINVAL);
        let hint = userns_hint(errno.unwrap_or(0));
        Error::new(format!("cannot write {file} {text:?}")).because(source).maybe_hint(hint)
    })
}

/// The user namespace will belong to this user.
fn become_owner(uid: u32, gid: u32) -> Result<(), Error> {
    let cannot = || format!("cannot become the owner {uid}:{gid}");
    setgroups(&[]).tried(cannot)?;
    setgid(Gid::from_raw(gid)).tried(cannot)?;
    setuid(Uid::from_raw(uid)).tried(cannot)?;
    // The kernel has given /proc/self to root, where maps and clocks are written.
    nix::sys::prctl::set_dumpable(true).tried(cannot)
}

/// What CMD will see of the file system.
fn set_up_files(options: &Options) -> Result<(), Error> {
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
