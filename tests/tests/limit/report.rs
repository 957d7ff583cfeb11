//! What a run used, as `--report` says.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;

use tests::cgroups::has;
use tests::{Run, Running, both, eventually, mark, marked};

use crate::{Scene, os_words, scenes, with};

const FIELDS: [&str; 12] = [
    "ended_by",
    "exit_status",
    "forks_refused",
    "memory_peak_bytes",
    "oom_kills",
    "pids_peak",
    "rss_peak_bytes",
    "signal",
    "system_seconds",
    "throttled_seconds",
    "user_seconds",
    "wall_seconds",
];

/// The values of a report, by their names, which are always the same.
struct Report(BTreeMap<String, String>);

impl Report {
    #[track_caller]
    fn new(text: &str) -> Self {
        let object = text.strip_prefix('{').and_then(|rest| rest.strip_suffix("}\n"));
        let object = object.unwrap_or_else(|| panic!("{text:?} is no object on a line"));
        // None of the values has a comma in it.
        let pairs = object.split(',').map(|pair| pair.split_once(':').unwrap_or_else(|| panic!("{text:?}")));
        let values: BTreeMap<_, _> =
            pairs.map(|(name, value)| (name.trim_matches('"').to_owned(), value.to_owned())).collect();
        assert_eq!(values.keys().collect::<Vec<_>>(), FIELDS, "{text}");
        Self(values)
    }

    fn get(&self, name: &str) -> &str {
        &self.0[name]
    }

    #[track_caller]
    fn number(&self, name: &str) -> f64 {
        self.get(name).parse().unwrap_or_else(|_| panic!("{name} is {}", self.get(name)))
    }

    /// How it ended: the exit status, the signal, the limit.
    fn end(&self) -> [&str; 3] {
        ["exit_status", "signal", "ended_by"].map(|name| self.get(name))
    }
}

/// Runs `limit --report FILE WORDS…`.
#[track_caller]
fn reported(scene: &Scene, words: &[&str]) -> Report {
    let dir = scene.who.dir();
    let file = dir.join("report");
    scene.limit(&[&["--report", file.to_str().unwrap()], words].concat()).env("HOG", &scene.hog).ran();
    let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{words:?}: {error}"));
    Report::new(&text)
}

#[test]
fn every_end() {
    scenes(|scene| {
        let end = |words: &[&str]| reported(scene, words).end().map(str::to_owned);
        let shell = |limits: &[&str], script: &str| end(&[limits, &["sh", "-c", script]].concat());
        assert_eq!(shell(&[], "exit 0"), ["0", "null", "null"]);
        assert_eq!(shell(&["nofile=64"], "exit 7"), ["7", "null", "null"]);
        assert_eq!(shell(&[], "kill -TERM $$"), ["143", "15", "null"]);
        assert_eq!(shell(&["time=1"], "sleep 1000"), ["124", "15", "\"time\""]);
        assert_eq!(shell(&["time=1", "grace=0"], "trap '' TERM; while :; do sleep 1; done"), ["124", "9", "\"time\""]);
        assert_eq!(shell(&["time=1"], "trap 'exit 3' TERM; while :; do sleep 0.1; done"), ["124", "null", "\"time\""]);
        assert_eq!(shell(&["cpu.time=0.3"], "while :; do :; done"), ["124", "15", "\"cpu.time\""]);
        let xcpu = shell(&["rlimit:cpu=1:5"], "while :; do :; done");
        assert_eq!(xcpu, ["152", "24", "\"rlimit:cpu\""]);
        let dd = ["fsize=4K", "dd", "if=/dev/zero", "of=/proc/self/cwd/file", "bs=8192", "count=1"];
        let dir = scene.who.dir();
        let mut command = scene.limit(&[&["--report", "report"], &dd[..]].concat());
        assert_eq!(command.current_dir(&*dir).ran().code(), 153);
        let text = fs::read_to_string(dir.join("report")).unwrap();
        assert_eq!(Report::new(&text).end(), ["153", "25", "\"rlimit:fsize\""]);
        assert_eq!(end(&["no-such"]), ["127", "null", "null"]);
        assert_eq!(end(&["time=100", "/"]), ["126", "null", "null"]);
    });
    with(&["memory"], |scene| {
        let hog = scene.hog.to_str().unwrap();
        let words = ["memory=32M", hog, "memory", "300000000"];
        assert_eq!(reported(scene, &words).end(), ["137", "9", "\"memory\""]);
        // Another process than the command: the status is the command's.
        let report = reported(scene, &["memory=32M", "sh", "-c", "$HOG memory 300000000; exit 3"]);
        assert_eq!((report.end(), report.get("oom_kills")), (["3", "null", "null"], "1"));
    });
}

