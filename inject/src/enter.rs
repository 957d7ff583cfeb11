//! Join a container and run a command there.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use isolate::channel::{Channel, Message};
use isolate::console::{Pty, Terminal, Wanted, take_stdio};
use isolate::namespace::Namespace;
use isolate::process::{self, Forked, Status, close_other_fds, die_with_parent, fork};
use isolate::reaper::Reaper;
use isolate::signal::{Blocked, FORWARDED};
use isolate::supervise::Supervisor;
use isolate::{credentials, inside};
use pseudo::Caller;
use rustix::fs::{Access, Mode, OFlags, access, fstatfs, open};
use seal::exec::Environment;
use seal::memfd::Sealed;
use seal::{Context, Error};

use crate::join::undumpable;
use crate::options::Options;
use crate::target::Target;
use crate::{carry, cgroup, follow, join};
use seal::remains::HostProc;

const DEVPTS_SUPER_MAGIC: u64 = 0x1cd1;

/// What the reaper gets by being a fork of the supervisor.
struct Inherited<'a> {
    options: &'a Options,
    channel: Channel,
    supervisor: OwnedFd,
    signals: &'a Blocked,
    terminal: Option<&'a Terminal>,
    /// Where the console's pty comes from.
    pts: Option<OwnedFd>,
    cgroups: Vec<OwnedFd>,
    /// The working directory, where it is named from outside.
    wd: Option<OwnedFd>,
    environment: Environment,
    proc: HostProc,
    carried: Option<Sealed>,
    target: Target,
    /// Its namespaces that the supervisor does not join.
    rest: Vec<&'static Namespace>,
}

/// Runs a command in the target and gives its exit status, 128+N if signal N
/// killed it.
pub fn run(options: &Options) -> Result<u8, Error> {
    let target = Target::find(options.target.as_deref().unwrap_or_default())?;
    // A PID namespace is joined by one's children; without privilege only from
    // the user namespace above it.
    let privileged = Caller::current()?.privileged;
    let is_first = |namespace: &&Namespace| match namespace.name {
        "pid" => true,
        "user" => !privileged,
        _ => false,
    };
    let (first, rest) = target.namespaces.iter().copied().partition::<Vec<_>, _>(is_first);
    let carried = if options.carry { Some(carry::seal(&options.command[0])?) } else { None };
    let terminal = Terminal::wanted(options.console.unwrap_or(Wanted::Auto))?;
    let signals = Blocked::new(FORWARDED)?;
    let (channel, theirs) = Channel::pair()?;
    let inherited = Inherited {
        options,
        channel: theirs,
        supervisor: process::own_pidfd().tried(|| "cannot open a pidfd of the supervisor")?,
        signals: &signals,
        terminal: terminal.as_ref(),
        pts: terminal.as_ref().map(|_| pts(&target)).transpose()?,
        cgroups: if options.no_cgroup { Vec::new() } else { cgroup::open_procs(target.pid).map_err(no_cgroup)? },
        wd: options.wd.as_ref().map(|dir| join::open_dir(dir, "cwd", Some(&target.dir))).transpose()?,
        environment: if options.environment { follow::environment(&target.dir)? } else { Environment::inherited() },
        proc: HostProc::open()?,
        carried,
        target,
        rest,
    };
    if options.context {
        follow::context(&inherited.target.dir)?;
    }
    // From its fork on the reaper is to be seen in the container, where nobody
    // may look into it (CVE-2016-9962).
    undumpable()?;
    inherited.target.join(&first)?;
    undumpable()?;
    let reaper = match fork(0).tried(|| "cannot fork into the container")? {
        Forked::Child => {
            drop(channel);
            reaper(&inherited)
        }
        Forked::Parent(reaper) => reaper,
    };
    drop(inherited);
    // Stopped, we could not reap the reaper, and the container whose process it
    // is could not end: the kernel does it, and the channel brings the status.
    seal::ignore_children();
    // The command is an ordinary process of the container, and minds signals as such.
    let status = Supervisor::new(reaper, channel, &signals, terminal.as_ref()).run(&mut |_, _, _| Ok(None))?;
    Ok(status.code())
}

fn no_cgroup(error: Error) -> Error {
    error.or_hint("--no-cgroup leaves the command where you are, outside of the container's limits")
}

/// The devpts of the target, or of the host if it has none. What is there is
/// looked at before it is believed.
fn pts(target: &Target) -> Result<OwnedFd, Error> {
    let is_devpts = |fd: &OwnedFd| fstatfs(fd).is_ok_and(|fs| fs.f_type as u64 == DEVPTS_SUPER_MAGIC);
    inside::open(&target.root, Path::new("dev/pts")).ok().filter(is_devpts).map_or_else(
        || open("/dev/pts", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).tried(|| "cannot open /dev/pts"),
        Ok,
    )
}

