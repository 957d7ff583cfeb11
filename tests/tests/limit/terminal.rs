//! `limit` at a terminal: keys, jobs.

use std::path::PathBuf;

use tests::{Running, Terminal, Who, eventually, mark, marked};

use crate::{Scene, scenes, with};

/// Runs a command of the place on a terminal of the caller's.
fn at_terminal(scene: &Scene, command: &std::process::Command) -> (Terminal, Running) {
    let terminal = Terminal::new(&scene.who);
    // It enters the place, for which it starts as root.
    let root = Who { name: "root".to_owned(), uid: 0, gid: 0, home: PathBuf::from("/") };
    let running = terminal.run(&root, command);
    (terminal, running)
}

/// As a tree of processes, and in a cgroup if there is one.
fn ways(test: impl Fn(&Scene, &[&str])) {
    scenes(|scene| test(scene, &["time=1000"]));
    with(&["pids"], |scene| test(scene, &["pids=40"]));
}

#[test]
fn a_key_is_one_signal() {
    ways(|scene, limits| {
        let (mut terminal, mut running) = at_terminal(scene, &scene.hog(limits, &["signals"]));
        terminal.expect("ready\r\n");
        for (key, name) in [("\x03", "SIGINT"), ("\x1c", "SIGQUIT"), ("\x03", "SIGINT"), ("\x1a", "SIGTSTP")] {
            terminal.write(key);
            let shown = terminal.expect(&format!("{name}\r\n"));
            // What came before it is the echo of the key, but no other signal.
            assert_eq!(shown.matches("SIG").count(), 1, "{shown:?}");
        }
        running.signal(nix::sys::signal::Signal::SIGUSR2);
        let shown = terminal.expect("SIGUSR2\r\n");
        assert_eq!(shown.matches("SIG").count(), 1, "{shown:?}");
        assert_eq!(running.end(), 5);
        assert!(terminal.is_cooked());
    });
}

#[test]
fn an_interrupt_ends_a_command() {
    ways(|scene, limits| {
        let mark = mark();
        let (mut terminal, mut running) = at_terminal(scene, &scene.limit(&[limits, &["cat", "-", &mark]].concat()));
        // Once by the terminal, once by the command, which runs then.
        terminal.write("word\r");
        terminal.expect("word\r\nword\r\n");
        terminal.write("\x03");
        // A shell ends its script only if the command has died of the signal.
        assert_eq!(running.end(), -2);
        assert_eq!(marked(&mark), []);
    });
}

#[test]
fn it_reads_keys() {
    ways(|scene, limits| {
        let (mut terminal, mut running) =
            at_terminal(scene, &scene.script(limits, "read x; echo \"<$x>\"; tty; exit 3"));
        terminal.write("word\r");
        terminal.expect("<word>\r\n/dev/pts/");
        assert_eq!(running.end(), 3);
    });
}

/// The jobs of a shell that has limits itself.
#[test]
fn jobs() {
    ways(|scene, limits| {
        let (mut terminal, mut running) = at_terminal(scene, &scene.limit(&[limits, &["sh", "-i"]].concat()));
        // Split, so that its echo is not the prompt.
        terminal.write("PS1='pro''mpt> '\r");
        terminal.expect("prompt> ");
        let mark = mark();
        let job = format!(
            "{} sh -c 'trap \"echo resumed\" CONT; echo sta\"\"rted; while :; do read x; done; : {mark}'",
            inner(limits)
        );
        terminal.write(&format!("{job}\r"));
        terminal.expect("started\r\n");
        terminal.write("\x1a");
        terminal.expect("Stopped");
        terminal.expect("prompt> ");
        terminal.write("jobs; echo o\"\"n\r");
        terminal.expect("Stopped");
        terminal.expect("\non\r\n");
        terminal.expect("prompt> ");
        terminal.write("fg\r");
        terminal.expect("resumed\r\n");
        terminal.write("\x03");
        terminal.expect("prompt> ");
        terminal.write("echo status $?\r");
        terminal.expect("\nstatus 130\r\n");
        eventually("it is gone", || marked(&mark).is_empty());
        terminal.write("exit 6\r");
        assert_eq!(running.end(), 6);
    });
}

/// A limit of the same kind for a job.
fn inner(limits: &[&str]) -> String {
    format!("limit {}", if limits == ["pids=40"] { "pids=20" } else { "time=500" })
}

#[test]
fn time_is_up_at_a_terminal() {
    ways(|scene, limits| {
        let words = [&["time=1"], limits.strip_prefix(&["time=1000"]).unwrap_or(limits)].concat();
        let (mut terminal, mut running) = at_terminal(scene, &scene.script(&words, "sleep 1000"));
        terminal.expect("limit: time: ended after 1 s\r\n");
        assert_eq!(running.end(), 124);
        assert!(terminal.is_cooked());
    });
}

/// The kernel ends the stopped jobs of a shell that is gone, and no one else would.
#[test]
fn a_stopped_job_goes_with_its_shell() {
    scenes(|scene| {
        let mark = mark();
        let (mut terminal, mut running) = at_terminal(scene, &scene.place.command(&["sh", "-i"]));
        terminal.write("PS1='pro''mpt> '\r");
        terminal.expect("prompt> ");
        terminal.write(&format!("limit time=500 sh -c 'echo sta\"\"rted; exec cat - {mark}'\r"));
        terminal.expect("started\r\n");
        terminal.write("\x1a");
        terminal.expect("Stopped");
        running.signal(nix::sys::signal::Signal::SIGKILL);
        assert_eq!(running.end(), -9);
        eventually("the job is gone", || marked(&mark).is_empty());
    });
}
