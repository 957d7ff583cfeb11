//! What is taken away from a command before it starts: what the options ask
//! for, and what is done about it, last before the exec.

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use rustix::fs::Mode;

use crate::access::Access;
use crate::exec::{self, Environment, Image};
use crate::file::replace;
use crate::learn::{self, Target};
use crate::memfd::{self, Sealed};
use crate::syscalls::filters::{Compiled, Filters};
use crate::syscalls::source::Source;
use crate::{Context, Error, caps, cli, identity, personality, signal, sys};

/// A filter of system calls.
enum Filter {
    File(PathBuf),
    Text(OsString),
    Program(i32),
    Allow(String),
    Deny(String),
    NoUserns,
    NoTtyInput,
}

/// What the options ask for.
#[derive(Default)]
pub struct Sealing {
    binary: bool,
    caps: Option<caps::Wanted>,
    securebits: Option<u32>,
    /// In their order; read by [`Sealing::prepare`], since a tool may execute
    /// itself anew before, and what is read from a pipe is gone.
    asked: Vec<Filter>,
    filters: Filters,
    /// For a command with these capabilities.
    compiled: Option<(caps::Set, Compiled)>,
    access: Access,
    explain: bool,
    emit: Option<PathBuf>,
    learn: Option<PathBuf>,
    learner: Option<Target>,
    no_new_privs: bool,
    undumpable: bool,
    fds: Option<Vec<i32>>,
    parent_death: Option<i32>,
    umask: Option<Mode>,
    personality: Option<u32>,
    identity: Option<identity::Wanted>,
    in_memory: bool,
    has_reaper: bool,
    /// Whether HOME is to be that of `--as`.
    sets_home: bool,
}

impl Sealing {
    /// Takes an option of [`crate::OPTIONS`]; false if it is none of those.
    pub fn set(&mut self, name: &str, value: Option<&OsStr>) -> Result<bool, Error> {
        let value = value.unwrap_or_default();
        let text = || value.to_str().ok_or_else(|| Error::new(format!("--{name} {value:?} is not UTF-8")));
        let path = || PathBuf::from(value);
        match name {
            "binary" => self.binary = true,
            "caps" => self.caps = Some(caps::Wanted::parse(text()?)?),
            "securebits" => self.securebits = Some(caps::parse_securebits(text()?)?),
            "syscalls" => self.asked.push(Filter::File(path())),
            "syscalls-string" => self.asked.push(Filter::Text(value.to_owned())),
            "bpf" => self.asked.push(Filter::Program(cli::open_fd(value, name)?)),
            "allow-syscalls" => self.asked.push(Filter::Allow(text()?.to_owned())),
            "deny-syscalls" => self.asked.push(Filter::Deny(text()?.to_owned())),
            "syscalls-log" => self.filters.log = true,
            "explain" => self.explain = true,
            "emit-bpf" => self.emit = Some(path()),
            "learn" => self.learn = Some(path()),
            "files" => self.access.add_files(value)?,
            "ports" => self.access.add_ports(text()?)?,
            "scope" => self.access.add_scope(text()?)?,
            "no-new-privs" => self.no_new_privs = true,
            "no-userns" => self.asked.push(Filter::NoUserns),
            "no-tty-input" => self.asked.push(Filter::NoTtyInput),
            "dumpable" if value == "no" => self.undumpable = true,
            "dumpable" => return Err(Error::new(format!("--dumpable {value:?}")).hint("there is only no")),
            "fds" if value == "none" => self.fds = Some(Vec::new()),
            "fds" => {
                let fds = text()?.split(',').map(|word| cli::open_fd(word.as_ref(), name));
                self.fds = Some(fds.collect::<Result<_, _>>()?);
            }
            "parent-death" => {
                let signal = text()?;
                let invalid = || Error::new(format!("--parent-death {signal:?} is no name of a signal"));
                self.parent_death = Some(signal::by_name(signal).ok_or_else(invalid)?);
            }
            "umask" => {
                let mode = cli::number(text()?, 8).filter(|&mode| mode <= 0o777);
                let invalid = || Error::new(format!("--umask {value:?} is no octal number up to 777"));
                self.umask = Some(Mode::from_raw_mode(mode.ok_or_else(invalid)?));
            }
            "personality" => self.personality = Some(personality::parse(text()?)?),
            "as" => self.identity = Some(identity::Wanted::parse(value)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The fds that `--fds` names beside the standard ones, for a tool that closes
    /// all others itself.
    pub fn passed_fds(&self) -> impl Iterator<Item = i32> + '_ {
        self.fds.iter().flatten().copied().filter(|&fd| fd > 2)
    }

    /// What must stay open until [`Sealing::exec`].
    pub fn needed_fd(&self) -> Option<impl AsFd + '_> {
        self.learner.as_ref().map(Target::fd)
    }

    /// Seals the binary if nothing else was asked for.
    pub fn or_binary(&mut self) {
        self.binary |= self.does_nothing();
    }

    /// Gives CMD the home of `--as` as HOME.
    pub fn set_home(&mut self) {
        self.sets_home = true;
    }

    /// CMD has a reaper, which ends what it leaves behind when the tool is killed.
    pub fn set_reaper(&mut self) {
        self.has_reaper = true;
    }

    /// CMD will be run from memory, by [`Sealing::exec_copy`].
    pub fn set_in_memory(&mut self) {
        self.in_memory = true;
    }

    /// The system call that starts CMD.
    fn starts_by(&self) -> &'static str {
        if self.binary || self.undumpable || self.in_memory { "execveat" } else { "execve" }
    }

