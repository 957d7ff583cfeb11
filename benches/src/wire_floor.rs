//! `wire-floor HOSTS`: the least that it takes to make HOSTS network namespaces,
//! each with an address on a wire to here.
//!
//! For each, in raw netlink: the namespace, under its name in /run/netns; a veth
//! pair, both ends at once in place, with their final names; the address. No
//! bridge, and nothing is up. The two messages go in one call, through a socket
//! of the namespace's own, where the far end may say what its index is to be; the
//! last alone is acknowledged, and what fails speaks anyway.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io::Error;
use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::null;

use libc::{MS_BIND, O_CLOEXEC, O_CREAT, O_EXCL, c_int, c_ushort, nlmsgerr, nlmsghdr};

/// From linux/if_link.h, linux/veth.h and linux/rtnetlink.h; libc lacks them.
const IFLA_INFO_KIND: c_ushort = 1;
const IFLA_INFO_DATA: c_ushort = 2;
const IFLA_NET_NS_FD: c_ushort = 28;
const IFLA_NUM_TX_QUEUES: c_ushort = 31;
const IFLA_NUM_RX_QUEUES: c_ushort = 32;
const VETH_INFO_PEER: c_ushort = 1;
const IFINFOMSG: usize = 16;

/// The far end's index: a new namespace has `lo` alone, which is 1.
const FAR: u32 = 2;
const HERE: &str = "/proc/thread-self/ns/net";

fn check(what: &str, result: c_int) -> c_int {
    if result < 0 { fail(what, &Error::last_os_error()) } else { result }
}

fn fail(what: &str, error: &Error) -> ! {
    eprintln!("wire-floor: {what}: {error}");
    std::process::exit(125)
}

fn open(path: &str, flags: c_int) -> OwnedFd {
    let name = CString::new(path).expect("no NUL");
    // SAFETY: open reads a string that outlives it, and its fd is nobody's yet.
    unsafe { OwnedFd::from_raw_fd(check(path, libc::open(name.as_ptr(), flags | O_CLOEXEC, 0o444))) }
}

/// Puts this thread into a new namespace, which is /run/netns/NAME from now on.
fn namespace(name: &str) {
    let path = format!("/run/netns/{name}");
    open(&path, O_CREAT | O_EXCL);
    let (from, to) = (CString::new(HERE).expect("no NUL"), CString::new(path.as_str()).expect("no NUL"));
    // SAFETY: a number, and strings that outlive the call; a bind mount reads no more.
    unsafe {
        check("unshare", libc::unshare(libc::CLONE_NEWNET));
        check(&path, libc::mount(from.as_ptr(), to.as_ptr(), null(), MS_BIND, null()));
    }
}

/// A socket to the kernel's routing, in this thread's namespace.
fn socket() -> OwnedFd {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // SAFETY: numbers; the fd is nobody's yet.
    unsafe { OwnedFd::from_raw_fd(check("socket", libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_ROUTE))) }
}

/// Messages one after another, as the kernel reads them.
#[derive(Default)]
struct Messages {
    bytes: Vec<u8>,
}

impl Messages {
    fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// A message of a header, what `fill` puts, and the length that makes.
    fn message(&mut self, kind: u16, flags: c_int, fill: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.put(&[0; size_of::<nlmsghdr>()]);
        fill(self);
        let length = u32::try_from(self.bytes.len() - start).expect("short");
        let flags = u16::try_from(libc::NLM_F_REQUEST | flags).expect("16 bits");
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
        self.bytes[start + 4..start + 6].copy_from_slice(&kind.to_ne_bytes());
        self.bytes[start + 6..start + 8].copy_from_slice(&flags.to_ne_bytes());
    }

    /// An attribute with what `fill` puts in it.
    fn nest(&mut self, kind: c_ushort, fill: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.put(&[0; 4]);
        fill(self);
        let length = u16::try_from(self.bytes.len() - start).expect("short");
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.bytes[start + 2..start + 4].copy_from_slice(&kind.to_ne_bytes());
    }

