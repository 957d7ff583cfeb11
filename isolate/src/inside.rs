//! Open a path inside another root, so that no symlink in it leads out
//! (CVE-2021-30465 and kin).

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::process::{chdir, getcwd};
use seal::{Context, Error};

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

/// Changes to the working directory `cwd` of a root that has been entered; a
/// link there could lead out of it through an fd that is open (CVE-2024-21626).
pub fn enter_cwd(cwd: &Path) -> Result<(), Error> {
    if cwd == Path::new("/") {
        return chdir(cwd).tried(|| "cannot enter the root");
    }
    chdir(cwd).tried(|| format!("cannot change to the working directory {cwd:?}"))?;
    let inside = getcwd(Vec::new()).is_ok_and(|path| path.as_bytes().first() == Some(&b'/'));
    if inside { Ok(()) } else { Err(Error::new(format!("the working directory {cwd:?} is outside the root"))) }
}
