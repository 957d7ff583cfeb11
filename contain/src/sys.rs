//! The one thing here that takes the caller's word for it: an fd by number.
#![allow(unsafe_code)]

use std::os::fd::BorrowedFd;

/// An fd of the caller's, borrowed for as long as the process lives.
pub fn borrow(fd: libc::c_int) -> BorrowedFd<'static> {
    // SAFETY: it was open when the options were parsed, and nothing of ours
    // owns or closes it.
    unsafe { BorrowedFd::borrow_raw(fd) }
}
