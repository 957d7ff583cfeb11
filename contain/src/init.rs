//! The container's init, from its first moment to the command: makes the
//! namespaces that the guard did not, moves into the root, and becomes CMD.

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use isolate::channel::{Channel, Message};
use isolate::console::{Pty, Terminal, take_stdio};
use isolate::process::{self, Status, close_other_fds};
use isolate::reaper::Reaper;
use isolate::{inside, loopback, namespace};
use nix::sched::{CloneFlags, unshare};
use rustix::mount::{MountFlags, UnmountFlags, unmount};
use rustix::process::{chdir, chroot, fchdir};
use seal::exec::{DEFAULT_PATH, Environment};
use seal::{Context, Error};

use crate::guard::Inherited;
use crate::{ephemeral, helper, mount};

/// Runs the init, which ends as the command.
pub fn run(inherited: &Inherited, guard: &Channel) -> ! {
    let Err(error) = init(inherited, guard);
    let status = error.exit_status();
    inherited.channel.send(&Message::Failed(error));
    seal::exit(status)
}

fn init(inherited: &Inherited, guard: &Channel) -> Result<Infallible, Error> {
    let options = inherited.options;
    make_namespaces(options.host_net)?;
    if let Some(name) = &options.hostname {
        nix::unistd::sethostname(name).tried(|| format!("cannot set the host name to {name:?}"))?;
    }
    // A guard that failed has told why.
    let Some(root) = guard.receive_raw()?.1.pop() else { seal::exit(125) };
    // The copy of the mount namespace takes the working directory along.
    fchdir(&root).tried(|| "cannot enter the root")?;
    unshare(CloneFlags::CLONE_NEWNS).tried(|| "cannot create a mount namespace")?;
    // That it is gone shows elsewhere.
    let _ = guard.send_raw(b"C", &[]);
    let place = place(inherited.place.as_deref())?;
    become_root()?;
    let root = mount_own(inherited, &place)?;
    let console = inherited.terminal.map(|terminal| console(&root, terminal)).transpose()?;
    if let Some(command) = &options.inside {
        helper::run("inside", command, &Environment::inherited(), inherited.signals, || {
            let cannot = || "cannot enter the root";
            chdir(ephemeral::OLD).tried(cannot)?;
            chroot(".").tried(cannot)?;
            fchdir(&root).tried(cannot)
        })?;
    }
    pivot(&root)?;
    drop(root);
    let namespaces = if options.status_fd.is_some() { inodes()? } else { String::new() };
    let environment = environment(inherited);
    let (slave, master) = console.map_or((None, None), |pty| (Some(pty.slave), Some(pty.master)));
    let ready =
        Message::Ready { init: process::own_pidfd().tried(|| "cannot open a pidfd of the init")?, master, namespaces };
    if !options.init {
        // From now on signals come for the command: what it would not mind must
        // not seem to be blocked.
        inherited.signals.restore();
    }
    inherited.channel.send(&ready);
    drop(ready);
    if options.waits_for_go() && !matches!(inherited.channel.receive()?, Some(Message::Go)) {
        seal::exit(125);
    }
    process::leave_session_keyring()?;
    take_stdio(slave.as_ref())?;
    drop(slave);
    let learner = options.sealing.needed_fd();
    let need: Vec<_> = [inherited.channel.as_fd()].into_iter().chain(learner.as_ref().map(AsFd::as_fd)).collect();
    close_other_fds(&need, &options.pass_fds)?;
    inside::enter_cwd(options.cwd.as_deref().unwrap_or(Path::new("/")))?;
    let become_command = || options.sealing.exec(&options.command, &environment);
    if !options.init {
        return Err(become_command());
    }
    let reaper = Reaper {
        channel: &inherited.channel,
        signals: inherited.signals,
        console: inherited.terminal.is_some(),
        supervisor: None,
    };
    let status = reaper.run(become_command)?.map_or(125, Status::code);
    seal::exit(status)
}

/// While the guard writes our maps and assembles the root. Capabilities in a
/// new user namespace do not wait for its maps.
fn make_namespaces(host_net: bool) -> Result<(), Error> {
    let mut flags = namespace::IPC.flag | namespace::UTS.flag | namespace::CGROUP.flag;
    if !host_net {
        flags |= namespace::NET.flag;
    }
    unshare(CloneFlags::from_bits_retain(flags as i32))
        .tried(|| "cannot create network, IPC, UTS and cgroup namespaces")?;
    if host_net { Ok(()) } else { loopback::up() }
}

/// Where the root is bound before the pivot: over itself, or where it is on the
/// host for a helper to find it.
fn place(host: Option<&Path>) -> Result<OwnedFd, Error> {
    let old = Path::new(OsStr::from_bytes(ephemeral::OLD.to_bytes()));
    let place = host.map_or(PathBuf::from("."), |host| old.join(host.strip_prefix("/").unwrap_or(host)));
    mount::open_path(&place).tried(|| format!("cannot open {place:?}"))
}

