//! `contain`: a terminal of its own, and the caller's as it was.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::Read;
use std::path::Path;

use nix::sys::signal::Signal;
use tests::{Run, Running, Terminal, Who, both, eventually};

/// A container of `root` at a terminal.
fn at_terminal(who: &Who, root: &Path, options: &[&str], script: &str) -> (Terminal, Running) {
    let terminal = Terminal::new(who);
    let running = terminal.run(who, &who.contain(root, options, script));
    (terminal, running)
}

#[test]
fn it_is_a_pty_of_the_container_bound_at_dev_console() {
    both(|who| {
        let root = who.busybox();
        let script =
            "tty; test /dev/console -ef /dev/pts/0 && echo same; echo word >/dev/console; echo /dev/pts/*; echo end";
        let (mut terminal, mut running) = at_terminal(who, &root, &[], script);
        terminal.expect("/dev/pts/0\r\nsame\r\nword\r\n/dev/pts/0 /dev/pts/ptmx\r\nend\r\n");
        assert_eq!(running.end(), 0);
        assert!(terminal.is_cooked());
    });
}

#[test]
fn without_a_terminal_there_is_none() {
    both(|who| {
        let root = who.busybox();
        assert_eq!(who.contain(&root, &[], "tty; ls /dev/pts").ran().text(), "not a tty\nptmx");
        let ran = who.contain(&root, &["--console"], "tty; echo x >&2").ran();
        assert_eq!((ran.text().as_str(), ran.stderr.as_str()), ("/dev/pts/0", "x\n"), "{ran:?}");
    });
}

#[test]
fn no_console_leaves_stdio_alone() {
    both(|who| {
        let root = who.busybox();
        for option in ["--no-console", "-c"] {
            let (mut terminal, mut running) =
                at_terminal(who, &root, &[option], "ls /dev/pts; test -t 0 && echo terminal");
            terminal.expect("ptmx\r\nterminal\r\n");
            assert_eq!(running.end(), 0);
        }
    });
}

#[test]
fn keys_arrive_and_echo() {
    both(|who| {
        let root = who.busybox();
        let (mut terminal, mut running) = at_terminal(who, &root, &[], "read x; echo \"<$x>\"");
        terminal.write("héllo\r");
        terminal.expect("<héllo>\r\n");
        assert_eq!(running.end(), 0);
    });
}

#[test]
fn the_callers_terminal_is_raw_meanwhile_and_restored() {
    both(|who| {
        let root = who.busybox();
        let (mut terminal, mut running) = at_terminal(who, &root, &[], "echo ready; read x; exit 3");
        terminal.expect("ready");
        assert!(!terminal.is_cooked());
        terminal.write("\r");
        assert_eq!(running.end(), 3);
        assert!(terminal.is_cooked());
    });
}

#[test]
fn it_is_restored_however_the_run_ends() {
    both(|who| {
        let root = who.busybox();
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGKILL] {
            let (mut terminal, mut running) = at_terminal(who, &root, &[], "echo ready; exec sleep 1000");
            terminal.expect("ready");
            eventually("the terminal is raw", || !terminal.is_cooked());
            eventually("the command is sleep", || is_sleep(&running));
            println!("{signal}");
            running.signal(signal);
            let expected = if signal == Signal::SIGKILL { -9 } else { 128 + signal as i32 };
            assert_eq!(running.end(), expected, "{signal}");
            eventually("the terminal is restored", || terminal.is_cooked());
        }
        // A failure inside, after the console was made.
        let (mut terminal, mut running) = at_terminal(who, &root, &["--cwd", "/nowhere"], "true");
        terminal.expect("contain: cannot change to the working directory");
        assert_eq!(running.end(), 125);
        assert!(terminal.is_cooked());
    });
}

#[test]
fn the_window_size_is_followed() {
    both(|who| {
        let root = who.busybox();
        let script = "stty size; trap 'stty size' WINCH; echo ready; while :; do read x; done";
        let (mut terminal, running) = at_terminal(who, &root, &[], script);
        terminal.expect("24 80\r\nready");
        terminal.resize(50, 132);
        // A shell runs its traps when its read ends.
        eventually("the size has changed", || {
            running.signal(Signal::SIGWINCH);
            true
        });
        terminal.write("\r");
        terminal.expect("50 132");
    });
}

