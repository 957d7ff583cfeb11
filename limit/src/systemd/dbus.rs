//! As much of D-Bus as a call and its signal need: the specification's
//! marshalling of strings, numbers and arrays, and its SASL handshake
//! (<https://dbus.freedesktop.org/doc/dbus-specification.html>).

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with, sockopt};
use seal::{Context, Error};

/// The kind of a [`Message`] that refuses a call.
pub const ERROR: u8 = 3;
/// The kind of a [`Message`] that tells what has happened.
pub const SIGNAL: u8 = 4;

const CALL: u8 = 1;
const ORDER: u8 = if cfg!(target_endian = "little") { b'l' } else { b'B' };

/// A call of `method` of systemd's manager object, as the first message.
pub fn call(method: &str, signature: &str, body: Writer) -> Vec<u8> {
    let mut header = Writer(vec![ORDER, CALL, 0, 1]);
    header.number(body.0.len() as u32);
    header.number(1);
    header.array(8, |fields| {
        fields.field(1, "o", |value| value.string("/org/freedesktop/systemd1"));
        fields.field(2, "s", |value| value.string("org.freedesktop.systemd1.Manager"));
        fields.field(3, "s", |value| value.string(method));
        fields.field(6, "s", |value| value.string("org.freedesktop.systemd1"));
        fields.field(8, "g", |value| value.signature(signature));
    });
    header.align(8);
    header.0.extend(body.0);
    header.0
}

/// Writes values, each aligned to its size from the start of what is written.
#[derive(Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    /// A `u` or a `b`.
    pub fn number(&mut self, value: u32) {
        self.align(4);
        self.0.extend(value.to_ne_bytes());
    }

    /// An `s` or an `o`.
    pub fn string(&mut self, value: &str) {
        self.number(value.len() as u32);
        self.0.extend(value.bytes());
        self.0.push(0);
    }

    fn signature(&mut self, value: &str) {
        self.0.push(value.len() as u8);
        self.0.extend(value.bytes());
        self.0.push(0);
    }

    /// An array of what `elements` writes. Its length does not count the padding
    /// before the first element.
    pub fn array(&mut self, alignment: usize, elements: impl FnOnce(&mut Self)) {
        self.number(0);
        let length = self.0.len() - 4;
        self.align(alignment);
        let start = self.0.len();
        elements(self);
        let bytes = (self.0.len() - start) as u32;
        self.0[length..length + 4].copy_from_slice(&bytes.to_ne_bytes());
    }

    /// An `(sv)`: a name and a value of any type.
    pub fn property(&mut self, name: &str, signature: &str, value: impl FnOnce(&mut Self)) {
        self.align(8);
        self.string(name);
        self.signature(signature);
        value(self);
    }

    fn field(&mut self, code: u8, signature: &str, value: impl FnOnce(&mut Self)) {
        self.align(8);
        self.0.push(code);
        self.signature(signature);
        value(self);
    }
}

/// Reads what a [`Writer`] writes; None where the bytes end.
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Reads a whole body, or the fields of a header, from its start.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// A `u`.
    pub fn number(&mut self) -> Option<u32> {
        self.at = self.at.next_multiple_of(4);
        Some(u32::from_ne_bytes(self.take(4)?.try_into().ok()?))
    }

    /// An `s` or an `o`.
    pub fn string(&mut self) -> Option<String> {
        let length = self.number()? as usize;
        self.text(length)
    }

    fn signature(&mut self) -> Option<String> {
        let length = self.take(1)?[0];
        self.text(length.into())
    }

    fn text(&mut self, length: usize) -> Option<String> {
        let (_end, text) = self.take(length + 1)?.split_last()?;
        Some(String::from_utf8_lossy(text).into_owned())
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..)?.get(..length)?;
        self.at += length;
        Some(taken)
    }
}

