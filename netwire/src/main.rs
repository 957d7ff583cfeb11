//! `netwire SUBCOMMAND [OPERAND]... [OPTION]...`.
#![no_main]

seal::main!(seal::cli::run("netwire", || Ok(0)));
