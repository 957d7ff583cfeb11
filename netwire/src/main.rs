//! `netwire COMMAND [OPERAND]... [OPTION]...`.
#![no_main]

seal::main!(seal::cli::run("netwire", || netwire::run(std::env::args_os().skip(1).collect())));
