//! The system calls that neither nix nor rustix wraps, each wrapped once.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use rustix::mount::MountAttrFlags;

const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;

/// mount_setattr(2) on the mount that `fd` is, and with `recursive` on those
/// below it: sets attributes, a propagation type (MS_PRIVATE or MS_SLAVE) and
/// the ids of a user namespace.
pub fn mount_setattr(
    fd: BorrowedFd,
    recursive: bool,
    set: MountAttrFlags,
    propagation: libc::c_ulong,
    idmap: Option<BorrowedFd>,
) -> Result<(), Errno> {
    let attr = libc::mount_attr {
        attr_set: u64::from(set.bits()) | idmap.map_or(0, |_| MOUNT_ATTR_IDMAP),
        attr_clr: 0,
        propagation: propagation as u64,
        userns_fd: idmap.map_or(0, |fd| fd.as_raw_fd() as u64),
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the kernel reads an empty path and a mount_attr of the size we say.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<libc::mount_attr>(),
        )
    };
    Errno::result(result).map(|_| ())
}

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
