//! What a command leaves behind when it ends: its processes, however they have
//! detached themselves, since a reaper is their parent in the end.

use std::os::fd::OwnedFd;

use crate::{Context, Error};
use rustix::fs::{Mode, OFlags, open, openat};
use rustix::io::Errno;
use rustix::process::{Signal, WaitOptions, pidfd_send_signal, wait};

/// The host's /proc, to find children by: the container's may lie or be none.
pub struct HostProc(OwnedFd);

impl HostProc {
    /// Opens it.
    pub fn open() -> Result<Self, Error> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        open("/proc", flags, Mode::empty()).tried(|| "cannot open /proc").map(Self)
    }

    /// Kills every child of this process, and those that become its children by
    /// that, until there are none.
    pub fn kill_children(&self) {
        loop {
            for child in self.children() {
                // A directory of /proc serves as a pidfd, and its number is of our parent's PID namespace.
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                if let Ok(process) = openat(&self.0, &child, flags, Mode::empty()) {
                    let _ = pidfd_send_signal(&process, Signal::KILL);
                }
            }
            // One end at a time: it may have left us more.
            match wait(WaitOptions::empty()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }

    fn children(&self) -> Vec<String> {
        let read = || -> rustix::io::Result<String> {
            let file = openat(&self.0, "thread-self/children", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
            let mut text = vec![0; 64 * 1024];
            let mut length = 0;
            while let read @ 1.. = rustix::io::read(&file, &mut text[length..])? {
                length += read;
            }
            text.truncate(length);
            Ok(String::from_utf8_lossy(&text).into_owned())
        };
        read().unwrap_or_default().split_ascii_whitespace().map(str::to_owned).collect()
    }
}
