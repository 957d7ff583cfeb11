//! `recipes/dojo`: a lab of hosts in a script, and nothing left of it.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tests::{Run, Running, TempDir, Terminal, Who, both, eventually};

/// What the examples have in the README of dojjail, in lines that are not empty.
const EXAMPLES: [(&str, usize); 4] = [("host", 5), ("ping", 9), ("web", 17), ("getppid", 5)];

fn recipes() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../recipes")
}

/// The recipes where a caller can read them, in a directory with a blank in its name.
struct Lab<'a> {
    who: &'a Who,
    dir: TempDir,
}

impl<'a> Lab<'a> {
    fn new(who: &'a Who) -> Self {
        let dir = who.dir();
        let home = dir.join("a lab");
        fs::create_dir_all(home.join("recipes/examples")).unwrap();
        for name in ["dojo", "examples/host", "examples/ping", "examples/web", "examples/getppid"] {
            fs::copy(recipes().join(name), home.join("recipes").join(name)).unwrap();
        }
        Self { who, dir }
    }

    fn home(&self) -> PathBuf {
        self.dir.join("a lab")
    }

    /// A script that has sourced the library.
    fn sh(&self, body: &str) -> Command {
        let path = self.home().join("a script");
        fs::write(&path, format!(". \"$(dirname \"$0\")/recipes/dojo\"\n{body}")).unwrap();
        let mut command = self.who.command("sh");
        command.arg(path);
        command
    }
}

#[test]
fn the_examples_are_as_short_as_those_in_python() {
    for (name, lines) in EXAMPLES {
        let text = fs::read_to_string(recipes().join("examples").join(name)).unwrap();
        let has = text.lines().filter(|line| !line.trim().is_empty()).count();
        assert!(has <= lines, "{name} has {has} lines, more than {lines}");
    }
}

#[test]
fn the_examples_do_what_they_say() {
    both(|who| {
        let lab = Lab::new(who);
        let example = |name: &str| who.command(lab.home().join("recipes/examples").join(name)).ran();
        let host = example("host").out();
        assert!(host.starts_with("host-1\nroot\n1: lo: <LOOPBACK,UP,LOWER_UP>"), "{host}");
        assert_eq!(host.matches("mtu").count(), 1, "{host}");
        let ping = example("ping").out();
        assert!(ping.contains("3 packets transmitted, 3 received"), "{ping}");
        assert!(ping.contains("1 packets transmitted, 0 received"), "{ping}");
        assert!(ping.ends_with("host-1 cannot reach host-3"), "{ping}");
        let web = example("web");
        assert_eq!(web.text().lines().last(), Some("Hello, World!"), "{web:#?}");
        assert!(web.stderr.contains("10.0.0.2 - - "), "{web:#?}");
        let getppid = example("getppid").out();
        let (free, sealed) = getppid.split_once('\n').expect("one line of each");
        assert!(free.parse::<i32>().unwrap() >= 0);
        assert_eq!(sealed, "-1");
    });
}

#[test]
fn it_is_clean_for_shellcheck() {
    let mut library = Command::new("shellcheck");
    library.args(["-s", "sh"]).arg(recipes().join("dojo")).ran().out();
    let mut examples = Command::new("shellcheck");
    examples.args(["-x", "-P", "SCRIPTDIR"]);
    examples.args(EXAMPLES.map(|(name, _)| recipes().join("examples").join(name))).ran().out();
}

/// `reach A B...`: which of the hosts A reaches.
const REACH: &str = "
reach() {
	from=$1; shift
	for to; do on $from ping -c 1 -W 1 10.0.0.$to >/dev/null && echo $from $to; done
	true
}
";

#[test]
fn only_those_that_are_connected_reach_one_another() {
    both(|who| {
        let lab = Lab::new(who);
        // Addresses go by who is connected first. Twice is as good as once.
        let body = "
            for name in a b c d; do host $name; done
            connect c b; connect a b; connect b a; connect a b
            on c ip -4 -br addr show dev eth0 | tr -s ' '
            reach a 1 2 3 254; reach b 1 2 3 254; reach c 1 2 3 254
            reach d 1 2>/dev/null; on router ls /sys/class/net";
        let out = lab.sh(&format!("{REACH}{body}")).ran().out();
        let (address, reached) = out.split_once('\n').unwrap();
        assert!(address.contains(" 10.0.0.1/24"), "{address}");
        let expected = "a 2 a 3 b 1 b 2 b 3 c 1 c 2 a-eth0 b-eth0 br0 c-eth0 lo";
        assert_eq!(reached.replace('\n', " "), expected, "a is 3, b 2, c 1");
    });
}

