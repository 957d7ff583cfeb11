//! Wrong words, and what cannot be: 125, a line that says what and where, and
//! nothing that was started or made.

use tests::cgroups::{Place, Version, has};
use tests::{Run, both, mark, marked};

use crate::{Scene, example, hog, lacks, scenes, with};

/// Runs `limit WORDS… touch FILE`, which fails before anything happens: stderr.
#[track_caller]
fn refused(scene: &Scene, words: &[&str]) -> String {
    let dir = scene.who.dir();
    let ran = scene.limit(&[words, &["touch", "started"]].concat()).current_dir(&*dir).ran();
    let said = ran.fails(125).to_owned();
    assert!(said.starts_with("limit: ") && ran.stdout.is_empty(), "{words:?}: {ran:?}");
    assert_eq!(dir.names(), Vec::<String>::new(), "{words:?}");
    assert!(scene.place.left().is_empty(), "{:?}", scene.place.left());
    said
}

#[test]
fn usage() {
    scenes(|scene| {
        let said = |words: &[&str]| scene.limit(words).ran().fails(125).to_owned();
        for words in [&[][..], &["memory=1G"], &["--"], &["time=1", "--"], &["core-sched"]] {
            assert!(said(words).starts_with("limit: "), "{words:?}");
        }
        assert!(said(&["--nosuch", "true"]).contains("--nosuch"));
        assert!(said(&["--report"]).contains("--report"));
        for option in ["--help", "--man", "--version"] {
            let ran = scene.limit(&[option]).ran();
            assert!(ran.out().contains("limit"), "{option}");
        }
        // The help names each of them.
        let help = scene.limit(&["--help"]).ran().out();
        let names = "memory memory.high swap pids cpu cpu.weight cpuset cpuset.mems io net_cls.classid cgroup: as core data \
            fsize locks memlock msgqueue nofile nproc rss rtprio rttime sigpending stack rlimit: time cpu.time grace nice \
            ionice oom_score_adj affinity sched core-sched tsc --report";
        for name in names.split_whitespace() {
            assert!(help.contains(name), "{name} is not in {help}");
        }
    });
}

#[test]
fn names_that_there_are_not() {
    scenes(|scene| {
        for (word, name, near) in [
            ("memroy=1G", "memroy", Some("memory")),
            ("mem=1G", "mem", Some("memory=")),
            ("memory.max=1G", "memory.max", Some("memory=")),
            ("rlimit:memory=1G", "rlimit:memory", Some("mean memory=")),
            ("RLIMIT_NOFILE=5", "RLIMIT_NOFILE", Some("rlimit:nofile=")),
            ("a=1", "a", None),
            ("pid=5", "pid", Some("pids")),
            ("nofiles=5", "nofiles", Some("nofile")),
            ("cpus=0", "cpus", Some("cpu")),
            ("TIME=5", "TIME", Some("time=")),
            ("rlimit:nofiles=5", "nofiles", Some("nofile")),
            ("cpu.wieght=5", "cpu.wieght", Some("cpu.weight")),
            ("oom-score-adj=5", "oom-score-adj", Some("oom_score_adj")),
            ("=5", "", None),
            ("core-sched=1", "core-sched", None),
            ("/bin/x=1", "/bin/x", None),
        ] {
            let said = refused(scene, &[word]);
            assert!(said.contains(name), "{word}: {said}");
            if let Some(near) = near {
                assert!(said.contains("did you mean") && said.contains(near), "{word}: {said}");
            }
        }
    });
}

#[test]
fn a_name_twice() {
    scenes(|scene| {
        for name in ["memory=1G", "pids=5", "nofile=64", "time=5", "cpu.time=5", "nice=5", "tsc=on", "cgroup:pids.no=5"]
        {
            let said = refused(scene, &[name, name]);
            assert!(said.contains(name.split('=').next().unwrap()) && said.contains("twice"), "{name}: {said}");
        }
        refused(scene, &["nofile=64", "rlimit:nofile=65"]);
        refused(scene, &["core-sched", "core-sched"]);
        refused(scene, &["--report", "a", "--report", "b"]);
        refused(scene, &["time=5", "grace=1", "grace=2"]);
    });
}

