//! The process that was called: it passes signals on to the guard, waits, and
//! cleans up if that is killed.

use isolate::process::{self, Child, Forked, Status, fork};
use isolate::signal::{self, Blocked, FORWARDED};
use nix::sys::signal::Signal;
use rustix::event::{PollFd, PollFlags, poll};
use seal::exec::Image;
use seal::{Context, Error};

use crate::cgroup::Groups;
use crate::guard::{self, Inherited};
use crate::options::Options;
use crate::tree::{Tree, has_child, hurry};

/// Runs the command below a guard, and gives the exit status of the run.
pub fn run(options: &mut Options, image: &Image) -> Result<u8, Error> {
    let signals = Blocked::new(FORWARDED.into_iter().chain([Signal::SIGCHLD]))?;
    // The subreaper of what a guard leaves that is killed.
    let tree = Tree::adopt()?;
    // Children that were here before, as a shell's that has become limit, are none of ours.
    let had_children = has_child();
    let pid = std::process::id() as i32;
    let supervisor = process::own_pidfd().tried(|| "cannot open a pidfd of the supervisor")?;
    let groups = Groups::make(&options.settings, options.report.is_some(), options.cpu_time.is_some())?;
    let guard = match fork(0) {
        Ok(Forked::Child) => {
            guard::run(Inherited { options, image, groups: &groups, tree: &tree, pid, supervisor, signals: &signals })
        }
        Ok(Forked::Parent(guard)) => guard,
        Err(errno) => {
            let _ = groups.remove(&[0]);
            return Err(Error::new("cannot fork a guard").because(errno));
        }
    };
    let (ended, typed) = wait(&guard, &signals)?;
    match ended {
        Status::Exited(status) => {
            // A shell ends its script or loop at a ^C only if its command has, too.
            if let Some(signal) = typed.filter(|signal| status == Status::Killed(*signal as i32).code()) {
                // Without a second core dump.
                let _ = nix::sys::prctl::set_dumpable(false);
                seal::die_by(signal as i32);
            }
            Ok(status)
        }
        killed => {
            hurry();
            let emptied = groups.kill();
            let ended = if had_children { Ok(()) } else { tree.end(0).map(drop) };
            let cleaned = emptied.and(ended).and(groups.remove(&[0]));
            let error = format!("the guard was killed (status {}), and the command with it", killed.code());
            cleaned.and(Err(Error::new(error)))
        }
    }
}

/// Waits for the guard's end, and tells of a ^C or a ^\\ as well. What was typed
/// at the terminal the command has got, being of the same process group.
fn wait(guard: &Child, signals: &Blocked) -> Result<(Status, Option<Signal>), Error> {
    let mut last = None;
    loop {
        match guard.changed().tried(|| "cannot wait for the guard")? {
            // By the command, at worst, which would get time without end.
            Some(Status::Stopped) => signal::send(guard, Signal::SIGCONT),
            Some(ended) => return Ok((ended, last)),
            None => {}
        }
        match poll(&mut [PollFd::new(signals, PollFlags::IN)], None) {
            Err(rustix::io::Errno::INTR) => continue,
            result => result.tried(|| "cannot wait for the command")?,
        };
        while let Some((signal, typed)) = signals.next_from() {
            match signal {
                Signal::SIGCHLD => {}
                Signal::SIGINT | Signal::SIGQUIT if typed => last = Some(signal),
                _ if typed => {}
                _ => signal::send(guard, signal),
            }
        }
    }
}
