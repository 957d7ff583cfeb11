//! `time=`, `cpu.time=` and `grace=`.

use nix::sys::signal::Signal;
use tests::{Run, Running, eventually, mark, marked};

use crate::{Scene, scenes, with};

const ENDED: &str = "limit: time: ended after 1 s\n";

/// As a tree of processes, and in a cgroup if there is one.
fn ways(test: impl Fn(&Scene, &[&str])) {
    scenes(|scene| test(scene, &[]));
    with(&["pids"], |scene| test(scene, &["pids=40"]));
}

/// Runs a script that is to end by its time: what it wrote.
#[track_caller]
fn ended(scene: &Scene, limits: &[&str], script: &str) -> String {
    let ran = scene.script(&[limits, &["time=1"]].concat(), script).ran();
    // A shell tells of its children that were ended, too.
    assert!(ran.code() == 124 && ran.stderr.ends_with(ENDED), "{script}: {ran:?}");
    assert_eq!(ran.stderr.matches("limit").count(), 1, "{script}: {ran:?}");
    assert!(scene.place.left().is_empty(), "{:?}", scene.place.left());
    ran.text()
}

#[test]
fn a_command_that_goes_when_told() {
    ways(|scene, limits| {
        assert_eq!(ended(scene, limits, "echo on; exec sleep 1000"), "on");
        // With whatever status.
        for status in [0, 3] {
            let script = format!("trap 'echo told; exit {status}' TERM; while :; do sleep 0.05; done");
            assert_eq!(ended(scene, limits, &script), "told");
        }
    });
}

#[test]
fn a_command_that_needs_a_while() {
    ways(|scene, limits| {
        // All processes are told once, also the first sleep: not the second.
        let script = "trap 'sleep 0.3; echo done; exit 0' TERM; sleep 1000";
        assert_eq!(ended(scene, &[limits, &["grace=100"]].concat(), script), "done");
    });
}

#[test]
fn one_that_ignores_it() {
    ways(|scene, limits| {
        let mark = mark();
        let script = format!("exec $HOG deaf {mark}");
        assert_eq!(ended(scene, &[limits, &["grace=0.2"]].concat(), &script), "ready");
        assert_eq!(marked(&mark), []);
        let script = format!("$HOG deaf {mark} & trap '' TERM; wait; wait; sleep 1000; : {mark}");
        assert_eq!(ended(scene, &[limits, &["grace=0.2"]].concat(), &script), "ready");
        assert_eq!(marked(&mark), []);
    });
}

#[test]
fn one_that_is_stopped() {
    ways(|scene, limits| {
        let mark = mark();
        // It handles the signal, since it is made to go on.
        let script = format!("trap 'echo told; exit 0' TERM; kill -STOP $$; : {mark}");
        assert_eq!(ended(scene, &[limits, &["grace=100"]].concat(), &script), "told");
        let script = format!("sh -c 'kill -STOP $$; sleep 1000; : {mark}' & wait");
        ended(scene, &[limits, &["grace=100"]].concat(), &script);
        assert_eq!(marked(&mark), []);
    });
}

#[test]
fn those_that_hide() {
    ways(|scene, limits| {
        let mark = mark();
        for script in [
            format!("$HOG daemon {mark}; $HOG daemon {mark}; exec $HOG deaf {mark}"),
            format!("$HOG daemon {mark}; (setsid sh -c '$HOG daemon {mark}; sleep 1000' &); sleep 1000"),
        ] {
            assert!(ended(scene, &[limits, &["grace=0.2"]].concat(), &script).starts_with("ready\nready"));
            assert_eq!(marked(&mark), []);
        }
        // The command has ended: what it left goes with it, long before the time is up.
        let ran = scene.script(&[limits, &["time=1000"]].concat(), &format!("$HOG daemon {mark}; exit 3")).ran();
        assert_eq!((ran.code(), ran.text().as_str(), ran.stderr.as_str()), (3, "ready", ""));
        assert_eq!(marked(&mark), []);
    });
}

