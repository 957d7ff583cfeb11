//! A netlink socket (netlink(7)): many requests in one message to the kernel,
//! and what it answers.
//!
//! What the kernel tells is read attribute by attribute, for the few that
//! matter: a name that is not UTF-8, or an attribute that is newer than the
//! crates, must not hide a link.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer, NetlinkHeader,
    NetlinkMessage, NetlinkPayload, NetlinkSerializable, NlasIterator,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::SocketAddr;
use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE};
use nix::sys::socket::{setsockopt, sockopt};
use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

/// As many as have room in the receive buffer if all are refused.
const MESSAGES_AT_ONCE: usize = 64;
const HEADER: usize = 16;
/// The longest message that a dump is made of (NLMSG_GOODSIZE, max_recvmsg_len).
const RECEIVED: usize = 64 << 10;

/// A request that is ready to be sent but for its number.
pub struct Request(Vec<u8>);

/// Why the kernel did not do what was asked.
#[derive(Debug)]
pub struct Refusal {
    /// Its errno.
    pub errno: i32,
    /// What it says beyond that (NLMSGERR_ATTR_MSG).
    pub says: Option<String>,
}

/// A socket in the network namespace in which it was made, wherever its process goes.
pub struct Socket {
    socket: netlink_sys::Socket,
    number: u32,
}

impl Request {
    /// A request to change something; `flags` are NLM_F_CREATE and so on.
    pub fn new(message: RouteNetlinkMessage, flags: u16) -> Self {
        Self::of(message, flags | NLM_F_REQUEST)
    }

    /// A message with exactly these flags.
    pub fn of<M: NetlinkSerializable>(message: M, flags: u16) -> Self {
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        Self(bytes)
    }

    fn acknowledged(&mut self) {
        let flags = u16::from_ne_bytes([self.0[6], self.0[7]]) | NLM_F_ACK;
        self.0[6..8].copy_from_slice(&flags.to_ne_bytes());
    }

    fn numbered(&mut self, number: u32) -> &[u8] {
        self.0[8..12].copy_from_slice(&number.to_ne_bytes());
        &self.0
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self { errno: error.raw_os_error().unwrap_or(libc::EIO), says: None }
    }
}

impl From<Refusal> for io::Error {
    fn from(refusal: Refusal) -> Self {
        Self::from_raw_os_error(refusal.errno)
    }
}

impl Socket {
    /// A socket for links, addresses and routes (rtnetlink(7)) in the network
    /// namespace that the process is in now.
    pub fn route() -> io::Result<Self> {
        Self::new(NETLINK_ROUTE)
    }

    /// Likewise for nftables.
    pub fn netfilter() -> io::Result<Self> {
        Self::new(NETLINK_NETFILTER)
    }

    fn new(protocol: isize) -> io::Result<Self> {
        let mut socket = netlink_sys::Socket::new(protocol)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        if protocol == NETLINK_ROUTE {
            // Without it a dump would ignore the namespace that it is to be of.
            socket.set_netlink_get_strict_chk(true)?;
        }
        Ok(Self { socket, number: 0 })
    }

    /// Sends all of these requests and tells what became of each: an error of
    /// one does not keep the kernel from doing the next.
    pub fn ask(&mut self, requests: &mut [Request]) -> io::Result<Vec<Result<(), Refusal>>> {
        let mut outcomes = Vec::with_capacity(requests.len());
        for batch in requests.chunks_mut(MESSAGES_AT_ONCE) {
            let (mut bytes, count, first) = (Vec::new(), batch.len(), self.number.wrapping_add(1));
            // Errors are told anyway, and in order: what is said of the last one ends it.
            if let Some(last) = batch.last_mut() {
                last.acknowledged();
            }
            for request in batch {
                self.number = self.number.wrapping_add(1);
                bytes.extend_from_slice(request.numbered(self.number));
                bytes.resize(bytes.len().next_multiple_of(4), 0);
            }
            self.send(&bytes)?;
            let mut answers: Vec<Result<(), Refusal>> = (0..count).map(|_| Ok(())).collect();
            let mut answered = false;
            while !answered {
                self.receive(|header, body| {
                    let at = header.sequence_number.wrapping_sub(first) as usize;
                    if let (Some(answer), NLMSG_ERROR) = (answers.get_mut(at), header.message_type) {
                        *answer = outcome(header, body);
                        answered |= at + 1 == count;
                    }
                })?;
            }
            outcomes.extend(answers);
        }
        Ok(outcomes)
    }

