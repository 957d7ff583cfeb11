//! `inject [OPTION]... PID[:INODE] [OPTION]... [CMD [ARG]...]`. Called `nsenter`
//! it is that.
#![no_main]

use isolate::called;
use seal::Error;

seal::main!(called::run("inject", "nsenter", |called| {
    if rustix::process::getuid() != rustix::process::geteuid()
        || rustix::process::getgid() != rustix::process::getegid()
    {
        return Err(Error::new("will not run set-uid or set-gid").hint("chmod ug-s the program"));
    }
    inject::run(inject::options::parse(called)?, called)
}));
