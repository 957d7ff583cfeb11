//! The system calls that neither nix nor rustix wraps, each wrapped once.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::signal::SigSet;

/// libc's does not fit the type that it has there.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// clone3(2) without CLONE_VM, so a fork, with a pidfd for the parent, into this
/// cgroup of version 2 if there is one. `Ok(None)` is the child.
///
/// SAFETY of what follows in the child: this program has one thread, so the
/// child may allocate and lock as it likes.
pub fn clone3(flags: u64, cgroup: Option<BorrowedFd>) -> Result<Option<(libc::pid_t, OwnedFd)>, Errno> {
    let mut pidfd: libc::c_int = -1;
    // SAFETY: clone_args is plain data; zero means "not used" in each field.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = flags | libc::CLONE_PIDFD as u64;
    args.pidfd = &raw mut pidfd as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: no memory is shared, no stack is given: it returns twice, as fork does.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) };
    match Errno::result(pid)? {
        0 => Ok(None),
        // SAFETY: the kernel has just given us this fd, and nothing else knows it.
        pid => Ok(Some((pid as libc::pid_t, unsafe { OwnedFd::from_raw_fd(pidfd) }))),
    }
}

/// Room for what a child does before its exec, and a page below it that no one
/// may touch: more than that is SIGSEGV, and no write to memory of others.
const STACK: usize = 512 * 1024;
const GUARD: usize = 64 * 1024;

/// clone(2) with CLONE_VM and CLONE_VFORK, which costs a third of a fork: the
/// child runs `child` in our memory, on a stack of its own, and exits with what
/// that gives, unless it becomes another program; until then we are suspended.
/// Only for a program of one thread.
///
/// The memory is shared, and with it errno, thread-locals and whether the process
/// is dumpable, but not fds, signal masks and dispositions. A child that is killed
/// leaves the heap as it was that instant: the caller should do little more than
/// wait and exit. If we are killed, the child goes on alone.
pub fn vfork(child: &mut dyn FnMut() -> u8) -> Result<(libc::pid_t, OwnedFd), Errno> {
    extern "C" fn start(child: *mut libc::c_void) -> libc::c_int {
        // SAFETY: it points to `child` below, whose owner is suspended.
        let child = unsafe { &mut *child.cast::<&mut dyn FnMut() -> u8>() };
        seal::exit(child())
    }
    let mut child = child;
    let mut pidfd: libc::c_int = -1;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
    let size = GUARD + STACK;
    // SAFETY: the mapping is new and ours; its end is aligned as a stack must be.
    // The one thread that could use our memory is suspended while the child uses
    // it, and the child never returns to a frame of ours. When clone returns, it
    // has left the stack.
    let pid = unsafe {
        let map = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK | libc::MAP_NORESERVE;
        let stack = libc::mmap(std::ptr::null_mut(), size, libc::PROT_READ | libc::PROT_WRITE, map, -1, 0);
        if stack == libc::MAP_FAILED || libc::mprotect(stack, GUARD, libc::PROT_NONE) == -1 {
            return Err(Errno::last());
        }
        let pid = libc::clone(start, stack.byte_add(size), flags, (&raw mut child).cast(), &raw mut pidfd);
        let result = Errno::result(pid);
        libc::munmap(stack, size);
        result?
    };
    // SAFETY: the kernel has just given us this fd, and nothing else knows it.
    Ok((pid, unsafe { OwnedFd::from_raw_fd(pidfd) }))
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

const KEYCTL_JOIN_SESSION_KEYRING: libc::c_long = 1;

/// keyctl_join_session_keyring(3) with a new, anonymous keyring.
pub fn join_session_keyring() -> Result<(), Errno> {
    // SAFETY: a null name asks for an anonymous keyring.
    let result = unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, std::ptr::null::<u8>()) };
    Errno::result(result).map(|_| ())
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

/// sigpending(2).
pub fn pending() -> SigSet {
    let mut set = std::mem::MaybeUninit::uninit();
    // SAFETY: sigpending fills the set, and fails only for a bad address.
    unsafe {
        libc::sigpending(set.as_mut_ptr());
        SigSet::from_sigset_t_unchecked(set.assume_init())
    }
}

