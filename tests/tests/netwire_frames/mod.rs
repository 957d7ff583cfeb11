//! A lab that goes on while a test looks at it, and the frames that its hosts
//! send and get.
#![allow(dead_code, unused_imports, reason = "no test file uses all of it")]

mod packets;
mod shouts;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::Command;

use tests::{Running, TempDir, Who};

pub use packets::*;
pub use shouts::*;

/// Reads scripts, each ended by a line of its own, and says how they end.
const READER: &str = r#"
# reaches NAME ADDRESS...: likewise pings, and nobody remembers that it was not so before.
reaches() {
	for name in /run/netns/*; do
		nsenter --net="$name" ip neigh flush all
	done
	pings "$@"
}

set +e
echo ready
script=
while IFS= read -r line; do
	if [ "$line" = . ]; then
		(set -e; eval "$script") </dev/null 2>&1
		echo "= $?"
		script=
	else
		script="$script
$line"
	fi
done
"#;

/// A lab of one caller (`tests/src/lab`), which goes with the value.
pub struct Lab {
    shell: Running,
    who: Who,
    frames: PathBuf,
    _dir: TempDir,
}

impl Lab {
    /// A new one, in which this script has run.
    #[track_caller]
    pub fn new(who: &Who, script: &str) -> Self {
        let (dir, frames) = who.program_for_all(env!("CARGO_BIN_EXE_frames"));
        let shell = Running::ready(&mut who.lab_command(READER));
        let mut lab = Self { shell, who: who.clone(), frames, _dir: dir };
        lab.sh(script);
        lab
    }

    /// One with the hosts a, b and c and whoever else is named at a bridge `br`
    /// in the namespace `sw`, each with the addresses of its [`Station`], and
    /// after that this script.
    #[track_caller]
    pub fn star(who: &Who, more: &[(&str, u8)], script: &str) -> Self {
        let mut all =
            String::from("host sw\nquiet netwire bridge br@sw 10.0.0.254/24 fd00::fe/64 --mac 02:00:00:00:00:fe\n");
        for (name, number) in HOSTS.iter().chain(more) {
            all += &format!("host {name}\n{}\n", wire("br", name, *number));
        }
        Self::new(who, &(all + script))
    }

    /// Runs a script, `-e`; it must succeed. What it wrote.
    #[track_caller]
    pub fn sh(&mut self, script: &str) -> String {
        for line in script.lines() {
            self.shell.say(line);
        }
        self.shell.say(".");
        let mut said = String::new();
        loop {
            match self.shell.line() {
                line if line == "= 0" => return said,
                line if line.starts_with("= ") => panic!("as {}, {script}\n{said}{line}", self.who.name),
                line => said += &(line + "\n"),
            }
        }
    }

    /// Runs a script with the words `$BR`, … of netwire's own output compared.
    #[track_caller]
    pub fn says(&mut self, script: &str, expected: &str) {
        assert_eq!(self.sh(script).trim_end(), expected, "as {}, {script}", self.who.name);
    }

    /// All that is filtered in a namespace of the lab, as nft shows it.
    #[track_caller]
    pub fn rules(&mut self, host: &str) -> String {
        self.sh(&format!("on {host} nft list ruleset"))
    }

    /// An interface of a namespace of the lab.
    #[track_caller]
    pub fn port(&self, host: &str, interface: &str) -> Port {
        self.marking(host, interface, None)
    }

    /// Likewise where what is sent has this mark.
    #[track_caller]
    pub fn marking(&self, host: &str, interface: &str, mark: Option<u32>) -> Port {
        let init = self.shell.guard().expect("the lab runs").to_string();
        // Root enters the lab of another as its root.
        let mut command = Command::new("nsenter");
        command.args(["--target", &init, "--all", "nsenter", &format!("--net=/run/netns/{host}")]);
        command.arg(&self.frames).arg(interface).args(mark.map(|mark| mark.to_string()));
        Port { program: Running::ready(&mut command), arrived: VecDeque::new(), at: format!("{interface}@{host}") }
    }
}

/// The hosts of every star.
pub const HOSTS: [(&str, u8); 3] = [("a", 1), ("b", 2), ("c", 3)];

/// The line that wires a host to a bridge of the namespace `sw`.
pub fn wire(bridge: &str, host: &str, number: u8) -> String {
    let station = Station::of(number);
    format!("quiet netwire wire {bridge}@sw eth0@{host} {} {} --mac {}", station.cidr4(), station.cidr6(), station.mac)
}

/// A script that has br_netfilter, where there is one, send bridged packets through the filters of IP or not.
pub fn br_netfilter(call: u8) -> String {
    format!(
        "for file in ip ip6 arp; do
        file=/proc/sys/net/bridge/bridge-nf-call-${{file}}tables
        [ ! -e $file ] || on sw sh -c \"echo {call} >$file\"
    done"
    )
}

/// An interface in our hands.
pub struct Port {
    program: Running,
    arrived: VecDeque<Frame>,
    at: String,
}

impl Port {
    /// Sends a frame, if the interface takes it; else why not.
    #[track_caller]
    pub fn send(&mut self, frame: &Frame) -> Result<(), String> {
        self.program.say(&frame.to_string());
        loop {
            match self.program.line() {
                line if line == "sent" => return Ok(()),
                line if line.starts_with("not sent") => return Err(line),
                line => self.arrived.push_back(Frame::parse(&line)),
            }
        }
    }

    /// Sends one that the interface must take.
    #[track_caller]
    pub fn say(&mut self, frame: &Frame) {
        self.send(frame).unwrap_or_else(|error| panic!("{}: {error}: {frame}", self.at));
    }

    /// What arrived before the frame with this word, which is yet to come or came already.
    #[track_caller]
    pub fn until(&mut self, word: &[u8]) -> Vec<Frame> {
        let mut before = Vec::new();
        loop {
            let next = self.arrived.pop_front();
            let frame = next.unwrap_or_else(|| Frame::parse(&self.program.line()));
            if frame.holds(word) {
                return before;
            }
            before.push(frame);
        }
    }
}

impl Station {
    /// What `watcher` gets of what `port`, ours, sent until now. Everything
    /// keeps its order, so the last word goes from `port` to the relay and
    /// from there to the watcher, who both must be allowed to hear it: none of
    /// that before can come later.
    #[track_caller]
    pub fn heard_by(&self, port: &mut Port, relay: (&Self, &mut Port), watcher: (&Self, &mut Port)) -> [Vec<Frame>; 2] {
        let [first, second] = [tests::mark(), tests::mark()];
        port.say(&self.says_to(relay.0, first.as_bytes()));
        let by_relay = relay.1.until(first.as_bytes());
        relay.1.say(&relay.0.says_to(watcher.0, second.as_bytes()));
        [by_relay, watcher.1.until(second.as_bytes())]
    }
}
