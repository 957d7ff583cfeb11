//! The options of `isolate`, which are those of unshare(1).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use pseudo::wanted::Wanted;
use rustix::mount::MountPropagationFlags;
use seal::Error;
use seal::getopt::{Argument, Opt, Page, Parser};

use crate::called::Called;
use crate::clock::Offset;
use crate::fork::Ties;
use crate::mounts::BINFMT;
use crate::namespace::{self, Namespace};
use crate::persist::File;

const ABOUT: &str = "Run a command in new network (with lo up) and IPC namespaces;\n\
     with options that name or imply namespaces in exactly those";
const THEIR_ABOUT: &str = "Run a command in new namespaces";
const USAGE: &str = "[OPTION]... [--] [CMD [ARG]...]";

use Argument::{No, Optional, OptionalLong, Required};

/// All but the help, in the order in which util-linux has them.
const OPTIONS: &[Opt] = &[
    Opt::new('h', "help", No, "Show this help"),
    Opt::new('V', "version", No, "Show the version"),
    Opt::new('m', "mount", OptionalLong("FILE"), "New mount namespace, kept on FILE").docs(PERSISTENT),
    Opt::new('u', "uts", OptionalLong("FILE"), "New UTS namespace (host and domain name)"),
    Opt::new('i', "ipc", OptionalLong("FILE"), "New IPC namespace (System V, POSIX message queues)"),
    Opt::new('n', "net", OptionalLong("FILE"), "New network namespace"),
    Opt::new('p', "pid", OptionalLong("FILE"), "New PID namespace, for the children: see --fork")
        .docs("With FILE it needs --fork: the namespace exists from its first process on."),
    Opt::new('U', "user", OptionalLong("FILE"), "New user namespace").docs(
        "FILE works here alone and for an ordinary user who has a mount namespace of his own, too, as with \
         util-linux since 2.42.",
    ),
    Opt::new('C', "cgroup", OptionalLong("FILE"), "New cgroup namespace"),
    Opt::new('T', "time", OptionalLong("FILE"), "New time namespace")
        .docs("CMD is in it without --fork too, on every kernel."),
    Opt::new('f', "fork", No, "Run CMD as a child").docs(
        "SIGINT and SIGTERM are blocked in the parent; SIGHUP ends it and leaves the child, but for \
         --kill-child or --forward-signals. The parent stops with its child and ends as it does, by SIGKILL too.",
    ),
    Opt::new(' ', "kill-child", Optional("SIGNAL"), "Send CMD a signal [KILL] when the parent ends; implies --fork")
        .docs(
            "It holds over --setuid and --setgid too. The init of a PID namespace is spared by the kernel what it \
             does not handle: where another signal than KILL is to end it, it ends by what would end the parent, \
             but for KILL.",
        ),
    Opt::newer(' ', "forward-signals", No, "Pass the signals that would end the parent on; implies --fork").docs(
        "TERM, INT, HUP, QUIT, USR1 and USR2, where util-linux 2.42 takes the first two. What the kernel drops, \
         since CMD is the init of a PID namespace and does not handle it, ends CMD all the same.",
    ),
    Opt::new(' ', "mount-proc", Optional("DIR"), "Mount a proc on DIR [/proc]; implies --mount")
        .docs("DIR is looked for in the new root."),
    Opt::new(' ', "map-user", Required("UID|NAME"), "Map yourself to this user; implies --user"),
    Opt::new(' ', "map-users", Required("MAP"), "Map these users, repeatable; implies --user").docs(
        "MAP is INNER:OUTER:COUNT; OUTER,INNER,COUNT as in util-linux 2.38; auto, the first range of /etc/subuid \
         from the inner id 0 on; subids, the same range onto itself; or all, every id onto itself. The id of \
         --map-user is left out of it, and ids behind that move up, as in util-linux; but neither auto nor a \
         range next to that id loses one. Who is not privileged writes it through newuidmap.",
    ),
    Opt::new(' ', "map-group", Required("GID|NAME"), "Map your group to this one; implies --user"),
    Opt::new(' ', "map-groups", Required("MAP"), "Map these groups; implies --user"),
    Opt::new('r', "map-root-user", No, "Map yourself to root; implies --user"),
    Opt::new('c', "map-current-user", No, "Map yourself to yourself; implies --user"),
    Opt::new(' ', "map-auto", No, "--map-users=auto --map-groups=auto"),
    Opt::newer(' ', "map-subids", No, "--map-users=subids --map-groups=subids"),
    Opt::newer(' ', "owner", Required("UID:GID"), "Make the namespaces as this user")
        .docs("Maps are still written, and files bound, with the rights of before."),
    Opt::new(' ', "propagation", Required("MODE"), "private [default], shared, slave or unchanged: of all mounts"),
    Opt::new(' ', "setgroups", Required("allow|deny"), "setgroups(2) in the user namespace")
        .docs("It is written before the gid map, where deny is allowed still; util-linux 2.38 is too late with it."),
    Opt::new(' ', "keep-caps", No, "Let CMD have the capabilities in the user namespace")
        .docs("With --setuid too, where util-linux 2.38 loses them."),
    Opt::new('S', "setuid", Required("UID"), "Run CMD with this user id"),
    Opt::new('G', "setgid", Required("GID"), "Run CMD with this group id and no other"),
    Opt::new('R', "root", Required("DIR"), "Change the root to DIR, and the working directory"),
    Opt::new('w', "wd", Required("DIR"), "Change the working directory to DIR, in the new root"),
    Opt::new(' ', "monotonic", Required("SECONDS"), "Move the monotonic clock, with --time")
        .docs("Fractions and negative numbers are taken."),
    Opt::new(' ', "boottime", Required("SECONDS"), "Move the boot-time clock, with --time"),
    Opt::newer(' ', "mount-binfmt", Optional("DIR"), "Mount a binfmt_misc [/proc/sys/fs/binfmt_misc]; implies -m -U"),
    Opt::newer('l', "load-interp", Required("STRING"), "Register an interpreter in it; implies --mount-binfmt")
        .docs("With the flag F it is opened in the old root."),
    Opt::newer(' ', "clear-env", No, "Empty the environment"),
    Opt::newer(' ', "whitelist-env", Required("NAME,..."), "Leave nothing else in the environment")
        .docs("Nothing at all if none of them is set."),
];