    fn does_nothing(&self) -> bool {
        !self.binary
            && !self.seals()
            && self.fds.is_none()
            && self.parent_death.is_none()
            && self.umask.is_none()
            && self.personality.is_none()
    }

    /// Whether it is such that CMD must not regain it by a set-uid program.
    fn seals(&self) -> bool {
        self.no_new_privs
            || self.caps.is_some()
            || self.securebits.is_some()
            || self.identity.is_some()
            || !self.asked.is_empty()
            || !self.access.is_empty()
            || self.undumpable
            || self.learn.is_some()
    }

    /// Does all that can be done, and can fail, before anything is made: to be
    /// called early, by a process that has nothing yet. `permitted` is what the
    /// command would have without `--caps`. An exit status if that was all.
    ///
    /// With `--learn` it forks, and returns in the child.
    pub fn prepare(&mut self, tool: &str, permitted: caps::Set, has_command: bool) -> Result<Option<u8>, Error> {
        self.check_usage()?;
        self.access.check()?;
        self.asked.iter().try_for_each(|filter| filter.add_to(&mut self.filters))?;
        if self.access.limits_ports() {
            self.filters.refuse_other_ways_to_ports();
        }
        if self.undumpable {
            self.filters.refuse_to_become_dumpable();
        }
        if !self.filters.is_empty() {
            let capabilities = self.capabilities(permitted)?;
            if self.explain {
                cli::print(self.filters.explain(capabilities)?.as_bytes())?;
                return Ok(Some(0));
            }
            let compiled = self.filters.compile(capabilities, has_command.then(|| self.starts_by()))?;
            if let Some(file) = &self.emit {
                emit(file, &compiled.bytes()?)?;
                if !has_command {
                    return Ok(Some(0));
                }
            }
            self.compiled = Some((capabilities, compiled));
        }
        if let (Some(file), true) = (&self.learn, has_command) {
            self.learner = Some(learn::start(tool, file, self.has_reaper)?);
        }
        Ok(None)
    }

