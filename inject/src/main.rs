//! `inject [OPTION]... PID[:INODE] [OPTION]... [CMD [ARG]...]`
#![forbid(unsafe_code)]

use seal::{Error, cli, own};

fn main() {
    cli::run("inject", || {
        if rustix::process::getuid() != rustix::process::geteuid()
            || rustix::process::getgid() != rustix::process::getegid()
        {
            return Err(Error::new("will not run set-uid or set-gid").hint("chmod ug-s the program"));
        }
        own::ensure_sealed()?;
        inject::run(inject::options::parse()?)
    })
}