/// Runs the reaper, in the container's PID namespace, to its end.
fn reaper(inherited: &Inherited) -> ! {
    let status = reap(inherited).unwrap_or_else(|error| {
        inherited.channel.send(&Message::Failed(error));
        Status::Exited(125)
    });
    inherited.channel.send(&Message::Ended(status.code()));
    seal::exit(status.code())
}

fn reap(inherited: &Inherited) -> Result<Status, Error> {
    let Inherited { options, channel, terminal, .. } = inherited;
    nix::sys::prctl::set_child_subreaper(true).tried(|| "cannot become a subreaper")?;
    cgroup::join(&inherited.cgroups).map_err(no_cgroup)?;
    let proc = match &inherited.carried {
        Some(_) if !inherited.target.has_proc() => Some(carry::detached_proc()?),
        _ => None,
    };
    inherited.target.join(&inherited.rest)?;
    inherited.target.enter_root()?;
    if inherited.target.has_other_root && !options.preserve {
        pseudo::become_root(true)?;
    }
    // Each change of credentials has set this to fs.suid_dumpable.
    undumpable()?;
    if let Some(proc) = proc {
        carry::attach_proc(&proc)?;
    }
    // It only wakes us if we were stopped; that the supervisor is gone shows in
    // its pidfd, and there is something left to do then.
    die_with_parent(libc::SIGCONT);
    let pty = match (terminal, &inherited.pts) {
        (Some(terminal), Some(pts)) => Some(Pty::open(pts, terminal)?),
        _ => None,
    };
    let argv = if options.command.is_empty() { vec![shell()] } else { options.command.clone() };
    let (slave, master) = pty.map_or((None, None), |pty| (Some(pty.slave), Some(pty.master)));
    let init = process::own_pidfd().tried(|| "cannot open a pidfd of the reaper")?;
    channel.send(&Message::Ready { init, master, namespaces: String::new() });
    process::leave_session_keyring()?;
    take_stdio(slave.as_ref())?;
    drop(slave);
    match &inherited.wd {
        Some(wd) => rustix::process::fchdir(wd).tried(|| "cannot change to the working directory")?,
        None => inside::enter_cwd(options.cwd.as_deref().unwrap_or(Path::new("/")))?,
    }
    let reaper = Reaper {
        channel,
        signals: inherited.signals,
        console: terminal.is_some(),
        supervisor: Some(inherited.supervisor.as_fd()),
    };
    let status = reaper.run(|| become_command(inherited, &argv))?;
    inherited.proc.kill_children();
    if status.is_none() {
        terminal.iter().for_each(|terminal| terminal.restore_if_raw());
    }
    // Nobody asks for the status if the supervisor has died.
    Ok(status.unwrap_or(Status::Exited(0)))
}

fn become_command(inherited: &Inherited, argv: &[OsString]) -> Error {
    if let Err(error) = become_user(inherited) {
        return error;
    }
    // It could clear this, but then we are still its parent in the end.
    die_with_parent(libc::SIGKILL);
    let environment = &inherited.environment;
    let channel = inherited.channel.as_fd();
    let carried = inherited.carried.as_ref();
    let sealed = carried.map(Sealed::fd);
    let sealing = &inherited.options.sealing;
    let learner = sealing.needed_fd();
    let need: Vec<_> = std::iter::once(channel)
        .chain(sealed.as_ref().map(AsFd::as_fd))
        .chain(learner.as_ref().map(AsFd::as_fd))
        .collect();
    if let Err(error) = close_other_fds(&need, &inherited.options.pass_fds) {
        return error;
    }
    sealing.exec_copy(carried, argv, environment)
}

/// The reaper stays root of the container, so that it can end what it reaps.
fn become_user(inherited: &Inherited) -> Result<(), Error> {
    let Inherited { options, target, .. } = inherited;
    let (uid, gid) = follow::ids(options, Some(&target.dir), None)?;
    // Where they cannot be dropped, they could not outside either.
    credentials::set(uid, gid, true, options.keep_caps)?;
    if options.keep_caps { credentials::keep_capabilities() } else { Ok(()) }
}

/// The login shell of the container's uid 0.
fn shell() -> OsString {
    let entry = seal::passwd::by_uid(Path::new("/etc/passwd"), 0);
    let shell = entry.map(|entry| entry.shell).filter(|shell| access(shell.as_str(), Access::EXEC_OK).is_ok());
    shell.unwrap_or_else(|| "/bin/sh".into()).into()
}