#[test]
fn a_command_is_itself_on_a_host() {
    both(|who| {
        let lab = Lab::new(who);
        let body = r#"
            host a
            on a cat
            on a printf '<%s>' 'x  y' "it's" '' '*' -n; echo
            on a sh -c 'echo to stderr >&2; exit 9'; echo $?
            on a sh -c 'kill -9 $$'; echo $?
            on a sh -c 'echo changed >/tmp/dojo-file'; cat /tmp/dojo-file 2>&1
            for x in 1 2; do on a true; echo $x; done
            on a cat /proc/sys/kernel/hostname & wait $!; echo $?"#;
        let ran = lab.sh(body).ran_with(b"in\n");
        let gone = "cat: /tmp/dojo-file: No such file or directory";
        let shown = format!("in\n<x  y><it's><><*><-n>\n9\n137\n{gone}\n1\n2\na\n0");
        assert_eq!((ran.text(), ran.stderr.as_str(), ran.code()), (shown, "to stderr\n", 0));
    });
}

#[test]
fn what_seals_a_host_holds_for_its_commands() {
    both(|who| {
        let lab = Lab::new(who);
        let root = who.busybox();
        let body = r#"
            host sealed --syscalls-string 'ERRNO(1) { getppid,
                mkdir } DEFAULT ALLOW' --bind-ro /etc:/mnt --caps none
            on sealed python3 -c 'import os; print(os.getppid())'
            on sealed grep CapEff /proc/self/status
            on sealed grep CapEff /proc/1/status
            on sealed cmp /mnt/passwd /etc/passwd && echo same
            host free && on free grep -c 'CapEff.*[1-9a-f]' /proc/self/status
            host small "$1" --ro --deny-syscalls=getppid --cwd /tmp
            on small busybox pwd
            on small busybox touch /file || echo $?"#;
        let ran = lab.sh(body).arg(&*root).ran();
        let none = "CapEff:\t0000000000000000";
        assert_eq!(ran.text(), format!("-1\n{none}\n{none}\nsame\n1\n/tmp\n1"), "{ran:#?}");
        assert_eq!(ran.stderr, "touch: /file: Read-only file system\n");
    });
}

#[test]
fn down_ends_it_and_it_can_start_anew() {
    both(|who| {
        let lab = Lab::new(who);
        let body = "
            set -eu
            host a; host b; connect a b
            on a sh -c '>/tmp/up; exec sleep 1000' & server=$!
            until on a test -e /tmp/up; do :; done
            down
            wait $server || echo server $?
            ! grep -l -e '^Name:.*contain' -e '^Name:.*sleep' /proc/[0-9]*/status | while read -r file; do
                grep -q '^State:.Z' \"$file\" || echo $file
            done | grep .
            on a true || echo on $?
            down
            host b; host a; connect b a
            reach a 1
            down; host a; on a hostname";
        let ran = lab.sh(&format!("{REACH}{body}")).ran();
        assert_eq!(ran.text(), "server 137\non 125\na 1\na", "{ran:#?}");
        assert_eq!(ran.stderr, "dojo: there is no host \"a\"\n");
    });
}

#[test]
fn errors_are_said_and_the_script_goes_on() {
    both(|who| {
        let lab = Lab::new(who);
        let says = |line: &str, message: &str| {
            let ran = lab.sh(&format!("host a\n{line}\necho \"status $?\"; on a true || echo broken")).ran();
            assert_eq!((ran.text().as_str(), ran.stderr.as_str()), ("status 125", message), "{line}");
        };
        let no_name =
            |name| format!("dojo: \"{name}\" is no name for a host: use letters, digits, - and ., a letter first\n");
        for name in ["", "a b", "-x", "a/b", "a=1", "*", "ä"] {
            says(&format!("host '{name}'"), &no_name(name));
        }
        says("host", &no_name(""));
        says("host a", "dojo: there is a host \"a\" already\n");
        let unknown = |name| format!("dojo: there is no host \"{name}\"\n");
        says("on b true", &unknown("b"));
        says("on", &unknown(""));
        says("connect a b", &unknown("b"));
        says("connect b a", &unknown("b"));
        says("connect a", &unknown(""));
        says("connect a a", "dojo: \"a\" reaches itself\n");
        says("host b /nonexistent", "contain: cannot open the root \"/nonexistent\": No such file or directory\n");
        let fatal = lab.sh("set -e\nhost a\non b true\necho unreachable").ran();
        assert_eq!((fatal.text(), fatal.fails(125)), (String::new(), unknown("b").as_str()));
    });
}

