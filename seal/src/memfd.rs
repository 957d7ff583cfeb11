//! A program sealed in memory: a copy that no one can write to, whoever finds
//! a way to it through /proc/PID/exe (CVE-2019-5736).

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{MemfdFlags, Mode, SealFlags, fcntl_add_seals, memfd_create, sendfile};

use crate::exec::{self, Environment, Image};
use crate::{Context, Error};

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

    /// Nobody may read it, not even its owner: then the kernel makes who
    /// executes it undumpable, if fs.suid_dumpable allows that.
    pub fn forbid_reading(&self) -> Result<(), Error> {
        rustix::fs::fchmod(&self.fd, Mode::from_raw_mode(0o111)).tried(|| "cannot make the sealed copy unreadable")
    }

    /// Becomes the sealed program with these arguments, the first its name,
    /// and the environment of this process. Returns only on failure: 126.
    pub fn exec(&self, argv: &[OsString]) -> Error {
        self.exec_with(argv, &Environment::inherited())
    }

    /// As [`Sealed::exec`] with another environment.
    pub fn exec_with(&self, argv: &[OsString], environment: &Environment) -> Error {
        match self.image(argv, environment) {
            Ok(image) => image.exec(),
            Err(error) => error,
        }
    }

    /// What is needed to become it later.
    pub fn image(&self, argv: &[OsString], environment: &Environment) -> Result<Image<'_>, Error> {
        Image::in_memory(self.fd.as_fd(), self.script, &self.path, argv, environment)
    }
}
