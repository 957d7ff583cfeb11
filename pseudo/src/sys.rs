//! The one call that needs raw memory: a child to hold a new user namespace.
#![allow(unsafe_code)]

use std::os::fd::{FromRawFd, OwnedFd};

use nix::errno::Errno;

const STACK: usize = 16 * 1024;

/// Runs in our memory, on a stack of its own, and writes none of it, errno
/// included: none of these calls fails. It dies with its parent, whose pid is
/// the argument.
extern "C" fn sleep_forever(parent: *mut libc::c_void) -> libc::c_int {
    // SAFETY: no call here takes a pointer; pause(2) returns only after a
    // signal handler, and we have none.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        while libc::getppid() as usize == parent as usize {
            libc::pause();
        }
    }
    0
}

/// A child that does nothing but keep a new user namespace alive, killed and
/// reaped when dropped.
pub struct Holder {
    pid: libc::pid_t,
    pidfd: OwnedFd,
    // Last, so that the child is gone before its stack is.
    _stack: Box<[u8]>,
}

/// clone(2) with CLONE_NEWUSER of a child that shares our memory, which costs
/// a third of a fork.
pub fn hold_user_namespace() -> Result<Holder, Errno> {
    let mut stack = vec![0u8; STACK].into_boxed_slice();
    let mut pidfd: libc::c_int = -1;
    let flags = libc::CLONE_NEWUSER | libc::CLONE_VM | libc::CLONE_PIDFD | libc::SIGCHLD;
    // SAFETY: the stack is ours until the child is reaped, its end is aligned
    // down to 16; `sleep_forever` shares memory and writes none of it; pidfd
    // is written before clone returns.
    let pid = unsafe {
        let top = stack.as_mut_ptr().add(STACK);
        let top = top.sub(top as usize % 16);
        libc::clone(sleep_forever, top.cast(), flags, libc::getpid() as usize as *mut libc::c_void, &raw mut pidfd)
    };
    Errno::result(pid)?;
    // SAFETY: the kernel has just given us this fd, and nothing else knows it.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Holder { pid, pidfd, _stack: stack })
}

impl Holder {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid.unsigned_abs()
    }

    /// A pidfd for it.
    pub fn pidfd(&self) -> &OwnedFd {
        &self.pidfd
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // SAFETY: the child is ours and not yet reaped, so the pid is still its own.
        unsafe {
            libc::kill(self.pid, libc::SIGKILL);
            while libc::waitpid(self.pid, std::ptr::null_mut(), 0) == -1 && Errno::last() == Errno::EINTR {}
        }
    }
}