#[test]
fn a_script_is_what_it_was_before() {
    both(|who| {
        let lab = Lab::new(who);
        let body = r#"printf '<%s>' "$@"; read -r line; echo "$line $- ${DOJO-unset}"; exit 3"#;
        let ran = lab.sh(body).args(["x  y", "", "*"]).ran_with(b"in\n");
        assert_eq!((ran.text().as_str(), ran.fails(3)), ("<x  y><><*>in  unset", ""));
        // Its shell, and the options of that.
        let mut bash = who.command("bash");
        bash.arg("-eu").args(lab.sh("words=(1 2); echo ${#words[@]}; host 'a b'; echo no").get_args());
        assert_eq!(bash.ran().text(), "2");
        let mut busybox = who.command("busybox");
        busybox.arg("sh").args(lab.sh("host a; on a hostname; down").get_args());
        assert_eq!(busybox.ran().out(), "a");
        // A script that it starts has a lab of its own, and twice sourced is once.
        let nested = r#"
            [ $# = 0 ] || { on a true || host b; exit; }
            host a; . "$(dirname "$0")/recipes/dojo"; on a hostname
            sh "$0" nested; echo $?; on a hostname"#;
        let ran = lab.sh(nested).ran();
        assert_eq!((ran.text().as_str(), ran.stderr.as_str()), ("a\n0\na", "dojo: there is no host \"a\"\n"));
    });
}

#[test]
fn what_cannot_start_anew_is_told() {
    both(|who| {
        let lab = Lab::new(who);
        let sourced = |command: &mut Command, input: &[u8]| {
            let ran = command.current_dir(lab.home()).ran_with(input);
            let name = command.get_program().to_string_lossy().into_owned();
            let reason = format!("dojo: source this in a script file, before any cd: cannot start \"{name}\" anew\n");
            assert_eq!((ran.text(), ran.fails(125)), (String::new(), reason.as_str()));
        };
        sourced(who.command("sh").args(["-c", ". recipes/dojo; echo on"]), b"");
        sourced(who.command("sh").arg("-s"), b". recipes/dojo\necho on\n");
        sourced(&mut who.command("bash"), b". recipes/dojo\necho on\n");
    });
}

#[test]
fn a_script_has_the_terminal() {
    both(|who| {
        let lab = Lab::new(who);
        let mut terminal = Terminal::new(who);
        let body = "host a; on a sh -c 'tty && read -r line && stty -echo && echo \"<$line>\"'; read -r line; exit 5";
        let mut running = terminal.run(who, &lab.sh(body));
        terminal.expect("/dev/pts/0\r\n");
        terminal.write("typed\n");
        terminal.expect("typed\r\n<typed>\r\n");
        eventually("the terminal is as before", || terminal.is_cooked());
        terminal.write("\n");
        assert_eq!(running.end(), 5);
    });
}

#[test]
fn at_a_prompt() {
    both(|who| {
        let lab = Lab::new(who);
        let mut terminal = Terminal::new(who);
        let mut env = who.command("env");
        env.arg(format!("ENV={}/recipes/dojo", lab.home().display())).args(["PS1=at: ", "sh", "-i"]);
        let mut running = terminal.run(who, &env);
        // What is typed while a command runs there would be for that.
        let at_prompt = |terminal: &mut Terminal, line: &str, shown: &str| {
            terminal.expect("at: ");
            terminal.write(line);
            terminal.expect(shown);
        };
        at_prompt(&mut terminal, "host a; on a sh -c 'test -t 0 && echo tty of $(hostname)'\n", "\ntty of a\r\n");
        at_prompt(&mut terminal, "on a sh -c 'echo $((1 + 1)) sleeps; exec sleep 1000'\n", "2 sleeps");
        terminal.write("\x03");
        at_prompt(&mut terminal, "echo status $?; on a hostname\n", "status 130\r\na\r\n");
        let inside = descendants(running.pid() as i32);
        at_prompt(&mut terminal, "exit 5\n", "exit 5");
        assert_eq!(running.end(), 5);
        assert!(terminal.is_cooked());
        eventually("nothing is left", || inside.iter().all(|pid| !runs(*pid)));
        // Elsewhere the shell that one is at would be lost.
        let mut plain = who.command("env");
        plain.args(["PS1=at: ", "sh", "-i"]);
        let mut running = terminal.run(who, &plain);
        terminal.write(&format!("cd '{}'; . recipes/dojo; echo status $?; exit\n", lab.home().display()));
        terminal.expect("dojo: for a prompt, start: ENV=.../dojo sh -i\r\nstatus 125\r\n");
        assert_eq!(running.end(), 0);
    });
}

/// All that a process has started.
fn descendants(pid: i32) -> Vec<i32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let all = |child: &str| child.parse().map(|pid| [vec![pid], descendants(pid)].concat()).unwrap();
    children.split_whitespace().flat_map(all).collect()
}

