//! `limit-floor CMD [ARG]...`: the least that it takes to run CMD with cgroups of
//! version 1 of its own, and to leave none behind.
//!
//! In raw system calls: a directory in our cgroup of pids and one in that of
//! memory, their limits, a vfork, the two writes by which the child enters, the
//! exec, the wait, and the removal. Nobody is left if this process is killed, and
//! nothing is counted.
#![allow(unsafe_code)]

use std::ffi::{CString, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStringExt;

fn fail(what: &str) -> ! {
    eprintln!("limit-floor: {what}: {}", std::io::Error::last_os_error());
    std::process::exit(125)
}

/// Makes a cgroup with this limit in ours, and opens what it is entered by.
fn group(memberships: &str, controller: &str, file: &str, limit: &str) -> (String, File) {
    let end = |line: &&str| line.split(':').nth(1) == Some(controller);
    let own = memberships.lines().find(end).and_then(|line| line.splitn(3, ':').nth(2));
    let own = own.unwrap_or_else(|| fail(controller));
    let dir = format!("/sys/fs/cgroup/{controller}{own}/floor-{}", std::process::id());
    let open = |name: &str| OpenOptions::new().write(true).open(format!("{dir}/{name}"));
    let made = fs::create_dir(&dir).and_then(|()| open(file)?.write_all(limit.as_bytes())).and_then(|()| open("tasks"));
    let tasks = made.unwrap_or_else(|_| fail(&dir));
    (dir, tasks)
}

/// Starts the program in the cgroups of these `tasks` files, and waits for it.
fn run(tasks: [RawFd; 2], argv: &[CString]) -> libc::c_int {
    let pointers: Vec<_> = argv.iter().map(|word| word.as_ptr()).chain([std::ptr::null()]).collect();
    let mut status = 0;
    // SAFETY: between vfork and exec or _exit the child calls nothing that
    // allocates, locks or returns; the strings end with NUL, the array with null.
    unsafe {
        #[allow(deprecated)]
        let pid = libc::vfork();
        if pid == 0 {
            for fd in tasks {
                if libc::write(fd, c"0".as_ptr().cast(), 1) != 1 {
                    libc::_exit(125);
                }
            }
            libc::execv(pointers[0], pointers.as_ptr());
            libc::_exit(127);
        }
        if pid < 0 || libc::waitpid(pid, &raw mut status, 0) != pid {
            fail("start");
        }
    }
    libc::WEXITSTATUS(status)
}

fn main() {
    let argv = std::env::args_os().skip(1).map(OsString::into_vec).map(CString::new);
    let argv: Vec<_> = argv.map(|word| word.expect("an argument has no NUL")).collect();
    let memberships = fs::read_to_string("/proc/self/cgroup").unwrap_or_else(|_| fail("/proc/self/cgroup"));
    let groups = [
        group(&memberships, "pids", "pids.max", "64"),
        group(&memberships, "memory", "memory.limit_in_bytes", "67108864"),
    ];
    let status = run([groups[0].1.as_raw_fd(), groups[1].1.as_raw_fd()], &argv);
    for (dir, _) in &groups {
        fs::remove_dir(dir).unwrap_or_else(|_| fail(dir));
    }
    std::process::exit(status)
}
