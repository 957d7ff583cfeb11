//! `isolate [CMD [ARG]...]`: run CMD in new network and IPC namespaces, with lo up.
#![no_main]

use std::fs;

use clap::Command;
use isolate::{loopback, namespace};
use nix::sched::{CloneFlags, unshare};
use pseudo::userns_hint;
use seal::exec::{self, Environment};
use seal::{Context, Error, cli};

seal::main!(cli::run("isolate", || {
    let command = Command::new("isolate")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Run a command with no network but lo, and no System V or POSIX IPC but its own")
        .override_usage("isolate [--] [CMD [ARG]...]")
        .arg(cli::command_arg().help("The command [default: $SHELL, else /bin/sh]"));
    let argv = cli::command_words_or_shell(&cli::parse(command)?);
    isolate()?;
    loopback::up()?;
    Err(exec::exec(&argv, &Environment::inherited()))
}));

/// Unshares, an ordinary user in a user namespace that leaves the ids as they are.
fn isolate() -> Result<(), Error> {
    let make = |flags: u64| unshare(CloneFlags::from_bits_retain(flags as i32));
    let flags = namespace::NET.flag | namespace::IPC.flag;
    match make(flags) {
        Err(nix::errno::Errno::EPERM) => {}
        made => return made.tried(|| "cannot create network and IPC namespaces"),
    }
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    make(flags | namespace::USER.flag).map_err(|errno| {
        Error::new("cannot create user, network and IPC namespaces")
            .because(errno)
            .maybe_hint(userns_hint(errno as i32))
    })?;
    let write = |file: &str, text: String| {
        fs::write(format!("/proc/self/{file}"), &text).map_err(|source| {
            let hint = userns_hint(source.raw_os_error().unwrap_or(0));
            Error::new(format!("cannot write {file} {text:?}")).because(source).maybe_hint(hint)
        })
    };
    write("setgroups", "deny".into())?;
    write("uid_map", format!("{uid} {uid} 1"))?;
    write("gid_map", format!("{gid} {gid} 1"))
}
