//! Find a command on PATH and become it, or say why not: 127 if it is not
//! there, 126 if it is and cannot be executed.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use rustix::fs::{Access, AtFlags, CWD, accessat};

use crate::{Context, Error, sys};

/// Where commands are looked for when PATH is not set.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The environment a command is given, as `execve` takes it: `NAME=VALUE`.
pub struct Environment(Vec<CString>);

impl Environment {
    /// The environment of this process.
    pub fn inherited() -> Self {
        Self(sys::environment())
    }

    /// What /proc/PID/environ holds (proc_pid_environ(5)).
    pub fn from_proc(bytes: &[u8]) -> Self {
        Self(
            bytes
                .split_inclusive(|&byte| byte == 0)
                .filter_map(|entry| CString::from_vec_with_nul(entry.into()).ok())
                .collect(),
        )
    }

    /// An environment of exactly these variables.
    pub fn new(vars: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let join = |(name, value): (OsString, OsString)| {
            let mut bytes = name.into_vec();
            bytes.push(b'=');
            bytes.extend(value.into_vec());
            // What came through execve has no NUL in it.
            CString::new(bytes).ok()
        };
        Self(vars.into_iter().filter_map(join).collect())
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.iter().find_map(|pair| {
            let rest = pair.as_bytes().strip_prefix(name.as_bytes())?;
            Some(OsStr::from_bytes(rest.strip_prefix(b"=")?))
        })
    }

    /// As `execve` takes it.
    pub fn as_slice(&self) -> &[CString] {
        &self.0
    }
}

/// Becomes `argv`, found on the PATH of `environment`; a file that is no
/// program the kernel knows is given to /bin/sh, as `execvp` does. SIGPIPE is
/// as this process inherited it.
///
/// Returns only on failure: status 127 if it was not found, 126 if it was.
pub fn exec(argv: &[OsString], environment: &Environment) -> Error {
    match argv.first() {
        Some(name) => exec_as(name, argv, environment),
        None => Error::new("no command"),
    }
}

/// As [`exec`], where the program is not what its first argument says.
pub fn exec_as(program: &OsStr, argv: &[OsString], environment: &Environment) -> Error {
    match become_command(program, argv, environment) {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

fn become_command(
    name: &OsStr,
    argv: &[OsString],
    environment: &Environment,
) -> Result<std::convert::Infallible, Error> {
    let path = find(name, environment.get("PATH"))?;
    let argv = cstrings(argv)?;
    sys::restore_dispositions();
    let program = cstring(path.as_os_str())?;
    let errno = match nix::unistd::execve(&program, &argv, environment.as_slice()) {
        Err(Errno::ENOEXEC) => {
            let mut shell = vec![c"sh".to_owned(), program.clone()];
            shell.extend_from_slice(&argv[1..]);
            nix::unistd::execve(c"/bin/sh", &shell, environment.as_slice()).unwrap_err()
        }
        result => result.unwrap_err(),
    };
    Err(refused(&path, errno))
}

/// Finds `name` as the shell would: as it is if it has a slash, else in the
/// directories of `path`, or of [`DEFAULT_PATH`] if that is not set.
///
/// Fails with status 127, or 126 where there is such a file but none that may
/// be executed.
pub fn find(name: &OsStr, path: Option<&OsStr>) -> Result<PathBuf, Error> {
    let missing = || Error::new(format!("cannot execute {name:?}")).because(Errno::ENOENT).status(127);
    if name.is_empty() {
        return Err(missing());
    }
    if name.as_bytes().contains(&b'/') {
        return check(Path::new(name)).map(|()| name.into()).map_err(|errno| refused(Path::new(name), errno));
    }
    let mut found = None;
    for dir in path.unwrap_or(OsStr::new(DEFAULT_PATH)).as_bytes().split(|&byte| byte == b':') {
        let file = Path::new(if dir.is_empty() { OsStr::new(".") } else { OsStr::from_bytes(dir) }).join(name);
        match check(&file) {
            Ok(()) => return Ok(file),
            // A directory that may not be searched hides no command of ours.
            Err(_) if rustix::fs::stat(&file).is_err() => {}
            Err(errno) => found = found.or(Some(refused(&file, errno))),
        }
    }
    Err(found.unwrap_or_else(missing))
}

fn check(file: &Path) -> Result<(), Errno> {
    // EACCES for a directory is what execve itself says.
    if rustix::fs::stat(file).map_err(errno)?.st_mode & libc::S_IFMT == libc::S_IFDIR {
        return Err(Errno::EACCES);
    }
    accessat(CWD, file, Access::EXEC_OK, AtFlags::EACCESS).map_err(errno)
}

fn errno(errno: rustix::io::Errno) -> Errno {
    Errno::from_raw(errno.raw_os_error())
}

/// Why the kernel would not execute a file, with the causes its errno hides.
pub(crate) fn refused(path: &Path, errno: Errno) -> Error {
    let exists = path.exists();
    let hint = match errno {
        Errno::ENOENT if exists => Some("the interpreter or dynamic loader that it names is missing".to_owned()),
        Errno::EACCES if exists && on_noexec_mount(path) => {
            Some(format!("the file system of {path:?} is mounted noexec"))
        }
        _ => None,
    };
    let status = if matches!(errno, Errno::ENOENT | Errno::ENOTDIR) && !exists { 127 } else { 126 };
    Error::new(format!("cannot execute {path:?}")).because(errno).maybe_hint(hint).status(status)
}

fn on_noexec_mount(path: &Path) -> bool {
    rustix::fs::statvfs(path).is_ok_and(|fs| fs.f_flag.bits() & libc::ST_NOEXEC != 0)
}

pub(crate) fn cstrings(argv: &[OsString]) -> Result<Vec<CString>, Error> {
    argv.iter().map(|arg| cstring(arg)).collect()
}

fn cstring(text: &OsStr) -> Result<CString, Error> {
    CString::new(text.as_bytes()).tried(|| format!("cannot pass {text:?} to a command"))
}
