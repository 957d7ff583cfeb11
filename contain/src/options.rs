//! The options of `contain`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use isolate::console::Wanted;
use seal::{Error, cli};

use crate::spec::Spec;

/// What was asked for.
pub struct Options {
    pub(crate) root: PathBuf,
    pub(crate) command: Vec<OsString>,
    pub(crate) ephemeral: bool,
    pub(crate) read_only: bool,
    pub(crate) idmap: bool,
    pub(crate) mounts: Vec<Spec>,
    pub(crate) host_net: bool,
    pub(crate) hostname: Option<OsString>,
    pub(crate) cwd: PathBuf,
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
}

impl Options {
    /// Whether something is to be done outside before the command runs.
    pub(crate) fn waits_for_go(&self) -> bool {
        self.outside.is_some() || self.pid_file.is_some() || self.status_fd.is_some()
    }
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).help(help).action(ArgAction::SetTrue)
}

fn value(name: &'static str, what: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(what).help(help).value_parser(value_parser!(OsString))
}

fn fd(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name("FD").help(help).value_parser(value_parser!(i32).range(0..))
}

fn command() -> Command {
    Command::new("contain")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Run a command in a container: ROOT becomes / of namespaces of its own")
        .override_usage("contain [OPTION]... ROOT [OPTION]... [--] [CMD [ARG]...]")
        .args([
            flag("ephemeral", "Changes below ROOT vanish; with / as ROOT, this machine unharmed").short('e'),
            flag("ro", "ROOT is read-only"),
            value("bind", "SRC[:DEST[:OPTS]]", "Bind a file or tree of the host").action(ArgAction::Append),
            value("bind-ro", "SRC[:DEST[:OPTS]]", "Likewise, read-only").action(ArgAction::Append),
            value("tmpfs", "DEST[:OPTS]", "Mount an empty tmpfs").action(ArgAction::Append),
            flag("no-idmap", "As root, leave ids as a tree unpacked under pseudo has them"),
            value("uid-map", "MAP", "User ids as START:LOWER:COUNT[,...], inside first").short('u'),
            value("gid-map", "MAP", "Group ids likewise").short('g'),
            value("net", "host|none", "The host's network, without rights over it, or lo alone [default: none]"),
            flag("net-host", "The same as --net host").short('n').long("host-net"),
            value("hostname", "NAME", "Set the host name"),
            value("cwd", "DIR", "Working directory [default: /]"),
            value("env", "K[=V]", "Set a variable, or pass the caller's").action(ArgAction::Append),
            flag("keep-env", "Keep the caller's environment"),
            value("inside", "CMD", "Run a shell command inside before the pivot, in the new root").short('i'),
            value("outside", "CMD", "Run a shell command outside once the namespaces exist").short('o'),
            flag("console", "Give CMD a terminal of its own even in a pipeline").overrides_with("no-console"),
            flag("no-console", "Pass stdin, stdout and stderr through untouched").short('c').overrides_with("console"),
            flag("init", "PID 1 is a reaper that forwards signals, CMD its child"),
            value("pid-file", "FILE", "Write the supervisor's PID before CMD runs")
                .value_parser(value_parser!(PathBuf)),
            fd("status-fd", "Write JSON lines that tell when CMD started and exited"),
            fd("pass-fd", "Leave this fd open for CMD").action(ArgAction::Append),
        ])
        .arg(Arg::new("root").value_name("ROOT").required(true).value_parser(value_parser!(PathBuf)).help("The new /"))
        .arg(cli::command_arg().help("The command [default: /bin/sh]"))
}

/// Parses the arguments of this process.
pub fn parse() -> Result<Options, Error> {
    let mut matches = cli::parse(command())?;
    let host_net = match matches.remove_one::<OsString>("net") {
        None => matches.get_flag("net-host"),
        Some(net) if net == "host" => true,
        Some(net) if net == "none" => false,
        Some(net) => return Err(Error::new(format!("--net {net:?}")).hint("there are host and none")),
    };
    let mut words = cli::command_words(&matches);
    if words.is_empty() {
        words.push("/bin/sh".into());
    }
    let cwd = matches.remove_one::<OsString>("cwd").map_or("/".into(), PathBuf::from);
    if !cwd.is_absolute() {
        return Err(Error::new(format!("--cwd {cwd:?} is not absolute")));
    }
    let console = Wanted::from_flags(matches.get_flag("console"), matches.get_flag("no-console"));
    Ok(Options {
        command: words,
        ephemeral: matches.get_flag("ephemeral"),
        read_only: matches.get_flag("ro"),
        idmap: !matches.get_flag("no-idmap"),
        mounts: mounts(&matches)?,
        host_net,
        hostname: matches.remove_one("hostname"),
        cwd,
        env: all(&mut matches, "env"),
        keep_env: matches.get_flag("keep-env"),
        uid_map: matches.remove_one("uid-map"),
        gid_map: matches.remove_one("gid-map"),
        inside: matches.remove_one("inside"),
        outside: matches.remove_one("outside"),
        console,
        init: matches.get_flag("init"),
        pid_file: matches.remove_one("pid-file"),
        status_fd: cli::open_fds(all(&mut matches, "status-fd"), "status-fd")?.pop(),
        pass_fds: cli::open_fds(all(&mut matches, "pass-fd"), "pass-fd")?,
        root: matches.remove_one("root").expect("clap requires it"),
    })
}

fn all<T: Clone + Send + Sync + 'static>(matches: &mut ArgMatches, name: &str) -> Vec<T> {
    matches.remove_many(name).into_iter().flatten().collect()
}

/// The mounts in the order in which they stand on the command line.
fn mounts(matches: &ArgMatches) -> Result<Vec<Spec>, Error> {
    let mut specs = Vec::new();
    for name in ["bind", "bind-ro", "tmpfs"] {
        let values = matches.get_many::<OsString>(name).into_iter().flatten();
        for (index, text) in matches.indices_of(name).into_iter().flatten().zip(values) {
            let spec = match name {
                "tmpfs" => Spec::tmpfs(text)?,
                _ => Spec::bind(text, name == "bind-ro")?,
            };
            specs.push((index, spec));
        }
    }
    specs.sort_by_key(|&(index, _)| index);
    Ok(specs.into_iter().map(|(_, spec)| spec).collect())
}
