//! What the command finds itself in, and that it cannot leave.

use std::fs;
use std::path::PathBuf;

use tests::cgroups;
use tests::{Run, Running, eventually, mark, marked};

use crate::{Scene, with};

/// The group of the one process with this mark.
fn group(mark: &str, controller: &str) -> PathBuf {
    // Not those that have the word in a script.
    let mut pids = Vec::new();
    eventually("its parents are gone", || {
        pids = marked(&format!("daemon\0{mark}"));
        pids.len() == 1
    });
    cgroups::of(pids[0], controller)
}

#[test]
fn it_is_there_from_the_first_instant() {
    with(&["pids"], |scene| {
        // The first thing that this program does.
        let shown = scene.limit(&["pids=20", "cat", "/proc/self/cgroup"]).ran().out();
        let lines: Vec<_> = shown.lines().filter(|line| line.contains("/limit-")).collect();
        let unified = cgroups::has("pids") == Some(cgroups::Version::V2);
        let ours = if unified { "0::" } else { ":pids:" };
        assert!(lines.iter().any(|line| line.contains(ours) && line.contains("/nstools-")), "{shown}");
        // One that cannot fork has its first fork refused, and could not move first.
        assert_eq!(scene.hog(&["pids=1"], &["forks", "1"]).ran().out(), "0 EAGAIN");
    });
}

#[test]
fn nothing_escapes() {
    with(&["pids"], |scene| {
        let mark = mark();
        let script = format!("echo $$; $HOG daemon {mark}; read x");
        let mut running = Running::start(&mut scene.script(&["pids=20"], &script));
        let group_of_command = cgroups::of(running.line(), "pids");
        assert_eq!(running.line(), "ready");
        assert_eq!(group(&mark, "pids"), group_of_command);
        running.say("");
        assert_eq!(running.end(), 0);
        assert_eq!(marked(&mark), []);
        assert!(!group_of_command.exists());
    });
}

/// What stands in /proc/PID/stat from its third field on.
fn stat(pid: impl std::fmt::Display) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    text.rsplit_once(") ").unwrap().1.split(' ').map(str::to_owned).collect()
}

#[test]
fn it_keeps_what_it_was_started_with() {
    with(&["pids"], |scene| {
        for limits in [&["pids=20"][..], &["time=100"]] {
            let mut command =
                scene.script(limits, "echo $$; echo $WORD; pwd; umask; read x; echo $x; echo err >&2; exit 3");
            let dir = scene.who.dir();
            let mut running = Running::start(command.env("WORD", "kept").current_dir(&*dir));
            let pid = running.line();
            // The process group and the session.
            assert_eq!(stat(&pid)[2..4], stat(running.pid())[2..4]);
            assert_ne!(pid, running.pid().to_string());
            assert_eq!((running.line().as_str(), running.line().as_str()), ("kept", dir.to_str().unwrap()));
            running.line();
            running.say("said");
            assert_eq!(running.line(), "said");
            assert_eq!(running.end(), 3);
        }
    });
}

/// The fds that a command finds open.
fn fds(scene: &Scene, words: &[&str]) -> String {
    scene.place.command(&[words, &["sh", "-c", "exec 7</dev/null; set -- /proc/$$/fd/*; echo $#"]].concat()).ran().out()
}

#[test]
fn it_has_no_fd_of_the_supervisor() {
    with(&["pids"], |scene| {
        let without = fds(scene, &[]);
        for words in
            [&["limit", "nofile=64"][..], &["limit", "pids=20"], &["limit", "time=100", "--report", "/dev/null"]]
        {
            assert_eq!(fds(scene, words), without, "{words:?}");
        }
    });
}

#[test]
fn those_of_the_caller_are_open() {
    with(&["pids"], |scene| {
        let script = "exec 8>&1; exec limit pids=20 sh -c 'echo through >&8'";
        assert_eq!(scene.place.command(&["sh", "-c", script]).ran().out(), "through");
        // And closed ones are closed.
        let script = "exec limit pids=20 sh -c '[ -e /proc/$$/fd/0 ] || echo closed' <&-";
        assert_eq!(scene.place.command(&["sh", "-c", script]).ran().out(), "closed");
    });
}

#[test]
fn ignored_and_blocked_signals_stay_so() {
    with(&["pids"], |scene| {
        for limits in ["nofile=64", "pids=20", "time=100"] {
            let show = "grep -E ^Sig[BI] /proc/self/status";
            let script = format!("trap '' TERM USR1; {show}; exec limit {limits} {show}");
            let shown = scene.place.command(&["sh", "-c", &script]).ran().out();
            let lines: Vec<_> = shown.lines().collect();
            assert_eq!(lines[..2], lines[2..], "{limits}");
        }
    });
}

/// The words of the command are its own, also those that look like limits.
#[test]
fn words_of_the_command() {
    with(&["pids"], |scene| {
        let run = |words: &[&str]| scene.limit(words).ran().out();
        assert_eq!(run(&["pids=20", "echo", "time=0", "--help"]), "time=0 --help");
        assert_eq!(run(&["pids=20", "--", "echo", "--", "x=y"]), "-- x=y");
        assert_eq!(run(&["time=100", "--report", "/dev/null", "pids=20", "echo", "nofile=1"]), "nofile=1");
        // A command with `=` in its name.
        let (dir, program) = scene.who.program_for_all("/bin/busybox");
        let odd = dir.join("time=1");
        fs::rename(program, &odd).unwrap();
        let path = format!("{}:/bin", dir.display());
        let mut command = scene.limit(&["pids=20", "--", "time=1", "echo", "x"]);
        let ran = command.env("PATH", format!("{}:{path}", std::env::var("NSTOOLS_BIN").unwrap())).ran();
        // Busybox has no applet of this name: it says so, and is what ran.
        assert!(ran.fails(127).contains("time=1: applet not found"), "{ran:?}");
    });
}
