//! Carries steps out, in as few messages as there can be, and takes them back
//! where one fails.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use isolate::signal::{Mask, is_pending};
use nix::sys::signal::Signal;
use seal::cli::printable;
use seal::{Context, Error};

use crate::commit;
use crate::declaration::Kind;
use crate::edit;
use crate::filter::Policy;
use crate::netns;
use crate::plan::Failure;
use crate::request;
use crate::socket::{Refusal, Request};
use crate::step::{Make, Phase, Step, What};
use crate::sys;
use crate::words::Rate;
use crate::world::World;

/// What ends a run, and has all taken back that was done.
const ENDING: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];

/// What takes a step back.
enum Back {
    Ask(usize, Request),
    Delete(usize, OsString),
    Netns(OsString),
    Policy { place: usize, now: Box<Policy>, before: Box<Policy> },
    Sysctl { place: usize, file: PathBuf, before: String },
}

struct Run<'a> {
    world: &'a mut World,
    done: Vec<Back>,
    /// Requests of one namespace that were not sent yet.
    waiting: Vec<(&'a Step, Request, Option<Back>)>,
    /// Whether there is a place for named namespaces.
    has_directory: bool,
    /// Whether there is no way back.
    is_final: bool,
}

/// Does all of it or, where something fails or a signal ends it, nothing.
pub fn carry_out(world: &mut World, steps: &[Step]) -> Result<(), Failure> {
    let mask = Mask::block(ENDING).map_err(|error| (None, error))?;
    let mut run = Run { world, done: Vec::new(), waiting: Vec::new(), has_directory: false, is_final: false };
    let mut ended = Ok(());
    for step in steps {
        if step.phase >= Phase::Delete && !run.is_final {
            // What is deleted cannot be taken back: all else is done before.
            ended = run.flush();
        }
        ended = ended.and_then(|()| run.step(step));
        if ended.is_err() {
            break;
        }
    }
    if ended.is_ok() {
        ended = run.flush();
    }
    let ended = ended.map_err(|(line, error)| (line, run.take_back(error)));
    // What came meanwhile takes its effect.
    mask.restore();
    ended
}

fn is_ignored(signal: Signal) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask >> (signal as i32 - 1) & 1 != 0)
}

impl<'a> Run<'a> {
    fn step(&mut self, step: &'a Step) -> Result<(), Failure> {
        if self.waiting.first().is_some_and(|(first, ..)| first.place != step.place) {
            self.flush()?;
        }
        let failed = |error| (step.line, error);
        let place = step.place;
        match &step.what {
            What::Netns(name) => {
                if !std::mem::replace(&mut self.has_directory, true) {
                    netns::directory().map_err(failed)?;
                }
                let net = netns::make(name).map_err(failed)?;
                self.done.push(Back::Netns(name.clone()));
                self.world.made(place, net).map_err(failed)?;
                self.not_ended()?;
            }
            What::Link(make) if matches!(make.kind, Kind::Tap { .. }) => {
                self.flush()?;
                self.tap(place, make).map_err(failed)?;
            }
            What::Policy(edits) => {
                self.flush()?;
                let (before, now) = edit::edited(self.world, place, edits)?;
                commit::possible(self.world, place, &now).map_err(failed)?;
                commit::commit(self.world, place, &before, &now).map_err(failed)?;
                self.done.push(Back::Policy { place, now: now.clone().into(), before: before.clone().into() });
                commit::guard(self.world, place, &before, &now).map_err(failed)?;
            }
            What::Sysctl { file, value } => {
                self.flush()?;
                let before = self.world.sysctl(place, file).map_err(failed)?.unwrap_or_default();
                write_sysctl(self.world, place, file, value).map_err(failed)?;
                self.done.push(Back::Sysctl { place, file: file.clone(), before });
            }
            What::DelNetns(name) => {
                self.flush()?;
                netns::delete(name).map_err(failed)?;
                self.no_way_back();
            }
            what => {
                let (request, back) = self.request(step, what)?;
                self.waiting.push((step, request, back));
            }
        }
        Ok(())
    }