fn runs(pid: i32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// The mounts and interfaces of this machine.
fn traces() -> BTreeSet<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let links = fs::read_dir("/sys/class/net").unwrap().map(|entry| entry.unwrap().path().display().to_string());
    mounts.lines().map(str::to_owned).chain(links).collect()
}

/// A lab with servers, and with what does its best to stay.
const STUBBORN: &str = "
host a; host b; connect a b
on a sh -c 'trap \"\" TERM INT HUP; sleep 1000' &
(setsid sh -c 'trap \"\" TERM INT HUP; sleep 1000 & sleep 1000' &)
";

fn killed_by(ended: i32, signal: Signal) -> bool {
    [-(signal as i32), 128 + signal as i32].contains(&ended)
}

/// Starts a script that ends with `last`, which says \"ready\"; gives what it is made of.
fn started(lab: &Lab, last: &str) -> (Running, Vec<i32>) {
    let mut command = lab.sh(&format!("{STUBBORN}{last}"));
    let running = Running::ready(command.process_group(0));
    let mut inside = Vec::new();
    // Two isolates, the shell, three containers with a guard and an init each, and three servers.
    eventually("all of it runs", || {
        inside = descendants(running.pid() as i32);
        inside.len() >= 2 + 3 * 3 + 3
    });
    (running, inside)
}

#[test]
fn nothing_is_left_however_it_ends() {
    both(|who| {
        let lab = Lab::new(who);
        let before = traces();
        let gone = |inside: &[i32], how: &dyn std::fmt::Debug| {
            eventually(&format!("all is gone after {how:?}"), || inside.iter().all(|pid| !runs(*pid)));
        };
        for (last, status) in [("read x", 1), ("read x; exit 3", 3), ("read x; kill -9 $$", -9)] {
            let (mut running, inside) = started(&lab, &format!("echo ready; {last}"));
            running.hang_up();
            let ended = running.end();
            assert!(ended == status || ended == 128 - status, "{last}: {ended}");
            gone(&inside, &last);
        }
        // Of the process that was started, of PID 1, and of the shell.
        for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGKILL] {
            for victim in 0..3 {
                let (mut running, inside) = started(&lab, "on b sh -c 'echo ready; sleep 1000'");
                let pids = [Some(running.pid() as i32), running.guard(), running.init()];
                kill(Pid::from_raw(pids[victim].unwrap()), signal).unwrap();
                let ended = running.end();
                assert!(killed_by(ended, signal), "{signal}, {victim}: {ended}");
                gone(&inside, &(signal, victim));
            }
        }
        // As a terminal does it: a shell alone waits for its command before it minds.
        for last in [
            "on b sh -c 'echo ready; exec sleep 1000'",
            "sh -c 'echo ready; exec sleep 1000'",
            "sleep 1000 & echo ready; wait",
        ] {
            let (mut running, inside) = started(&lab, last);
            killpg(Pid::from_raw(running.pid() as i32), Signal::SIGINT).unwrap();
            let ended = running.end();
            assert!(killed_by(ended, Signal::SIGINT), "{last}: {ended}");
            gone(&inside, &last);
        }
        let after = traces();
        let new: Vec<_> = after.difference(&before).collect();
        assert!(new.is_empty(), "{new:#?}");
    });
}

#[test]
fn a_script_may_handle_signals() {
    both(|who| {
        let lab = Lab::new(who);
        let traps = "trap 'on b echo bye; exit 4' TERM; echo ready; sleep 1000 & wait $!";
        let (mut running, inside) = started(&lab, traps);
        running.signal(Signal::SIGTERM);
        assert_eq!((running.line().as_str(), running.end()), ("bye", 4));
        eventually("all is gone", || inside.iter().all(|pid| !runs(*pid)));
    });
}