#[test]
fn job_control() {
    both(|who| {
        let root = who.busybox();
        let terminal = Terminal::new(who);
        let mut command = who.tool("contain");
        command.arg(&*root).args(["sh", "-i"]);
        let mut running = terminal.run(who, &command);
        let mut terminal = terminal;
        // Split, so that its echo is not the prompt.
        terminal.write("PS1='pro''mpt> '\r");
        terminal.expect("prompt> ");
        terminal.write("sleep 1000\r");
        eventually("sleep is in the foreground", || foreground(&running, "sleep"));
        terminal.write("\x1a");
        terminal.expect("Stopped");
        terminal.expect("prompt> ");
        terminal.write("jobs; echo on\r");
        terminal.expect("\non\r\n");
        terminal.expect("prompt> ");
        terminal.write("fg\r");
        eventually("sleep is in the foreground", || foreground(&running, "sleep"));
        terminal.write("\x03");
        terminal.expect("prompt> ");
        terminal.write("echo status $?\r");
        terminal.expect("status 130");
        terminal.expect("prompt> ");
        terminal.write("sleep 1000 &\r");
        terminal.expect("prompt> ");
        terminal.write("kill %1; wait %1; echo status $?\r");
        terminal.expect("status 143");
        terminal.expect("prompt> ");
        terminal.write("exit 9\r");
        assert_eq!(running.end(), 9);
    });
}

/// Whether a process of this name is in the foreground of the container's terminal.
fn foreground(running: &Running, name: &str) -> bool {
    let Some(init) = running.init() else { return false };
    let children = std::fs::read_to_string(format!("/proc/{init}/task/{init}/children")).unwrap_or_default();
    children.split_whitespace().any(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let Some((head, tail)) = stat.rsplit_once(") ") else { return false };
        let fields: Vec<_> = tail.split(' ').collect();
        // pgrp and tpgid (proc_pid_stat(5)).
        head.ends_with(name) && fields[0] == "S" && fields[2] == fields[5]
    })
}

#[test]
fn interrupt_and_suspend_of_a_pid_1_without_handlers() {
    both(|who| {
        let root = who.busybox();
        for init in [&[][..], &["--init"]] {
            let run = || {
                let (mut terminal, running) = at_terminal(who, &root, init, "echo ready; exec sleep 1000");
                terminal.expect("ready");
                eventually("the command is sleep", || is_sleep(&running));
                (terminal, running)
            };
            for (key, status) in [("\x03", 130), ("\x1c", 131)] {
                let (mut terminal, mut running) = run();
                terminal.write(key);
                assert_eq!(running.end(), status, "{init:?}");
                assert!(terminal.is_cooked());
            }
            let (mut terminal, mut running) = run();
            terminal.write("\x1a");
            eventually("the supervisor stops", || running.state() == 'T');
            assert!(terminal.is_cooked());
            running.signal(Signal::SIGCONT);
            eventually("it goes on", || running.state() != 'T' && !terminal.is_cooked());
            terminal.write("\x03");
            assert_eq!(running.end(), 130, "{init:?}");
        }
    });
}

fn is_sleep(running: &Running) -> bool {
    let sleeps = |pid: i32| {
        std::fs::read_to_string(format!("/proc/{pid}/wchan")).is_ok_and(|channel| channel.contains("nanosleep"))
    };
    let child = |pid: i32| {
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        children.split_whitespace().next().and_then(|pid| pid.parse().ok())
    };
    running.init().is_some_and(|init| sleeps(init) || child(init).is_some_and(sleeps))
}

