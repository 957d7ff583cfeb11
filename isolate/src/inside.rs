//! Open a path inside another root, so that no symlink in it leads out
//! (CVE-2021-30465 and kin).

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

/// An O_PATH fd of `path` with every symlink and `..` confined to `root`
/// (openat2(2), RESOLVE_IN_ROOT).
pub fn open(root: impl AsFd, path: &Path) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    // EAGAIN: a rename or a mount went on meanwhile, and the kernel would not answer for "..".
    loop {
        match openat2(&root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(rustix::io::Errno::AGAIN) => {}
            result => return result,
        }
    }
}
