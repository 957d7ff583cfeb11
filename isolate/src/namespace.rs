//! The namespaces, in one table (namespaces(7)).

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use rustix::fs::{AtFlags, CWD, statat};

use crate::sys;

/// One type of namespace.
pub struct Namespace {
    /// Its file in /proc/PID/ns.
    pub name: &'static str,
    /// Its CLONE_NEW* flag.
    pub flag: u64,
}

/// User and group ids, capabilities (user_namespaces(7)).
pub const USER: Namespace = Namespace { name: "user", flag: libc::CLONE_NEWUSER as u64 };
/// The root of the cgroup hierarchies (cgroup_namespaces(7)).
pub const CGROUP: Namespace = Namespace { name: "cgroup", flag: libc::CLONE_NEWCGROUP as u64 };
/// System V IPC and POSIX message queues (ipc_namespaces(7)).
pub const IPC: Namespace = Namespace { name: "ipc", flag: libc::CLONE_NEWIPC as u64 };
/// Host and domain name (uts_namespaces(7)).
pub const UTS: Namespace = Namespace { name: "uts", flag: libc::CLONE_NEWUTS as u64 };
/// Interfaces, addresses, routes, ports (network_namespaces(7)).
pub const NET: Namespace = Namespace { name: "net", flag: libc::CLONE_NEWNET as u64 };
/// Process ids (pid_namespaces(7)).
pub const PID: Namespace = Namespace { name: "pid", flag: libc::CLONE_NEWPID as u64 };
/// Mounts (mount_namespaces(7)).
pub const MNT: Namespace = Namespace { name: "mnt", flag: libc::CLONE_NEWNS as u64 };
/// The monotonic and boot-time clocks (time_namespaces(7)).
pub const TIME: Namespace = Namespace { name: "time", flag: libc::CLONE_NEWTIME as u64 };

/// All of them.
pub const ALL: [&Namespace; 8] = [&USER, &CGROUP, &IPC, &UTS, &NET, &PID, &MNT, &TIME];

impl Namespace {
    /// The option that names it in unshare(1) and nsenter(1).
    pub fn option(&self) -> &'static str {
        if self.name == "mnt" { "mount" } else { self.name }
    }

    /// The inode that identifies this namespace of process `pid`, or of this
    /// one if that is `None`.
    pub fn inode(&self, pid: Option<u32>) -> rustix::io::Result<u64> {
        let who = pid.map_or("self".to_owned(), |pid| pid.to_string());
        Ok(statat(CWD, format!("/proc/{who}/ns/{}", self.name), AtFlags::empty())?.st_ino)
    }

    /// Whether an fd is of a namespace of this type.
    pub fn is_of(&self, fd: impl AsFd) -> bool {
        sys::ns_get_nstype(fd.as_fd()).is_ok_and(|flag| flag as u64 == self.flag)
    }

    /// An fd of the namespace of this type that alone ever has this number
    /// (NS_GET_ID, Linux 6.18). Before 6.19 it is found only if a process is in
    /// it that the caller may look into.
    pub fn by_id(&self, id: u64) -> io::Result<OwnedFd> {
        match sys::open_namespace(id, self.flag as u32) {
            Err(Errno::ESTALE | Errno::EBADF | Errno::EINVAL | Errno::EPERM) => {}
            opened => return opened.map_err(Into::into),
        }
        for entry in fs::read_dir("/proc")?.flatten() {
            let Ok(file) = File::open(entry.path().join("ns").join(self.name)) else { continue };
            match sys::ns_get_id(file.as_fd()) {
                Ok(found) if found == id => return Ok(file.into()),
                Ok(_) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Err(Errno::ENOENT.into())
    }
}

/// `net namespace` or `net, ipc namespaces`, for messages.
pub fn names(flags: u64) -> String {
    let names: Vec<_> = ALL.iter().filter(|one| flags & one.flag != 0).map(|one| one.name).collect();
    format!("{} namespace{}", names.join(", "), if names.len() == 1 { "" } else { "s" })
}

/// The user namespace that owns a namespace; of a user namespace, its parent.
pub fn owner(namespace: impl AsFd) -> Result<OwnedFd, Errno> {
    sys::ns_get_userns(namespace.as_fd())
}

/// The user that made a user namespace, as a uid here.
pub fn made_by(user_namespace: impl AsFd) -> Result<u32, Errno> {
    sys::ns_get_owner_uid(user_namespace.as_fd())
}

/// The network namespace of a socket.
pub fn of_socket(socket: impl AsFd) -> Result<OwnedFd, Errno> {
    sys::siocgskns(socket.as_fd())
}