/// What matters here of a message that came.
#[derive(Debug, Default, PartialEq)]
pub struct Message {
    /// [`ERROR`], [`SIGNAL`] or another.
    pub kind: u8,
    /// The name of a signal.
    pub member: String,
    /// The name of an error.
    pub error: String,
    /// The values it brings.
    pub body: Vec<u8>,
}

impl Message {
    /// How many bytes of fields and padding, and of the body, follow the first 16.
    fn lengths(start: &[u8; 16]) -> Option<(usize, usize)> {
        let mut reader = Reader { bytes: start, at: 4 };
        let (body, _serial, fields) = (reader.number()?, reader.number()?, reader.number()?);
        // The specification's own bounds.
        let sound = start[0] == ORDER && body <= 1 << 27 && fields <= 1 << 26;
        sound.then_some(((fields as usize).next_multiple_of(8), body as usize))
    }

    fn parse(kind: u8, fields: &[u8], body: &[u8]) -> Option<Self> {
        let mut message = Self { kind, body: body.to_vec(), ..Self::default() };
        let mut reader = Reader::new(fields);
        while reader.at < fields.len() {
            let code = reader.take(1)?[0];
            let value = match reader.signature()?.as_str() {
                "u" => reader.number()?.to_string(),
                "g" => reader.signature()?,
                "o" | "s" => reader.string()?,
                _ => return None,
            };
            match code {
                3 => message.member = value,
                4 => message.error = value,
                _ => {}
            }
            reader.at = reader.at.next_multiple_of(8);
        }
        Some(message)
    }
}

/// A connection with a manager's private socket, without a bus between.
pub struct Connection {
    stream: UnixStream,
    deadline: Instant,
    /// Where the manager listens.
    pub socket: PathBuf,
}

impl Connection {
    /// Connects; whatever it is used for must be done by `deadline`.
    pub fn open(socket: &Path, deadline: Instant) -> io::Result<Self> {
        let stream = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        // A full queue holds connect(2) up as it does a send.
        let left = deadline.saturating_duration_since(Instant::now());
        sockopt::set_socket_timeout(&stream, sockopt::Timeout::Send, Some(left))?;
        connect(&stream, &SocketAddrUnix::new(socket)?)?;
        Ok(Self::over(stream.into(), socket, deadline))
    }

    /// Takes a stream that is connected with `socket`.
    pub fn over(stream: UnixStream, socket: &Path, deadline: Instant) -> Self {
        Self { stream, deadline, socket: socket.to_owned() }
    }

    /// Logs in, as whom the kernel says: a name in the first line would be wrong
    /// in another user namespace.
    pub fn log_in(&mut self) -> Result<(), Error> {
        self.send(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")?;
        let asked = self.line()?;
        let answer = if asked == "DATA" { self.line()? } else { asked };
        if answer.starts_with("OK ") {
            return Ok(());
        }
        Err(Error::new(format!("the systemd manager at {:?} does not let this user in: {answer:?}", self.socket)))
    }

    /// Sends a message.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.stream.write_all(bytes).tried(|| format!("cannot write to the systemd manager at {:?}", self.socket))
    }

    /// Waits for a message.
    pub fn receive(&mut self) -> Result<Message, Error> {
        let nonsense = |socket: &Path| Error::new(format!("cannot understand the systemd manager at {socket:?}"));
        let mut start = [0; 16];
        self.read(&mut start)?;
        let (fields, body) = Message::lengths(&start).ok_or_else(|| nonsense(&self.socket))?;
        let mut rest = vec![0; fields + body];
        self.read(&mut rest)?;
        Message::parse(start[1], &rest[..fields], &rest[fields..]).ok_or_else(|| nonsense(&self.socket))
    }

