//! A program sealed in memory: a copy that no one can write to, whoever finds
//! a way to it through /proc/PID/exe (CVE-2019-5736).

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create, sendfile};

use crate::exec::{self, Environment};
use crate::{Context, Error, sys};

/// A program in a sealed memfd.
pub struct Sealed {
    fd: OwnedFd,
    path: PathBuf,
    script: bool,
}

/// Finds `name` on the PATH of this process; 127 and 126 as for
/// [`exec::find`].
pub fn find(name: &OsStr) -> Result<PathBuf, Error> {
    exec::find(name, std::env::var_os("PATH").as_deref())
}

/// Copies the program at `path` into a memfd sealed against writing,
/// shrinking, growing and further sealing (memfd_create(2), fcntl(2)).
///
/// Fails with status 126 if the file cannot be read, 125 if the memfd cannot
/// be made or filled.
pub fn sealed(path: &Path) -> Result<Sealed, Error> {
    sealed_as(path, path.file_name().unwrap_or(OsStr::new("sealed")))
}

/// As [`sealed`], with another name for the memfd.
pub(crate) fn sealed_as(path: &Path, name: &OsStr) -> Result<Sealed, Error> {
    let mut file = File::open(path).tried(|| format!("cannot read {path:?}")).map_err(|error| error.status(126))?;
    let mut magic = [0; 2];
    let script = matches!(file.read(&mut magic), Ok(2)) && magic == *b"#!";
    let memfd = create(name)?;
    let mut from = 0;
    while sendfile(&memfd, &file, Some(&mut from), 1 << 30).tried(|| format!("cannot copy {path:?} into memory"))? > 0 {
    }
    fcntl_add_seals(&memfd, SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE)
        .tried(|| format!("cannot seal the copy of {path:?}"))?;
    // A script's interpreter opens /dev/fd/N after the exec.
    if script {
        rustix::io::fcntl_setfd(&memfd, rustix::io::FdFlags::empty()).tried(|| "cannot pass the sealed copy on")?;
    }
    Ok(Sealed { fd: memfd, path: path.to_owned(), script })
}

fn create(name: &OsStr) -> Result<OwnedFd, Error> {
    let name = &name.as_bytes()[..name.len().min(240)];
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // MFD_EXEC is needed where vm.memfd_noexec=1 and unknown before Linux 6.3.
    let made = match memfd_create(name, flags | MemfdFlags::EXEC) {
        Err(rustix::io::Errno::INVAL) => memfd_create(name, flags),
        made => made,
    };
    made.map_err(|errno| {
        let denied = errno == rustix::io::Errno::ACCESS;
        Error::new("cannot create a memfd")
            .because(errno)
            .maybe_hint(denied.then_some("vm.memfd_noexec=2 forbids executable memory files: sysctl vm.memfd_noexec=1"))
    })
}

impl Sealed {
    /// Whether it is a script, whose interpreter must be there where it runs.
    pub fn is_script(&self) -> bool {
        self.script
    }

    /// The sealed copy.
    pub fn fd(&self) -> impl AsFd + '_ {
        &self.fd
    }

    /// Becomes the sealed program with these arguments, the first its name,
    /// and the environment of this process. Returns only on failure: 126.
    pub fn exec(&self, argv: &[OsString]) -> Error {
        self.exec_with(argv, &Environment::inherited())
    }

    /// As [`Sealed::exec`] with another environment.
    pub fn exec_with(&self, argv: &[OsString], environment: &Environment) -> Error {
        let argv = match exec::cstrings(argv) {
            Ok(argv) => argv,
            Err(error) => return error,
        };
        sys::restore_dispositions();
        let errno =
            nix::unistd::execveat(&self.fd, c"", &argv, environment.as_slice(), AtFlags::AT_EMPTY_PATH).unwrap_err();
        let error = Error::new(format!("cannot execute the sealed copy of {:?}", self.path)).because(errno).status(126);
        match errno {
            Errno::ENOENT if self.script => {
                error.hint("its interpreter is missing, or /proc or /dev/fd, through which the interpreter reads it")
            }
            Errno::ENOENT => error.hint("the dynamic loader that it names is missing"),
            _ => error,
        }
    }
}
