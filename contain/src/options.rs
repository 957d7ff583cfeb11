//! The options of `contain`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use isolate::console::Wanted;
use seal::getopt::{Argument, Opt, Page, Parser};
use seal::{Error, Sealing, cli};

use crate::spec::Spec;

use Argument::{No, Required};

/// What was asked for.
#[derive(Default)]
pub struct Options {
    pub(crate) root: PathBuf,
    pub(crate) command: Vec<OsString>,
    pub(crate) ephemeral: bool,
    pub(crate) read_only: bool,
    pub(crate) no_idmap: bool,
    pub(crate) mounts: Vec<Spec>,
    pub(crate) host_net: bool,
    pub(crate) hostname: Option<OsString>,
    pub(crate) cwd: Option<PathBuf>,
    pub(crate) env: Vec<OsString>,
    pub(crate) keep_env: bool,
    pub(crate) uid_map: Option<OsString>,
    pub(crate) gid_map: Option<OsString>,
    pub(crate) inside: Option<OsString>,
    pub(crate) outside: Option<OsString>,
    pub(crate) console: Wanted,
    pub(crate) init: bool,
    pub(crate) pid_file: Option<PathBuf>,
    pub(crate) status_fd: Option<i32>,
    pub(crate) pass_fds: Vec<i32>,
    pub(crate) sealing: Sealing,
}

impl Options {
    /// Whether something is to be done outside before the command runs.
    pub(crate) fn waits_for_go(&self) -> bool {
        self.outside.is_some() || self.pid_file.is_some() || self.status_fd.is_some()
    }
}

const ABOUT: &str = "Run a command in a container: ROOT becomes / of namespaces of its own";
const USAGE: &str = "[OPTION]... ROOT [OPTION]... [--] [CMD [ARG]...]";

const OPTIONS: &[Opt] = &[
    Opt::new('e', "ephemeral", No, "Changes below ROOT vanish; with / as ROOT, this machine unharmed"),
    Opt::new(' ', "ro", No, "ROOT is read-only"),
    Opt::new(' ', "bind", Required("SRC[:DEST[:OPTS]]"), "Bind a file or tree of the host")
        .docs("OPTS are of ro, rw, nosuid, nodev, dev, noexec and no-idmap, with commas. A colon in a path is \\:."),
    Opt::new(' ', "bind-ro", Required("SRC[:DEST[:OPTS]]"), "Likewise, read-only"),
    Opt::new(' ', "tmpfs", Required("DEST[:OPTS]"), "Mount an empty tmpfs")
        .docs("OPTS are of size=, mode=, nr_inodes=, ro, rw, suid, nosuid, nodev and noexec."),
    Opt::new(' ', "no-idmap", No, "As root, leave ids as a tree unpacked under pseudo has them"),
    Opt::new('u', "uid-map", Required("MAP"), "User ids as START:LOWER:COUNT[,...], inside first"),
    Opt::new('g', "gid-map", Required("MAP"), "Group ids likewise"),
    Opt::new(' ', "net", Required("host|none"), "The host's network, without rights over it, or lo alone [none]"),
    Opt::new('n', "host-net", No, "The same as --net host"),
    Opt::new(' ', "hostname", Required("NAME"), "Set the host name"),
    Opt::new(' ', "cwd", Required("DIR"), "Working directory [default: /]"),
    Opt::new(' ', "env", Required("K[=V]"), "Set a variable, or pass the caller's"),
    Opt::new(' ', "keep-env", No, "Keep the caller's environment"),
    Opt::new('i', "inside", Required("CMD"), "Run a shell command inside before the pivot, in the new root"),
    Opt::new('o', "outside", Required("CMD"), "Run a shell command outside once the namespaces exist")
        .docs("CONTAIN_PID and CONTAIN_INIT are the PIDs of the supervisor and of the container's init."),
    Opt::new(' ', "console", No, "Give CMD a terminal of its own even in a pipeline"),
    Opt::new('c', "no-console", No, "Pass stdin, stdout and stderr through untouched"),
    Opt::new(' ', "init", No, "PID 1 is a reaper that forwards signals, CMD its child"),
    Opt::new(' ', "pid-file", Required("FILE"), "Write the supervisor's PID before CMD runs"),
    Opt::new(' ', "status-fd", Required("FD"), "Write JSON lines that tell when CMD started and exited"),
    Opt::new(' ', "pass-fd", Required("FD"), "Leave this fd open for CMD"),
];

/// Parses the arguments of this process.
pub fn parse() -> Result<Options, Error> {
    let page = Page {
        tool: "contain",
        about: ABOUT,
        usage: USAGE,
        options: &[OPTIONS, cli::ABOUT_ITSELF],
        group: Some(seal::GROUP),
        words: &[],
    };
    let tables = &[OPTIONS, cli::ABOUT_ITSELF, seal::OPTIONS];
    let mut parser = Parser::new(tables, std::env::args_os().skip(1).collect());
    let mut options = Options::default();
    for operand in ["ROOT", "CMD"] {
        while let Some((option, argument)) = parser.option()? {
            cli::about_itself(option, &page);
            if !options.sealing.set(option.long, argument.as_deref())? {
                options.set(option.long, argument.unwrap_or_default())?;
            }
        }
        if operand == "ROOT" {
            options.root = parser.operand().ok_or_else(|| Error::usage("ROOT is missing"))?.into();
        }
    }
    options.command = parser.rest();
    if options.command.is_empty() {
        options.command.push("/bin/sh".into());
    }
    options.pass_fds.extend(options.sealing.passed_fds());
    options.sealing.set_reaper();
    let sets_home = |pair: &OsString| pair == "HOME" || pair.as_bytes().starts_with(b"HOME=");
    if !options.keep_env && !options.env.iter().any(sets_home) {
        options.sealing.set_home();
    }
    Ok(options)
}

impl Options {
    fn set(&mut self, name: &str, value: OsString) -> Result<(), Error> {
        match name {
            "ephemeral" => self.ephemeral = true,
            "ro" => self.read_only = true,
            "bind" | "bind-ro" => self.mounts.push(Spec::bind(&value, name == "bind-ro")?),
            "tmpfs" => self.mounts.push(Spec::tmpfs(&value)?),
            "no-idmap" => self.no_idmap = true,
            "uid-map" => self.uid_map = Some(value),
            "gid-map" => self.gid_map = Some(value),
            "net" if value != "host" && value != "none" => {
                return Err(Error::new(format!("--net {value:?}")).hint("there are host and none"));
            }
            "net" => self.host_net = value == "host",
            "host-net" => self.host_net = true,
            "hostname" => self.hostname = Some(value),
            "cwd" if !PathBuf::from(&value).is_absolute() => {
                return Err(Error::new(format!("--cwd {value:?} is not absolute")));
            }
            "cwd" => self.cwd = Some(value.into()),
            "env" => self.env.push(value),
            "keep-env" => self.keep_env = true,
            "inside" => self.inside = Some(value),
            "outside" => self.outside = Some(value),
            "console" => self.console = Wanted::Always,
            "no-console" => self.console = Wanted::Never,
            "init" => self.init = true,
            "pid-file" => self.pid_file = Some(value.into()),
            "status-fd" => self.status_fd = Some(cli::open_fd(&value, name)?),
            "pass-fd" => self.pass_fds.push(cli::open_fd(&value, name)?),
            other => unreachable!("--{other} is in the table alone"),
        }
        Ok(())
    }
}