    fn check_usage(&self) -> Result<(), Error> {
        let filtered = !self.asked.is_empty() || self.access.limits_ports();
        let needs = [("explain", self.explain), ("emit-bpf", self.emit.is_some()), ("syscalls-log", self.filters.log)];
        if let Some((option, _)) = needs.into_iter().find(|(_, given)| *given && !filtered) {
            return Err(Error::usage(format!("--{option} needs a filter of system calls")));
        }
        let has_policy = self.asked.iter().any(|filter| !matches!(filter, Filter::NoUserns | Filter::NoTtyInput));
        if has_policy && self.learn.is_some() {
            return Err(Error::usage("--learn and another policy of system calls exclude each other"));
        }
        if self.parent_death.is_some() && self.learn.is_some() {
            return Err(Error::usage("--learn is the parent itself that --parent-death would watch"));
        }
        Ok(())
    }

    fn capabilities(&self, permitted: caps::Set) -> Result<caps::Set, Error> {
        match (&self.caps, &self.identity) {
            (Some(caps), _) => caps.of(permitted),
            (None, Some(_)) => caps::Wanted::none().of(permitted),
            (None, None) => Ok(permitted),
        }
    }

    /// Does all of it and becomes `argv`. Returns only on failure.
    pub fn exec(&self, argv: &[OsString], environment: &Environment) -> Error {
        self.exec_copy(None, argv, environment)
    }

    /// As [`Sealing::exec`], where the program may be in memory already.
    pub fn exec_copy(&self, copy: Option<&Sealed>, argv: &[OsString], environment: &Environment) -> Error {
        if self.does_nothing() {
            return match copy {
                Some(copy) => copy.exec_with(argv, environment),
                None => exec::exec(argv, environment),
            };
        }
        let Err(error) = self.become_command(copy, argv, environment);
        if let Some(learner) = &self.learner {
            learner.failed();
        }
        error
    }

    /// As NsJail has it: Landlock and then the filter of system calls come last.
    fn become_command(
        &self,
        copy: Option<&Sealed>,
        argv: &[OsString],
        environment: &Environment,
    ) -> Result<Infallible, Error> {
        let mut environment = environment.clone();
        let name = argv.first().ok_or_else(|| Error::new("no command"))?;
        if let Some(umask) = self.umask {
            rustix::process::umask(umask);
        }
        if let Some(personality) = self.personality {
            sys::set_personality(personality).tried(|| format!("cannot set the personality {personality:#x}"))?;
        }
        let permitted = caps::permitted()?;
        let capabilities = self.capabilities(permitted)?;
        // A profile may be another one for a command with other capabilities.
        let anew = match &self.compiled {
            Some((expected, _)) if *expected != capabilities => {
                Some(self.filters.compile(capabilities, Some(self.starts_by()))?)
            }
            _ => None,
        };
        let filters = anew.as_ref().or(self.compiled.as_ref().map(|(_, compiled)| compiled));
        // A change of credentials clears it (PR_SET_PDEATHSIG(2const)).
        let (parent, signal) = (rustix::process::getppid(), sys::parent_death_signal());
        self.change_rights(capabilities, &mut environment)?;
        let signal = self.parent_death.unwrap_or(signal);
        sys::set_parent_death_signal(signal).tried(|| "cannot set the signal of the parent's death")?;
        if signal != 0 && rustix::process::getppid() != parent {
            sys::die_by(signal);
        }
        let made = if copy.is_none() { self.copy(name, &environment)? } else { None };
        let image = match copy.or(made.as_ref()) {
            Some(copy) => {
                self.check_copy(name, copy)?;
                copy.image(argv, &environment)?
            }
            None => Image::find(name, argv, &environment)?,
        };
        if let Some(fds) = &self.fds {
            leave(fds, image.needed_fd())?;
        }
        self.access.restrict()?;
        if self.undumpable {
            // Root would read even what nobody may; the exec gives them back.
            caps::lay_down()?;
        }
        sys::restore_dispositions();
        // From here on the command's own system calls are all that is allowed.
        if let Some(filters) = filters {
            filters.load()?;
        }
        if let Some(learner) = &self.learner {
            learner.install()?;
        }
        let errno = image.execute();
        let no_right = errno == Errno::EACCES && self.access.limits_files();
        let hint = no_right.then_some("--files needs rx: for it, for its interpreter and for the loader that it names");
        // To look for the cause may not be allowed any more.
        Err(image.refused(errno, false).maybe_hint(hint))
    }