/// The tree grows while it is killed.
#[test]
fn a_fork_bomb() {
    with(&["pids"], |scene| {
        let mark = mark();
        for inner in [&[][..], &["pids=100"]] {
            let hog = scene.hog.to_str().unwrap();
            let words = [&["pids=40", "limit", "time=1", "grace=0.1"], inner, &[hog, "bomb", &mark]].concat();
            let ran = scene.limit(&words).ran();
            // The outer one may say that it has refused forks.
            assert!(ran.fails(124).starts_with(ENDED), "{inner:?}: {ran:?}");
            assert_eq!(marked(&mark), []);
        }
    });
}

#[test]
fn one_that_is_done_in_time() {
    ways(|scene, limits| {
        for status in [0, 3, 124] {
            let ran = scene.script(&[limits, &["time=1000"]].concat(), &format!("exit {status}")).ran();
            assert_eq!((ran.code(), ran.stderr.as_str()), (status, ""));
        }
        for time in ["1000", "1000s", "1m", "1.5h", "1d", "90000ms"] {
            let word = format!("time={time}");
            assert_eq!(scene.script(&[limits, &[&word]].concat(), "echo ran").ran().out(), "ran", "{time}");
        }
    });
}

#[test]
fn time_goes_on_while_limit_is_stopped() {
    ways(|scene, limits| {
        let mark = mark();
        let mut command = scene.script(&[limits, &["time=1"]].concat(), &format!("echo ready; sleep 1000; : {mark}"));
        let mut running = Running::ready(command.stderr(std::process::Stdio::null()));
        running.signal(Signal::SIGSTOP);
        eventually("it is stopped", || running.state() == 'T');
        running.signal(Signal::SIGCONT);
        assert_eq!(running.end(), 124);
        assert_eq!(marked(&mark), []);
    });
}

#[test]
fn processor_time_of_all() {
    ways(|scene, limits| {
        let ended = |script: &str| {
            let mark = mark();
            let script = script.replace("MARK", &mark);
            let ran = scene.script(&[limits, &["cpu.time=0.5"]].concat(), &script).ran();
            let said = "limit: cpu.time: ended after 0.5 s of CPU time\n";
            assert_eq!((ran.code(), ran.stderr.as_str()), (124, said), "{script}: {ran:?}");
            assert_eq!(marked(&mark), []);
        };
        ended("exec $HOG burn 1 MARK");
        ended("$HOG burn 3 MARK & sleep 1000; : MARK");
        // None of them is in sight of the command.
        ended("(setsid $HOG burn 2 MARK &); sleep 1000");
        // Each takes little, and all of them much.
        ended("while :; do (i=0; while [ $i -lt 1000 ]; do i=$((i + 1)); done); done; : MARK");
    });
}

#[test]
fn sleep_takes_no_processor_time() {
    ways(|scene, limits| {
        let words = [limits, &["cpu.time=0.5", "sh", "-c", "sleep 0.8; echo slept"]].concat();
        assert_eq!(scene.limit(&words).ran().out(), "slept");
        // A soft end with its own grace.
        let script = "trap 'echo told; exit 0' TERM; while :; do :; done";
        let ran = scene.script(&[limits, &["cpu.time=300ms", "grace=100"]].concat(), script).ran();
        assert_eq!((ran.code(), ran.text().as_str()), (124, "told"), "{ran:?}");
        let mark = mark();
        let words = [limits, &["cpu.time=300ms", "grace=0.1", "time=1000"]].concat();
        let ran = scene.script(&words, &format!("trap '' TERM; while :; do :; done; : {mark}")).ran();
        assert_eq!(ran.code(), 124, "{ran:?}");
        assert_eq!(marked(&mark), []);
    });
}

#[test]
fn no_file_is_left() {
    scenes(|scene| {
        let dir = scene.who.dir();
        scene.script(&["time=100"], "true").current_dir(&*dir).env("TMPDIR", &*dir).ran().out();
        assert_eq!(dir.names(), Vec::<String>::new());
    });
}
