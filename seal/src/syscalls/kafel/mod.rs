//! Kafel, the policy language of NsJail: the whole grammar of its present
//! release.
//!
//! ```text
//! #define SIGKILL 9
//! POLICY files { ALLOW { read, write, openat { (flags & 3) == 0 } } }
//! USE files, ERRNO(1) { kill { sig == SIGKILL } }
//! DEFAULT KILL_PROCESS
//! ```
//!
//! Beyond it, an errno has its name (`ERRNO(EPERM)`), system calls have their user-space names, too (`stat` beside
//! `newstat`), a constant may stand for any number, and a file is looked for
//! beside the one that includes it. Where its release and its description
//! differ, or neither says:
//!
//! - An argument of 4 bytes is its low half, as the kernel takes it. Where all
//!   that is compared is that narrow a negative number is one of 32 bits:
//!   `dfd == -100` is AT_FDCWD.
//! - A renamed argument (`read(a, b)`) keeps its width; one of a system call that
//!   is not known has 8 bytes.
//! - A name may begin with an underscore, as `_sysctl` does.
//! - Two rules of a policy at the top may stand with or without a comma.

mod condition;
mod lexer;
mod parser;

pub use parser::parse;
