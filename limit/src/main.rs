//! `limit [OPTION]... [NAME=VALUE]... [OPTION]... [--] CMD [ARG]...`
#![no_main]

seal::main!(seal::cli::run("limit", || limit::run(std::env::args_os().skip(1).collect())));