    /// Sends one request.
    pub fn ask_one(&mut self, request: Request) -> Result<(), Refusal> {
        self.ask(&mut [request])?.pop().unwrap_or(Ok(()))
    }

    /// Sends messages that the kernel takes all or none of, begun and ended as
    /// a transaction of nftables is; the one before the end asks for an
    /// acknowledgement. Fails with the first refusal.
    pub fn transact(&mut self, mut messages: Vec<Request>) -> Result<(), Refusal> {
        let (first, mut bytes) = (self.number.wrapping_add(1), Vec::new());
        for message in &mut messages {
            self.number = self.number.wrapping_add(1);
            bytes.extend_from_slice(message.numbered(self.number));
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        self.make_room(bytes.len())?;
        self.send(&bytes).map_err(|error| match error.raw_os_error() {
            Some(libc::EMSGSIZE) => Refusal {
                errno: libc::EMSGSIZE,
                says: Some(format!("net.core.wmem_max would have to be {}", bytes.len())),
            },
            _ => error.into(),
        })?;
        // By now the kernel has answered all that fails and all that asks for it: of what begins a transaction
        // and what ends it only that it fails, before Linux 6.10; and of what is malformed nothing at all.
        let (mut refused, mut acknowledged) = (None, false);
        let answered = loop {
            let read = self.receive_as(RecvFlags::DONTWAIT, |header, body| {
                let ours = (header.sequence_number.wrapping_sub(first) as usize) < messages.len();
                if ours && header.message_type == NLMSG_ERROR {
                    match outcome(header, body) {
                        Ok(()) => acknowledged = true,
                        Err(refusal) => _ = refused.get_or_insert(refusal),
                    }
                }
            });
            if let Err(error) = read {
                break error;
            }
        };
        match (refused, answered.kind()) {
            (Some(refusal), _) => Err(refusal),
            (None, io::ErrorKind::WouldBlock) if acknowledged => Ok(()),
            (None, io::ErrorKind::WouldBlock) => Err(Refusal { errno: libc::EBADMSG, says: None }),
            (None, _) => Err(answered.into()),
        }
    }

    /// Makes room for one message of so many bytes and the answers to it: as
    /// much as needed where this is the machine's root, else as much as the
    /// machine gives all (net.core.wmem_max).
    fn make_room(&self, bytes: usize) -> io::Result<()> {
        const ANSWERS: usize = 8 << 20;
        let socket = self.socket.as_fd();
        setsockopt(&socket, sockopt::SndBufForce, &bytes).or_else(|_| setsockopt(&socket, sockopt::SndBuf, &bytes))?;
        setsockopt(&socket, sockopt::RcvBufForce, &ANSWERS)
            .or_else(|_| setsockopt(&socket, sockopt::RcvBuf, &ANSWERS))?;
        Ok(())
    }

    /// Asks for all of something: `each` gets the type and the body of every
    /// message. Starts again where the kernel says that it changed meanwhile.
    pub fn dump<T>(
        &mut self,
        request: impl Fn() -> Request,
        mut each: impl FnMut(&mut T, u16, &[u8]),
    ) -> Result<T, Refusal>
    where
        T: Default,
    {
        // Whoever owns the namespace can change it all the time.
        for _ in 0..50 {
            let mut found = T::default();
            if self.dump_once(request(), |kind, body| each(&mut found, kind, body))? {
                return Ok(found);
            }
        }
        Err(Refusal { errno: libc::EAGAIN, says: Some("it changes all the time".into()) })
    }

    /// Whether nothing changed meanwhile.
    fn dump_once(&mut self, mut request: Request, mut each: impl FnMut(u16, &[u8])) -> Result<bool, Refusal> {
        self.number = self.number.wrapping_add(1);
        let (number, mut steady, mut end) = (self.number, true, None);
        self.send(request.numbered(number))?;
        while end.is_none() {
            self.receive(|header, body| {
                if header.sequence_number != number {
                    return;
                }
                steady &= header.flags & NLM_F_DUMP_INTR == 0;
                match header.message_type {
                    NLMSG_DONE => end = Some(outcome(header, body)),
                    NLMSG_ERROR => end = Some(outcome(header, body)),
                    kind => each(kind, body),
                }
            })?;
        }
        end.unwrap_or(Ok(())).map(|()| steady)
    }

    /// Asks for one thing, whose message `each` gets.
    pub fn get(&mut self, mut request: Request, mut each: impl FnMut(&[u8])) -> Result<(), Refusal> {
        self.number = self.number.wrapping_add(1);
        let (number, mut end) = (self.number, None);
        self.send(request.numbered(number))?;
        while end.is_none() {
            self.receive(|header, body| {
                if header.sequence_number == number {
                    match header.message_type {
                        NLMSG_ERROR => end = Some(outcome(header, body)),
                        _ => {
                            each(body);
                            end = Some(Ok(()));
                        }
                    }
                }
            })?;
        }
        end.unwrap_or(Ok(()))
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        loop {
            match self.socket.send(bytes, 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                sent => return sent.map(drop),
            }
        }
    }

    /// Reads one datagram and hands on the messages in it.
    fn receive(&self, each: impl FnMut(&NetlinkHeader, &[u8])) -> io::Result<()> {
        self.receive_as(RecvFlags::empty(), each)
    }

    fn receive_as(&self, flags: RecvFlags, mut each: impl FnMut(&NetlinkHeader, &[u8])) -> io::Result<()> {
        let mut datagram = Vec::with_capacity(RECEIVED);
        let length = loop {
            match recv(&self.socket, spare_capacity(&mut datagram), flags | RecvFlags::TRUNC) {
                Err(Errno::INTR) => {}
                received => break received?.1,
            }
        };
        // The kernel makes none that is longer.
        let mut rest = datagram.get(..length).ok_or(Errno::MSGSIZE)?;
        while rest.len() >= HEADER {
            let message = NetlinkBuffer::new_checked(rest).map_err(|_| io::Error::from_raw_os_error(libc::EBADMSG))?;
            let mut header = NetlinkHeader::default();
            (header.length, header.message_type) = (message.length(), message.message_type());
            (header.flags, header.sequence_number) = (message.flags(), message.sequence_number());
            let length = header.length as usize;
            each(&header, &rest[HEADER..length]);
            rest = &rest[length.next_multiple_of(4).min(rest.len())..];
        }
        Ok(())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> i32 {
        self.socket.as_raw_fd()
    }
}

/// The flags of a request for all of something.
pub const DUMP: u16 = NLM_F_REQUEST | NLM_F_DUMP;

/// What an NLMSG_ERROR or NLMSG_DONE says (netlink(7); struct nlmsgerr).
fn outcome(header: &NetlinkHeader, body: &[u8]) -> Result<(), Refusal> {
    const MESSAGE: u16 = 1;
    let errno = -body.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
    if errno == 0 {
        return Ok(());
    }
    // The request's header follows, of an error, and with NETLINK_CAP_ACK nothing else of it.
    let skip = if header.message_type == NLMSG_ERROR { 4 + HEADER } else { 4 };
    let attributes = body.get(skip..).filter(|_| header.flags & netlink_packet_core::NLM_F_ACK_TLVS != 0);
    let says = attributes.and_then(|bytes| {
        let text = attributes_of(bytes).find(|(kind, _)| *kind == MESSAGE)?.1;
        Some(String::from_utf8_lossy(text.strip_suffix(b"\0").unwrap_or(text)).into_owned())
    });
    Err(Refusal { errno, says })
}

/// The attributes in these bytes: their types, without the flags, and their values.
pub fn attributes_of(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    NlasIterator::new(bytes).map_while(Result::ok).map(|nla| {
        let value = &nla.into_inner()[4..];
        (nla.kind(), &value[..nla.value_length().min(value.len())])
    })
}

/// The value of an attribute that is a number of 32 bits, in the machine's order.
pub fn number(value: &[u8]) -> u32 {
    value.first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes))
}