#[test]
fn times() {
    scenes(|scene| {
        let slept = reported(scene, &["sh", "-c", "sleep 0.3"]);
        // sleep(1) sleeps no less; and no one computes meanwhile.
        assert!(slept.number("wall_seconds") >= 0.3 && slept.number("wall_seconds") < 30.0);
        assert!(slept.number("user_seconds") + slept.number("system_seconds") < slept.number("wall_seconds"));
        let hog = scene.hog.to_str().unwrap();
        for script in ["exec $HOG burn 1", "$HOG burn 1 & sleep 1000", "(setsid $HOG burn 1 &); sleep 1000"] {
            let burnt = reported(scene, &["cpu.time=0.5", "sh", "-c", script]);
            let used = burnt.number("user_seconds") + burnt.number("system_seconds");
            assert!((0.4..10.0).contains(&used), "{used}: {script}");
        }
        let rss = reported(scene, &[hog, "memory", "40000000"]);
        assert!((40e6..80e6).contains(&rss.number("rss_peak_bytes")), "{}", rss.get("rss_peak_bytes"));
    });
}

#[test]
fn what_a_group_counts() {
    with(&["memory"], |scene| {
        let hog = scene.hog.to_str().unwrap();
        // Also where nothing but the account is asked for.
        for limits in [&["memory=128M"][..], &[]] {
            let report = reported(scene, &[limits, &[hog, "memory", "40000000"]].concat());
            // Only newer kernels keep the peak of a group in v2.
            if report.get("memory_peak_bytes") == "null" {
                assert!(!scene.place.has("memory.peak") && !scene.place.has("memory.max_usage_in_bytes"));
            } else {
                assert!((40e6..128e6).contains(&report.number("memory_peak_bytes")), "{limits:?}");
            }
            assert_eq!(report.get("oom_kills"), "0");
        }
        let report = reported(scene, &["memory=32M", hog, "memory", "300000000"]);
        assert_eq!(report.get("oom_kills"), "1");
        if scene.place.has("memory.peak") || scene.place.has("memory.max_usage_in_bytes") {
            assert!((20e6..=33_554_432.0).contains(&report.number("memory_peak_bytes")));
        }
    });
    with(&["pids"], |scene| {
        let hog = scene.hog.to_str().unwrap();
        let report = reported(scene, &["pids=10", hog, "forks", "50"]);
        assert_eq!(report.get("forks_refused"), "1");
        if scene.place.has("pids.peak") {
            assert_eq!(report.get("pids_peak"), "10");
        } else {
            assert_eq!(report.get("pids_peak"), "null");
        }
        let report = reported(scene, &["pids=50", hog, "forks", "10"]);
        assert_eq!(report.get("forks_refused"), "0");
        assert!(["11", "null"].contains(&report.get("pids_peak")), "{}", report.get("pids_peak"));
    });
    with(&["cpu"], |scene| {
        let hog = scene.hog.to_str().unwrap();
        let report = reported(scene, &["cpu=10%", "time=1", hog, "burn", "1"]);
        assert!(report.number("throttled_seconds") > 0.0);
        assert_eq!(report.end(), ["124", "15", "\"time\""]);
        assert_eq!(reported(scene, &["cpu=100", "true"]).number("throttled_seconds"), 0.0);
    });
}

#[test]
fn without_a_group_for_it() {
    both(|who| {
        let scene = Scene::new(who, tests::cgroups::Place::of_others);
        if who.is_root() {
            return assert_eq!(reported(&scene, &["time=100", "true"]).end(), ["0", "null", "null"]);
        }
        // He may make none: it is no limit, and what he cannot know is null.
        let report = reported(&scene, &["sh", "-c", "exit 3"]);
        assert_eq!(report.end(), ["3", "null", "null"]);
        for name in ["memory_peak_bytes", "pids_peak", "oom_kills", "throttled_seconds", "forks_refused"] {
            assert_eq!(report.get(name), "null", "{name}");
        }
        assert!(report.number("rss_peak_bytes") > 10e3);
    });
}

#[test]
fn to_an_fd() {
    scenes(|scene| {
        let ran = scene.limit(&["--report", "2", "sh", "-c", "echo out"]).ran();
        assert_eq!((ran.code(), ran.text().as_str()), (0, "out"));
        assert_eq!(Report::new(&ran.stderr).end(), ["0", "null", "null"]);
        let script = "limit --report 7 time=100 echo out 7>&1 >/dev/null";
        let ran = scene.place.command(&["sh", "-c", script]).ran();
        assert_eq!(Report::new(&String::from_utf8(ran.stdout).unwrap()).end(), ["0", "null", "null"]);
        let closed = scene.limit(&["--report", "77", "echo", "ran"]).ran();
        assert!(closed.fails(125).starts_with("limit: ") && closed.stderr.contains("77"), "{closed:?}");
        assert_eq!(closed.text(), "");
    });
}

