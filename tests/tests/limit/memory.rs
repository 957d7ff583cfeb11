//! `memory=` and its kin.

use tests::Run;
use tests::cgroups::{Version, has};

use crate::with;

const HUGE: &str = "300000000";

/// What is said when the command was killed, and when another process was.
const KILLED: &str = "limit: memory: killed at 32 MiB\n";
const OTHER: &str = "limit: memory: a process was killed at 32 MiB\n";

#[test]
fn a_command_that_takes_too_much() {
    with(&["memory"], |scene| {
        for limits in [&["memory=32M"][..], &["memory=32M", "pids=20", "time=100"], &["memory=33554432"]] {
            let ran = scene.hog(limits, &["memory", HUGE]).ran();
            assert_eq!((ran.code(), ran.stderr.as_str(), ran.text().as_str()), (137, KILLED, ""), "{limits:?}");
            assert!(scene.place.left().is_empty(), "{:?}", scene.place.left());
        }
        assert_eq!(scene.hog(&["memory=512M"], &["memory", HUGE]).ran().out(), "held");
        assert_eq!(scene.hog(&["memory=64M"], &["memory", "16000000"]).ran().out(), "held");
    });
}

#[test]
fn a_process_that_takes_too_much() {
    with(&["memory"], |scene| {
        let script = format!("$HOG memory {HUGE} 2>/dev/null; echo \"status $?\"; exit \"$1\"");
        let run = |status: &str| {
            let ran = scene.limit(&["memory=32M", "sh", "-c", &script, "sh", status]).ran();
            assert_eq!(ran.text(), "status 137");
            ran
        };
        let failed = run("3");
        assert_eq!(failed.code(), 3);
        // The shell says that it was killed, too.
        assert!(failed.stderr.ends_with(OTHER), "{failed:?}");
        // The command has found a way to go on.
        let succeeded = run("0");
        assert_eq!(succeeded.code(), 0);
        assert!(!succeeded.stderr.contains("limit"), "{succeeded:?}");
        // What many shells and scripts end with then.
        let passed_on = run("137");
        assert_eq!(passed_on.code(), 137);
        assert!(passed_on.stderr.ends_with(KILLED), "{passed_on:?}");
    });
}

#[test]
fn another_kill_is_none_of_it() {
    with(&["memory"], |scene| {
        for script in ["kill -KILL $$", "exit 137"] {
            let ran = scene.script(&["memory=64M"], script).ran();
            assert_eq!((ran.code(), ran.stderr.as_str()), (137, ""), "{script}");
        }
    });
}

#[test]
fn all_that_is_started_counts_together() {
    with(&["memory"], |scene| {
        // None of them is too large by itself.
        let script = "exec 3<&0; for i in 1 2 3 4 5 6; do $HOG memory 24000000 <&3 & done; wait; exit 1";
        let mut command = scene.script(&["memory=64M"], script);
        let ran = command.ran_with(b"");
        assert_eq!(ran.code(), 1);
        assert!(ran.stderr.ends_with("limit: memory: a process was killed at 64 MiB\n"), "{ran:?}");
    });
}

#[test]
fn the_files_say_so() {
    with(&["memory"], |scene| {
        let v2 = has("memory") == Some(Version::V2);
        let file = if v2 { "memory.max" } else { "memory.limit_in_bytes" };
        for (word, is) in [("memory=32M", "33554432"), ("memory=1.5G", "1610612736"), ("memory=67108864", "67108864")] {
            assert_eq!(scene.file(&[word], "memory", file), is, "{word}");
        }
    });
}

#[test]
fn swap() {
    with(&["memory"], |scene| {
        let v2 = has("memory") == Some(Version::V2);
        let file = if v2 { "memory.swap.max" } else { "memory.memsw.limit_in_bytes" };
        if !scene.place.has(file) {
            // A kernel may count none.
            let ran = scene.limit(&["memory=32M", "swap=16M", "echo", "ran"]).ran();
            assert!(ran.fails(125).starts_with("limit: ") && ran.stderr.contains("swap"), "{ran:?}");
            assert_eq!(ran.text(), "");
            return;
        }
        let of_both = |bytes: &str| {
            let swap = format!("swap={bytes}");
            scene.file(&["memory=32M", &swap], "memory", file).parse::<u64>().unwrap() >> 20
        };
        // The one counts what is swapped out, the other all.
        assert_eq!((of_both("16M"), of_both("0")), if v2 { (16, 0) } else { (48, 32) });
        let alone = scene.limit(&["swap=16M", "echo", "ran"]).ran();
        if v2 {
            assert_eq!(alone.out(), "ran");
        } else {
            assert!(alone.fails(125).contains("memory="), "{alone:?}");
        }
    });
}

#[test]
fn memory_high() {
    with(&["memory"], |scene| {
        if has("memory") == Some(Version::V2) {
            assert_eq!(scene.file(&["memory.high=32M"], "memory", "memory.high"), "33554432");
            assert_eq!(scene.file(&["memory.high=max"], "memory", "memory.high"), "max");
        } else {
            let ran = scene.limit(&["memory.high=32M", "echo", "ran"]).ran();
            assert!(ran.fails(125).starts_with("limit: ") && ran.stderr.contains("memory.high"), "{ran:?}");
            assert!(ran.stderr.contains("version 1") && ran.text().is_empty(), "{ran:?}");
        }
    });
}

#[test]
fn any_other_file_of_the_controller() {
    with(&["memory"], |scene| {
        if has("memory") == Some(Version::V2) {
            assert_eq!(scene.file(&["cgroup:memory.low=4096"], "memory", "memory.low"), "4096");
            // The shell goes with the hog.
            let script = format!("$HOG memory {HUGE}; echo on");
            let ran = scene.script(&["memory=32M", "cgroup:memory.oom.group=1"], &script).ran();
            assert_eq!((ran.code(), ran.text().as_str(), ran.stderr.as_str()), (137, "", KILLED));
        } else {
            assert_eq!(scene.file(&["cgroup:memory.swappiness=17"], "memory", "memory.swappiness"), "17");
        }
    });
}

/// A group whose limit the memory of its start is above already.
#[test]
fn almost_nothing() {
    with(&["memory"], |scene| {
        let ran = scene.limit(&["memory=4K", "sh", "-c", "echo ran"]).ran();
        assert_eq!(ran.text(), "");
        // There is no memory for the program, or for its first pages.
        match ran.code() {
            126 => assert!(ran.stderr.ends_with(": Cannot allocate memory\n"), "{ran:?}"),
            status => assert_eq!((status, ran.stderr.as_str()), (137, "limit: memory: killed at 4 KiB\n")),
        }
    });
}
