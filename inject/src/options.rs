//! The options of `inject`: its own, and those of nsenter(1).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use isolate::called::Called;
use isolate::console::Wanted;
use isolate::fork::Ties;
use isolate::namespace::{self, Namespace};
use isolate::options;
use seal::getopt::{Argument, Opt, Page, Parser};
use seal::{Error, Sealing, cli};

use Argument::{No, Optional, Required, RequiredShort};

const ABOUT: &str = "Run a command in the container that PID supervises, or in namespaces of process PID;\n\
     with any of -a -m -u -i -n -p -U -C -T -N -r in exactly those";
const THEIR_ABOUT: &str = "Run a command in namespaces of another process, or of files";
const USAGE: &str = "[OPTION]... PID[:INODE] [OPTION]... [--] [CMD [ARG]...]\n--list [--json]";
const THEIR_USAGE: &str = "[OPTION]... [--] [CMD [ARG]...]";

/// Those of nsenter(1), in the order in which it has them.
const OPTIONS: &[Opt] = &[
    Opt::new('a', "all", No, "Enter all namespaces of the process").docs(
        "But the user namespace if it is your own; as an ordinary user none that you share with it, which the \
         kernel would refuse; who may not drop his groups there keeps them.",
    ),
    Opt::new('h', "help", No, "Show this help"),
    Opt::new('V', "version", No, "Show the version"),
    Opt::new('t', "target", Required("PID[:INODE]"), "The process (in place of the operand PID)").docs(
        "INODE, of its pidfd, tells it from a later process of the same PID. The last --target counts. Without a \
         namespace, the command runs all the same, as with util-linux before 2.41.",
    ),
    Opt::new('m', "mount", Optional("FILE"), "Enter its mount namespace, or that of FILE").docs(
        "FILE, here and below, may be :ID, the namespace with this number (Linux 6.18); a = before the FILE of \
         the short form is left out.",
    ),
    Opt::new('u', "uts", Optional("FILE"), "Enter the UTS namespace"),
    Opt::new('i', "ipc", Optional("FILE"), "Enter the IPC namespace"),
    Opt::new('n', "net", Optional("FILE"), "Enter the network namespace"),
    Opt::new('p', "pid", Optional("FILE"), "Enter the PID namespace, in a child"),
    Opt::new('U', "user", Optional("FILE"), "Enter the user namespace, as its root")
        .docs("It comes first where that gives the right to enter the others, else last."),
    Opt::new('C', "cgroup", Optional("FILE"), "Enter the cgroup namespace"),
    Opt::new('T', "time", Optional("FILE"), "Enter the time namespace"),
    Opt::new('S', "setuid", Required("UID|follow"), "Run CMD with this user id, or that of the process"),
    Opt::new('G', "setgid", Required("GID|follow"), "Run CMD with this group id and no other"),
    Opt::new('r', "root", Optional("DIR"), "Change the root to that of the process, or to DIR of the host"),
    Opt::new('w', "wd", Optional("DIR"), "Start in its working directory, or in DIR of the host"),
    Opt::new('W', "wdns", RequiredShort("DIR"), "Start in DIR of the new root").docs(
        "After -W it may be the next word, as in util-linux 2.38; later ones would run that as the command. \
         Without DIR, --wdns changes nothing.",
    ),
    Opt::new('F', "no-fork", No, "Do not fork to enter a PID namespace"),
    Opt::new(' ', "preserve-credentials", No, "Leave user and group ids as they are"),
    Opt::new('Z', "follow-context", No, "Take the SELinux context of the process, where there is SELinux"),
    Opt::newer(' ', "keep-caps", No, "Let CMD have the capabilities in the user namespace"),
    Opt::newer('c', "join-cgroup", No, "Join the cgroups of the process, of version 1 and 2"),
    Opt::newer('e', "env", No, "Replace the environment by that of the process"),
    Opt::newer('N', "net-socket", Required("FD"), "Enter the network namespace of this socket of the process"),
    Opt::newer(' ', "user-parent", No, "Enter the user namespace that owns the first of those given")
        .docs("Of a user namespace, its parent. It works with FILE, too."),
    Opt::newer(' ', "kill-child", Optional("SIGNAL"), "Send CMD a signal [KILL] when its parent ends")
        .docs("CMD is then a child without --pid, too. Likewise with --forward-signals."),
    Opt::newer(' ', "forward-signals", No, "Pass the signals that would end the parent on to CMD"),
];

/// Those that nsenter(1) has not.
const OWN: &[Opt] = &[
    Opt::newer(' ', "carry", No, "CMD is a static program of the host, run where no file of it exists"),
    Opt::newer(' ', "cwd", Required("DIR"), "Working directory in the container [default: /]"),
    Opt::newer(' ', "no-cgroup", No, "Stay in the caller's cgroups, outside of the container's limits"),
    Opt::newer(' ', "console", No, "Give CMD a terminal of its own even in a pipeline"),
    Opt::newer(' ', "no-console", No, "Pass stdin, stdout and stderr through untouched"),
    Opt::newer(' ', "pass-fd", Required("FD"), "Leave this fd open for CMD"),
    Opt::newer(' ', "list", No, "Show the containers that run"),
    Opt::newer(' ', "json", No, "With --list, as JSON"),
    Opt::newer(' ', "man", No, "Show the man page, for man -l -"),
];