const PERSISTENT: &str = "FILE, here and below, must exist; the namespace is bound on it and lives on without a \
     process. A mount namespace needs a FILE on a mount that is not shared.";

const MAN: &[Opt] = &[Opt::newer(' ', "man", No, "Show the man page, for man -l -")];

/// What was asked for.
#[derive(Default)]
pub struct Options {
    /// CLONE_NEW* flags.
    pub(crate) namespaces: u64,
    pub(crate) files: Vec<File>,
    pub(crate) fork: bool,
    pub(crate) ties: Ties,
    pub(crate) proc: Option<PathBuf>,
    pub(crate) binfmt: Option<PathBuf>,
    pub(crate) interpreter: Option<OsString>,
    pub(crate) propagation: Propagation,
    pub(crate) root: Option<PathBuf>,
    pub(crate) cwd: Option<PathBuf>,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    pub(crate) map_user: Option<Id>,
    pub(crate) map_group: Option<Id>,
    pub(crate) map_users: Vec<Wanted>,
    pub(crate) map_groups: Vec<Wanted>,
    pub(crate) owner: Option<(u32, u32)>,
    pub(crate) setgroups: Option<bool>,
    pub(crate) keep_caps: bool,
    pub(crate) monotonic: Option<Offset>,
    pub(crate) boottime: Option<Offset>,
    /// The variables to keep, if not all.
    pub(crate) environment: Option<Vec<OsString>>,
    pub(crate) command: Vec<OsString>,
}

