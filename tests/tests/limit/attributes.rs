//! What else a command starts with: priorities, policies, processors.

use std::os::unix::process::ExitStatusExt;

use tests::{Ran, Run, Who, both};

use crate::hog;
use crate::rlimits::has_sys_resource;

/// `limit WORDS…`.
fn limit(who: &Who, words: &[&str]) -> Ran {
    who.tool("limit").args(words).ran()
}

/// A field of proc_pid_stat(5), from 3 on, of `limit WORDS… cat /proc/self/stat`.
#[track_caller]
fn stat(who: &Who, words: &[&str], field: usize) -> String {
    let out = limit(who, &[words, &["cat", "/proc/self/stat"]].concat()).out();
    let (_, rest) = out.rsplit_once(") ").unwrap();
    rest.split(' ').nth(field - 3).unwrap().to_owned()
}

/// What cannot be: one line that names it, 125, and the command does not run.
#[track_caller]
fn refused(who: &Who, word: &str) {
    let ran = limit(who, &[word, "echo", "ran"]);
    assert!(ran.fails(125).starts_with(&format!("limit: cannot set {word}: ")), "{ran:?}");
    assert_eq!(ran.text(), "");
}

const NICE: usize = 19;
const PRIORITY: usize = 40;
const POLICY: usize = 41;

#[test]
fn nice() {
    both(|who| {
        assert_eq!(stat(who, &["nice=7"], NICE), "7");
        assert_eq!(stat(who, &["nice=19"], NICE), "19");
        // Absolute, where nice(1) adds.
        assert_eq!(stat(who, &["nice=5", "limit", "nice=7"], NICE), "7");
        assert_eq!(stat(who, &["nice=7", "time=100"], NICE), "7");
        if who.is_root() {
            assert_eq!(stat(who, &["nice=-20"], NICE), "-20");
            assert_eq!(stat(who, &["nice=7", "limit", "nice=3"], NICE), "3");
        } else {
            refused(who, "nice=-20");
            assert!(limit(who, &["nice=7", "limit", "nice=3", "true"]).fails(125).contains("nice=3"));
        }
    });
}

#[test]
fn ionice() {
    both(|who| {
        for (value, is) in [
            ("idle", "idle"),
            ("best-effort:7", "best-effort: prio 7"),
            ("be:0", "best-effort: prio 0"),
            ("best-effort", "best-effort: prio 4"),
        ] {
            for more in [&[][..], &["time=100"]] {
                let word = format!("ionice={value}");
                let words = [&[word.as_str()], more, &["ionice"]].concat();
                assert_eq!(limit(who, &words).out(), is, "{words:?}");
            }
        }
        if who.is_root() {
            assert_eq!(limit(who, &["ionice=realtime:3", "ionice"]).out(), "realtime: prio 3");
            assert_eq!(limit(who, &["ionice=rt:0", "ionice"]).out(), "realtime: prio 0");
        } else {
            refused(who, "ionice=realtime:3");
        }
    });
}

#[test]
fn oom_score_adj() {
    both(|who| {
        let adj = |words: &[&str]| limit(who, &[words, &["cat", "/proc/self/oom_score_adj"]].concat());
        assert_eq!(adj(&["oom_score_adj=500"]).out(), "500");
        assert_eq!(adj(&["oom_score_adj=1000", "time=100"]).out(), "1000");
        if has_sys_resource(who) {
            assert_eq!(adj(&["oom_score_adj=-500"]).out(), "-500");
        } else {
            refused(who, "oom_score_adj=-500");
        }
    });
}

#[test]
fn affinity() {
    both(|who| {
        let allowed = |words: &[&str]| {
            let status = limit(who, &[words, &["cat", "/proc/self/status"]].concat()).out();
            let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
            list.expect("it is in every status").trim().to_owned()
        };
        let all = allowed(&["nofile=64"]);
        assert_eq!(allowed(&["affinity=0"]), "0");
        assert_eq!(allowed(&["affinity=0", "time=100"]), "0");
        assert_eq!(allowed(&[&format!("affinity={all}")]), all);
        let last = all.rsplit([',', '-']).next().unwrap();
        assert_eq!(allowed(&[&format!("affinity={last}")]), last);
        // The kernel passes over those that are not there.
        refused(who, "affinity=0,1000");
        refused(who, "affinity=1000");
    });
}

#[test]
fn sched() {
    both(|who| {
        for (value, policy) in [("other", "0"), ("batch", "3"), ("idle", "5")] {
            assert_eq!(stat(who, &[&format!("sched={value}")], POLICY), policy, "{value}");
            assert_eq!(stat(who, &[&format!("sched={value}"), "time=100"], POLICY), policy, "{value}");
        }
        for (value, policy, priority) in
            [("fifo:10", "1", "10"), ("rr:3", "2", "3"), ("deadline:1ms/10ms/20ms", "6", "0")]
        {
            let word = format!("sched={value}");
            if who.is_root() {
                assert_eq!(stat(who, &[&word], POLICY), policy, "{value}");
                assert_eq!(stat(who, &[&word], PRIORITY), priority, "{value}");
            } else {
                refused(who, &word);
            }
        }
        // The nice value is kept.
        assert_eq!(stat(who, &["nice=7", "sched=batch"], NICE), "7");
        assert_eq!(stat(who, &["nice=7", "limit", "sched=batch"], NICE), "7");
    });
}

#[test]
fn tsc() {
    both(|who| {
        let (_dir, hog) = hog(who);
        let hog = hog.display().to_string();
        let off = limit(who, &["tsc=off", &hog, "tsc"]);
        if cfg!(target_arch = "x86_64") {
            assert_eq!(off.status.signal(), Some(libc::SIGSEGV), "{off:?}");
            assert_eq!(limit(who, &["tsc=off", "time=100", &hog, "tsc"]).code(), 128 + libc::SIGSEGV);
            assert_eq!(limit(who, &["tsc=off", "limit", "tsc=on", &hog, "tsc"]).out(), "read");
            assert_eq!(limit(who, &["time=100", "tsc=on", &hog, "tsc"]).out(), "read");
        } else {
            refused(who, "tsc=off");
        }
    });
}

#[test]
fn core_sched() {
    both(|who| {
        let (_dir, hog) = hog(who);
        let hog = hog.display().to_string();
        let able = who.command(&hog).arg("core").ran().out() == "ok";
        for more in [&[][..], &["time=100"]] {
            let ran = limit(who, &[&["core-sched"], more, &[&hog, "cookie"]].concat());
            if able {
                let cookie = ran.out();
                assert_ne!(cookie, "0");
                assert_ne!(limit(who, &["core-sched", &hog, "cookie"]).out(), cookie, "each has one of its own");
            } else {
                assert!(ran.fails(125).starts_with("limit: cannot set core-sched: "), "{ran:?}");
                assert!(ran.stderr.contains("limit: hint: "), "{ran:?}");
            }
        }
    });
}