fn become_root() -> Result<(), Error> {
    pseudo::become_root(true)?;
    // Until the exec nobody in the container may look into this process,
    // which still has the host's fds and program (CVE-2016-9962).
    nix::sys::prctl::set_dumpable(false).tried(|| "cannot become undumpable")
}

/// Binds the root over itself, since a locked mount cannot be pivoted to, and
/// mounts what belongs to the new namespaces.
fn mount_own(inherited: &Inherited, place: &OwnedFd) -> Result<OwnedFd, Error> {
    let here = mount::open_path(Path::new(".")).tried(|| "cannot open the root")?;
    let root = mount::clone_tree(&here, true).tried(|| "cannot bind the root over itself")?;
    mount::attach(&root, place).tried(|| "cannot bind the root over itself")?;
    let base = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount_new(&root, "proc", "proc", base, "")?;
    if !inherited.options.host_net {
        mount_new(&root, "sys", "sysfs", base, "")?;
    }
    let tty = if inherited.ids.inner.gid.outside(5).is_some() { ",gid=5" } else { "" };
    let data = format!("ptmxmode=0666,mode=620{tty}");
    mount_new(&root, "dev/pts", "devpts", MountFlags::NOSUID | MountFlags::NOEXEC, &data)?;
    Ok(root)
}

fn mount_new(root: &OwnedFd, place: &str, fstype: &str, flags: MountFlags, data: &str) -> Result<(), Error> {
    let point = inside::open(root, Path::new(place)).tried(|| format!("cannot open the mount point {place:?}"))?;
    mount::mount_on(&point, fstype, flags, data).map_err(|errno| {
        let masked = errno == nix::errno::Errno::EPERM && matches!(fstype, "proc" | "sysfs");
        let hint = masked.then(|| {
            format!(
                "the kernel mounts {fstype} only where all of an older one is visible: part of /{place} is masked here, \
                 as in a container of Docker or Podman (--security-opt unmask=ALL)"
            )
        });
        Error::new(format!("cannot mount {fstype} on {place:?}")).because(errno).maybe_hint(hint)
    })
}

/// A pty of the container's own devpts, bound at /dev/console.
fn console(root: &OwnedFd, terminal: &Terminal) -> Result<Pty, Error> {
    let cannot = || "cannot bind the console on \"dev/console\"";
    let pts = inside::open(root, Path::new("dev/pts")).tried(|| "cannot open \"dev/pts\"")?;
    let pty = Pty::open(&pts, terminal)?;
    let bound = mount::clone_tree(&pty.slave, false).tried(cannot)?;
    let point = inside::open(root, Path::new("dev/console")).tried(cannot)?;
    mount::attach(&bound, &point).tried(cannot)?;
    Ok(pty)
}

/// As JSON: {"user":4026531837,…}. Only we can look, since nobody else may.
fn inodes() -> Result<String, Error> {
    let inode = |namespace: &&namespace::Namespace| {
        let inode = namespace.inode(None).tried(|| format!("cannot look at /proc/self/ns/{}", namespace.name))?;
        Ok(format!("\"{}\":{inode}", namespace.name))
    };
    let inodes: Result<Vec<_>, Error> = namespace::ALL.iter().map(inode).collect();
    Ok(format!("{{{}}}", inodes?.join(",")))
}

/// Nothing of the new root has been executed or opened for its content so far.
fn pivot(root: &OwnedFd) -> Result<(), Error> {
    fchdir(root).tried(|| "cannot enter the root")?;
    // The old root ends up on top of the new one, where "." finds it.
    rustix::process::pivot_root(".", ".").tried(|| "cannot pivot to the root")?;
    unmount(".", UnmountFlags::DETACH).tried(|| "cannot detach the old root")?;
    chdir("/").tried(|| "cannot enter the root")
}

fn environment(inherited: &Inherited) -> Environment {
    let options = inherited.options;
    let mut vars: Vec<(OsString, OsString)> = if options.keep_env { std::env::vars_os().collect() } else { Vec::new() };
    let mut set = |name: &OsStr, value: &OsStr| {
        vars.retain(|(old, _)| old != name);
        vars.push((name.to_owned(), value.to_owned()));
    };
    if !options.keep_env {
        set("PATH".as_ref(), DEFAULT_PATH.as_ref());
        set("HOME".as_ref(), "/root".as_ref());
        if let Some(term) = std::env::var_os("TERM") {
            set("TERM".as_ref(), &term);
        }
    }
    set("container".as_ref(), "nstools".as_ref());
    for pair in &options.env {
        let bytes = pair.as_bytes();
        match bytes.iter().position(|&byte| byte == b'=') {
            Some(at) => set(OsStr::from_bytes(&bytes[..at]), OsStr::from_bytes(&bytes[at + 1..])),
            None => {
                if let Some(value) = std::env::var_os(pair) {
                    set(pair, &value);
                }
            }
        }
    }
    Environment::new(vars)
}
