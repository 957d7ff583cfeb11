//! The supervisor: outside of everything. Its PID is the container's name.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;

use isolate::channel::{Channel, Message};
use isolate::console::Terminal;
use isolate::process::{self, Forked, Status, fork};
use isolate::signal::{Blocked, FORWARDED};
use isolate::supervise::Supervisor;
use isolate::{container, namespace};
use seal::exec::Environment;
use seal::{Context, Error, caps};

use crate::guard::{self, Inherited};
use crate::helper;
use crate::ids::Ids;
use crate::options::Options;

/// Runs a container and gives the exit status of its command, 128+N if signal
/// N killed it.
pub fn run(mut options: Options) -> Result<u8, Error> {
    let ids = Ids::new(&options)?;
    if ids.exposes_own_program()? {
        seal::own::ensure_sealed()?;
    }
    if let Some(status) = options.sealing.prepare("contain", caps::ALL, true)? {
        return Ok(status);
    }
    let terminal = Terminal::wanted(options.console)?;
    let signals = Blocked::new(FORWARDED)?;
    let (channel, theirs) = Channel::pair()?;
    let place = options.inside.as_ref().map(|_| options.root.canonicalize());
    let place = place.transpose().tried(|| format!("cannot open the root {:?}", options.root))?;
    let inherited = Inherited {
        place,
        options: &options,
        ids: &ids,
        channel: theirs,
        supervisor: process::own_pidfd().tried(|| "cannot open a pidfd of the supervisor")?,
        signals: &signals,
        terminal: terminal.as_ref(),
    };
    let mut flags = namespace::MNT.flag | namespace::PID.flag;
    if ids.outer.is_some() {
        flags |= namespace::USER.flag;
    }
    let guard = match fork(flags).map_err(|errno| {
        Error::new("cannot create user, mount and PID namespaces")
            .because(errno)
            .maybe_hint(pseudo::userns_hint(errno as i32))
    })? {
        Forked::Child => {
            drop(channel);
            guard::run(&inherited)
        }
        Forked::Parent(guard) => guard,
    };
    drop(inherited);
    // What `inject` finds the container by, for as long as it runs.
    let mut announcement = None;
    let mut ready = |channel: &Channel, init: &OwnedFd, namespaces: &str| {
        let pid = match process::pid_in_proc(init) {
            // It was so quick that it is gone; its end is told next.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(None),
            pid => pid.tried(|| "cannot find the container's init in /proc")? as i32,
        };
        announcement = Some(container::announce(pid, &options.root, &options.command)?);
        before_command(&options, pid, namespaces, &signals)?;
        if options.waits_for_go() {
            channel.send(&Message::Go);
        }
        Ok((!options.init).then_some(pid))
    };
    let mapped = ids.outer.as_ref().map_or(Ok(()), |outer| {
        let pid = guard.pid_in_proc().tried(|| "cannot find the guard in /proc")?;
        outer.write(&ids.caller, pid)
    });
    if mapped.is_ok() && ids.outer.is_some() {
        channel.send(&Message::Go);
    }
    let mut supervisor = Supervisor::new(guard, channel, &signals, terminal.as_ref());
    let result = match mapped {
        Ok(()) => supervisor.run(&mut ready).map(Status::code),
        Err(error) => {
            supervisor.end();
            Err(error)
        }
    };
    let status = result.as_ref().map_or_else(Error::exit_status, |&status| status);
    if let Err(error) = tell(&options, format_args!("{{\"event\":\"exited\",\"status\":{status}}}\n")) {
        // The status is the command's all the same.
        eprint!("{}", error.render("contain"));
    }
    result
}

/// What is done outside once the container stands and its command waits.
fn before_command(options: &Options, init: i32, namespaces: &str, signals: &Blocked) -> Result<(), Error> {
    let own = std::process::id();
    if let Some(command) = &options.outside {
        let pids = [("CONTAIN_PID", own.to_string()), ("CONTAIN_INIT", init.to_string())];
        let pids = pids.map(|(name, pid)| (name.into(), pid.into()));
        helper::run("outside", command, &Environment::new(std::env::vars_os().chain(pids)), signals, || Ok(()))?;
    }
    if let Some(file) = &options.pid_file {
        // A FIFO that no one reads must not hang us.
        let mut options = File::options();
        let opened = options.write(true).create(true).truncate(true).custom_flags(libc::O_NONBLOCK).open(file);
        let written = opened.and_then(|mut file| file.write_all(format!("{own}\n").as_bytes()));
        written.tried(|| format!("cannot write the PID file {file:?}"))?;
    }
    let ids = format_args!("\"pid\":{own},\"init\":{init}");
    tell(options, format_args!("{{\"event\":\"started\",{ids},\"namespaces\":{namespaces}}}\n"))
}

fn tell(options: &Options, line: std::fmt::Arguments) -> Result<(), Error> {
    let Some(fd) = options.status_fd else { return Ok(()) };
    let cannot = || format!("cannot write to fd {fd}");
    let mut file = File::from(rustix::io::fcntl_dupfd_cloexec(seal::borrow(fd), 3).tried(cannot)?);
    file.write_all(line.to_string().as_bytes()).tried(cannot)
}