    fn attribute(&mut self, kind: c_ushort, value: &[u8]) {
        let length = u16::try_from(4 + value.len()).expect("short");
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.put(value);
    }

    /// A name and one queue, which is what a veth uses: with more the kernel
    /// takes the others back, and waits for a grace period at each end.
    fn end(&mut self, name: &str) {
        self.attribute(libc::IFLA_IFNAME, format!("{name}\0").as_bytes());
        self.attribute(IFLA_NUM_TX_QUEUES, &1u32.to_ne_bytes());
        self.attribute(IFLA_NUM_RX_QUEUES, &1u32.to_ne_bytes());
    }

    /// eth0 here, with its other end where `home` leads.
    fn pair(&mut self, near: &str, home: &OwnedFd) {
        self.message(libc::RTM_NEWLINK, libc::NLM_F_CREATE | libc::NLM_F_EXCL, |link| {
            let mut info = [0; IFINFOMSG];
            info[4..8].copy_from_slice(&FAR.to_ne_bytes());
            link.put(&info);
            link.end("eth0");
            link.nest(libc::IFLA_LINKINFO, |link| {
                link.attribute(IFLA_INFO_KIND, b"veth");
                link.nest(IFLA_INFO_DATA, |link| {
                    link.nest(VETH_INFO_PEER, |peer| {
                        peer.put(&[0; IFINFOMSG]);
                        peer.end(near);
                        peer.attribute(IFLA_NET_NS_FD, &home.as_raw_fd().to_ne_bytes());
                    });
                });
            });
        });
    }

    fn address(&mut self, address: u32) {
        let flags = libc::NLM_F_CREATE | libc::NLM_F_EXCL | libc::NLM_F_ACK;
        self.message(libc::RTM_NEWADDR, flags, |message| {
            let mut info = [u8::try_from(libc::AF_INET).expect("2"), 16, 0, 0, 0, 0, 0, 0];
            info[4..].copy_from_slice(&FAR.to_ne_bytes());
            message.put(&info);
            message.attribute(libc::IFA_LOCAL, &address.to_be_bytes());
            message.attribute(libc::IFA_ADDRESS, &address.to_be_bytes());
        });
    }

    /// One call for all; the first answer is an error, or the last one's acknowledgement.
    fn send(&mut self, what: &str, socket: &OwnedFd) {
        let mut answer = [0u8; 4096];
        // SAFETY: buffers of the lengths that are said.
        let got = unsafe {
            let sent = libc::send(socket.as_raw_fd(), self.bytes.as_ptr().cast(), self.bytes.len(), 0);
            check(what, c_int::try_from(sent).expect("short"));
            libc::recv(socket.as_raw_fd(), answer.as_mut_ptr().cast(), answer.len(), 0)
        };
        check(what, c_int::try_from(got).expect("short"));
        self.bytes.clear();
        let at = size_of::<nlmsghdr>();
        assert!(usize::try_from(got).expect("not negative") >= at + size_of::<nlmsgerr>(), "{what}: a short answer");
        match i32::from_ne_bytes(answer[at..at + 4].try_into().expect("4 bytes")) {
            0 => {}
            error => fail(what, &Error::from_raw_os_error(-error)),
        }
    }
}

fn main() {
    let hosts = std::env::args().nth(1).and_then(|hosts| hosts.parse().ok()).expect("HOSTS is a number");
    let home = open(HERE, libc::O_RDONLY);
    if let Err(error) = std::fs::create_dir_all("/run/netns") {
        fail("/run/netns", &error);
    }
    let mut messages = Messages::default();
    for host in 0..hosts {
        let name = format!("h{host}");
        namespace(&name);
        messages.pair(&format!("{name}-eth0"), &home);
        messages.address((10 << 24) + 1 + host);
        messages.send(&name, &socket());
    }
}
