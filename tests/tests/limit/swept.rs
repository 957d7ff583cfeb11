//! Whatever is killed, at whatever instant, nothing is left.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::{Run, Running, eventually, mark, marked};

use crate::{Scene, scenes, with};

/// A run that does what it can to stay.
fn stubborn(scene: &Scene, limits: &[&str], mark: &str) -> Running {
    let script = format!("$HOG daemon {mark}; $HOG deaf {mark} & exec $HOG deaf {mark}");
    let running = Running::start(&mut scene.script(limits, &script));
    (0..3).for_each(|_| assert_eq!(running.line(), "ready"));
    running
}

fn guard(running: &Running) -> Pid {
    Pid::from_raw(running.guard().expect("it has a guard"))
}

/// As a tree of processes, and in a cgroup if there is one.
fn ways(test: impl Fn(&Scene, &[&str])) {
    scenes(|scene| test(scene, &["time=1000"]));
    with(&["pids"], |scene| test(scene, &["pids=40"]));
}

#[test]
fn limit_is_killed() {
    ways(|scene, limits| {
        let mark = mark();
        let mut running = stubborn(scene, limits, &mark);
        running.signal(Signal::SIGKILL);
        assert_eq!(running.end(), -9);
        scene.nothing_is_left(&mark);
    });
}

#[test]
fn its_guard_is_killed() {
    ways(|scene, limits| {
        let mark = mark();
        let mut running = stubborn(scene, limits, &mark);
        kill(guard(&running), Signal::SIGKILL).unwrap();
        // Nobody knows any more how the command would have ended.
        assert_eq!(running.end(), 125);
        assert_eq!(marked(&mark), []);
        assert!(scene.place.left().is_empty(), "{:?}", scene.place.left());
    });
}

#[test]
fn a_stopped_guard_goes_too() {
    ways(|scene, limits| {
        let mark = mark();
        let mut running = stubborn(scene, limits, &mark);
        kill(guard(&running), Signal::SIGSTOP).unwrap();
        running.signal(Signal::SIGKILL);
        assert_eq!(running.end(), -9);
        scene.nothing_is_left(&mark);
    });
}

/// Kills a supervisor and its guard so that neither can do a thing any more.
fn both_killed(running: &mut Running) {
    let guard = guard(running);
    running.signal(Signal::SIGSTOP);
    kill(guard, Signal::SIGSTOP).unwrap();
    eventually("it is stopped", || running.state() == 'T');
    kill(guard, Signal::SIGKILL).unwrap();
    running.signal(Signal::SIGKILL);
    assert_eq!(running.end(), -9);
}

#[test]
fn the_next_run_sweeps() {
    with(&["pids"], |scene| {
        let mark = mark();
        for limits in [&["pids=40"][..], &["pids=40", "time=1000"]] {
            both_killed(&mut stubborn(scene, limits, &mark));
            scene.place.undivide();
            both_killed(&mut stubborn(scene, limits, &mark));
            assert_ne!(scene.place.left(), Vec::<std::path::PathBuf>::new());
            scene.place.undivide();
            assert_eq!(scene.limit(&["pids=10", "echo", "ran"]).ran().out(), "ran");
            assert_eq!(marked(&mark), []);
            assert!(scene.place.left().is_empty(), "{:?}", scene.place.left());
        }
    });
}

#[test]
fn a_nested_run_sweeps_in_its_own_place() {
    with(&["pids"], |scene| {
        let mark = mark();
        // The inner supervisor and its guard, the parents of the hog.
        let kill_inner = "kill -STOP $1 $2; kill -KILL $2 $1; wait; limit pids=5 echo swept";
        let script = format!(
            "limit pids=20 $HOG deaf {mark} > ready & inner=$!
            until grep -q ready ready 2>/dev/null; do sleep 0.05; done
            guard=$(cat /proc/$inner/task/$inner/children)
            set -- $inner $guard; {kill_inner}"
        );
        let dir = scene.who.dir();
        let ran = scene.script(&["pids=60"], &script).current_dir(&*dir).ran();
        assert_eq!((ran.code(), ran.text().as_str()), (0, "swept"), "{ran:?}");
        assert_eq!(marked(&mark), []);
    });
}

#[test]
fn a_run_that_lives_is_never_swept() {
    with(&["pids"], |scene| {
        // Within another one: v2 has no place for two in one cgroup.
        let script = "mkfifo go; limit pids=20 sh -c 'echo > up; read x < go; echo $x; exit 4' & inner=$!
            until [ -e up ]; do sleep 0.05; done
            for i in 1 2 3 4 5; do limit pids=10 true || echo failed; done
            echo alive > go; wait $inner";
        let dir = scene.who.dir();
        let ran = scene.script(&["pids=200"], script).current_dir(&*dir).ran();
        assert_eq!((ran.code(), ran.text().as_str(), ran.stderr.as_str()), (4, "alive", ""));
    });
}

/// Starts runs and kills them some time later: `instants` of 100 us each.
fn at_instants(scene: &Scene, limits: &[&str], mark: &str, with_guard: bool) {
    for index in 0..60_u32 {
        let script = format!("$HOG daemon {mark}; sleep 1000; : {mark}");
        scene.place.undivide();
        let running = Running::start(&mut scene.script(limits, &script));
        let start = Instant::now();
        // From before the exec to after the command has started.
        let instant = Duration::from_micros(u64::from(index) * 200);
        while start.elapsed() < instant {
            std::hint::spin_loop();
        }
        let guard = running.guard();
        running.signal(Signal::SIGKILL);
        if let Some(guard) = guard.filter(|_| with_guard) {
            let _ = kill(Pid::from_raw(guard), Signal::SIGKILL);
        }
    }
}

#[test]
fn at_whatever_instant() {
    ways(|scene, limits| {
        let mark = mark();
        at_instants(scene, limits, &mark, false);
        eventually("every process is gone", || marked(&mark).is_empty());
        // One that was killed between the making of a group and its guard left that.
        if !scene.place.left().is_empty() {
            scene.place.undivide();
            scene.limit(&["pids=10", "true"]).ran().out();
        }
        assert!(scene.place.left().is_empty(), "{:?}", scene.place.left());
    });
}

#[test]
fn both_at_whatever_instant() {
    with(&["pids"], |scene| {
        let mark = mark();
        at_instants(scene, &["pids=40"], &mark, true);
        eventually("the next run sweeps all", || {
            scene.place.undivide();
            scene.limit(&["pids=10", "true"]).ran().out();
            marked(&mark).is_empty()
        });
        assert!(scene.place.left().is_empty(), "{:?}", scene.place.left());
    });
}
