//! `pseudo [-u MAP] [-g MAP] [CMD [ARG]...]`: run CMD as root of a new user namespace.
#![no_main]

use std::ffi::OsString;

use clap::{Arg, Command, value_parser};
use pseudo::{Caller, Maps};
use seal::cli;
use seal::exec::{self, Environment};

seal::main!(cli::run("pseudo", || {
    let map = |letter, name, what| {
        Arg::new(name).short(letter).long(name).value_name("MAP").help(what).value_parser(value_parser!(OsString))
    };
    let command = Command::new("pseudo")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Run a command as root over your own ids, in a new user namespace")
        .override_usage("pseudo [-u MAP] [-g MAP] [--] [CMD [ARG]...]")
        .arg(map('u', "uid-map", "User ids as START:LOWER:COUNT[,...], inside first"))
        .arg(map('g', "gid-map", "Group ids likewise"))
        .arg(cli::command_arg().help("The command [default: $SHELL, else /bin/sh]"));
    let matches = cli::parse(command)?;
    let argv = cli::command_words_or_shell(&matches);
    let map = |name| matches.get_one::<OsString>(name).map(OsString::as_os_str);
    let caller = Caller::current()?;
    let maps = Maps::requested(&caller, map("uid-map"), map("gid-map"))?;
    pseudo::enter(&caller, &maps)?;
    Err(exec::exec(&argv, &Environment::inherited()))
}));
