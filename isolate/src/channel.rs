//! What the processes of a container tell their supervisor, over one
//! sequenced-packet socket.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use seal::{Context, Error};

/// An end of the socket.
pub struct Channel(OwnedFd);

/// What is told.
pub enum Message {
    /// All is set up but the command.
    Ready {
        /// A pidfd of the process that takes its signals.
        init: OwnedFd,
        /// The master of its console.
        master: Option<OwnedFd>,
        /// The inodes of its namespaces as JSON, if they were asked for.
        namespaces: String,
    },
    /// The command is stopped.
    Stopped,
    /// The command has ended with this exit status, where the supervisor is not
    /// to learn it by waiting.
    Ended(u8),
    /// It could not be set up.
    Failed(Error),
    /// Go on.
    Go,
}

const MAX: usize = 4096;

impl Channel {
    /// A pair of connected ends.
    pub fn pair() -> Result<(Self, Self), Error> {
        let (a, b) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .tried(|| "cannot create a socket pair")?;
        Ok((Self(a), Self(b)))
    }

    /// Tells the other end. That it is gone is no failure of ours: whoever
    /// misses it ends us.
    pub fn send(&self, message: &Message) {
        let mut fds: Vec<BorrowedFd> = Vec::new();
        let bytes = match message {
            Message::Ready { init, master, namespaces } => {
                fds.push(init.as_fd());
                fds.extend(master.as_ref().map(AsFd::as_fd));
                [b"R", namespaces.as_bytes()].concat()
            }
            Message::Stopped => b"S".to_vec(),
            Message::Ended(status) => vec![b'E', *status],
            Message::Failed(error) => [b"F", &[error.exit_status()][..], error.to_text().as_bytes()].concat(),
            Message::Go => b"G".to_vec(),
        };
        let _ = self.send_raw(&bytes[..bytes.len().min(MAX)], &fds);
    }

    /// Sends bytes and fds.
    pub fn send_raw(&self, bytes: &[u8], fds: &[BorrowedFd]) -> rustix::io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            ancillary.push(SendAncillaryMessage::ScmRights(fds));
        }
        sendmsg(&self.0, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL).map(|_| ())
    }

    /// The next message; `None` when no one is left who could send one.
    pub fn receive(&self) -> Result<Option<Message>, Error> {
        let (bytes, mut fds) = self.receive_raw()?;
        let text = |from: usize| String::from_utf8_lossy(&bytes[from..]).into_owned();
        Ok(match bytes.first() {
            Some(b'R') if !fds.is_empty() => {
                let init = fds.remove(0);
                Some(Message::Ready { init, master: fds.pop(), namespaces: text(1) })
            }
            Some(b'S') => Some(Message::Stopped),
            Some(b'E') => Some(Message::Ended(bytes[1])),
            Some(b'F') => Some(Message::Failed(Error::from_text(bytes[1], &text(2)))),
            Some(b'G') => Some(Message::Go),
            None => None,
            // Nothing else is sent: the fds of a message were lost on the way.
            Some(_) => return Err(Error::new("cannot receive the container's fds").because(Errno::EMFILE)),
        })
    }

    /// Receives bytes, none at the end, and fds.
    pub fn receive_raw(&self) -> Result<(Vec<u8>, Vec<OwnedFd>), Error> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        // On the stack: after a fork a page of the heap would have to be copied first.
        let mut bytes = [0; MAX];
        let received = loop {
            match recvmsg(&self.0, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
                Err(rustix::io::Errno::INTR) => {}
                result => break result.tried(|| "cannot receive from the container")?,
            }
        };
        let mut fds = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                fds.extend(received);
            }
        }
        Ok((bytes[..received.bytes].to_vec(), fds))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
