//! `seal [OPTION]... CMD [ARG]...`: take rights away from CMD before it starts.
#![no_main]

use seal::exec::Environment;
use seal::getopt::{Page, Parser};
use seal::{Error, Sealing, caps, cli};

const PAGE: Page = Page {
    tool: "seal",
    about: "Take rights away from CMD before it starts; without options, seal its binary",
    usage: "[OPTION]... [--] CMD [ARG]...",
    options: &[seal::OPTIONS, cli::ABOUT_ITSELF],
    group: None,
    words: &[],
};

seal::main!(cli::run("seal", || {
    let mut parser = Parser::new(PAGE.options, std::env::args_os().skip(1).collect());
    let mut sealing = Sealing::default();
    while let Some((option, argument)) = parser.option()? {
        cli::about_itself(option, &PAGE);
        sealing.set(option.long, argument.as_deref())?;
    }
    let argv = parser.rest();
    sealing.or_binary();
    if let Some(status) = sealing.prepare("seal", caps::permitted()?, !argv.is_empty())? {
        return Ok(status);
    }
    if argv.is_empty() {
        return Err(Error::usage("CMD is missing"));
    }
    Err(sealing.exec(&argv, &Environment::inherited()))
}));
