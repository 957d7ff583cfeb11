//! `contain [OPTION]... ROOT [OPTION]... [CMD [ARG]...]`
#![no_main]

seal::main!(seal::cli::run("contain", || contain::run(contain::options::parse()?)));
