//! `isolate [OPTION]... [CMD [ARG]...]`: run CMD in new namespaces. Called
//! `unshare` it is that.
#![no_main]

use isolate::{called, options, unshare};

seal::main!(called::run("isolate", "unshare", |called| unshare::run(&options::parse(called)?, called)));