#[test]
fn stop_and_fg_from_the_callers_shell() {
    both(|who| {
        let root = who.busybox();
        let mut terminal = Terminal::new(who);
        let mut shell = who.command("busybox");
        shell.args(["sh", "-i"]);
        let mut running = terminal.run(who, &shell);
        terminal.write("PS1='pro''mpt> '\r");
        terminal.expect("prompt> ");
        terminal.write(&format!("contain {} sh -c 'echo ready; exec cat'\r", root.display()));
        terminal.expect("\nready\r\n");
        // It answers: no shell is left that catches ^C and loses it in its exec.
        terminal.write("first\r");
        terminal.expect("first\r\nfirst\r\n");
        terminal.write("\x1a");
        terminal.expect("Stopped");
        terminal.expect("prompt> ");
        terminal.write("echo between\r");
        terminal.expect("\nbetween\r\n");
        terminal.expect("prompt> ");
        terminal.write("fg\r");
        terminal.expect("exec cat\"\r\n");
        eventually("the terminal is the container's again", || !terminal.is_cooked());
        terminal.write("hello\r");
        terminal.expect("hello\r\nhello\r\n");
        terminal.write("\x03");
        terminal.expect("prompt> ");
        terminal.write("echo status $?\r");
        terminal.expect("status 130");
        terminal.expect("prompt> ");
        terminal.write("exit\r");
        assert_eq!(running.end(), 0);
    });
}

#[test]
fn stderr_stays_where_it_was_sent() {
    both(|who| {
        let root = who.busybox();
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut terminal = Terminal::new(who);
        let command = who.contain(&root, &[], "echo out; echo err >&2; test -t 2 || echo not");
        let mut running = terminal.run_but_stderr(who, &command, File::from(std::os::fd::OwnedFd::from(writer)));
        terminal.expect("out\r\nnot\r\n");
        assert_eq!(running.end(), 0);
        let mut said = String::new();
        reader.read_to_string(&mut said).unwrap();
        assert_eq!(said, "err\n");
    });
}

#[test]
fn all_that_was_written_is_shown() {
    both(|who| {
        let root = who.busybox();
        let (mut terminal, mut running) = at_terminal(who, &root, &[], "seq 1 20000; echo end");
        let shown = terminal.expect("end\r\n");
        assert_eq!(running.end(), 0);
        let expected: String = (1..=20000).map(|number| format!("{number}\r\n")).collect();
        assert_eq!(shown, expected + "end\r\n");
    });
}

#[test]
fn a_pipeline_with_a_terminal_on_one_side_is_no_terminal() {
    both(|who| {
        let root = who.busybox();
        let mut terminal = Terminal::new(who);
        let mut command = who.command("sh");
        command.args(["-c", "contain \"$0\" sh -c 'ls /dev/pts; cat /dev/zero | head -c 9 | wc -c' | cat"]).arg(&*root);
        let mut running = terminal.run(who, &command);
        terminal.expect("ptmx\r\n9\r\n");
        assert_eq!(running.end(), 0);
        assert!(terminal.is_cooked());
    });
}

#[test]
fn a_console_in_a_pipeline() {
    both(|who| {
        let root = who.busybox();
        let ran = who.contain(&root, &["--console"], "stty -echo -opost; tty; cat").ran_with(b"hello\n");
        assert!(ran.text().ends_with("/dev/pts/0\nhello"), "{ran:?}");
        assert_eq!(ran.code(), 0);
    });
}

#[test]
fn the_session_is_the_containers() {
    both(|who| {
        let root = who.busybox();
        // What is not at a terminal has no controlling one; what is has its own.
        let script = "cut -d' ' -f 5-7 /proc/self/stat; true";
        assert!(who.contain(&root, &[], script).ran().out().ends_with(" 1 0"), "session 1, no terminal");
        let refused = who.contain(&root, &[], "echo x >/dev/tty").ran();
        assert!(refused.fails(1).contains("No such device or address"), "{refused:?}");
        let (mut terminal, _running) = at_terminal(who, &root, &[], "echo own >/dev/tty");
        terminal.expect("own\r\n");
        let (mut terminal, _running) = at_terminal(who, &root, &["-c"], "echo x >/dev/tty; echo end");
        terminal.expect("No such device or address");
        terminal.expect("end");
    });
}
