//! `wire-trips A B ADDRESS COUNT`: what a UDP round trip costs, in ns, from the
//! network namespace /run/netns/A to ADDRESS in B, of COUNT in batches. The
//! fastest batch counts: what else runs on the machine only ever adds. One thread
//! holds both ends, so that nobody has to be woken.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

const BATCHES: u32 = 50;
const PORT: u16 = 7;

/// A socket stays in the namespace in which it was made.
fn socket(namespace: &str, address: &str, port: u16) -> io::Result<UdpSocket> {
    let file = File::open(format!("/run/netns/{namespace}"))?;
    // SAFETY: an fd that lives, and a number.
    if unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let socket = UdpSocket::bind((address, port))?;
    // By then the kernel has asked three times for the MAC, and given up.
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    Ok(socket)
}

fn trip(from: &UdpSocket, to: &UdpSocket) -> io::Result<()> {
    let mut byte = [1];
    from.send(&byte)?;
    let (_, sender) = to.recv_from(&mut byte)?;
    to.send_to(&byte, sender)?;
    from.recv(&mut byte)?;
    Ok(())
}

fn main() -> io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [from, to, address, count] = &words[..] else { panic!("wire-trips A B ADDRESS COUNT") };
    let batch = count.parse::<u32>().expect("COUNT is a number") / BATCHES;
    let to = socket(to, address, PORT)?;
    let from = socket(from, "0.0.0.0", 0)?;
    from.connect((address.as_str(), PORT))?;
    trip(&from, &to)?;
    let mut best = f64::INFINITY;
    for _ in 0..BATCHES {
        let start = Instant::now();
        // What is lost in a crowd that comes up costs its batch.
        if (0..batch).any(|_| trip(&from, &to).is_err()) {
            continue;
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e9 / f64::from(batch));
    }
    assert!(best.is_finite(), "no batch without a loss");
    println!("{best:.0}");
    Ok(())
}