#[test]
fn values_that_are_none() {
    scenes(|scene| {
        for (name, values) in [
            ("memory", &["12Q", "", "M", "-1", "1.5", "x", "1 M", "99999999999999999999"][..]),
            ("memory.high", &["1Q", ""]),
            ("swap", &["1Q", "-1"]),
            ("pids", &["x", "", "-1", "1.5", "5M5"]),
            ("cpu", &["", "x", "0", "0%", "-50%", "50%%", "1.5.5"]),
            ("cpu.weight", &["0", "10001", "x", ""]),
            ("cpuset", &["", "x", "1-", "1-0", "0,,1"]),
            ("cpuset.mems", &["x"]),
            ("io", &["", "8:0", "8:0:", "8:0:rbps", "8:0:rbps=1,rbps=2", ":rbps=1"]),
            ("net_cls.classid", &["", "x", "0x1ffffffff", "-1"]),
            ("nofile", &["", "x", "-1", "1:2:3", ":", "5s"]),
            ("fsize", &["1Q", "x:1"]),
            ("rttime", &["5K", "x"]),
            ("rlimit:cpu", &["5K", "x", "500ms"]),
            ("time", &["", "x", "-1", "5K", "1:2", "inf", "0"]),
            ("cpu.time", &["", "x", "5K"]),
            ("nice", &["20", "-21", "x", "", "1.5"]),
            ("ionice", &["", "x", "best-effort:8", "idle:1", "be:"]),
            ("oom_score_adj", &["1001", "-1001", "x", ""]),
            ("affinity", &["", "x", "1-0", "999999"]),
            ("sched", &["", "x", "fifo", "fifo:0", "fifo:100", "rr:x", "deadline:1ms", "deadline:1/2/3/4", "other:1"]),
            ("tsc", &["", "x", "1"]),
        ] {
            for value in values {
                let said = refused(scene, &[&format!("{name}={value}")]);
                assert!(said.contains(name) && said.contains(&format!("{value:?}")), "{name}={value}: {said}");
            }
        }
        for (value, part) in
            [("8:0:xbps=1", "\"xbps\""), ("8:0:wbps=1,rbps=x", "\"rbps=x\""), ("8:0:riops=0", "\"riops=0\"")]
        {
            let said = refused(scene, &[&format!("io={value}")]);
            assert!(said.starts_with("limit: io: ") && said.contains(part), "{value}: {said}");
        }
        // It is named as it was given.
        let said = refused(scene, &["memory=12Q"]);
        assert!(said.starts_with("limit: memory=\"12Q\""), "{said}");
        assert!(refused(scene, &["time=100", "grace=x"]).contains("grace"));
    });
}

#[test]
fn grace_of_nothing() {
    scenes(|scene| {
        for words in [&["grace=5"][..], &["grace=5", "pids=20"], &["grace=5", "nofile=64"]] {
            assert!(refused(scene, words).contains("grace"), "{words:?}");
        }
    });
}

/// What fails late takes back what was made before it.
#[test]
fn nothing_is_left_of_a_failure() {
    with(&["pids"], |scene| {
        for word in ["nofile=99999999", "affinity=1000", "cgroup:pids.nosuch=1", "io=99:99:rbps=1M", "cpuset=4000"] {
            for more in [&["pids=20"][..], &["pids=20", "time=100"]] {
                let mark = mark();
                let words = [more, &[word, "sh", "-c", "echo ran", &mark]].concat();
                let ran = scene.limit(&words).ran();
                assert!(ran.fails(125).starts_with("limit: ") && ran.stdout.is_empty(), "{word}: {ran:?}");
                assert_eq!(marked(&mark), []);
                assert!(scene.place.left().is_empty(), "{:?}", scene.place.left());
            }
        }
    });
}

