//! `floor ROOT CMD [ARG]...`: the least that it takes to start a container.
//!
//! The namespaces, the mounts and the pivot of `contain`, in one stage with
//! raw system calls: no options, no guard, nothing is locked, nothing is
//! supervised. The child shares our memory, as with vfork(2), and runs beside
//! us while its maps are written.
//!
//! The child may not allocate, since we may at the same moment: it works on
//! constants and on what [`Plan`] holds.
// Safe wrappers are part of what is measured against.
#![allow(unsafe_code)]
#![no_main]

use std::ffi::{CStr, CString};
use std::io::Write;
use std::mem::MaybeUninit;
use std::ptr::{null, null_mut};

use libc::{MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_REC, MS_SLAVE, c_char, c_int, c_ulong, c_void};

const NODES: [(&CStr, &CStr); 6] = [
    (c"/dev/null", c"dev/null"),
    (c"/dev/zero", c"dev/zero"),
    (c"/dev/full", c"dev/full"),
    (c"/dev/random", c"dev/random"),
    (c"/dev/urandom", c"dev/urandom"),
    (c"/dev/tty", c"dev/tty"),
];

const LINKS: [(&CStr, &CStr); 6] = [
    (c"null", c"dev/console"),
    (c"pts/ptmx", c"dev/ptmx"),
    (c"/proc/self/fd", c"dev/fd"),
    (c"/proc/self/fd/0", c"dev/stdin"),
    (c"/proc/self/fd/1", c"dev/stdout"),
    (c"/proc/self/fd/2", c"dev/stderr"),
];

/// The time namespace is not among them: its flag is a signal number to clone(2).
const NAMESPACES: c_int = libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP;

/// 64 KiB, aligned as a stack must be.
type Stack = [u128; 4096];

struct Plan {
    root: *const c_char,
    argv: *const *const c_char,
    /// A byte arrives when the maps are written.
    mapped: [c_int; 2],
}

/// Ends with 125, without a word to libc's exit handlers: memory is shared.
fn fail(what: &CStr) -> ! {
    // SAFETY: errno is ours; a buffer of the length that is said.
    unsafe {
        let errno = *libc::__errno_location();
        let mut text = [0u8; 256];
        let mut rest = &mut text[..];
        let _ = writeln!(rest, "floor: {}: errno {errno}", what.to_str().unwrap_or("?"));
        let length = 256 - rest.len();
        libc::write(2, text.as_ptr().cast(), length);
        libc::_exit(125)
    }
}

fn check<T: PartialOrd + From<i8>>(what: &CStr, result: T) -> T {
    if result < T::from(0) { fail(what) } else { result }
}

fn mount(source: *const c_char, target: *const c_char, fstype: Option<&CStr>, flags: c_ulong, data: Option<&CStr>) {
    let pointer = |text: Option<&CStr>| text.map_or(null(), CStr::as_ptr);
    // SAFETY: each is null or a string that outlives the call.
    let result = unsafe { libc::mount(source, target, pointer(fstype), flags, pointer(data).cast()) };
    if result == -1 {
        // SAFETY: as above.
        fail(unsafe { CStr::from_ptr(target) })
    }
}

fn mount_new(fstype: &CStr, target: &CStr, flags: c_ulong, data: Option<&CStr>) {
    mount(fstype.as_ptr(), target.as_ptr(), Some(fstype), MS_NOSUID | flags, data);
}

extern "C" fn child(plan: *mut c_void) -> c_int {
    // SAFETY: main's plan, which it leaves alone until it has reaped us.
    let plan = unsafe { &*plan.cast::<Plan>() };
    mount(null(), c"/".as_ptr(), None, MS_SLAVE | MS_REC, None);
    mount(plan.root, plan.root, None, MS_BIND | MS_REC, None);
    // SAFETY: a string that main keeps.
    unsafe { check(c"chdir", libc::chdir(plan.root)) };
    mount_new(c"proc", c"proc", MS_NODEV | MS_NOEXEC, None);
    mount_new(c"sysfs", c"sys", MS_NODEV | MS_NOEXEC, None);
    let mut byte = 0u8;
    // SAFETY: ints, and one byte that is ours. The raw set*id calls concern
    // the calling thread alone, while libc's would look for others.
    unsafe {
        check(c"CLONE_NEWTIME", libc::unshare(libc::CLONE_NEWTIME));
        loopback_up();
        if libc::read(plan.mapped[0], (&raw mut byte).cast(), 1) != 1 {
            fail(c"maps");
        }
        check(c"setgroups", libc::syscall(libc::SYS_setgroups, 0, 0));
        check(c"setresgid", libc::syscall(libc::SYS_setresgid, 0, 0, 0));
        check(c"setresuid", libc::syscall(libc::SYS_setresuid, 0, 0, 0));
    }
    // On a tmpfs nothing can be created before the maps are there.
    dev();
    // SAFETY: constant strings, and an argv and an environment that end with null.
    unsafe {
        check(c"pivot_root", libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()));
        check(c"umount2", libc::umount2(c".".as_ptr(), libc::MNT_DETACH));
        check(c"chdir", libc::chdir(c"/".as_ptr()));
        check(c"setsid", libc::setsid());
        libc::execve(*plan.argv, plan.argv, [c"PATH=/bin".as_ptr(), null()].as_ptr());
    }
    fail(c"execve")
}

