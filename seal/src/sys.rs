//! What neither std, nix nor rustix does: tell how signals were inherited, and
//! mount_setattr(2).
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use rustix::mount::MountAttrFlags;

static SIGPIPE_IGNORED: AtomicBool = AtomicBool::new(false);
static SIGCHLD_IGNORED: AtomicBool = AtomicBool::new(false);

/// Runs before Rust's own start-up, which ignores SIGPIPE and so forgets what
/// the caller had chosen for the command. Where SIGCHLD is ignored children
/// leave no status (wait(2)), so that is put off until the command, too.
extern "C" fn record_dispositions() {
    for (signal, ignored) in [(libc::SIGPIPE, &SIGPIPE_IGNORED), (libc::SIGCHLD, &SIGCHLD_IGNORED)] {
        let mut old = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: a null new action only reads; the kernel fills `old`, which
        // is plain data and valid when zeroed.
        let is_ignored = unsafe {
            libc::sigaction(signal, std::ptr::null(), old.as_mut_ptr()) == 0
                && old.assume_init().sa_sigaction == libc::SIG_IGN
        };
        ignored.store(is_ignored, Ordering::Relaxed);
    }
    if SIGCHLD_IGNORED.load(Ordering::Relaxed) {
        // SAFETY: the default action is no handler of ours that could run.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
    }
}

#[used]
#[unsafe(link_section = ".init_array")]
static RECORD: extern "C" fn() = record_dispositions;

/// Gives SIGPIPE and SIGCHLD back the dispositions that this process was
/// started with.
pub fn restore_dispositions() {
    for (signal, ignored) in [(libc::SIGPIPE, &SIGPIPE_IGNORED), (libc::SIGCHLD, &SIGCHLD_IGNORED)] {
        let action = if ignored.load(Ordering::Relaxed) { libc::SIG_IGN } else { libc::SIG_DFL };
        // SAFETY: neither action is a handler of ours that could run.
        unsafe { libc::signal(signal, action) };
    }
}

const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;

/// mount_setattr(2) on the mount that `fd` is, and with `recursive` on those
/// below it: sets attributes, a propagation type (MS_PRIVATE or MS_SLAVE) and
/// the ids of a user namespace.
pub fn mount_setattr(
    fd: BorrowedFd,
    recursive: bool,
    set: MountAttrFlags,
    propagation: u64,
    idmap: Option<BorrowedFd>,
) -> Result<(), Errno> {
    let attr = libc::mount_attr {
        attr_set: u64::from(set.bits()) | idmap.map_or(0, |_| MOUNT_ATTR_IDMAP),
        attr_clr: 0,
        propagation,
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
