//! The one thing here that only libc can tell: how SIGPIPE was inherited.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicBool, Ordering};

static SIGPIPE_IGNORED: AtomicBool = AtomicBool::new(false);

extern "C" fn record_sigpipe() {
    let mut old = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null new action only reads; the kernel fills `old`, which is
    // plain data and valid when zeroed.
    let ignored = unsafe {
        libc::sigaction(libc::SIGPIPE, std::ptr::null(), old.as_mut_ptr()) == 0
            && old.assume_init().sa_sigaction == libc::SIG_IGN
    };
    SIGPIPE_IGNORED.store(ignored, Ordering::Relaxed);
}

/// Runs before Rust's own start-up, which ignores SIGPIPE and so forgets what
/// the caller had chosen for the command.
#[used]
#[unsafe(link_section = ".init_array")]
static RECORD_SIGPIPE: extern "C" fn() = record_sigpipe;

/// Gives SIGPIPE back the disposition that this process was started with.
pub fn restore_sigpipe() {
    if !SIGPIPE_IGNORED.load(Ordering::Relaxed) {
        // SAFETY: the default action is no handler of ours that could run.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    }
}
