//! `seal PROG [ARG]...`: run PROG from memory that nothing can write to.
#![no_main]

use clap::Command;
use seal::{cli, memfd};

seal::main!(cli::run("seal", || {
    let command = Command::new("seal")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Run a program from a memfd sealed against writing, shrinking, growing and further sealing")
        .override_usage("seal PROG [ARG]...")
        .arg(cli::command_arg().required(true).value_name("PROG [ARG]").help("The program, found on PATH"));
    let argv = cli::command_words(&cli::parse(command)?);
    let program = memfd::find(&argv[0])?;
    Err(memfd::sealed(&program)?.exec(&argv))
}));