/// What was asked for.
#[derive(Default)]
pub struct Options {
    /// PID or PID:INODE; none with `--list`.
    pub(crate) target: Option<OsString>,
    pub(crate) command: Vec<OsString>,
    pub(crate) carry: bool,
    pub(crate) no_cgroup: bool,
    pub(crate) console: Option<Wanted>,
    pub(crate) pass_fds: Vec<i32>,
    pub(crate) list: bool,
    pub(crate) json: bool,
    pub(crate) all: bool,
    /// CLONE_NEW* flags of what is entered of the target.
    pub(crate) namespaces: u64,
    pub(crate) files: Vec<(&'static Namespace, Source)>,
    pub(crate) socket: Option<i32>,
    pub(crate) user_parent: bool,
    pub(crate) uid: Option<Id>,
    pub(crate) gid: Option<Id>,
    pub(crate) preserve: bool,
    pub(crate) keep_caps: bool,
    pub(crate) root: Option<Dir>,
    pub(crate) wd: Option<Dir>,
    /// In the new root.
    pub(crate) cwd: Option<PathBuf>,
    pub(crate) no_fork: bool,
    pub(crate) ties: Ties,
    pub(crate) context: bool,
    pub(crate) join_cgroup: bool,
    pub(crate) environment: bool,
    pub(crate) sealing: Sealing,
}

/// A namespace that is not the target's.
pub(crate) enum Source {
    Path(PathBuf),
    Id(u64),
}

/// A user or group id.
#[derive(Clone, Copy)]
pub(crate) enum Id {
    Number(u32),
    /// That of the target.
    Follow,
}

/// A directory.
pub(crate) enum Dir {
    /// That of the target.
    Its,
    /// One of the host.
    Path(PathBuf),
}

/// Parses the arguments of this process.
pub fn parse(called: &Called) -> Result<Options, Error> {
    let (tables, about, usage): (&[&[Opt]], _, _) = match called.theirs {
        true => (&[OPTIONS], THEIR_ABOUT, THEIR_USAGE),
        false => (&[OPTIONS, OWN], ABOUT, USAGE),
    };
    let group = (!called.theirs).then_some(seal::GROUP);
    let page = Page { tool: called.name, about, usage, options: tables, group, words: &[] };
    let tables: Vec<&[Opt]> = tables.iter().copied().chain(group.map(|(_, options)| options)).collect();
    let mut parser = Parser::new(&tables, std::env::args_os().skip(1).collect());
    let mut options = Options::default();
    loop {
        while let Some((option, argument)) = parser.option()? {
            called.about_itself(option, &page);
            // None of the names is one of nsenter's.
            if !options.sealing.set(option.long, argument.as_deref())? {
                options.set(option.long, argument)?;
            }
        }
        if called.theirs || options.list || options.target.is_some() || !options.needs_target() {
            break;
        }
        options.target = parser.operand();
        if options.target.is_none() {
            return Err(Error::usage("PID is missing"));
        }
    }
    options.command = parser.rest();
    options.check(called.theirs)?;
    if !options.names_namespaces() {
        options.pass_fds.extend(options.sealing.passed_fds());
        options.sealing.set_reaper();
    }
    Ok(options)
}

impl Options {
    fn set(&mut self, name: &str, argument: Option<OsString>) -> Result<(), Error> {
        if let Some(namespace) = namespace::ALL.iter().find(|namespace| namespace.option() == name) {
            return self.add(namespace, argument);
        }
        let dir = |argument: Option<OsString>| Some(argument.map_or(Dir::Its, |path| Dir::Path(path.into())));
        let value = argument.clone().unwrap_or_default();
        let invalid = |why: &str| Error::new(format!("--{name} {value:?} {why}"));
        let id = || match options::number(&value) {
            Some(id) => Ok(Some(Id::Number(id))),
            None if value == "follow" => Ok(Some(Id::Follow)),
            None => Err(invalid("is no id and not follow")),
        };
        let fd = || {
            let number = value.to_str().and_then(|text| text.parse().ok());
            number.filter(|&fd: &i32| fd >= 0).ok_or_else(|| invalid("is no fd"))
        };
        match name {
            "all" => self.all = true,
            "target" => self.target = argument,
            "setuid" => self.uid = id()?,
            "setgid" => self.gid = id()?,
            "root" => self.root = dir(argument),
            "wd" => self.wd = dir(argument.map(without_equals)),
            "wdns" => self.cwd = argument.map(without_equals).map(PathBuf::from),
            "no-fork" => self.no_fork = true,
            "preserve-credentials" => self.preserve = true,
            "follow-context" => self.context = true,
            "keep-caps" => self.keep_caps = true,
            "join-cgroup" => self.join_cgroup = true,
            "env" => self.environment = true,
            "net-socket" => self.socket = Some(fd()?),
            "user-parent" => self.user_parent = true,
            "kill-child" => {
                let signal = argument.as_ref().map(|_| value.to_str().and_then(seal::signal::by_name));
                let signal = signal.unwrap_or(Some(libc::SIGKILL));
                self.ties.kill_child = Some(signal.ok_or_else(|| invalid("is no name of a signal"))?);
            }
            "forward-signals" => self.ties.forward = true,
            "carry" => {
                self.carry = true;
                self.sealing.set_in_memory();
            }
            "cwd" if !PathBuf::from(&value).is_absolute() => return Err(invalid("is not absolute")),
            "cwd" => self.cwd = Some(value.into()),
            "no-cgroup" => self.no_cgroup = true,
            "console" => self.console = Some(Wanted::Always),
            "no-console" => self.console = Some(Wanted::Never),
            "pass-fd" => self.pass_fds.push(cli::open_fd(&value, name)?),
            "list" => self.list = true,
            "json" => self.json = true,
            other => unreachable!("--{other} is in the table alone"),
        }
        Ok(())
    }