    fn change_rights(&self, capabilities: caps::Set, environment: &mut Environment) -> Result<(), Error> {
        if let Some(wanted) = &self.identity {
            let identity = wanted.find()?;
            identity.take()?;
            // That has set it to fs.suid_dumpable; the exec will set it anew.
            nix::sys::prctl::set_dumpable(false).tried(|| "cannot become undumpable")?;
            caps::regain()?;
            if let (true, Some(home)) = (self.sets_home, &identity.home) {
                environment.set("HOME", home.as_os_str());
            }
        }
        if self.caps.is_some() || self.identity.is_some() {
            caps::limit(capabilities, self.securebits)?;
        } else {
            caps::set_securebits(self.securebits)?;
        }
        if self.seals() {
            nix::sys::prctl::set_no_new_privs().tried(|| "cannot set no_new_privs")?;
        }
        Ok(())
    }

    fn copy(&self, name: &OsStr, environment: &Environment) -> Result<Option<Sealed>, Error> {
        if !self.binary && !self.undumpable {
            return Ok(None);
        }
        memfd::sealed(&exec::find(name, environment.get("PATH"))?).map(Some)
    }

    /// Sees to it that the copy makes the command undumpable, if that was asked for.
    fn check_copy(&self, name: &OsStr, copy: &Sealed) -> Result<(), Error> {
        if !self.undumpable {
            return Ok(());
        }
        if copy.is_script() {
            return Err(Error::new(format!("--dumpable no: {name:?} is a script"))
                .hint("its interpreter would be dumpable: name that, and the script as its argument"));
        }
        let sysctl = Path::new("/proc/sys/fs/suid_dumpable");
        if std::fs::read_to_string(sysctl).tried(|| format!("cannot read {sysctl:?}"))?.trim() == "1" {
            return Err(Error::new("--dumpable no has no effect here").hint("sysctl fs.suid_dumpable=0"));
        }
        copy.forbid_reading()
    }
}

impl Filter {
    fn add_to(&self, filters: &mut Filters) -> Result<(), Error> {
        match self {
            Self::File(path) if path == Path::new("-") => filters.add(Source::read(Path::new("/dev/stdin"))?),
            Self::File(path) => filters.add(Source::read(path)?),
            Self::Text(text) => filters.add(Source::of_option("--syscalls-string", text.as_bytes().to_vec())),
            Self::Program(fd) => {
                filters.add_program(sys::borrow(*fd))?;
                // What it leads to was meant for us, not for the command.
                let flags = rustix::io::FdFlags::CLOEXEC;
                rustix::io::fcntl_setfd(sys::borrow(*fd), flags).tried(|| format!("cannot close fd {fd}"))
            }
            Self::Allow(list) => filters.add_calls("allow-syscalls", list, true),
            Self::Deny(list) => filters.add_calls("deny-syscalls", list, false),
            Self::NoUserns => {
                filters.refuse_user_namespaces();
                Ok(())
            }
            Self::NoTtyInput => {
                filters.refuse_tty_input();
                Ok(())
            }
        }
    }
}

/// All fds but these are closed at the exec, and what a script needs after it.
fn leave(fds: &[i32], needed: Option<i32>) -> Result<(), Error> {
    let keep = fds.iter().copied().chain(needed);
    for (first, last) in sys::fds_but(keep, 0) {
        sys::close_on_exec(first, last).map_err(|errno| {
            let hint = (errno == Errno::EINVAL).then_some("that takes Linux 5.11");
            Error::new("cannot close the other fds").because(errno).maybe_hint(hint)
        })?;
    }
    Ok(())
}

fn emit(file: &Path, bytes: &[u8]) -> Result<(), Error> {
    let cannot = || format!("cannot write the program to {file:?}");
    if file == Path::new("-") {
        return cli::print(bytes);
    }
    let mut opened = File::options().write(true).create(true).truncate(false).open(file).tried(cannot)?;
    replace(&mut opened, bytes).tried(cannot)
}
