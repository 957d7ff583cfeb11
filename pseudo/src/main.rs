//! `pseudo [-u MAP] [-g MAP] [CMD [ARG]...]`: run CMD as root of a new user namespace.
#![no_main]

use pseudo::{Caller, Maps};
use seal::cli;
use seal::exec::{self, Environment};
use seal::getopt::{Argument::Required, Opt, Page, Parser};

const OPTIONS: &[Opt] = &[
    Opt::new('u', "uid-map", Required("MAP"), "User ids as START:LOWER:COUNT[,...], inside first"),
    Opt::new('g', "gid-map", Required("MAP"), "Group ids likewise"),
];

const PAGE: Page = Page {
    tool: "pseudo",
    about: "Run a command as root over your own ids, in a new user namespace",
    usage: "[OPTION]... [--] [CMD [ARG]...]",
    options: &[OPTIONS, cli::ABOUT_ITSELF],
    group: None,
    words: &[],
};

seal::main!(cli::run("pseudo", || {
    let mut parser = Parser::new(PAGE.options, std::env::args_os().skip(1).collect());
    let (mut uid_map, mut gid_map) = (None, None);
    while let Some((option, argument)) = parser.option()? {
        cli::about_itself(option, &PAGE);
        *(if option.long == "uid-map" { &mut uid_map } else { &mut gid_map }) = argument;
    }
    let argv = cli::or_shell(parser.rest());
    let caller = Caller::current()?;
    let maps = Maps::requested(&caller, uid_map.as_deref(), gid_map.as_deref())?;
    pseudo::enter(&caller, &maps)?;
    Err(exec::exec(&argv, &Environment::inherited()))
}));
