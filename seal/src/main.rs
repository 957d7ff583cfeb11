//! `seal PROG [ARG]...`: run PROG from memory that nothing can write to.
#![no_main]

use seal::getopt::{Page, Parser};
use seal::{Error, cli, memfd};

const PAGE: Page = Page {
    tool: "seal",
    about: "Run a program from a memfd sealed against writing, shrinking, growing and further sealing",
    usage: "PROG [ARG]...",
    options: &[cli::ABOUT_ITSELF],
    group: None,
};

seal::main!(cli::run("seal", || {
    let mut parser = Parser::new(PAGE.options, std::env::args_os().skip(1).collect());
    while let Some((option, _)) = parser.option()? {
        cli::about_itself(option, &PAGE);
    }
    let argv = parser.rest();
    let name = argv.first().ok_or_else(|| Error::usage("PROG is missing"))?;
    Err(memfd::sealed(&memfd::find(name)?)?.exec(&argv))
}));