    fn add(&mut self, namespace: &'static Namespace, file: Option<OsString>) -> Result<(), Error> {
        // The last one given counts.
        self.namespaces &= !namespace.flag;
        self.files.retain(|(other, _)| other.flag != namespace.flag);
        let Some(file) = file else {
            self.namespaces |= namespace.flag;
            return Ok(());
        };
        let bytes = without_equals(file).into_vec();
        let file = match bytes.strip_prefix(b":") {
            Some(id) => {
                let number = std::str::from_utf8(id).ok().and_then(|id| id.parse().ok());
                let shown = String::from_utf8_lossy(id);
                let bad = || Error::new(format!("--{} \":{shown}\": no number of a namespace", namespace.option()));
                Source::Id(number.ok_or_else(bad)?)
            }
            None => Source::Path(OsString::from_vec(bytes).into()),
        };
        self.files.push((namespace, file));
        Ok(())
    }

    /// Whether exactly the namespaces that are named are to be entered, as
    /// nsenter does it; else all that a container is.
    pub(crate) fn names_namespaces(&self) -> bool {
        self.all
            || self.namespaces != 0
            || !self.files.is_empty()
            || self.socket.is_some()
            || self.user_parent
            || self.root.is_some()
    }

    /// What is named only by FILE needs no PID.
    fn needs_target(&self) -> bool {
        let follow = [self.uid, self.gid].iter().any(|id| matches!(id, Some(Id::Follow)));
        let dirs = [&self.root, &self.wd].iter().any(|dir| matches!(dir, Some(Dir::Its)));
        let of_process = self.all || self.namespaces != 0 || self.socket.is_some();
        let more = self.context || self.join_cgroup || self.environment;
        let parent = self.user_parent && self.files.is_empty();
        let by_file = !self.files.is_empty() || matches!(self.root, Some(Dir::Path(_)));
        !by_file || of_process || parent || follow || dirs || more
    }

    fn check(&self, theirs: bool) -> Result<(), Error> {
        if self.json && !self.list {
            return Err(Error::usage("--json needs --list"));
        }
        if self.list && !self.command.is_empty() {
            return Err(Error::usage(format!("--list takes no operand {:?}", self.command[0])));
        }
        if self.carry && self.command.is_empty() {
            return Err(Error::new("--carry needs the program to carry"));
        }
        if self.wd.is_some() && self.cwd.is_some() {
            return Err(Error::new("--wd and --wdns exclude each other"));
        }
        if self.join_cgroup && self.no_cgroup {
            return Err(Error::new("--join-cgroup and --no-cgroup exclude each other"));
        }
        let ends_otherwise = self.ties.kill_child.is_some_and(|signal| signal != libc::SIGKILL);
        if ends_otherwise && !theirs && !self.names_namespaces() {
            return Err(Error::new("--kill-child of another signal than KILL is for single namespaces")
                .hint("in a container CMD ends with inject, whatever it did"));
        }
        if self.no_fork && !theirs && !self.names_namespaces() {
            return Err(Error::new("--no-fork is for single namespaces: name some, or --all"));
        }
        let tied = self.ties.kill_child.is_some() || self.ties.forward;
        if self.no_fork && tied {
            return Err(Error::new("--no-fork leaves no parent for --kill-child or --forward-signals"));
        }
        let container = self.carry || self.no_cgroup || self.console.is_some() || !self.pass_fds.is_empty();
        if self.names_namespaces() && container {
            return Err(Error::new(
                "--carry, --no-cgroup, --console, --no-console and --pass-fd are for a whole container: \
                 name no namespaces and no --root",
            ));
        }
        Ok(())
    }
}

/// What is glued to a letter may have a `=` before it (util-linux 2.42).
fn without_equals(value: OsString) -> OsString {
    let bytes = value.into_vec();
    OsString::from_vec(bytes.strip_prefix(b"=").map(<[u8]>::to_vec).unwrap_or(bytes))
}
