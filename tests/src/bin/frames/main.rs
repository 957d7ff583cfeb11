//! An interface without a protocol: `frames IF [MARK]` says `ready`, then
//! sends each line of its input, which is hexadecimal, as a frame, says `sent`
//! or why not, and says each frame that arrives there, whomever it is for, as a
//! line like those. All frames leave by one processor and so in their order. It
//! ends with its input. MARK is what nftables see as the mark of what it sends.

mod sys;

use std::fmt::Write;
use std::io::{self, BufRead};
use std::process::ExitCode;
use std::thread;

use rustix::net::{RecvFlags, SendFlags};

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [interface, mark @ ..] = &arguments[..] else { return ExitCode::FAILURE };
    let mark = mark.first().map(|mark| mark.parse().expect("MARK is a number"));
    let socket = match sys::open(interface, mark) {
        Ok(socket) => socket,
        Err(error) => {
            println!("{interface}: {error}");
            return ExitCode::FAILURE;
        }
    };
    println!("ready");
    let sender = socket.try_clone().expect("fds are left");
    thread::spawn(move || {
        let mut frame = vec![0; 1 << 17];
        // It may go down for a while.
        loop {
            if let Ok((length, _)) = rustix::net::recv(&socket, &mut frame[..], RecvFlags::empty()) {
                if sys::lost(&socket).expect("the kernel counts") != 0 {
                    println!("more came than there was room for");
                    std::process::exit(1);
                }
                println!("{}", hexadecimal(&frame[..length]));
            }
        }
    });
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        match rustix::net::send(&sender, &bytes(&line), SendFlags::empty()) {
            Ok(_) => println!("sent"),
            Err(error) => println!("not sent: {error}"),
        }
    }
    ExitCode::SUCCESS
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}

fn bytes(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("ASCII"));
    pairs.map(|pair| u8::from_str_radix(pair, 16).expect("hexadecimal")).collect()
}