    fn no_way_back(&mut self) {
        self.is_final = true;
        self.done.clear();
    }

    /// Fails when a signal waits that is to end the run.
    fn not_ended(&self) -> Result<(), Failure> {
        let came = ENDING.into_iter().find(|signal| is_pending(*signal) && !is_ignored(*signal));
        let ends =
            |signal: Signal| Err((None, Error::new(format!("ended by {}: nothing is changed", signal.as_str()))));
        came.filter(|_| !self.is_final).map_or(Ok(()), ends)
    }

    /// Sends what waits.
    fn flush(&mut self) -> Result<(), Failure> {
        let Some((first, ..)) = self.waiting.first() else { return self.not_ended() };
        let (place, line) = (first.place, first.line);
        let (mut requests, mut about) = (Vec::new(), Vec::new());
        for (step, request, back) in self.waiting.drain(..) {
            requests.push(request);
            about.push((step, back));
        }
        let cannot = format!("cannot change {}", self.world.place_name(place));
        let asked = self.world.socket(place).and_then(|socket| socket.ask(&mut requests).tried(|| cannot));
        let outcomes = match asked {
            Ok(outcomes) => outcomes,
            Err(error) => {
                // Some of it may have been done.
                self.done.extend(about.into_iter().filter_map(|(_, back)| back));
                return Err((line, error));
            }
        };
        let mut failure = None;
        for ((step, back), outcome) in about.into_iter().zip(outcomes) {
            match outcome {
                Ok(()) if matches!(step.what, What::DelLink(_)) => self.no_way_back(),
                Ok(()) => self.done.extend(back),
                // With its other end, or what it sat on.
                Err(refusal) if refusal.errno == libc::ENODEV && matches!(step.what, What::DelLink(_)) => {}
                Err(refusal) if failure.is_none() => failure = Some((step, refusal)),
                Err(_) => {}
            }
        }
        failure.map_or_else(|| self.not_ended(), |(step, refusal)| Err((step.line, self.explain(step, refusal))))
    }

    /// The number of a link, for which those that wait may have to be made first.
    fn index(&mut self, step: &Step, name: &OsStr) -> Result<u32, Failure> {
        let failed = |error| (step.line, error);
        let known = self.world.links(step.place).map_err(failed)?.get(name).map_or(0, |known| known.link.index);
        if known != 0 {
            return Ok(known);
        }
        self.flush()?;
        self.world.index(step.place, name).map_err(failed)
    }

    fn request(&mut self, step: &Step, what: &What) -> Result<(Request, Option<Back>), Failure> {
        let place = step.place;
        let ask = |request| Some(Back::Ask(place, request));
        Ok(match what {
            What::Link(make) => (self.link(step, make)?, Some(Back::Delete(make.place, make.name.clone()))),
            What::Master { name, bridge } => {
                let (index, bridge) = (self.index(step, name)?, self.index(step, bridge)?);
                (request::master(index, bridge), ask(request::master(index, 0)))
            }
            What::Quiet { name, many } => {
                let index = self.index(step, name)?;
                if *many {
                    self.without_ipv6(place, name).map_err(|error| (step.line, error))?;
                }
                (request::no_own_address(index), None)
            }
            What::Mac { name, mac, before } => {
                let index = self.index(step, name)?;
                (request::mac(index, *mac), before.and_then(|before| ask(request::mac(index, before))))
            }
            What::Mtu { name, mtu, before } => {
                let index = self.index(step, name)?;
                (request::mtu(index, *mtu), ask(request::mtu(index, *before)).filter(|_| *before != 0))
            }
            What::Rate { name, rate, before } => {
                let index = self.index(step, name)?;
                let back =
                    (*before != Rate(0) || *rate != Rate(0)).then(|| Back::Ask(place, request::rate(index, *before)));
                (request::rate(index, *rate), back)
            }
            What::Address { name, address } => {
                let index = self.index(step, name)?;
                (request::address(index, address, true), ask(request::address(index, address, false)))
            }
            What::Remote { name, remote } => {
                let index = self.index(step, name)?;
                (request::remote(index, *remote, true), ask(request::remote(index, *remote, false)))
            }
            What::Up { name, up } => {
                let index = self.index(step, name)?;
                (request::up(index, *up), ask(request::up(index, !up)))
            }
            What::Snoop(name) => (request::snoop(self.index(step, name)?), None),
            What::Route(route) => {
                let dev = route.dev.as_ref().map(|dev| self.index(step, dev)).transpose()?;
                (request::route(route, dev, true), ask(request::route(route, dev, false)))
            }
            What::DelLink(name) => (request::delete(self.index(step, name)?), None),
            What::Netns(_) | What::Policy(_) | What::Sysctl { .. } | What::DelNetns(_) => {
                unreachable!("it is no request")
            }
        })
    }

