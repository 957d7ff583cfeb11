//! What a command takes over from the process whose namespaces it enters.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags, fstat, openat};
use seal::exec::Environment;
use seal::{Context, Error};

use crate::options::{Id, Options};

/// Opens a file of the process whose directory in /proc `dir` is.
pub fn open(dir: &OwnedFd, name: &str, flags: OFlags) -> Result<OwnedFd, Error> {
    openat(dir, name, flags | OFlags::CLOEXEC, Mode::empty()).tried(|| format!("cannot open {name:?} of the process"))
}

fn read(dir: &OwnedFd, name: &str) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let file = open(dir, name, OFlags::RDONLY)?;
    File::from(file).read_to_end(&mut bytes).tried(|| format!("cannot read {name:?} of the process"))?;
    Ok(bytes)
}

/// Its environment.
pub fn environment(dir: &OwnedFd) -> Result<Environment, Error> {
    read(dir, "environ").map(|bytes| Environment::from_proc(&bytes))
}

/// Its SELinux context, which the exec of the command will take; nothing where
/// there is no SELinux.
pub fn context(dir: &OwnedFd) -> Result<(), Error> {
    if !Path::new("/sys/fs/selinux/enforce").exists() {
        return Ok(());
    }
    let context = read(dir, "attr/current")?;
    let written =
        File::options().write(true).open("/proc/self/attr/exec").and_then(|mut file| file.write_all(&context));
    written.tried(|| format!("cannot take the SELinux context {:?}", String::from_utf8_lossy(&context)))
}

/// The user and group id that are asked for, else `default`. Those of the
/// process are told in terms of the user namespace that this is called in.
pub fn ids(
    options: &Options,
    dir: Option<&OwnedFd>,
    default: Option<u32>,
) -> Result<(Option<u32>, Option<u32>), Error> {
    let of = |id: Option<Id>, its: fn(&rustix::fs::Stat) -> u32| match (id, dir) {
        (None, _) => Ok(default),
        (Some(Id::Number(id)), _) => Ok(Some(id)),
        (Some(Id::Follow), Some(dir)) => fstat(dir).map(|stat| Some(its(&stat))).tried(|| "cannot look at the process"),
        (Some(Id::Follow), None) => Err(Error::new("there is no process to follow").hint("give --target PID")),
    };
    Ok((of(options.uid, |stat| stat.st_uid)?, of(options.gid, |stat| stat.st_gid)?))
}
