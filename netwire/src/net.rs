//! Network namespaces: how users name them, and how they are entered.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use isolate::named::{Named, gone};
use isolate::{namespace, process};
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use rustix::fs::fstat;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use seal::{Context, Error};

/// Where namespaces have names (ip-netns(8)).
pub const NAMED: &str = "/run/netns";

const OWNERS: &str = "root may, and root of the user namespace that owns it";

/// A network namespace.
pub struct Net {
    fd: OwnedFd,
    /// The inode that identifies it.
    pub inode: u64,
    /// What it is in messages: `process 4242`, `web`; empty for the caller's own.
    pub shown: String,
    /// What ports that lead there are named for.
    pub label: String,
}

impl Net {
    /// The caller's own.
    pub fn here() -> Result<Self, Error> {
        let fd = File::open("/proc/self/ns/net").tried(|| "cannot open /proc/self/ns/net")?;
        Self::of(fd.into(), String::new(), "here".into())
    }

    /// The one that TARGET names.
    pub fn open(target: &OsStr) -> Result<Self, Error> {
        if target == "." {
            return Self::here();
        }
        if is_process(target) {
            return Self::of_process(target);
        }
        let is_path = target.as_bytes().contains(&b'/');
        let path = if is_path { target.into() } else { named(target)? };
        let label = path.file_name().unwrap_or(target).to_string_lossy().into_owned();
        let file = open(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound if !is_path => missing(&label),
            std::io::ErrorKind::PermissionDenied => {
                Error::new(format!("cannot open the network namespace {target:?}")).because(error).hint(OWNERS)
            }
            _ => Error::new(format!("cannot open the network namespace {target:?}")).because(error),
        })?;
        if !namespace::NET.is_of(&file) {
            return Err(Error::new(format!("{path:?} is no network namespace")));
        }
        Self::of(file.into(), target.to_string_lossy().into_owned(), label)
    }

    /// Whether a namespace has this path. A file that is empty is what was left
    /// of making one.
    pub fn is_there(path: &Path) -> Result<bool, Error> {
        let cannot = || format!("cannot open the network namespace {path:?}");
        let file = match open(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            opened => opened.tried(cannot)?,
        };
        if namespace::NET.is_of(&file) {
            return Ok(true);
        }
        let metadata = file.metadata().tried(cannot)?;
        if metadata.is_file() && metadata.len() == 0 {
            return Ok(false);
        }
        Err(Error::new(format!("{path:?} is no network namespace")))
    }

    /// That of a process, or of the container that it supervises.
    fn of_process(target: &OsStr) -> Result<Self, Error> {
        let named = Named::parse(target)?;
        let owners = |error: Error| if error.errno() == libc::EPERM { error.or_hint(OWNERS) } else { error };
        let mut refused = None;
        for pid in named.candidates().map_err(owners)? {
            match File::open(format!("/proc/{pid}/ns/net")) {
                // What was opened was of the one that was named only if that still runs.
                Ok(_) if process::has_ended(&named.pidfd) => return Err(gone(named.pid)),
                Ok(fd) => {
                    let net = Self::of(fd.into(), format!("process {}", named.pid), named.pid.to_string())?;
                    // So it is with a contain that has only just been started.
                    if namespace::NET.inode(None).is_ok_and(|own| own == net.inode) {
                        return Err(Error::new(format!("process {} is in this network namespace", named.pid))
                            .hint("write . for it; a container has one of its own once its command runs"));
                    }
                    return Ok(net);
                }
                Err(error) => {
                    refused = refused.or(Some(Error::new(format!("cannot look into process {pid}")).because(error)))
                }
            }
        }
        Err(owners(refused.map_or_else(|| gone(named.pid), |error| named.refused(error))))
    }

    /// One that is open already.
    pub fn of(fd: OwnedFd, shown: String, label: String) -> Result<Self, Error> {
        let inode = fstat(&fd).tried(|| "cannot look at a network namespace")?.st_ino;
        Ok(Self { fd, inode, shown, label })
    }

    /// The same, as users call it.
    pub fn called(self, name: &OsStr) -> Self {
        let name = name.to_string_lossy().into_owned();
        Self { shown: name.clone(), label: name, ..self }
    }

    /// Takes this process into it.
    pub fn enter(&self) -> Result<(), Error> {
        setns(&self.fd, CloneFlags::CLONE_NEWNET).map_err(|errno| {
            let of = if self.shown.is_empty() { String::new() } else { format!(" of {}", self.shown) };
            let hint = (errno == Errno::EPERM).then(|| self.who_may());
            Error::new(format!("cannot enter the network namespace{of}")).because(errno).maybe_hint(hint)
        })
    }

    /// Whose rights it takes to change it, for a hint.
    pub fn who_may(&self) -> String {
        let owns = "pseudo isolate sh, with what is to be wired started there";
        let Ok(owner) = namespace::owner(&self.fd) else {
            return "a user namespace owns it that is not below yours, and root there may change it".to_owned();
        };
        let inode = fstat(&owner).map_or(0, |stat| stat.st_ino);
        if namespace::USER.inode(None).is_ok_and(|own| own == inode) {
            return format!(
                "it belongs to your user namespace, where you are not root; namespaces of your own: {owns}"
            );
        }
        let Ok(uid) = namespace::made_by(&owner) else {
            return format!("it belongs to user:[{inode}], of which root may change it");
        };
        if uid == rustix::process::geteuid().as_raw() {
            return format!("it belongs to user:[{inode}], which is yours, and root there may change it: {owns}");
        }
        let maker = seal::passwd::by_uid(Path::new("/etc/passwd"), uid);
        let maker = maker.map_or_else(|| format!("uid {uid}"), |entry| entry.name);
        format!("it belongs to user:[{inode}], which {maker} made, and root there may change it")
    }
}

impl AsFd for Net {
    fn as_fd(&self) -> rustix::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// As many files as there can be: one is held open for each namespace, and one
/// for its socket. With fewer, it fails only where there are as many.
pub fn open_many() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// A FIFO in its place must not hold us up.
fn open(path: &Path) -> std::io::Result<File> {
    File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)
}

/// Whether a target is `PID` or `PID:INODE`.
pub fn is_process(target: &OsStr) -> bool {
    let bytes = target.as_bytes();
    !bytes.is_empty() && bytes.iter().all(|byte| byte.is_ascii_digit() || *byte == b':')
}

/// The path of a name in [`NAMED`].
pub fn named(name: &OsStr) -> Result<PathBuf, Error> {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes.len() > 255 || name == "." || name == ".." || bytes.contains(&b'/') {
        return Err(Error::new(format!("{name:?} is no name for a network namespace")));
    }
    Ok(Path::new(NAMED).join(name))
}

/// That there is none of this name.
pub fn missing(name: &str) -> Error {
    Error::new(format!("there is no network namespace {name:?} in {NAMED}"))
}
