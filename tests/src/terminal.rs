//! A terminal for a command, and a test in the place of its user.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;
use std::{ffi::OsStr, thread};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::wait::DEADLINE;
use crate::{Running, Who};

/// A pseudo-terminal, seen from the user's side.
pub struct Terminal {
    master: File,
    /// Held open: the terminal outlives the commands on it.
    slave: OwnedFd,
    shown: Receiver<Vec<u8>>,
    seen: String,
}

impl Terminal {
    /// A new one, of 24 rows and 80 columns, that belongs to `who`.
    pub fn new(who: &Who) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        who.give(OsStr::from_bytes(name.as_bytes()));
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave = rustix::fs::open(&name, flags, Mode::empty()).unwrap();
        let master = File::from(master);
        let (sender, shown) = channel();
        let mut reader = master.try_clone().unwrap();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count) = reader.read(&mut bytes) {
                if sender.send(bytes[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        let terminal = Self { master, slave, shown, seen: String::new() };
        terminal.resize(24, 80);
        terminal
    }

    /// Runs a command on it, in a session of its own that has it as its
    /// controlling terminal; setsid(1) becomes the command.
    pub fn run(&self, who: &Who, command: &Command) -> Running {
        Running::start_on(&mut self.prepared(who, command), &self.slave)
    }

    /// Likewise with stderr to where the command sends it.
    pub fn run_but_stderr(&self, who: &Who, command: &Command, stderr: File) -> Running {
        Running::start_on(self.prepared(who, command).stderr(stderr), &self.slave)
    }

    fn prepared(&self, who: &Who, command: &Command) -> Command {
        let mut on_terminal = who.command("setsid");
        on_terminal.args(["-c", "--"]).arg(command.get_program()).args(command.get_args()).env("TERM", "vt100");
        on_terminal.stderr(self.slave.try_clone().unwrap());
        on_terminal
    }

    /// Types.
    pub fn write(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until `text` is shown, and forgets all up to it, which it gives.
    #[track_caller]
    pub fn expect(&mut self, text: &str) -> String {
        let start = Instant::now();
        loop {
            if let Some(at) = self.seen.find(text) {
                return self.seen.drain(..at + text.len()).collect();
            }
            let left = DEADLINE.saturating_sub(start.elapsed());
            match self.shown.recv_timeout(left) {
                Ok(bytes) => self.seen += &String::from_utf8_lossy(&bytes),
                Err(_) => panic!("{text:?} is never shown, but {:?}", self.seen),
            }
        }
    }

    /// Changes its size.
    pub fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.slave, size).unwrap();
    }

    /// Whether it is as terminals are between commands: lines, echo, signals.
    pub fn is_cooked(&self) -> bool {
        let modes = tcgetattr(&self.slave).unwrap().local_modes;
        modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }
}