#[test]
fn a_file_that_cannot_be_written() {
    scenes(|scene| {
        let dir = scene.who.dir();
        let mark = dir.join("ran");
        for file in ["/nonexistent/report", "/proc/self/nosuch", "/"] {
            let mut command = scene.limit(&["--report", file, "time=100", "touch", mark.to_str().unwrap()]);
            let ran = command.ran();
            assert!(ran.fails(125).starts_with(&format!("limit: cannot create the report {file:?}: ")), "{ran:?}");
            assert!(!mark.exists());
            assert!(scene.place.left().is_empty(), "{:?}", scene.place.left());
        }
        // A disk that is full by then.
        for limits in [&["time=100"][..], &["nofile=64"]] {
            let words = [&["--report", "/dev/full"], limits, &["sh", "-c", "echo ran; exit 3"]].concat();
            let ran = scene.limit(&words).ran();
            // The command has run, and its status is what counts.
            assert_eq!((ran.code(), ran.text().as_str()), (3, "ran"), "{ran:?}");
            let said = "limit: cannot write the report to \"/dev/full\": No space left on device";
            assert!(ran.stderr.starts_with(said), "{ran:?}");
        }
        let mut command = scene.limit(&["--report", "1", "true"]);
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = command.stdout(full).output().unwrap();
        let said = "limit: cannot write the report to fd 1: No space left on device";
        assert!(String::from_utf8_lossy(&output.stderr).starts_with(said), "{output:?}");
    });
}

#[test]
fn names_of_any_bytes() {
    scenes(|scene| {
        let dir = scene.who.dir();
        let name = OsStr::from_bytes(b"re\xffport=1");
        let words = os_words(&[
            b"limit",
            b"--report",
            b"re\xffport=1",
            b"time=100",
            b"--",
            b"sh",
            b"-c",
            b"echo \"$1\"",
            b"sh",
            b"\xfe",
        ]);
        let ran = scene.place.command(&words).current_dir(&*dir).ran();
        assert_eq!((ran.status.code(), ran.stdout.as_slice()), (Some(0), &b"\xfe\n"[..]), "{ran:?}");
        Report::new(&fs::read_to_string(dir.join(name)).unwrap());
        let ran = scene.place.command(&os_words(&[b"limit", b"pa\xffth", b"x"])).ran();
        assert_eq!(ran.code(), 127, "{ran:?}");
        assert!(ran.stderr.contains("pa\\xFFth"), "{ran:?}");
    });
}

/// It is there, and empty, as long as the command runs; and the old one is gone.
#[test]
fn it_is_made_at_the_start() {
    scenes(|scene| {
        let dir = scene.who.dir();
        let file = dir.join("report");
        fs::write(&file, "old ".repeat(1000)).unwrap();
        scene.who.give(&file);
        let mut running =
            Running::ready(&mut scene.script(&["--report", file.to_str().unwrap()], "echo ready; read x"));
        assert_eq!(fs::read_to_string(&file).unwrap(), "");
        running.hang_up();
        assert_eq!(running.end(), 1);
        assert_eq!(Report::new(&fs::read_to_string(&file).unwrap()).end(), ["1", "null", "null"]);
    });
}

/// The account has a group of its own, and that has no limits.
#[test]
fn the_account_leaves_nothing() {
    scenes(|scene| {
        let mark = mark();
        let report = reported(scene, &["sh", "-c", &format!("$HOG daemon {mark}; exit 3")]);
        assert_eq!(report.end(), ["3", "null", "null"]);
        assert_eq!(marked(&mark), []);
        assert!(scene.place.left().is_empty(), "{:?}", scene.place.left());
        if has("pids").is_some() {
            assert_eq!(reported(scene, &["sh", "-c", "$HOG forks 100 >/dev/null"]).get("forks_refused"), "0");
        }
    });
}

#[test]
fn it_costs_no_polling() {
    scenes(|scene| {
        let mut running = Running::ready(&mut scene.script(&["--report", "/dev/null"], "echo ready; exec cat"));
        let guard = running.guard().expect("the command has a parent");
        // proc_pid_syscall(5): the call and its arguments; the third is the timeout.
        let waits = format!("{} ", libc::SYS_ppoll);
        eventually("the guard waits without end", || {
            let call = fs::read_to_string(format!("/proc/{guard}/syscall")).unwrap_or_default();
            call.starts_with(&waits) && call.split(' ').nth(3) == Some("0x0")
        });
        running.hang_up();
        assert_eq!(running.end(), 0);
    });
}