#[test]
fn nothing_was_delegated() {
    both(|who| {
        if who.is_root() {
            // Root needs none.
            let scene = Scene::new(who, Place::of_others);
            let ran = scene.limit(&["time=100", "echo", "ran"]).ran();
            return assert_eq!(ran.out(), "ran");
        }
        let scene = Scene::new(who, Place::of_others);
        for controller in ["memory", "pids", "cpu", "cpuset"] {
            let Some(version) = has(controller) else { continue };
            let said = refused(&scene, &[example(controller)]);
            let (first, hint) = said.split_once('\n').unwrap();
            assert!(first.starts_with("limit: cannot create a cgroup in \"/sys/fs/cgroup"), "{said}");
            assert!(first.contains("/nstools-") && first.ends_with("Permission denied"), "{said}");
            // The file that would have to be writable.
            assert!(hint.starts_with("limit: hint: ") && hint.contains("/nstools-"), "{said}");
            assert!(version == Version::V1 || hint.contains("cgroup.procs"), "{said}");
        }
        // What needs no group is not concerned.
        assert_eq!(scene.limit(&["time=100", "nofile=64", "echo", "ran"]).ran().out(), "ran");
    });
}

#[test]
fn a_place_that_others_share() {
    both(|who| {
        let (_dir, hog) = hog(who);
        let place = Place::new(who, &hog);
        // The shell stays there while limit runs.
        let controller = ["pids", "memory"].into_iter().find(|name| has(name).is_some());
        let Some(controller) = controller else {
            let ran = place.command(&["limit", "pids=20", "true"]).ran();
            return assert!(lacks(ran.fails(125), "pids"), "{ran:?}");
        };
        let script = format!("limit {} echo ran; echo $?", example(controller));
        let ran = place.command(&["sh", "-c", &script]).ran();
        if has(controller) == Some(Version::V1) || who.is_root() {
            assert_eq!(ran.out(), "ran\n0");
        } else {
            // v2 divides no group that has processes, and that above is not his.
            assert_eq!(ran.text(), "125", "{ran:?}");
            assert!(ran.stderr.starts_with("limit: cannot create a cgroup in \"/sys/fs/cgroup"), "{ran:?}");
            assert!(ran.stderr.contains("limit: hint: ") && ran.stderr.contains("/nstools-"), "{ran:?}");
        }
        assert!(place.left().is_empty(), "{:?}", place.left());
    });
}

#[test]
fn a_controller_that_there_is_not() {
    scenes(|scene| {
        assert!(lacks(&refused(scene, &["cgroup:nosuch.max=5"]), "nosuch"));
        for controller in ["memory", "pids", "cpu", "cpuset", "net_cls"] {
            if has(controller).is_none() {
                let said = refused(scene, &[example(controller)]);
                assert!(lacks(&said, controller), "{said}");
            }
        }
    });
}

/// Without any cgroup file system; the others' mounts are as they were.
#[test]
fn no_cgroups_at_all() {
    both(|who| {
        let root = who.busybox();
        let tools = std::env::var("NSTOOLS_BIN").expect("tests/run sets it");
        root.copy(format!("{tools}/limit"), "bin/limit");
        let run = |words: &str| who.contain(&root, &["--no-idmap"], &format!("limit {words}; exit $?")).ran();
        assert_eq!(run("nofile=64 sh -c 'ulimit -n'").out(), "64");
        assert_eq!(run("time=100 echo ran").out(), "ran");
        assert_eq!(run("--report 1 true").code(), 0);
        for word in ["memory=64M", "pids=20", "cpu=50%"] {
            let ran = run(&format!("{word} echo ran"));
            let controller = word.split('=').next().unwrap();
            assert!(lacks(ran.fails(125), controller), "{ran:?}");
            assert_eq!(ran.text(), "");
        }
    });
}
