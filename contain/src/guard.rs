//! The guard: init of the outer PID namespace. It never execs; when it dies,
//! for whatever reason, the kernel kills every process of the container.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use isolate::channel::{Channel, Message};
use isolate::console::Terminal;
use isolate::process::{self, Child, Forked, Status, die_with_parent, fork};
use isolate::{namespace, signal};
use nix::sys::signal::Signal;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};
use rustix::process::{chroot, fchdir};
use seal::{Context, Error};

use crate::ids::Ids;
use crate::options::Options;
use crate::{init, root};

/// What guard and init get from the supervisor by being its fork.
pub struct Inherited<'a> {
    pub options: &'a Options,
    pub ids: &'a Ids,
    /// To the supervisor.
    pub channel: Channel,
    /// Tells when the supervisor has died.
    pub supervisor: OwnedFd,
    /// The signal mask of the caller, for the command.
    pub signals: &'a signal::Blocked,
    /// Where ROOT is on the host, if a helper is to run in it.
    pub place: Option<PathBuf>,
    /// The caller's terminal, if the command gets one of its own.
    pub terminal: Option<&'a Terminal>,
}

/// Runs the guard, to its end.
pub fn run(inherited: &Inherited) -> ! {
    let status = guard(inherited).unwrap_or_else(|error| {
        inherited.channel.send(&Message::Failed(error));
        Status::Exited(125)
    });
    seal::exit(status.code())
}

fn guard(inherited: &Inherited) -> Result<Status, Error> {
    let Inherited { ids, channel, .. } = inherited;
    if ids.outer.is_some() {
        // The supervisor, outside, has our maps written.
        if !matches!(channel.receive()?, Some(Message::Go)) {
            seal::exit(125);
        }
        pseudo::become_root(false)?;
        // The new ids made us undumpable, and the init's maps, which we are to
        // write, root's. No process of these ids can find us: it has no PID for us.
        nix::sys::prctl::set_dumpable(true).tried(|| "cannot become dumpable")?;
    }
    die_with_supervisor(inherited);
    let (ours, theirs) = Channel::pair()?;
    let flags = namespace::USER.flag | namespace::PID.flag | namespace::TIME.flag;
    let init = match fork(flags).map_err(|errno| {
        Error::new("cannot create user, PID and time namespaces")
            .because(errno)
            .maybe_hint(pseudo::userns_hint(errno as i32))
    })? {
        Forked::Child => {
            drop(ours);
            init::run(inherited, &theirs)
        }
        Forked::Parent(init) => init,
    };
    drop(theirs);
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
        .tried(|| "cannot keep our mounts from the host")?;
    // What we create has the modes that we give; the command keeps the caller's umask.
    rustix::process::umask(Mode::from_raw_mode(0o022));
    // The init makes the other namespaces meanwhile.
    let pid = init.pid_in_proc().tried(|| "cannot find the container's init in /proc")?;
    ids.inner.write_directly(pid, true)?;
    let userns = openat(CWD, format!("/proc/{pid}/ns/user"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .tried(|| "cannot open the container's user namespace")?;
    let root = root::assemble(inherited.options, ids, inherited.terminal.is_some(), userns.as_fd())?;
    // To make files as the container's root was one more change of credentials.
    die_with_supervisor(inherited);
    // That it is gone shows when it is waited for.
    let _ = ours.send_raw(b"G", &[root.as_fd()]);
    // It has a copy of our mounts when it answers: let those of the host go,
    // which would keep the host from unmounting them.
    if ours.receive_raw().is_ok_and(|(answer, _)| !answer.is_empty()) {
        let cannot = || "cannot let the host's mounts go";
        unmount("/", UnmountFlags::DETACH).tried(cannot)?;
        fchdir(&root).tried(cannot)?;
        chroot(".").tried(cannot)?;
    }
    drop((ours, root, userns));
    supervise(inherited, &init)
}

/// To be called after every change of credentials, setfsuid(2) included, which
/// clears it (PR_SET_PDEATHSIG(2const)). A terminal must be given back first:
/// then the signal only wakes us, if we were stopped.
fn die_with_supervisor(inherited: &Inherited) {
    die_with_parent(if inherited.terminal.is_some() { libc::SIGCONT } else { libc::SIGKILL });
    if process::has_ended(&inherited.supervisor) {
        seal::exit(125);
    }
}

/// Waits for the container's init to end, or for the supervisor to die.
fn supervise(inherited: &Inherited, init: &Child) -> Result<Status, Error> {
    let children = signal::Blocked::new([Signal::SIGCHLD])?;
    loop {
        // First: it may have changed before SIGCHLD was blocked.
        match init.changed().tried(|| "cannot wait for the container")? {
            Some(Status::Stopped) => inherited.channel.send(&Message::Stopped),
            Some(status) => return Ok(status),
            None => {}
        }
        let mut fds = [PollFd::new(&children, PollFlags::IN), PollFd::new(&inherited.supervisor, PollFlags::IN)];
        match poll(&mut fds, None) {
            Err(rustix::io::Errno::INTR) => continue,
            result => result.tried(|| "cannot wait for the container")?,
        };
        if !fds[1].revents().is_empty() {
            if let Some(terminal) = inherited.terminal {
                terminal.restore_if_raw();
            }
            seal::exit(0);
        }
        while children.next().is_some() {}
    }
}
