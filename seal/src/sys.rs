//! What neither std, nix nor rustix does, or rustix only for some signals.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use nix::errno::Errno;
use rustix::mount::MountAttrFlags;

/// The standard fds that this process was started without, fd N as bit N.
static WERE_CLOSED: AtomicU8 = AtomicU8::new(0);
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
    for fd in 0..=2u8 {
        // SAFETY: both take a number or a constant path; open gives the lowest
        // fd that is free, which is this one. A command is given none that was
        // closed; where there is no /dev/null neither are we.
        unsafe {
            if libc::fcntl(fd.into(), libc::F_GETFD) == -1 {
                WERE_CLOSED.fetch_or(1 << fd, Ordering::Relaxed);
                libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC);
            }
        }
    }
}

/// Whether an fd is the caller's: open, and not what [`start`] put in the place
/// of a standard one.
pub fn is_the_callers(fd: i32) -> bool {
    let was_closed = (0..=2).contains(&fd) && WERE_CLOSED.load(Ordering::Relaxed) & 1 << fd != 0;
    // SAFETY: it takes a number, which may be no fd.
    !was_closed && unsafe { libc::fcntl(fd, libc::F_GETFD) } != -1
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

/// seccomp(2), SECCOMP_SET_MODE_FILTER: with these flags, of which
/// SECCOMP_FILTER_FLAG_NEW_LISTENER gives a listener.
pub fn seccomp_set_filter(program: &[libc::sock_filter], flags: libc::c_ulong) -> Result<Option<OwnedFd>, Errno> {
    let length = u16::try_from(program.len()).map_err(|_| Errno::EINVAL)?;
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    // SAFETY: the kernel reads `length` instructions at that address, and writes nothing.
    let result = Errno::result(unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program)
    })?;
    let listens = flags & libc::SECCOMP_FILTER_FLAG_NEW_LISTENER != 0;
    // SAFETY: with that flag the result is a new fd that nobody else has.
    Ok(listens.then(|| unsafe { OwnedFd::from_raw_fd(result as i32) }))
}

/// The system call that a filter's listener was told of, and the cookie to answer with.
pub fn seccomp_receive(listener: BorrowedFd) -> Result<(u64, u32), Errno> {
    // SAFETY: the structure is plain numbers, and must be zero.
    let mut told: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the request's number holds the size of the structure, and a kernel
    // that would write more refuses it.
    Errno::result(unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV as _, &raw mut told) })?;
    Ok((told.id, told.data.nr as u32))
}

/// Lets the kernel go on with the system call of this cookie.
pub fn seccomp_continue(listener: BorrowedFd, id: u64) -> Result<(), Errno> {
    let flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
    let mut answer = libc::seccomp_notif_resp { id, val: 0, error: 0, flags };
    // SAFETY: the kernel reads one such structure.
    Errno::result(unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND as _, &raw mut answer) })
        .map(drop)
}

/// sendmsg(2) of one byte and an fd, with `cookie` as the sixth argument, which
/// the kernel does not look at and a filter can.
pub fn send_fd_with_cookie(socket: BorrowedFd, fd: BorrowedFd, cookie: u64) -> Result<(), Errno> {
    let mut byte = 0u8;
    let mut data = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    // Room for a header and an fd, aligned as the header is.
    let mut control = [0u64; 3];
    // SAFETY: all of the structures are plain numbers and pointers, zero is valid
    // for each; CMSG_SPACE(4) is 24; the kernel only reads what they point to,
    // which lives until the call returns.
    Errno::result(unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut data;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_SPACE(4) as _;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(4) as _;
        libc::CMSG_DATA(header).cast::<i32>().write_unaligned(fd.as_raw_fd());
        libc::syscall(libc::SYS_sendmsg, socket.as_raw_fd(), &raw const message, 0, 0, 0, cookie)
    })
    .map(drop)
}

/// fork(2): `None` in the child.
pub fn fork() -> Result<Option<i32>, Errno> {
    // SAFETY: these programs have one thread, so the child may do all that we may.
    let pid = Errno::result(unsafe { libc::fork() })?;
    Ok((pid != 0).then_some(pid))
}