/// An id of the one-id map.
#[derive(Clone, Copy)]
pub(crate) enum Id {
    /// This one.
    Number(u32),
    /// The caller's.
    Own,
}

impl Id {
    /// Where `own` is the caller's.
    pub(crate) fn or(self, own: u32) -> u32 {
        match self {
            Self::Number(id) => id,
            Self::Own => own,
        }
    }
}

/// Of the mounts in a new mount namespace; `None` leaves them as they are.
pub(crate) struct Propagation(pub Option<MountPropagationFlags>);

impl Default for Propagation {
    fn default() -> Self {
        Self(Some(MountPropagationFlags::PRIVATE))
    }
}

impl Propagation {
    pub(crate) fn is_private(&self) -> bool {
        self.0 == Some(MountPropagationFlags::PRIVATE)
    }
}

/// Parses the arguments of this process.
pub fn parse(called: &Called) -> Result<Options, Error> {
    let tables: &[&[Opt]] = if called.theirs { &[OPTIONS] } else { &[OPTIONS, MAN] };
    let about = if called.theirs { THEIR_ABOUT } else { ABOUT };
    let page = Page { tool: called.name, about, usage: USAGE, options: tables, group: None, words: &[] };
    let mut parser = Parser::new(tables, std::env::args_os().skip(1).collect());
    let mut options = Options::default();
    while let Some((option, argument)) = parser.option()? {
        called.about_itself(option, &page);
        options.set(option.long, argument)?;
    }
    options.command = parser.rest();
    options.check()?;
    Ok(options)
}

impl Options {
    fn set(&mut self, name: &str, argument: Option<OsString>) -> Result<(), Error> {
        if let Some(namespace) = namespace::ALL.iter().find(|namespace| namespace.option() == name) {
            self.add(namespace, argument);
            return Ok(());
        }
        let given = argument.is_some();
        let value = argument.unwrap_or_default();
        let invalid = |why: &str| Error::new(format!("--{name} {value:?} {why}"));
        let id = || number(&value).ok_or_else(|| invalid("is no id"));
        let signal = || value.to_str().and_then(seal::signal::by_name).ok_or_else(|| invalid("is no name of a signal"));
        let offset =
            || value.to_str().and_then(Offset::parse).map(Some).ok_or_else(|| invalid("is no time in seconds"));
        let path = |default: &str| Some(if given { PathBuf::from(&value) } else { default.into() });
        match name {
            "fork" => self.fork = true,
            "kill-child" => self.ties.kill_child = Some(if given { signal()? } else { libc::SIGKILL }),
            "forward-signals" => self.ties.forward = true,
            "mount-proc" => self.proc = path("/proc"),
            "mount-binfmt" => self.binfmt = path(BINFMT),
            "load-interp" => self.interpreter = Some(value),
            "map-user" => {
                self.map_user = Some(Id::Number(named(&value, "/etc/passwd").ok_or_else(|| invalid(NOBODY))?))
            }
            "map-group" => {
                self.map_group = Some(Id::Number(named(&value, "/etc/group").ok_or_else(|| invalid(NOBODY))?))
            }
            "map-root-user" => (self.map_user, self.map_group) = (Some(Id::Number(0)), Some(Id::Number(0))),
            "map-current-user" => (self.map_user, self.map_group) = (Some(Id::Own), Some(Id::Own)),
            "map-users" => self.map_users.push(Wanted::parse(&value)?),
            "map-groups" => self.map_groups.push(Wanted::parse(&value)?),
            "map-auto" => self.map_both(Wanted::Auto),
            "map-subids" => self.map_both(Wanted::Subids),
            "owner" => {
                let owner = value.to_str().and_then(|text| text.split_once(':'));
                let ids = owner.and_then(|(uid, gid)| Some((number(uid)?, number(gid)?)));
                self.owner = Some(ids.ok_or_else(|| invalid("is not UID:GID"))?);
            }
            "propagation" => {
                self.propagation = Propagation(match value.to_str() {
                    Some("private") => Some(MountPropagationFlags::PRIVATE),
                    Some("shared") => Some(MountPropagationFlags::SHARED),
                    Some("slave") => Some(MountPropagationFlags::DOWNSTREAM),
                    Some("unchanged") => None,
                    _ => return Err(invalid("is not private, shared, slave or unchanged")),
                });
            }
            "setgroups" => {
                self.setgroups = Some(match value.to_str() {
                    Some("allow") => true,
                    Some("deny") => false,
                    _ => return Err(invalid("is not allow or deny")),
                });
            }
            "keep-caps" => self.keep_caps = true,
            "setuid" => self.uid = Some(id()?),
            "setgid" => self.gid = Some(id()?),
            "root" => self.root = Some(value.into()),
            "wd" => self.cwd = Some(value.into()),
            "monotonic" => self.monotonic = offset()?,
            "boottime" => self.boottime = offset()?,
            "clear-env" => drop(self.environment.get_or_insert_default()),
            "whitelist-env" => {
                let names = value.as_bytes().split(|&byte| byte == b',').map(|name| OsStr::from_bytes(name).to_owned());
                self.environment.get_or_insert_default().extend(names);
            }
            other => unreachable!("--{other} is in the table alone"),
        }
        Ok(())
    }

