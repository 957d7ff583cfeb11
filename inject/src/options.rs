//! The options of `inject`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgAction, Command, value_parser};
use isolate::console::Wanted;
use seal::{Error, cli};

/// What was asked for.
pub struct Options {
    /// PID or PID:INODE; none with `--list`.
    pub(crate) target: Option<OsString>,
    pub(crate) command: Vec<OsString>,
    pub(crate) carry: bool,
    pub(crate) cgroup: bool,
    pub(crate) cwd: PathBuf,
    pub(crate) console: Wanted,
    pub(crate) pass_fds: Vec<i32>,
    pub(crate) list: bool,
    pub(crate) json: bool,
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).help(help).action(ArgAction::SetTrue)
}

fn command() -> Command {
    Command::new("inject")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Run a command in the container that PID supervises, or in the namespaces of process PID")
        .override_usage("inject [OPTION]... PID[:INODE] [OPTION]... [--] [CMD [ARG]...]\n       inject --list [--json]")
        .args([
            flag("carry", "CMD is a static program of the host, run where no file of it exists"),
            Arg::new("cwd")
                .long("cwd")
                .value_name("DIR")
                .value_parser(value_parser!(PathBuf))
                .default_value("/")
                .hide_default_value(true)
                .help("Working directory [default: /]"),
            flag("no-cgroup", "Stay in the caller's cgroups, outside of the container's limits"),
            flag("console", "Give CMD a terminal of its own even in a pipeline").overrides_with("no-console"),
            flag("no-console", "Pass stdin, stdout and stderr through untouched").overrides_with("console"),
            Arg::new("pass-fd")
                .long("pass-fd")
                .value_name("FD")
                .value_parser(value_parser!(i32).range(0..))
                .action(ArgAction::Append)
                .help("Leave this fd open for CMD"),
            flag("list", "Show the containers that run"),
            flag("json", "With --list, as JSON").requires("list"),
        ])
        .arg(
            Arg::new("pid")
                .value_name("PID[:INODE]")
                .required_unless_present("list")
                .conflicts_with("list")
                .value_parser(value_parser!(OsString))
                .help("A process; INODE of its pidfd tells it from a later one"),
        )
        .arg(cli::command_arg().help("The command [default: the login shell of uid 0 there, else /bin/sh]"))
}

/// Parses the arguments of this process.
pub fn parse() -> Result<Options, Error> {
    let mut matches = cli::parse(command())?;
    let command = cli::command_words(&matches);
    let carry = matches.get_flag("carry");
    if carry && command.is_empty() {
        return Err(Error::new("--carry needs the program to carry"));
    }
    let cwd: PathBuf = matches.remove_one("cwd").expect("it has a default");
    if !cwd.is_absolute() {
        return Err(Error::new(format!("--cwd {cwd:?} is not absolute")));
    }
    let console = Wanted::from_flags(matches.get_flag("console"), matches.get_flag("no-console"));
    let pass_fds: Vec<i32> = matches.remove_many("pass-fd").into_iter().flatten().collect();
    Ok(Options {
        target: matches.remove_one("pid"),
        command,
        carry,
        cgroup: !matches.get_flag("no-cgroup"),
        cwd,
        console,
        pass_fds: cli::open_fds(pass_fds, "pass-fd")?,
        list: matches.get_flag("list"),
        json: matches.get_flag("json"),
    })
}
