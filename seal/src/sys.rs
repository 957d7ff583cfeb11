//! What neither std, nix nor rustix does: tell how signals were inherited, and
//! mount_setattr(2).
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use rustix::mount::MountAttrFlags;

static SIGPIPE_IGNORED: AtomicBool = AtomicBool::new(false);
static SIGCHLD_IGNORED: AtomicBool = AtomicBool::new(false);

/// Makes `$body`, which never returns, the program, without what std does
/// before and after: that costs a tenth of a millisecond, for a handler of
/// stack overflows and for a SIGPIPE that would have to be told apart again.
#[macro_export]
macro_rules! main {
    ($body:expr) => {
        // The name is the one that libc calls, and no other crate here has it.
        #[allow(unsafe_code)]
        #[unsafe(no_mangle)]
        extern "C" fn main(_: i32, _: *const *const std::ffi::c_char) -> i32 {
            $crate::start();
            $body
        }
    };
}

/// What a tool needs before anything else: standard fds that are open, so that
/// none of ours becomes one, EPIPE in place of SIGPIPE, and a SIGCHLD that is
/// not ignored, since children would leave no status (wait(2)).
pub fn start() {
    for (signal, action, ignored) in
        [(libc::SIGPIPE, libc::SIG_IGN, &SIGPIPE_IGNORED), (libc::SIGCHLD, libc::SIG_DFL, &SIGCHLD_IGNORED)]
    {
        // SAFETY: neither action is a handler of ours that could run.
        let before = unsafe { libc::signal(signal, action) };
        ignored.store(before == libc::SIG_IGN, Ordering::Relaxed);
    }
    for fd in 0..=2 {
        // SAFETY: both take a number or a constant path; open gives the lowest
        // fd that is free, which is this one. A command is given none that was
        // closed; where there is no /dev/null neither are we.
        unsafe {
            if libc::fcntl(fd, libc::F_GETFD) == -1 {
                libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC);
            }
        }
    }
}

/// Leaves SIGCHLD at its default for the command, too.
pub fn forget_ignored_children() {
    SIGCHLD_IGNORED.store(false, Ordering::Relaxed);
}

/// Lets the kernel reap the children of this process, whose statuses are lost.
pub fn ignore_children() {
    // SAFETY: to ignore is no handler of ours that could run.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

/// The environment of this process as it is, entries without a `=` included.
pub fn environment() -> Vec<CString> {
    unsafe extern "C" {
        static environ: *const *const std::ffi::c_char;
    }
    let mut found = Vec::new();
    // SAFETY: environ(7) is null or an array of strings that ends with a null,
    // and nothing in these programs changes it.
    unsafe {
        let mut next = environ;
        while !next.is_null() && !(*next).is_null() {
            found.push(CStr::from_ptr(*next).to_owned());
            next = next.add(1);
        }
    }
    found
}

/// _exit(2): at once, with nothing run or flushed.
pub fn exit(status: u8) -> ! {
    // SAFETY: no destructor of ours does anything that the kernel does not.
    unsafe { libc::_exit(status.into()) }
}

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
