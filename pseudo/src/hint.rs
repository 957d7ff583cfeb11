//! Why a user namespace was refused, where the errno does not say it.

use std::fs;

use nix::errno::Errno;

/// The cause and the fix for a user namespace that could not be made with
/// this errno: the sysctls that forbid or bound it.
pub fn userns_hint(errno: i32) -> Option<&'static str> {
    let is = |sysctl: &str, value: &str| {
        fs::read_to_string(format!("/proc/sys/{sysctl}")).is_ok_and(|text| text.trim() == value)
    };
    match Errno::from_raw(errno) {
        Errno::ENOSPC | Errno::EUSERS => {
            Some("the limit on user namespaces is reached, or they nest too deep: sysctl user.max_user_namespaces")
        }
        Errno::EPERM | Errno::EACCES if is("kernel/apparmor_restrict_unprivileged_userns", "1") => Some(
            "AppArmor restricts user namespaces: load a profile with `userns,` for this program, \
             or sysctl kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        Errno::EPERM if is("kernel/unprivileged_userns_clone", "0") => {
            Some("sysctl kernel.unprivileged_userns_clone=1 lets ordinary users make user namespaces")
        }
        Errno::EPERM if rustix::fs::stat("/proc/1/root").is_ok() && chrooted() => {
            Some("a process in a chroot may not make user namespaces")
        }
        Errno::EINVAL => Some("the kernel is built without user namespaces, or too old for what was asked"),
        _ => None,
    }
}

fn chrooted() -> bool {
    let same = |a: rustix::fs::Stat, b: rustix::fs::Stat| a.st_dev == b.st_dev && a.st_ino == b.st_ino;
    match (rustix::fs::stat("/proc/1/root/."), rustix::fs::stat("/")) {
        (Ok(init), Ok(root)) => !same(init, root),
        _ => false,
    }
}