    fn line(&mut self) -> Result<String, Error> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            self.read(&mut byte)?;
            line.push(byte[0]);
        }
        Ok(String::from_utf8_lossy(line.trim_ascii_end()).into_owned())
    }

    fn read(&mut self, mut buffer: &mut [u8]) -> Result<(), Error> {
        let no_answer = || format!("no answer from the systemd manager at {:?}", self.socket);
        while !buffer.is_empty() {
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::new(no_answer()).because(Errno::TIMEDOUT));
            }
            self.stream.set_read_timeout(Some(left)).tried(no_answer)?;
            match (&self.stream).read(buffer) {
                Ok(0) => return Err(Error::new(no_answer()).because(Errno::CONNRESET)),
                Ok(count) => buffer = &mut buffer[count..],
                Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
                Err(error) => return Err(Error::new(no_answer()).because(error)),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use super::*;

    /// As the specification lays them out, not as this file does.
    #[test]
    fn a_call_is_these_bytes() {
        let mut body = Writer::default();
        body.string("abc");
        body.array(8, |properties| properties.property("P", "au", |value| value.array(4, |pids| pids.number(7))));
        body.array(8, |_| {});
        let message = call("Go", "sa(sv)a(sv)", body);
        let (header, body) = message.split_at(message.len() - 40);
        assert_eq!(
            header[..16],
            *b"l\x01\0\x01\x28\0\0\0\x01\0\0\0\xa1\0\0\0",
            "the array of fields ends before padding"
        );
        let fields: &[u8] = b"\x01\x01o\0\x19\0\0\0/org/freedesktop/systemd1\0\0\0\0\0\0\0\
            \x02\x01s\0\x20\0\0\0org.freedesktop.systemd1.Manager\0\0\0\0\0\0\0\0\
            \x03\x01s\0\x02\0\0\0Go\0\0\0\0\0\0\
            \x06\x01s\0\x18\0\0\0org.freedesktop.systemd1\0\0\0\0\0\0\0\0\
            \x08\x01g\0\x0bsa(sv)a(sv)\0";
        assert_eq!(header[16..16 + 0xa1], *fields);
        assert_eq!(header.len() % 8, 0);
        let expected: &[u8] = b"\x03\0\0\0abc\0\
            \x14\0\0\0\0\0\0\0\
            \x01\0\0\0P\0\x02au\0\0\0\x04\0\0\0\x07\0\0\0\
            \0\0\0\0";
        assert_eq!(body, expected);
    }

    const START: &[u8; 16] = b"l\x04\x01\x01\x05\0\0\0\x09\0\0\0\x1a\0\0\0";
    const FIELDS: &[u8] = b"\x05\x01u\0\x01\0\0\0\x03\x01s\0\x0a\0\0\0JobRemoved\0\0\0\0\0\0";

    #[test]
    fn a_signal_is_read_to_its_last_padding() {
        assert_eq!(Message::lengths(START), Some((32, 5)));
        let message = Message::parse(SIGNAL, FIELDS, b"\x01\0\0\0x").unwrap();
        assert_eq!((message.member.as_str(), message.error.as_str()), ("JobRemoved", ""));
        assert_eq!(message.body, b"\x01\0\0\0x");
    }

    #[test]
    fn nonsense_is_refused_at_any_length() {
        for end in 1..27 {
            // Where a field ends the rest is no field, so that it is sound.
            assert_eq!(Message::parse(SIGNAL, &FIELDS[..end], b"").is_some(), end == 8, "{end}");
        }
        assert_eq!(Message::lengths(b"B\x04\x01\x01\x05\0\0\0\x09\0\0\0\x1a\0\0\0"), None);
        assert_eq!(Message::lengths(b"l\x04\x01\x01\xff\xff\xff\xff\x09\0\0\0\x1a\0\0\0"), None);
        assert_eq!(Reader::new(b"\xff\xff\xff\xffx\0").string(), None);
        assert_eq!(Reader::new(b"\x01\0\0\0x").string(), None, "without its end");
        assert_eq!(Reader::new(b"\x01\0\0\0x\0").string().as_deref(), Some("x"));
    }
}
