//! Files that are written anew, or stay as they are.

use std::fs::File;
use std::io::{self, Seek, Write};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use crate::sys;

/// Makes `bytes` the content of a file, or of what else is open. A disk that is
/// full or a limit (RLIMIT_FSIZE) is met before a byte of a file has changed.
pub fn replace(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return file.write_all(bytes);
    }
    let (old, new) = (metadata.len(), bytes.len() as u64);
    let _ignored = sys::Ignored::signal(libc::SIGXFSZ);
    if new > old {
        match fallocate(&*file, FallocateFlags::empty(), 0, new) {
            // There is no more to be known beforehand.
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(errno) => {
                file.set_len(old)?;
                return Err(errno.into());
            }
        }
    }
    file.rewind()?;
    file.write_all(bytes)?;
    file.set_len(new)
}
