//! What no safe crate does: fork(2), dispositions, the time-stamp counter, and
//! core scheduling.
#![allow(unsafe_code)]

use nix::errno::Errno;
use nix::sys::signal::{SigHandler, Signal};
use nix::unistd::ForkResult;

/// fork(2), of a process that has one thread.
pub fn fork() -> nix::Result<ForkResult> {
    // SAFETY: nothing here starts a thread, so that the child may do anything.
    unsafe { nix::unistd::fork() }
}

/// Ignores a signal, if it is one that can be ignored.
pub fn ignore(signal: Signal) {
    // SAFETY: SIG_IGN runs nothing of ours.
    let _ = unsafe { nix::sys::signal::signal(signal, SigHandler::SigIgn) };
}

/// Reads the time-stamp counter, for which the kernel may kill.
#[cfg(target_arch = "x86_64")]
pub fn read_tsc() {
    // SAFETY: the instruction changes rax and rdx only, and the intrinsic says so.
    std::hint::black_box(unsafe { std::arch::x86_64::_rdtsc() });
}

/// Elsewhere none is read by that name.
#[cfg(not(target_arch = "x86_64"))]
pub fn read_tsc() {}

// linux/prctl.h; libc has them for some of its targets.
const PR_SCHED_CORE: i32 = 62;
const PR_SCHED_CORE_GET: u64 = 0;
const PR_SCHED_CORE_CREATE: u64 = 1;

/// A core scheduling cookie for this thread.
pub fn core_scheduling_create() -> Result<(), Errno> {
    let none: *mut u64 = std::ptr::null_mut();
    // SAFETY: it writes nothing for CREATE.
    Errno::result(unsafe { libc::prctl(PR_SCHED_CORE, PR_SCHED_CORE_CREATE, 0_u64, 0_u64, none) }).map(drop)
}

/// The core scheduling cookie of this thread; zero is none.
pub fn core_scheduling_cookie() -> Result<u64, Errno> {
    let mut cookie = 0_u64;
    let place: *mut u64 = &mut cookie;
    // SAFETY: the kernel writes one u64 there.
    Errno::result(unsafe { libc::prctl(PR_SCHED_CORE, PR_SCHED_CORE_GET, 0_u64, 0_u64, place) })?;
    Ok(cookie)
}
