//! The system calls that neither nix nor rustix wraps, each wrapped once.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

/// clone3(2) without CLONE_VM, so a fork, with a pidfd for the parent.
/// `Ok(None)` is the child.
///
/// SAFETY of what follows in the child: this program has one thread, so the
/// child may allocate and lock as it likes.
pub fn clone3(flags: u64) -> Result<Option<(libc::pid_t, OwnedFd)>, Errno> {
    let mut pidfd: libc::c_int = -1;
    // SAFETY: clone_args is plain data; zero means "not used" in each field.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = flags | libc::CLONE_PIDFD as u64;
    args.pidfd = &raw mut pidfd as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    // SAFETY: no memory is shared, no stack is given: it returns twice, as fork does.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) };
    match Errno::result(pid)? {
        0 => Ok(None),
        // SAFETY: the kernel has just given us this fd, and nothing else knows it.
        pid => Ok(Some((pid as libc::pid_t, unsafe { OwnedFd::from_raw_fd(pidfd) }))),
    }
}

/// SIOCGIFFLAGS and SIOCSIFFLAGS with IFF_UP (netdevice(7)).
pub fn set_interface_up(name: &CStr) -> rustix::io::Result<()> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    // Any socket takes these ioctls; a kernel may lack IPv4, hardly unix sockets.
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: ifreq is plain data.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.to_bytes()) {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the kernel reads an ifreq, which `request` is.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) } == -1 {
        return Err(rustix::io::Errno::from_raw_os_error(Errno::last_raw()));
    }
    Ok(())
}

/// prctl(2) with PR_SET_PDEATHSIG.
pub fn set_parent_death_signal(signal: libc::c_int) {
    // SAFETY: takes no pointer; cannot fail for a valid signal.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal) };
}

/// kill(2) of a process group, as its members are numbered here.
pub fn kill_group(pgid: libc::pid_t, signal: libc::c_int) {
    // SAFETY: takes no pointer.
    unsafe { libc::kill(-pgid, signal) };
}

/// waitid(2) on a pidfd; `None` if WNOHANG was given and nothing is to be told.
pub fn waitid(pidfd: &OwnedFd, options: libc::c_int) -> Result<Option<(libc::c_int, libc::c_int)>, Errno> {
    // SAFETY: siginfo_t is plain data, filled by the kernel.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: `info` outlives the call.
        let result = unsafe { libc::waitid(libc::P_PIDFD, pidfd.as_raw_fd() as libc::id_t, &raw mut info, options) };
        match Errno::result(result) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
            // SAFETY: waitid filled in the SIGCHLD members, or left si_pid 0.
            Ok(_) => return Ok(unsafe { (info.si_pid() != 0).then(|| (info.si_code, info.si_status())) }),
        }
    }
}

/// The set that a thread waiting in rt_sigtimedwait(2) gave: the first eight
/// bytes at `address` of process `pid`.
pub fn read_word(pid: libc::pid_t, address: u64) -> Result<u64, Errno> {
    let mut word = 0u64;
    let local = libc::iovec { iov_base: (&raw mut word).cast(), iov_len: 8 };
    let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: 8 };
    // SAFETY: the kernel writes at most eight bytes into `word`; the remote
    // address is only ever used in the other process.
    let read = unsafe { libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0) };
    Errno::result(read)?;
    Ok(word)
}

/// TIOCSCTTY: makes a terminal the controlling one of this session.
pub fn set_controlling_terminal(fd: BorrowedFd) -> Result<(), Errno> {
    // SAFETY: takes an int.
    Errno::result(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCSCTTY, 0) }).map(|_| ())
}

/// dup2(2) onto one of the standard fds, whose owner is the whole process.
pub fn dup_onto(fd: BorrowedFd, onto: libc::c_int) -> Result<(), Errno> {
    // SAFETY: no object of ours owns fds 0 to 2.
    Errno::result(unsafe { libc::dup2(fd.as_raw_fd(), onto) }).map(|_| ())
}

/// close_range(2).
pub fn close_range(first: u32, last: u32) -> Result<(), Errno> {
    if first > last {
        return Ok(());
    }
    // SAFETY: the caller has given up every fd in the range; it is about to
    // exec. Kernels before 5.9 are not served.
    Errno::result(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) }).map(|_| ())
}

/// Clears FD_CLOEXEC of an fd of the caller's, which we know by number only.
pub fn keep_over_exec(fd: libc::c_int) -> Result<(), Errno> {
    // SAFETY: takes ints.
    Errno::result(unsafe { libc::fcntl(fd, libc::F_SETFD, 0) }).map(|_| ())
}