/// The version of the kernel's Landlock (landlock_create_ruleset(2)).
pub fn landlock_version() -> Result<i32, Errno> {
    const LANDLOCK_CREATE_RULESET_VERSION: u32 = 1;
    let none = std::ptr::null::<u8>();
    // SAFETY: with this flag there are no attributes to read.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, none, 0, LANDLOCK_CREATE_RULESET_VERSION) };
    Errno::result(version).map(|version| version as i32)
}

/// personality(2).
pub fn set_personality(persona: u32) -> Result<(), Errno> {
    // SAFETY: it takes a number.
    Errno::result(unsafe { libc::personality(persona.into()) }).map(drop)
}

/// The ranges between fds that are to stay, from `first` on, for close_range(2).
pub fn fds_but(keep: impl Iterator<Item = i32>, mut first: u32) -> Vec<(u32, u32)> {
    let mut keep: Vec<u32> = keep.filter_map(|fd| u32::try_from(fd).ok()).collect();
    keep.sort_unstable();
    let mut ranges = Vec::new();
    for fd in keep {
        if fd > first {
            ranges.push((first, fd - 1));
        }
        first = first.max(fd + 1);
    }
    ranges.push((first, u32::MAX));
    ranges
}

/// close_range(2): these fds are closed at the exec.
pub fn close_on_exec(first: u32, last: u32) -> Result<(), Errno> {
    // SAFETY: nothing is closed before the exec, after which nobody is left to use it.
    Errno::result(unsafe { libc::syscall(libc::SYS_close_range, first, last, libc::CLOSE_RANGE_CLOEXEC) }).map(drop)
}

/// prctl(PR_SET_PDEATHSIG): this signal when the parent ends.
pub fn set_parent_death_signal(signal: i32) -> Result<(), Errno> {
    // SAFETY: it takes a number.
    Errno::result(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal) }).map(drop)
}

/// Strings as execve(2) takes them.
pub struct Strings {
    pointers: Vec<*const libc::c_char>,
    _owned: Vec<CString>,
}

impl Strings {
    pub fn new(strings: Vec<CString>) -> Self {
        let pointers = strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect();
        Self { pointers, _owned: strings }
    }
}

/// execve(2). Returns only on failure.
pub fn execve(program: &CStr, argv: &Strings, environment: &Strings) -> Errno {
    // SAFETY: all three are strings, or arrays of strings that end with a null.
    unsafe { libc::execve(program.as_ptr(), argv.pointers.as_ptr(), environment.pointers.as_ptr()) };
    Errno::last()
}

/// execveat(2) of the file that `fd` is. Returns only on failure.
pub fn execveat(fd: BorrowedFd, argv: &Strings, environment: &Strings) -> Errno {
    let empty = c"".as_ptr();
    let (argv, environment) = (argv.pointers.as_ptr(), environment.pointers.as_ptr());
    // SAFETY: as for execve, with an empty path.
    unsafe { libc::syscall(libc::SYS_execveat, fd.as_raw_fd(), empty, argv, environment, libc::AT_EMPTY_PATH) };
    Errno::last()
}

/// Borrows the fd of this number, which is the caller's and stays open.
pub fn borrow(fd: i32) -> BorrowedFd<'static> {
    assert!(fd >= 0, "an option takes no other");
    // SAFETY: it was open when this program was started, which closes no fd that
    // an option names before it is used.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// Ends this process by a signal, if that ends processes.
pub fn die_by(signal: libc::c_int) {
    // SAFETY: the default is no handler of ours that could run; the set is
    // initialized by sigemptyset.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, signal);
        libc::sigprocmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut());
        libc::kill(libc::getpid(), signal);
    }
}

/// prctl(PR_GET_PDEATHSIG): 0 if there is none.
pub fn parent_death_signal() -> i32 {
    let mut signal = 0;
    // SAFETY: the kernel writes one int.
    unsafe { libc::prctl(libc::PR_GET_PDEATHSIG, &raw mut signal) };
    signal
}

/// A signal that is ignored as long as this lives.
pub struct Ignored(i32, libc::sighandler_t);

impl Ignored {
    pub fn signal(signal: i32) -> Self {
        // SAFETY: to ignore is no handler of ours that could run.
        Self(signal, unsafe { libc::signal(signal, libc::SIG_IGN) })
    }
}

impl Drop for Ignored {
    fn drop(&mut self) {
        // SAFETY: it was so before, and these programs have no handlers.
        unsafe { libc::signal(self.0, self.1) };
    }
}