    /// A port has no use for IPv6, and what it takes part in otherwise makes each
    /// that comes up take longer than the last. Where /proc cannot be written it
    /// just takes longer.
    fn without_ipv6(&mut self, place: usize, name: &OsStr) -> Result<(), Error> {
        self.world.enter(place)?;
        let _ = fs::write(Path::new("/proc/sys/net/ipv6/conf").join(name).join("disable_ipv6"), "1");
        Ok(())
    }

    fn link(&mut self, step: &Step, make: &Make) -> Result<Request, Failure> {
        let master = make.master.as_ref().map(|master| self.index(step, master)).transpose()?;
        let parent = make.parent.as_ref().map(|parent| self.index(step, parent)).transpose()?.unwrap_or(0);
        let world = &*self.world;
        let net = |place: usize| (place != step.place).then(|| rustix::fd::AsFd::as_fd(world.net(place)));
        let settings = &make.settings;
        let new =
            request::Make { name: &make.name, mac: settings.mac, mtu: settings.mtu, net: net(make.place), master };
        Ok(match &make.kind {
            Kind::Bridge => new.bridge(make.large),
            Kind::Veth { .. } | Kind::Wire { .. } => {
                let (place, name, settings) = make.peer.as_ref().expect("a pair has two ends");
                let peer = request::Make { name, mac: settings.mac, mtu: settings.mtu, net: net(*place), master: None };
                new.veth(&peer)
            }
            Kind::Macvlan { mode, .. } => new.macvlan(parent, *mode),
            Kind::Ipvlan { mode, .. } => new.ipvlan(parent, *mode),
            Kind::Vlan { id, .. } => new.vlan(parent, *id),
            Kind::Vxlan { id, local, port, .. } => new.vxlan(*id, *local, *port),
            Kind::Dummy => new.dummy(),
            Kind::Tap { .. } => unreachable!("it is made by an ioctl"),
        })
    }

    /// Netlink cannot make one.
    fn tap(&mut self, place: usize, make: &Make) -> Result<(), Error> {
        let Kind::Tap { owner, .. } = make.kind else { return Ok(()) };
        let name = printable(make.name.as_encoded_bytes());
        self.world.enter(place)?;
        let tun = File::options().read(true).write(true).open("/dev/net/tun").map_err(|error| {
            let hint = match error.kind() {
                std::io::ErrorKind::PermissionDenied => Some("/dev/net/tun must be yours to read and write"),
                std::io::ErrorKind::NotFound => Some("modprobe tun, or a kernel that has CONFIG_TUN"),
                _ => None,
            };
            Error::new("cannot open /dev/net/tun").because(error).maybe_hint(hint)
        })?;
        sys::tap(&tun, &make.name, owner).tried(|| format!("cannot create the tap {name}"))?;
        self.done.push(Back::Delete(place, make.name.clone()));
        let index = self.world.index(place, &make.name)?;
        let socket = self.world.socket(place)?;
        for request in make
            .settings
            .mac
            .map(|mac| request::mac(index, mac))
            .into_iter()
            .chain(make.settings.mtu.map(|mtu| request::mtu(index, mtu)))
        {
            socket.ask_one(request).tried(|| format!("cannot set up the tap {name}"))?;
        }
        Ok(())
    }