fn dev() {
    mount_new(c"tmpfs", c"dev", MS_NOEXEC, Some(c"mode=755"));
    // SAFETY: constant strings and ints.
    unsafe {
        for (host, node) in NODES {
            let fd = check(node, libc::open(node.as_ptr(), libc::O_CREAT | libc::O_EXCL | libc::O_CLOEXEC, 0o666));
            libc::close(fd);
            mount(host.as_ptr(), node.as_ptr(), None, MS_BIND, None);
        }
        for (to, link) in LINKS {
            check(link, libc::symlink(to.as_ptr(), link.as_ptr()));
        }
        check(c"dev/pts", libc::mkdir(c"dev/pts".as_ptr(), 0o755));
        check(c"dev/shm", libc::mkdir(c"dev/shm".as_ptr(), 0));
        check(c"dev/shm", libc::chmod(c"dev/shm".as_ptr(), 0o1777));
    }
    mount_new(c"devpts", c"dev/pts", MS_NOEXEC, Some(c"newinstance,ptmxmode=0666,mode=620,gid=5"));
}

/// # Safety
/// Takes nothing; must be called in a network namespace of one's own.
unsafe fn loopback_up() {
    // SAFETY: ifreq is plain data; the kernel reads as much as it is long.
    unsafe {
        let socket = check(c"socket", libc::socket(libc::AF_UNIX, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0));
        let mut lo: libc::ifreq = std::mem::zeroed();
        lo.ifr_name[..2].copy_from_slice(&[b'l' as c_char, b'o' as c_char]);
        lo.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        check(c"SIOCSIFFLAGS", libc::ioctl(socket, libc::SIOCSIFFLAGS as _, &raw const lo));
        libc::close(socket);
    }
}

/// As contain does for root: 0 onto the last id, which nobody has, and the rest identity.
fn write_map(pid: c_int, file: &str) {
    let text = b"0 4294967294 1\n1 1 4294967293\n";
    let path = CString::new(format!("/proc/{pid}/{file}")).expect("no NUL");
    // SAFETY: a string, and a buffer of the length that is said.
    unsafe {
        let fd = check(&path, libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC));
        check(&path, libc::write(fd, text.as_ptr().cast(), text.len()));
        libc::close(fd);
    }
}

/// The arguments that newuidmap or newgidmap takes: the caller's own id as 0,
/// then the ranges delegated to it.
fn helper_words(pid: c_int, own: u32, uid: u32, file: &str) -> Vec<CString> {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let entry = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let uid = uid.to_string();
    let name = entry.into_iter().find(|fields| fields.get(2) == Some(&&*uid)).map_or("", |fields| fields[0]).to_owned();
    let mut words = vec![pid.to_string(), "0".into(), own.to_string(), "1".into()];
    let mut next = 1u32;
    for line in std::fs::read_to_string(file).unwrap_or_default().lines() {
        if let [owner, start, count] = line.split(':').collect::<Vec<_>>()[..]
            && (owner == name || owner == uid)
        {
            words.extend([next.to_string(), start.to_owned(), count.to_owned()]);
            next = next.saturating_add(count.parse().unwrap_or(0));
        }
    }
    words.into_iter().map(|word| CString::new(word).expect("no NUL")).collect()
}

/// posix_spawn(3) shares memory until the exec, as vfork does.
fn spawn(program: &CStr, words: &[CString]) -> c_int {
    let mut argv = vec![program.as_ptr()];
    argv.extend(words.iter().map(|word| word.as_ptr()).chain([null()]));
    let mut pid = 0;
    // SAFETY: argv ends with null, and it and its strings outlive the call.
    let error = unsafe {
        libc::posix_spawnp(&raw mut pid, program.as_ptr(), null(), null(), argv.as_ptr().cast(), [null_mut()].as_ptr())
    };
    if error != 0 {
        // SAFETY: errno is this thread's.
        unsafe { *libc::__errno_location() = error };
        fail(program);
    }
    pid
}

/// The exit status of a child, 128+N if signal N killed it.
fn wait(pid: c_int) -> c_int {
    let mut status = 0;
    // SAFETY: the status outlives the call.
    check(c"waitpid", unsafe { libc::waitpid(pid, &raw mut status, 0) });
    if libc::WIFSIGNALED(status) { 128 + libc::WTERMSIG(status) } else { libc::WEXITSTATUS(status) }
}

/// Starts the child and has its maps written.
// SAFETY: the one main of this program, with the signature that C asks for.
#[unsafe(no_mangle)]
extern "C" fn main(argc: c_int, argv: *const *const c_char) -> c_int {
    if argc < 3 {
        fail(c"usage: floor ROOT CMD [ARG]...");
    }
    let mut stack = MaybeUninit::<Stack>::uninit();
    // SAFETY: argv has argc strings and a null.
    let mut plan = unsafe { Plan { root: *argv.add(1), argv: argv.add(2), mapped: [-1; 2] } };
    // SAFETY: pipe2 fills two ints. The child's stack and plan live until it is
    // reaped; of what it shares with us it writes its own stack alone, and errno.
    let (uid, gid, pid) = unsafe {
        check(c"pipe2", libc::pipe2(plan.mapped.as_mut_ptr(), libc::O_CLOEXEC));
        let flags = NAMESPACES | libc::CLONE_VM | libc::SIGCHLD;
        let pid = libc::clone(child, stack.as_mut_ptr().add(1).cast(), flags, (&raw mut plan).cast());
        (libc::geteuid(), libc::getegid(), check(c"clone", pid))
    };
    if uid == 0 {
        write_map(pid, "uid_map");
        write_map(pid, "gid_map");
    } else {
        let newuidmap = spawn(c"newuidmap", &helper_words(pid, uid, uid, "/etc/subuid"));
        let newgidmap = spawn(c"newgidmap", &helper_words(pid, gid, uid, "/etc/subgid"));
        if wait(newuidmap) != 0 || wait(newgidmap) != 0 {
            return 125;
        }
    }
    // SAFETY: one byte.
    unsafe { check(c"pipe", libc::write(plan.mapped[1], c"".as_ptr().cast(), 1)) };
    wait(pid)
}
