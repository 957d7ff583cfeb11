//! Filters of system calls (seccomp(2)): from policies in [`kafel`] or
//! [`profile`]s in JSON, which become rules ([`policy`]), which become decisions
//! ([`decide`]), which become a [`program`].
//!
//! # What a program does
//!
//! 1. It looks at the architecture. Another one, a 32-bit call on a 64-bit kernel
//!    included, returns KILL_PROCESS.
//! 2. On x86-64 a number from 0x40000000 on is one of x32 and returns
//!    KILL_PROCESS, whatever the default; but for -1, which no kernel runs and
//!    which is all that is left of a call that a tracer took away.
//! 3. It finds the number by halves: one comparison for each doubling of the
//!    ranges of numbers that are decided alike. The kernel goes through these
//!    steps once, when it loads the program, and allows for ever without running
//!    it what is allowed whatever the arguments are (Linux 5.11).
//! 4. It returns the action, or asks the conditions in the order of the rules.
//!
//! # Actions
//!
//! | Kafel | JSON (`SCMP_ACT_`) | returned (`SECCOMP_RET_`) | the call |
//! |---|---|---|---|
//! | `KILL_PROCESS` | `KILL_PROCESS` | `KILL_PROCESS` | SIGSYS ends the process |
//! | `KILL`, `KILL_THREAD`, `DENY` | `KILL`, `KILL_THREAD` | `KILL_THREAD` | SIGSYS ends the thread |
//! | `TRAP(N)` | `TRAP` (N is 0) | `TRAP` and N | SIGSYS, `si_errno` is N |
//! | `ERRNO(N)` | `ERRNO`, `errnoRet` | `ERRNO` and N | fails with N, at most 4095 |
//! | `USER_NOTIF` | refused | `USER_NOTIF`, loaded as `ERRNO` | fails with ENOSYS: there is no supervisor |
//! | `TRACE(N)` | `TRACE`, `errnoRet` | `TRACE` and N | ENOSYS without a tracer |
//! | `LOG` | `LOG` | `LOG` | runs and is logged |
//! | `ALLOW` | `ALLOW` | `ALLOW` | runs |
//!
//! # Conditions
//!
//! BPF compares 32 bits. `a == b` compares the high halves and, where these are
//! equal, the low ones; `a > b` and `a >= b` hold where the high half is greater,
//! or equal and the low one is so; `!=`, `<=` and `<` are their opposites. The
//! high half of an argument of 4 bytes is 0, so that what the kernel cuts off it
//! decides nothing; where all of a comparison is that narrow, and each number is
//! one of 32 bits, perhaps negative, the low halves alone are compared. `&` and
//! `|` with a number are one instruction a half; of two arguments one waits in a
//! scratch word. What is known beforehand is not computed. `&&`, `||` and `!`
//! are jumps.
//!
//! # Several filters
//!
//! The kernel runs every filter that a thread has and takes the action that
//! comes first in the table above; of two with the same action, the data of the
//! one that was loaded last. That is done here beforehand: all policies become
//! one program, so that none can refuse seccomp(2) to the next. Only a ready
//! program (`--bpf`) is loaded as it is, before that one, or after it if it
//! refuses seccomp(2). USER_NOTIF is loaded as an errno, since the command could
//! make itself the supervisor of what is left to one. What `ALLOW` says in one filter is no more than that this
//! one does not mind.
//!
//! With SECCOMP_FILTER_FLAG_LOG the kernel logs what any program of ours refuses.
//!
//! # Why not seccompiler
//!
//! It has one action for all that matches, tries system calls one after another,
//! cannot negate or compare two arguments, and lets x32 fall through to the
//! default.

mod aarch64;
pub mod decide;
mod explain;
pub mod explore;
pub mod filters;
pub mod kafel;
pub mod policy;
pub mod profile;
pub mod program;
pub mod source;
pub mod table;
mod x86_64;