    /// Whether more than one's own id is mapped.
    pub(crate) fn maps_ranges(&self) -> bool {
        !self.map_users.is_empty() || !self.map_groups.is_empty()
    }

    fn add(&mut self, namespace: &'static Namespace, file: Option<OsString>) {
        self.namespaces |= namespace.flag;
        if let Some(file) = file {
            // The last one given counts.
            self.files.retain(|(other, _)| other.flag != namespace.flag);
            self.files.push((namespace, file.into()));
        }
    }

    fn map_both(&mut self, wanted: Wanted) {
        self.map_users.push(wanted);
        self.map_groups.push(wanted);
    }

    /// What options imply and what they exclude.
    fn check(&mut self) -> Result<(), Error> {
        self.fork |= self.ties.forward || self.ties.kill_child.is_some();
        if self.interpreter.is_some() && self.binfmt.is_none() {
            self.binfmt = Some(BINFMT.into());
        }
        let maps = self.map_user.is_some() || self.map_group.is_some();
        if maps || self.maps_ranges() || self.binfmt.is_some() {
            self.namespaces |= namespace::USER.flag;
        }
        if self.proc.is_some() || self.binfmt.is_some() {
            self.namespaces |= namespace::MNT.flag;
        }
        if self.setgroups == Some(true) && self.map_group.is_some() && self.map_groups.is_empty() {
            return Err(Error::new("--setgroups=allow and a map of your own group alone exclude each other")
                .hint("who may not map other groups may not drop one either (user_namespaces(7)): add --map-auto"));
        }
        if (self.monotonic.is_some() || self.boottime.is_some()) && self.namespaces & namespace::TIME.flag == 0 {
            return Err(Error::new("--monotonic and --boottime need --time"));
        }
        if !self.fork && self.files.iter().any(|(namespace, _)| namespace.flag == namespace::PID.flag) {
            return Err(Error::new("--pid=FILE needs --fork")
                .hint("a PID namespace exists from its first process on, which is a child"));
        }
        Ok(())
    }
}

const NOBODY: &str = "is neither an id nor a name";

/// An id, as strtoul(3) takes it, since output of ps(1) has blanks before it;
/// but (uid_t)-1 is none.
pub fn number(text: impl AsRef<OsStr>) -> Option<u32> {
    let text = text.as_ref().to_str()?.trim_ascii_start();
    let text = text.strip_prefix('+').unwrap_or(text);
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().filter(|&id| id != u32::MAX)
}

fn named(text: &OsStr, file: &str) -> Option<u32> {
    seal::passwd::id(Path::new(file), text.to_str()?).or_else(|| number(text))
}
