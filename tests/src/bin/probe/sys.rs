//! What no safe crate tells: the dispositions of signals, which fds are open,
//! and namespaces where there is no /proc. And a start without std's runtime,
//! which would ignore SIGPIPE and open fds that are closed.
#![allow(unsafe_code)]

use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, RawFd};

#[unsafe(no_mangle)]
extern "C" fn main(_: i32, _: *const *const std::ffi::c_char) -> i32 {
    crate::observe();
    0
}

/// The disposition of a signal; none for those that libc keeps to itself.
pub fn disposition(signal: i32) -> Option<libc::sighandler_t> {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: without a new action the call only writes the old one, if it succeeds.
    unsafe {
        (libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) == 0).then(|| action.assume_init().sa_sigaction)
    }
}

/// Whether a number is an open fd.
pub fn is_open(fd: RawFd) -> bool {
    // SAFETY: F_GETFD takes any number.
    unsafe { libc::fcntl(fd, libc::F_GETFD) != -1 }
}

/// A namespace of the process that `pidfd` is, by the number of its request in
/// linux/pidfd.h (Linux 6.11).
pub fn namespace(pidfd: BorrowedFd, number: u8) -> Option<File> {
    let request = 0xff00 | libc::Ioctl::from(number);
    // SAFETY: these requests take no argument and give a new fd, which is ours alone.
    unsafe {
        let fd = libc::ioctl(pidfd.as_raw_fd(), request, 0);
        (fd >= 0).then(|| File::from_raw_fd(fd))
    }
}
