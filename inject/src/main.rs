//! `inject [OPTION]... PID[:INODE] [OPTION]... [CMD [ARG]...]`
#![no_main]

use seal::{Error, cli, own};

seal::main!(cli::run("inject", || {
    if rustix::process::getuid() != rustix::process::geteuid()
        || rustix::process::getgid() != rustix::process::getegid()
    {
        return Err(Error::new("will not run set-uid or set-gid").hint("chmod ug-s the program"));
    }
    own::ensure_sealed()?;
    inject::run(inject::options::parse()?)
}));
