//! `contain [OPTION]... ROOT [OPTION]... [CMD [ARG]...]`
#![forbid(unsafe_code)]

fn main() {
    seal::cli::run("contain", || contain::run(contain::options::parse()?))
}
