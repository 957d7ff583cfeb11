//! `limit` before and after the other tools.

use tests::cgroups::{self, Place};
use tests::{Ran, Run, Running, as_user, mark, marked};

use crate::{Scene, scenes, with};

#[test]
fn limit_then_contain() {
    with(&["pids", "memory"], |scene| {
        let root = scene.who.busybox();
        let root = root.to_str().unwrap();
        let run = |limits: &[&str], script: &str| {
            scene.limit(&[limits, &["contain", "--no-idmap", root, "sh", "-c", script]].concat()).ran()
        };
        assert_eq!(run(&["pids=30"], "echo $$; exit 7").text(), "1");
        assert_eq!(run(&["pids=30"], "exit 7").code(), 7);
        assert_eq!(run(&["nofile=64"], "ulimit -n").out(), "64");
        let forks = "i=0; while [ $i -lt 40 ]; do sleep 1000 & i=$((i + 1)); done";
        assert!(run(&["pids=30"], forks).stderr.contains("can't fork"), "it is refused");
        let hungry = "x=a; while :; do x=$x$x; done";
        let killed = run(&["memory=48M"], hungry);
        assert_eq!((killed.code(), killed.stderr.as_str()), (137, "limit: memory: killed at 48 MiB\n"));
        let mark = mark();
        let ended = run(&["pids=30", "time=0.5"], &format!("trap '' TERM; while :; do sleep 1; done; : {mark}"));
        assert_eq!(ended.code(), 124);
        // The shell may say that its forks are refused meanwhile.
        assert!(ended.stderr.ends_with("limit: time: ended after 0.5 s\n"), "{ended:?}");
        assert_eq!(marked(&mark), []);
    });
}

#[test]
fn limit_then_isolate_and_seal() {
    with(&["pids"], |scene| {
        let shown = scene.limit(&["pids=30", "isolate", "cat", "/proc/self/net/dev"]).ran().out();
        assert_eq!(shown.lines().skip(2).count(), 1, "{shown}");
        let script = "grep NoNewPrivs /proc/self/status; cat /proc/self/cgroup";
        let shown = scene.script(&["pids=30", "seal", "--no-new-privs"], script).ran().out();
        assert!(shown.starts_with("NoNewPrivs:\t1\n"), "{shown}");
        assert!(shown.contains("/limit-"), "{shown}");
    });
}

#[test]
fn limit_then_inject_and_netwire() {
    scenes(|scene| {
        let root = scene.who.busybox();
        let words = ["contain", "--no-idmap", root.to_str().unwrap(), "sh", "-c", "echo ready; exec sleep 1000"];
        let mut container = Running::ready(&mut scene.place.command(&words));
        let pid = container.pid().to_string();
        let inject = |limit: &str, words: &[&str]| scene.limit(&[&[limit, "inject", &pid], words].concat()).ran();
        assert_eq!(inject("nofile=50", &["sh", "-c", "ulimit -n; exit"]).out(), "50");
        let mark = mark();
        let ended = inject("time=0.5", &["sh", "-c", &format!("sleep 1000; : {mark}")]);
        assert_eq!((ended.code(), ended.stderr.as_str()), (124, "limit: time: ended after 0.5 s\n"));
        assert_eq!(marked(&mark), []);
        container.signal(nix::sys::signal::Signal::SIGKILL);
        assert_eq!(container.end(), -9);
        // The first line names the process that looks.
        let links = |ran: Ran| ran.out().lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
        let shown = links(scene.place.command(&["netwire", "show"]).ran());
        assert!(!shown.is_empty());
        assert_eq!(links(scene.limit(&["time=100", "netwire", "show"]).ran()), shown);
    });
}

#[test]
fn others_then_limit() {
    with(&["pids"], |scene| {
        let place = |words: &[&str]| scene.place.command(words).ran();
        let hog = scene.hog.to_str().unwrap();
        for before in [&["isolate"][..], &["seal", "--umask", "077"]] {
            let ran = place(&[before, &["limit", "pids=10", hog, "forks", "20"]].concat());
            assert_eq!(ran.out(), "9 EAGAIN", "{before:?}");
        }
        // There is no /sys/fs/cgroup of the host in a container, but rlimits and time.
        let limit = format!("{}/limit", std::env::var("NSTOOLS_BIN").expect("tests/run sets it"));
        let inside = |words: &[&str]| place(&[&["contain", "--no-idmap", "-e", "/", &limit], words].concat());
        assert_eq!(inside(&["nofile=50", "sh", "-c", "ulimit -n"]).out(), "50");
        let ended = inside(&["time=0.3", "sleep", "1000"]);
        assert_eq!((ended.code(), ended.stderr.as_str()), (124, "limit: time: ended after 0.3 s\n"));
        // Or a group, if it can have one: if not, it says why.
        let ran = inside(&["pids=10", hog, "forks", "20"]);
        match ran.code() {
            0 => assert_eq!(ran.out(), "9 EAGAIN"),
            _ => {
                assert!(ran.fails(125).starts_with("limit: cannot ") && ran.stderr.contains("limit: hint: "), "{ran:?}")
            }
        }
    });
}

#[test]
fn root_over_his_own_ids() {
    as_user(|who| {
        let scene = Scene::new(who, Place::new);
        if cgroups::has("pids").is_none() {
            let ran = scene.place.command(&["pseudo", "limit", "pids=10", "true"]).ran();
            assert!(ran.fails(125).starts_with("limit: cannot limit pids: "), "{ran:?}");
            return;
        }
        let hog = scene.hog.to_str().unwrap();
        let ran = scene.place.command(&["pseudo", "limit", "pids=10", hog, "forks", "20"]).ran();
        assert_eq!(ran.out(), "9 EAGAIN");
        // Likewise the other way round, where what runs is another user in the end.
        let mark = mark();
        let script = format!("echo ready; exec $HOG deaf {mark}");
        let mut command = scene.limit(&["pids=30", "time=100", "pseudo", "sh", "-c", &script]);
        let mut running = Running::ready(&mut command);
        running.signal(nix::sys::signal::Signal::SIGKILL);
        assert_eq!(running.end(), -9);
        scene.nothing_is_left(&mark);
    });
}
