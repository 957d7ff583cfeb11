//! Find a command on PATH and become it, or say why not: 127 if it is not
//! there, 126 if it is and cannot be executed.

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use rustix::fs::{Access, AtFlags, CWD, accessat};

use crate::sys::{self, Strings};
use crate::{Context, Error};

/// Where commands are looked for when PATH is not set.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The environment a command is given, as `execve` takes it: `NAME=VALUE`.
#[derive(Clone)]
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

    /// Sets a variable.
    pub fn set(&mut self, name: &str, value: &OsStr) {
        self.0.retain(|pair| !pair.as_bytes().strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b"=")));
        self.0.extend(Self::new([(name.into(), value.into())]).0);
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.iter().find_map(|pair| {
            let rest = pair.as_bytes().strip_prefix(name.as_bytes())?;
            Some(OsStr::from_bytes(rest.strip_prefix(b"=")?))
        })
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
    match Image::find(program, argv, environment) {
        Ok(image) => image.exec(),
        Err(error) => error,
    }
}

/// Everything that an exec needs, so that between a filter of system calls and
/// the exec there is no other call, an allocation's included.
pub struct Image<'a> {
    program: Program<'a>,
    path: PathBuf,
    argv: Strings,
    environment: Strings,
    /// The arguments of the shell that runs a file which is no program.
    shell: Strings,
}

enum Program<'a> {
    File(CString),
    Memory { fd: BorrowedFd<'a>, is_script: bool },
}

impl<'a> Image<'a> {
    /// Finds `program` on the PATH of `environment`.
    pub fn find(program: &OsStr, argv: &[OsString], environment: &Environment) -> Result<Self, Error> {
        let path = find(program, environment.get("PATH"))?;
        let file = cstring(path.as_os_str())?;
        let argv = cstrings(argv)?;
        let shell = [c"sh".to_owned(), file.clone()].into_iter().chain(argv.iter().skip(1).cloned()).collect();
        Ok(Self {
            program: Program::File(file),
            path,
            argv: Strings::new(argv),
            environment: Strings::new(environment.0.clone()),
            shell: Strings::new(shell),
        })
    }

    /// The program that is in a memfd, a copy of the one at `path`.
    pub(crate) fn in_memory(
        fd: BorrowedFd<'a>,
        is_script: bool,
        path: &Path,
        argv: &[OsString],
        environment: &Environment,
    ) -> Result<Self, Error> {
        Ok(Self {
            program: Program::Memory { fd, is_script },
            path: path.to_owned(),
            argv: Strings::new(cstrings(argv)?),
            environment: Strings::new(environment.0.clone()),
            shell: Strings::new(Vec::new()),
        })
    }

    /// The fd that must stay open after the exec: a script's interpreter reads it.
    pub(crate) fn needed_fd(&self) -> Option<i32> {
        match self.program {
            Program::Memory { fd, is_script: true } => Some(fd.as_raw_fd()),
            _ => None,
        }
    }

    /// Becomes it, with SIGPIPE and SIGCHLD as this process inherited them.
    pub fn exec(&self) -> Error {
        sys::restore_dispositions();
        self.refused(self.execute(), true)
    }

    /// The system call alone; a second one for what needs a shell.
    pub fn execute(&self) -> Errno {
        match &self.program {
            Program::File(file) => match sys::execve(file, &self.argv, &self.environment) {
                Errno::ENOEXEC => sys::execve(c"/bin/sh", &self.shell, &self.environment),
                errno => errno,
            },
            Program::Memory { fd, .. } => sys::execveat(*fd, &self.argv, &self.environment),
        }
    }

    /// Why it was not executed: status 127 or 126. Whether the file may be looked
    /// at for the cause; it was there.
    pub fn refused(&self, errno: Errno, looks: bool) -> Error {
        let Program::Memory { is_script, .. } = self.program else { return refused(&self.path, errno, looks) };
        let error = Error::new(format!("cannot execute the sealed copy of {:?}", self.path)).because(errno).status(126);
        match errno {
            Errno::ENOENT if is_script => {
                error.hint("its interpreter is missing, or /proc or /dev/fd, through which the interpreter reads it")
            }
            Errno::ENOENT => error.hint("the dynamic loader that it names is missing"),
            _ => error,
        }
    }
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
        return check(Path::new(name)).map(|()| name.into()).map_err(|errno| refused(Path::new(name), errno, true));
    }
    let mut found = None;
    for dir in path.unwrap_or(OsStr::new(DEFAULT_PATH)).as_bytes().split(|&byte| byte == b':') {
        let file = Path::new(if dir.is_empty() { OsStr::new(".") } else { OsStr::from_bytes(dir) }).join(name);
        match check(&file) {
            Ok(()) => return Ok(file),
            // A directory that may not be searched hides no command of ours.
            Err(_) if rustix::fs::stat(&file).is_err() => {}
            Err(errno) => found = found.or(Some(refused(&file, errno, true))),
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
fn refused(path: &Path, errno: Errno, looks: bool) -> Error {
    let exists = !looks || path.exists();
    let hint = match errno {
        Errno::ENOENT if exists => Some("the interpreter or dynamic loader that it names is missing".to_owned()),
        Errno::EACCES if looks && exists && on_noexec_mount(path) => {
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

fn cstrings(argv: &[OsString]) -> Result<Vec<CString>, Error> {
    argv.iter().map(|arg| cstring(arg)).collect()
}

fn cstring(text: &OsStr) -> Result<CString, Error> {
    CString::new(text.as_bytes()).tried(|| format!("cannot pass {text:?} to a command"))
}