    /// Why the kernel did not do it, where the errno alone would not tell.
    fn explain(&self, step: &Step, refusal: Refusal) -> Error {
        let says = refusal.says.as_ref().map(|says| format!("the kernel says: {says}"));
        let what = if step.says.is_empty() { "set up a port" } else { &step.says };
        if let What::Link(make) = &step.what {
            match refusal.errno {
                libc::EOPNOTSUPP => {
                    let (module, option) = make.module();
                    return Error::new(format!("this kernel cannot make {} links", make.driver()))
                        .hint(format!("modprobe {module}, or a kernel that has {option}"));
                }
                libc::EPERM | libc::EACCES => {
                    let foreign = [Some(make.place), make.peer.as_ref().map(|peer| peer.0)];
                    let foreign = foreign.into_iter().flatten().find(|place| *place != step.place);
                    let who = self.world.net(foreign.unwrap_or(step.place)).who_may();
                    return Error::new(format!("cannot {what}")).because(refusal).hint(who);
                }
                _ => {}
            }
        }
        if let (What::Rate { .. }, libc::ENOENT) = (&step.what, refusal.errno) {
            return Error::new("this kernel cannot limit rates")
                .hint("modprobe sch_tbf, or a kernel that has CONFIG_NET_SCH_TBF");
        }
        let who = (refusal.errno == libc::EPERM).then(|| self.world.net(step.place).who_may());
        Error::new(format!("cannot {what}")).because(refusal).maybe_hint(who.or(says))
    }

    /// Undoes what was done, last first.
    fn take_back(&mut self, error: Error) -> Error {
        let mut left = None;
        self.waiting.clear();
        for back in std::mem::take(&mut self.done).into_iter().rev() {
            if let Err(failure) = self.back(back) {
                left = left.or(Some(failure));
            }
        }
        match left {
            Some(failure) => error.hint(format!("what was done could not all be taken back: {failure}")),
            None => error,
        }
    }

    fn back(&mut self, back: Back) -> Result<(), Error> {
        let cannot = || "cannot undo a change";
        // With what it was part of, it may be gone already.
        let gone = |refusal: &Refusal| {
            matches!(refusal.errno, libc::ENODEV | libc::EADDRNOTAVAIL | libc::ESRCH | libc::ENOENT)
        };
        match back {
            Back::Ask(place, request) => match self.world.socket(place)?.ask_one(request) {
                Err(refusal) if gone(&refusal) => Ok(()),
                asked => asked.tried(cannot),
            },
            Back::Delete(place, name) => {
                let index = self.world.index(place, &name)?;
                match self.world.socket(place)?.ask_one(request::delete(index)) {
                    Err(refusal) if gone(&refusal) => Ok(()),
                    asked => asked.tried(cannot),
                }
            }
            Back::Netns(name) => netns::delete(&name),
            Back::Policy { place, now, before } => {
                commit::commit(self.world, place, &now, &before)?;
                commit::guard(self.world, place, &now, &before)
            }
            Back::Sysctl { place, file, before } => write_sysctl(self.world, place, &file, &before),
        }
    }
}

fn write_sysctl(world: &mut World, place: usize, file: &Path, value: &str) -> Result<(), Error> {
    world.enter(place)?;
    let path = Path::new("/proc/sys/net").join(file);
    fs::write(&path, value).tried(|| format!("cannot write {value} to {path:?}"))
}
