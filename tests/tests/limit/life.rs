//! How a run ends, and what signals do to it.

use std::os::unix::process::CommandExt;

use nix::sys::signal::Signal;
use tests::{Run, Running, both, eventually, mark, marked};

use crate::{Scene, scenes, with};

/// The ways in which `limit` stays, and that in which it becomes the command.
fn ways(test: impl Fn(&Scene, &[&str])) {
    scenes(|scene| {
        test(scene, &["nofile=64"]);
        test(scene, &["time=1000"]);
    });
    with(&["pids"], |scene| test(scene, &["pids=40"]));
}

#[test]
fn the_status_is_the_commands() {
    ways(|scene, limits| {
        for status in [0, 1, 42, 124, 125, 137, 255] {
            let ran = scene.script(limits, &format!("exit {status}")).ran();
            assert_eq!((ran.code(), ran.stderr.as_str()), (status, ""));
        }
        // A shell may ignore the third.
        for signal in [1, 2, 6, 9, 11, 15] {
            let ran = scene.script(limits, &format!("kill -{signal} $$")).ran();
            // One that has become the command is killed itself.
            let status = ran.status.code().unwrap_or_else(|| 128 + signal);
            assert_eq!((status, ran.status.code().is_none()), (128 + signal, limits[0] == "nofile=64"), "{ran:?}");
            assert_eq!(ran.stderr, "");
        }
    });
}

#[test]
fn a_command_that_cannot_be_executed() {
    ways(|scene, limits| {
        let run = |word: &str| scene.limit(&[limits, &[word]].concat()).ran();
        let said = "limit: cannot execute \"no-such\": No such file or directory\n";
        assert_eq!(run("no-such").fails(127), said);
        let dir = scene.who.dir();
        let file = dir.join("file");
        std::fs::write(&file, "").unwrap();
        scene.who.give(&file);
        let denied = run(file.to_str().unwrap());
        assert_eq!(denied.fails(126), format!("limit: cannot execute {file:?}: Permission denied\n"));
        assert!(scene.place.left().is_empty(), "{:?}", scene.place.left());
    });
}

#[test]
fn what_the_command_leaves_goes_with_it() {
    ways(|scene, limits| {
        // Without a supervisor there is no one to do it.
        if limits[0] == "nofile=64" {
            return;
        }
        let mark = mark();
        let hide = format!("$HOG daemon {mark}; (setsid $HOG deaf {mark} &); $HOG deaf {mark} & read x; exit 3");
        let mut running = Running::start(&mut scene.script(limits, &hide));
        (0..3).for_each(|_| assert_eq!(running.line(), "ready"));
        running.say("");
        assert_eq!(running.end(), 3);
        assert_eq!(marked(&mark), []);
        assert!(scene.place.left().is_empty(), "{:?}", scene.place.left());
    });
}

/// Those that limit passes on, the last of which ends the hog.
const SIGNALS: [Signal; 10] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGCONT,
    Signal::SIGTSTP,
    Signal::SIGWINCH,
    Signal::SIGTERM,
    Signal::SIGUSR2,
];

#[test]
fn each_signal_reaches_the_command_once() {
    ways(|scene, limits| {
        let mut running = Running::ready(&mut scene.hog(limits, &["signals"]));
        for signal in SIGNALS {
            running.signal(signal);
            assert_eq!(running.line(), signal.as_str(), "{limits:?}");
        }
        assert_eq!(running.end(), 5);
    });
}

#[test]
fn a_signal_that_ends_the_command() {
    ways(|scene, limits| {
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1] {
            let mark = mark();
            let script = format!("sleep 1000 & echo ready; wait; : {mark}");
            let mut running = Running::ready(&mut scene.script(limits, &script));
            running.signal(signal);
            let end = running.end();
            assert!(end == 128 + signal as i32 || end == -(signal as i32), "{signal}: {end}");
            eventually("the shell is gone", || marked(&mark).is_empty());
        }
    });
}

#[test]
fn signals_before_the_command_are_not_lost() {
    with(&["pids"], |scene| {
        for limits in ["time=100", "pids=20"] {
            for _ in 0..20 {
                let mark = mark();
                let mut running = Running::start(&mut scene.limit(&[limits, "sleep", "1000", &mark]));
                // sleep does not take the mark for a time: it has started, or it has not.
                running.signal(Signal::SIGTERM);
                let end = running.end();
                assert!([-15, 128 + 15, 1].contains(&end), "{end}");
                scene.nothing_is_left(&mark);
            }
        }
    });
}

#[test]
fn stop_and_continue() {
    ways(|scene, limits| {
        let script = "echo ready; while read x; do echo $x; done";
        // A group whose members have no parent outside of it, but in the session, does
        // not stop by this signal.
        let mut running = Running::ready(scene.script(limits, script).process_group(0));
        running.signal(Signal::SIGTSTP);
        eventually("limit stops with its command", || running.state() == 'T');
        running.say("hello");
        running.signal(Signal::SIGCONT);
        assert_eq!(running.line(), "hello");
        running.hang_up();
        assert_eq!(running.end(), 0);
        let mut running = Running::ready(&mut scene.script(limits, "echo ready; kill -STOP $$; echo on"));
        eventually("limit stops with its command", || running.state() == 'T');
        running.signal(Signal::SIGCONT);
        assert_eq!(running.line(), "on");
        assert_eq!(running.end(), 0);
    });
}

/// A supervisor whose parent is gone, and whose output is closed.
#[test]
fn without_anyone_to_tell() {
    both(|who| {
        let dir = who.dir();
        let script = "(exec >&- 2>&- <&-; limit time=100 sh -c 'echo ran > file; exec sleep 0.1' &); exit 0";
        who.command("sh").args(["-c", script]).current_dir(&*dir).ran().out();
        eventually("it runs", || std::fs::read_to_string(dir.join("file")).is_ok_and(|text| text == "ran\n"));
    });
}
