//! Limits within limits.

use tests::cgroups::{self, Version, has};
use tests::{Run, Running};

use crate::with;

/// How many groups of `limit` a path goes through.
fn depth(path: &std::path::Path) -> usize {
    path.iter().filter(|name| name.as_encoded_bytes().starts_with(b"limit-")).count()
}

#[test]
fn inner_in_outer() {
    with(&["pids"], |scene| {
        let script = "echo $$; read x; exit 5";
        let words = ["pids=30", "limit", "pids=20", "limit", "pids=10"];
        for levels in 1..=3 {
            let mut running = Running::start(&mut scene.script(&words[..levels * 2 - 1], script));
            let innermost = cgroups::limit_of(running.line(), "pids");
            assert_eq!(depth(&innermost), levels);
            let groups = innermost
                .ancestors()
                .filter(|dir| dir.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"limit-")));
            let bounds: Vec<_> = groups.map(|dir| cgroups::read(dir, "pids.max")).collect();
            assert_eq!(
                bounds,
                ["10", "20", "30"][3 - levels..].iter().map(|max| (*max).to_owned()).collect::<Vec<_>>()
            );
            running.say("");
            assert_eq!(running.end(), 5);
            assert!(scene.place.left().is_empty(), "{:?}", scene.place.left());
        }
    });
}

#[test]
fn inner_cannot_exceed_outer() {
    with(&["pids"], |scene| {
        // The inner limit and its guard are processes of the outer one.
        let ran = scene.limit(&["pids=12", "limit", "pids=50", scene.hog.to_str().unwrap(), "forks", "30"]).ran();
        let count: u32 = ran.out().strip_suffix(" EAGAIN").expect("it is refused").parse().unwrap();
        assert!((5..12).contains(&count), "{count}");
    });
    with(&["cpuset"], |scene| {
        let ran =
            scene.limit(&["cpuset=0", "limit", "cpuset=1", "grep", "Cpus_allowed_list", "/proc/self/status"]).ran();
        // The kernel's version 2 would take it, and give what there is.
        assert!(ran.fails(125).starts_with("limit: cannot "), "{ran:?}");
    });
}

#[test]
fn the_smaller_memory_wins() {
    with(&["memory"], |scene| {
        let hog = scene.hog.to_str().unwrap();
        let hungry = |outer: &str, inner: &str| {
            let ran = scene.limit(&[outer, "limit", inner, hog, "memory", "300000000"]).ran();
            assert_eq!((ran.code(), ran.text().as_str()), (137, ""), "{ran:?}");
            ran.stderr
        };
        // The one whose limit it was says so, and no other claims it.
        assert_eq!(hungry("memory=1G", "memory=32M"), "limit: memory: killed at 32 MiB\n");
        assert_eq!(hungry("memory=32M", "memory=1G"), "limit: memory: killed at 32 MiB\n");
    });
}

#[test]
fn of_different_controllers() {
    with(&["memory", "pids", "cpu"], |scene| {
        let script = "cat /proc/self/cgroup";
        let shown =
            scene.script(&["memory=64M", "limit", "pids=20", "limit", "cpu=50%", "nofile=50"], script).ran().out();
        assert!(shown.contains("/limit-"), "{shown}");
        // Those of v1 are apart from one another.
        let line = |name: &str| {
            let v2 = has(name) == Some(Version::V2);
            let line = shown.lines().find(|line| {
                let names = line.split(':').nth(1).unwrap();
                if v2 { names.is_empty() } else { names.split(',').any(|part| part == name) }
            });
            (depth(std::path::Path::new(line.unwrap())), v2)
        };
        let names = ["memory", "pids", "cpu"];
        let together = names.iter().filter(|name| has(name) == Some(Version::V2)).count();
        for name in names {
            let (depth, v2) = line(name);
            assert!(if v2 { depth == together } else { depth >= 1 }, "{name} in {shown}");
        }
    });
}

#[test]
fn each_with_its_own_end() {
    with(&["pids"], |scene| {
        let ran = scene.script(&["pids=30", "time=100", "limit", "time=0.3", "pids=20"], "sleep 1000").ran();
        // An inner end is a status like another to the outer.
        assert_eq!((ran.code(), ran.stderr.as_str()), (124, "limit: time: ended after 0.3 s\n"));
        let ran = scene.script(&["pids=30", "time=0.3", "limit", "time=100", "pids=20"], "sleep 1000").ran();
        assert_eq!((ran.code(), ran.stderr.as_str()), (124, "limit: time: ended after 0.3 s\n"));
        let ran = scene.script(&["pids=30", "limit", "pids=20"], "limit pids=10 sh -c 'exit 4'; echo $?; exit 6").ran();
        assert_eq!((ran.code(), ran.text().as_str(), ran.stderr.as_str()), (6, "4", ""));
    });
}

#[test]
fn two_hundred_at_once() {
    with(&["pids"], |scene| {
        // Each waits until all run: none is swept by another.
        let script = "mkfifo go; exec 4<> go; i=0; while [ $i -lt 200 ]; do
            limit pids=10 sh -c 'echo up; read x <&4; echo done' </dev/null & i=$((i + 1)); done
            read x; i=0; while [ $i -lt 200 ]; do echo >&4; i=$((i + 1)); done; wait; echo end";
        let dir = scene.who.dir();
        let mut running = Running::start(scene.script(&["pids=2000"], script).current_dir(&*dir));
        (0..200).for_each(|_| assert_eq!(running.line(), "up"));
        running.say("");
        (0..200).for_each(|_| assert_eq!(running.line(), "done"));
        assert_eq!(running.line(), "end");
        assert_eq!(running.end(), 0);
        assert!(scene.place.left().is_empty(), "{:?}", scene.place.left());
    });
}
