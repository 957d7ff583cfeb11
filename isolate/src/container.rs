//! A container, named by the PID of its supervisor. The supervisor holds a
//! memfd that says what it supervises, which is gone when the supervisor is:
//! there is no state to keep, to find or to clean up.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{MemfdFlags, fcntl_get_seals, memfd_create};
use seal::{Context, Error};

const NAME: &str = "nstools.container";

/// More than the kernel takes as arguments by default.
const MAX: u64 = 4 << 20;

/// What a supervisor says of its container.
pub struct Container {
    /// The supervisor's PID: the container's name.
    pub supervisor: i32,
    /// The PID of its init.
    pub init: i32,
    /// The root, as it was given.
    pub root: PathBuf,
    /// The command and its arguments.
    pub command: Vec<OsString>,
}

/// Says that this process supervises the container of `init`, for as long as
/// the fd is open.
pub fn announce(init: i32, root: &Path, command: &[OsString]) -> Result<OwnedFd, Error> {
    let cannot = || "cannot create a memfd";
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::NOEXEC_SEAL;
    let fd = match memfd_create(NAME, flags) {
        // NOEXEC_SEAL is unknown before Linux 6.3.
        Err(rustix::io::Errno::INVAL) => memfd_create(NAME, MemfdFlags::CLOEXEC),
        made => made,
    }
    .tried(cannot)?;
    let mut text = init.to_string().into_bytes();
    for field in std::iter::once(root.as_os_str()).chain(command.iter().map(OsString::as_os_str)) {
        text.push(0);
        text.extend(field.as_bytes());
    }
    let mut file = File::from(fd);
    file.write_all(&text).tried(cannot)?;
    Ok(file.into())
}

/// The container that process `supervisor` supervises; `Ok(None)` if it
/// supervises none.
///
/// Fails with EACCES if the process is not the caller's to look into, ENOENT
/// if there is none.
pub fn supervised_by(supervisor: i32) -> std::io::Result<Option<Container>> {
    let link = format!("/memfd:{NAME} (deleted)");
    for entry in fs::read_dir(format!("/proc/{supervisor}/fd"))? {
        let path = entry?.path();
        if !fs::read_link(&path).is_ok_and(|to| to.as_os_str() == OsStr::new(&link)) {
            continue;
        }
        // Anyone can call a file so, and a FIFO would hang us: only a memfd has seals.
        let Ok(file) = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&path) else { continue };
        if fcntl_get_seals(&file).is_err() {
            continue;
        }
        let mut text = Vec::new();
        file.take(MAX).read_to_end(&mut text)?;
        let mut fields = text.split(|&byte| byte == 0);
        let init = fields.next().and_then(|field| std::str::from_utf8(field).ok()?.parse().ok());
        // Anyone can make such a memfd: believe it only of one's own grandchild.
        if let Some(init) = init.filter(|&init| parent(init).and_then(parent) == Some(supervisor)) {
            let mut words = fields.map(|field| OsStr::from_bytes(field).to_owned());
            let root = words.next().unwrap_or_default().into();
            return Ok(Some(Container { supervisor, init, root, command: words.collect() }));
        }
    }
    Ok(None)
}

/// The containers of this PID namespace whose supervisors the caller may look into.
pub fn all() -> std::io::Result<Vec<Container>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // It may be gone, or another's.
        found.extend(supervised_by(pid).ok().flatten());
    }
    found.sort_by_key(|container| container.supervisor);
    Ok(found)
}

/// The parent of a process (proc_pid_stat(5): after the name, which may hold anything).
fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}
