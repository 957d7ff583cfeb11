//! The system calls that neither nix nor rustix wraps, each wrapped once.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;

/// pivot_root(2) to the working directory. With `put_old` "." too, the old
/// root ends up on top of the new one, where umount2(".") finds it.
pub fn pivot_root_here(put_old: &CStr) -> Result<(), Errno> {
    // SAFETY: two paths that outlive the call.
    Errno::result(unsafe { libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), put_old.as_ptr()) }).map(|_| ())
}

/// An fd of the caller's, borrowed for as long as the process lives.
pub fn borrow(fd: libc::c_int) -> BorrowedFd<'static> {
    // SAFETY: it was open when the options were parsed, and nothing of ours
    // owns or closes it.
    unsafe { BorrowedFd::borrow_raw(fd) }
}