/// Discards a signal that is pending: to ignore it for a moment does that (signal(7)).
pub fn discard(signal: libc::c_int) {
    // SAFETY: what is set again is what was set, and no handler of ours.
    unsafe { libc::signal(signal, libc::signal(signal, libc::SIG_IGN)) };
}

const NS_GET_USERNS: libc::Ioctl = 0xb701;
const NS_GET_NSTYPE: libc::Ioctl = 0xb703;
const NS_GET_OWNER_UID: libc::Ioctl = 0xb704;
const NS_GET_ID: libc::Ioctl = 0x8008_b70d_u32 as libc::Ioctl;
const SIOCGSKNS: libc::Ioctl = 0x894c;

/// NS_GET_USERNS (ioctl_ns(2)): the user namespace that owns a namespace, the
/// parent of a user namespace.
pub fn ns_get_userns(namespace: BorrowedFd) -> Result<OwnedFd, Errno> {
    // SAFETY: takes no argument and gives a new fd, which nothing else knows.
    unsafe { Ok(OwnedFd::from_raw_fd(Errno::result(libc::ioctl(namespace.as_raw_fd(), NS_GET_USERNS))?)) }
}

/// SIOCGSKNS: the network namespace of a socket.
pub fn siocgskns(socket: BorrowedFd) -> Result<OwnedFd, Errno> {
    // SAFETY: takes no argument and gives a new fd, which nothing else knows.
    unsafe { Ok(OwnedFd::from_raw_fd(Errno::result(libc::ioctl(socket.as_raw_fd(), SIOCGSKNS))?)) }
}

/// NS_GET_NSTYPE (ioctl_ns(2)): the CLONE_NEW* of a namespace; ENOTTY if it is none.
pub fn ns_get_nstype(namespace: BorrowedFd) -> Result<libc::c_int, Errno> {
    // SAFETY: the ioctl takes no argument.
    Errno::result(unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_NSTYPE) })
}

/// NS_GET_OWNER_UID (ioctl_ns(2)): the uid of who made a user namespace.
pub fn ns_get_owner_uid(namespace: BorrowedFd) -> Result<libc::uid_t, Errno> {
    let mut uid: libc::uid_t = 0;
    // SAFETY: the kernel writes one uid_t to the pointer, which is ours.
    Errno::result(unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_OWNER_UID, &raw mut uid) })?;
    Ok(uid)
}

/// NS_GET_ID, since Linux 6.18: the number that a namespace alone ever has.
pub fn ns_get_id(namespace: BorrowedFd) -> Result<u64, Errno> {
    let mut id = 0u64;
    // SAFETY: the kernel writes 8 bytes, which `id` is.
    Errno::result(unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_ID, &raw mut id) })?;
    Ok(id)
}

/// What nsfs takes for the handle of a namespace (linux/nsfs.h).
#[repr(C)]
struct NamespaceHandle {
    bytes: u32,
    kind: i32,
    id: u64,
    flag: u32,
    inode: u32,
}

const FILEID_NSFS: i32 = 0xf1;
const FD_NSFS_ROOT: libc::c_int = -10003;

/// open_by_handle_at(2) of the namespace with this id, as Linux 6.19 allows it.
pub fn open_namespace(id: u64, flag: u32) -> Result<OwnedFd, Errno> {
    let handle = NamespaceHandle { bytes: 16, kind: FILEID_NSFS, id, flag, inode: 0 };
    let flags = libc::O_RDONLY | libc::O_CLOEXEC;
    // SAFETY: the kernel reads a file_handle and the 16 bytes that it says
    // follow, and gives a new fd, which nothing else knows.
    unsafe {
        let fd = libc::syscall(libc::SYS_open_by_handle_at, FD_NSFS_ROOT, &raw const handle, flags);
        Ok(OwnedFd::from_raw_fd(Errno::result(fd)? as libc::c_int))
    }
}
