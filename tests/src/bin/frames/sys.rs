//! What no safe crate does: packet(7) sockets that are bound to an interface.
#![allow(unsafe_code)]

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with};

/// A socket for all frames of this interface but those that leave by it, which
/// gives a mark to what it sends. This thread stays on one processor.
pub fn open(interface: &str, mark: Option<u32>) -> io::Result<OwnedFd> {
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    let mut one = CpuSet::new();
    one.set((0..CpuSet::count()).find(|&cpu| allowed.is_set(cpu).unwrap_or(false)).unwrap_or(0))?;
    sched_setaffinity(Pid::from_raw(0), &one)?;
    // Nothing of other interfaces: without a protocol it gets nothing yet.
    let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    let index = netdevice::name_to_index(&socket, interface)? as i32;
    set(&socket, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, &1i32)?;
    let promiscuous = libc::packet_mreq {
        mr_ifindex: index,
        mr_type: libc::PACKET_MR_PROMISC as u16,
        mr_alen: 0,
        mr_address: [0; 8],
    };
    set(&socket, libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &promiscuous)?;
    if let Some(mark) = mark {
        set(&socket, libc::SOL_SOCKET, libc::SO_MARK, &mark)?;
    }
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: (libc::ETH_P_ALL as u16).to_be(),
        sll_ifindex: index,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = size_of::<libc::sockaddr_ll>() as u32;
    // SAFETY: the kernel reads this many bytes there, which is the whole of an initialized value.
    Errno::result(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) })?;
    Ok(socket)
}

/// setsockopt(2) with a value that is plain data, as libc's structures are.
fn set<T: Copy>(socket: &OwnedFd, level: i32, option: i32, value: &T) -> io::Result<()> {
    let length = size_of::<T>() as u32;
    // SAFETY: the kernel reads this many bytes there, which the borrowed value has.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const *value).cast(), length) };
    Errno::result(result)?;
    Ok(())
}

/// How many frames there was no room for since the last call.
pub fn lost(socket: &OwnedFd) -> io::Result<u32> {
    let mut counts = [0u32; 2];
    let mut length = size_of_val(&counts) as u32;
    let (level, option) = (libc::SOL_PACKET, libc::PACKET_STATISTICS);
    // SAFETY: the kernel writes at most `length` bytes, struct tpacket_stats, which the array has, and no more after.
    let result =
        unsafe { libc::getsockopt(socket.as_raw_fd(), level, option, (&raw mut counts).cast(), &raw mut length) };
    Errno::result(result)?;
    Ok(counts[1])
}
