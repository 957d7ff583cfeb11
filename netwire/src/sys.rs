//! The calls that need raw memory: those of /dev/net/tun.
#![allow(unsafe_code)]

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;

const TUNSETPERSIST: libc::Ioctl = 0x4004_54cb_u32 as libc::Ioctl;
const TUNSETOWNER: libc::Ioctl = 0x4004_54cc_u32 as libc::Ioctl;
const TUNSETIFF: libc::Ioctl = 0x4004_54ca_u32 as libc::Ioctl;
/// One of the name must not be there (IFF_TUN_EXCL).
const TUN_EXCL: libc::c_int = 0x8000;

/// TUNSETIFF with IFF_TAP, TUNSETOWNER and TUNSETPERSIST on an open
/// /dev/net/tun: a link of this name, of at most 15 bytes, that stays
/// (linux/Documentation/networking/tuntap.rst).
pub fn tap(tun: &File, name: &OsStr, owner: Option<libc::uid_t>) -> Result<(), Errno> {
    // SAFETY: an ifreq is plain data; all zeroes are one.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.as_bytes().iter().take(libc::IFNAMSIZ - 1)) {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI | TUN_EXCL) as libc::c_short;
    // SAFETY: TUNSETIFF reads and writes one ifreq; the other two take a number.
    unsafe {
        Errno::result(libc::ioctl(tun.as_raw_fd(), TUNSETIFF, &raw mut request))?;
        if let Some(owner) = owner {
            Errno::result(libc::ioctl(tun.as_raw_fd(), TUNSETOWNER, libc::c_ulong::from(owner)))?;
        }
        Errno::result(libc::ioctl(tun.as_raw_fd(), TUNSETPERSIST, 1 as libc::c_ulong))?;
    }
    Ok(())
}
