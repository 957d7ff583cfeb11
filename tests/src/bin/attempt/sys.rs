//! What no safe crate does: system calls by their numbers, on every way into the
//! kernel. And a start without std's runtime, which makes calls of its own.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_int, c_void};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use nix::errno::Errno;

#[unsafe(no_mangle)]
extern "C" fn main(_: i32, _: *const *const std::ffi::c_char) -> i32 {
    crate::attempt()
}

/// Makes a system call. What it does to this process is up to who names it: a
/// test, which gives no pointers but such as the kernel refuses.
pub fn call(number: i64, [a, b, c, d, e, f]: [u64; 6]) -> Result<i64, Errno> {
    // SAFETY: the kernel checks every argument, and the calls of the tests write to no memory of ours.
    Errno::result(unsafe { libc::syscall(number, a, b, c, d, e, f) })
}

/// Makes a 32-bit system call without arguments.
#[cfg(target_arch = "x86_64")]
pub fn int80(number: u32) -> Result<i64, Errno> {
    let result: i32;
    // SAFETY: the kernel changes rax and, of the others, r8 to r11.
    unsafe {
        std::arch::asm!("int 0x80", inlateout("eax") number as i32 => result,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _);
    }
    if result < 0 { Err(Errno::from_raw(-result)) } else { Ok(result.into()) }
}

/// No other architecture has that way.
#[cfg(not(target_arch = "x86_64"))]
pub fn int80(_: u32) -> Result<i64, Errno> {
    Err(Errno::ENOSYS)
}

/// Runs this program anew with these arguments.
pub fn execute_again(steps: &[CString]) -> Result<i64, Errno> {
    let program = c"attempt".to_owned();
    let argv: Vec<&CStr> = std::iter::once(&program).chain(steps).map(CString::as_c_str).collect();
    nix::unistd::execve(c"/proc/self/exe", &argv, &[] as &[&CStr]).map(|never| match never {})
}

/// Runs `body` in a child: the signal that killed it, if one did.
pub fn in_child(body: impl FnOnce()) -> Option<String> {
    // SAFETY: this process has one thread, so that the child may do anything.
    match unsafe { libc::fork() } {
        -1 => Some(format!("{:?}", Errno::last())),
        0 => {
            body();
            // SAFETY: it runs nothing of ours.
            unsafe { libc::_exit(0) }
        }
        child => {
            let mut status = 0;
            // SAFETY: it writes one int.
            unsafe { libc::waitpid(child, &mut status, 0) };
            libc::WIFSIGNALED(status).then(|| format!("child killed by {}", libc::WTERMSIG(status)))
        }
    }
}

static RETURNED: AtomicBool = AtomicBool::new(false);

extern "C" fn thread(step: *mut c_void) -> *mut c_void {
    // SAFETY: in_thread gives a box away.
    let step = unsafe { Box::from_raw(step.cast::<String>()) };
    crate::taken(&step);
    RETURNED.store(true, Ordering::SeqCst);
    null_mut()
}

/// Takes a step in another thread: how that ended, if not well. One that the
/// kernel kills is waited for like another, which std would not expect.
pub fn in_thread(step: String) -> Option<String> {
    RETURNED.store(false, Ordering::SeqCst);
    let mut id = 0;
    let step = Box::into_raw(Box::new(step));
    // SAFETY: the thread owns the box, and is waited for before `id` is gone.
    unsafe {
        let error = libc::pthread_create(&mut id, std::ptr::null(), thread, step.cast());
        if error != 0 {
            return Some(format!("{:?}", Errno::from_raw(error)));
        }
        libc::pthread_join(id, null_mut());
    }
    (!RETURNED.load(Ordering::SeqCst)).then(|| "thread killed".to_owned())
}

static SIGSYS: AtomicBool = AtomicBool::new(false);
static SI_ERRNO: AtomicI32 = AtomicI32::new(0);
static SI_SYSCALL: AtomicI32 = AtomicI32::new(0);

/// The head of siginfo_t as SIGSYS has it (sigaction(2)).
#[repr(C)]
struct Sigsys {
    signo: c_int,
    errno: c_int,
    code: c_int,
    call_addr: *mut c_void,
    syscall: c_int,
    arch: u32,
}

extern "C" fn on_sigsys(_: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    // SAFETY: the kernel gives a siginfo_t, which is larger, and for SIGSYS begins so.
    let info = unsafe { &*info.cast::<Sigsys>() };
    SI_ERRNO.store(info.errno, Ordering::SeqCst);
    SI_SYSCALL.store(info.syscall, Ordering::SeqCst);
    SIGSYS.store(true, Ordering::SeqCst);
}

/// From now on SIGSYS is remembered and does not kill, if it is one that can be handled.
pub fn handle_sigsys() -> Result<i64, Errno> {
    // SAFETY: all zero is an empty sigaction; the handler stores numbers, which is safe in one.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_sigsys as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        Errno::result(libc::sigaction(libc::SIGSYS, &action, null_mut())).map(i64::from)
    }
}

/// The `si_errno` and `si_syscall` of a SIGSYS that came since this was asked last.
pub fn handled() -> Option<(i32, i32)> {
    SIGSYS.swap(false, Ordering::SeqCst).then(|| (SI_ERRNO.load(Ordering::SeqCst), SI_SYSCALL.load(Ordering::SeqCst)))
}

/// Loads a filter that allows every system call.
pub fn load_permissive_filter() -> Result<i64, Errno> {
    let mut allow = libc::sock_filter { code: 6, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW };
    let program = libc::sock_fprog { len: 1, filter: &mut allow };
    // SAFETY: the kernel copies the program, which lives until then.
    Errno::result(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &program) })
}
