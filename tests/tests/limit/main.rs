//! `limit`, for every caller and on every layout of cgroups. This file is one
//! program, so that [`layouts`] can run it in other kernels: there is nothing there
//! but busybox, our tools and the hog.
#![forbid(unsafe_code)]

mod attributes;
mod compose;
mod controls;
mod errors;
mod inside;
mod layouts;
mod life;
mod memory;
mod nested;
mod report;
mod rlimits;
mod swept;
mod terminal;
mod time;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::cgroups::{self, Place, has};
use tests::{Run, Running, TempDir, Who, both, eventually, marked};

/// A caller, a place that was delegated to him, and the hog.
struct Scene {
    who: Who,
    place: Place,
    hog: PathBuf,
    _dir: Option<TempDir>,
}

impl Scene {
    fn new(who: &Who, place: fn(&Who, &Path) -> Place) -> Self {
        let (dir, hog) = hog(who);
        Self { who: who.clone(), place: place(who, &hog), hog, _dir: dir }
    }

    /// `limit WORDS…` in the place, with `$HOG` for its scripts.
    fn limit(&self, words: &[&str]) -> Command {
        let mut command = self.place.command(&[&["limit"], words].concat());
        command.env("HOG", &self.hog);
        command
    }

    /// `limit LIMITS… sh -c SCRIPT` in the place.
    fn script(&self, limits: &[&str], script: &str) -> Command {
        self.limit(&[limits, &["--", "sh", "-c", script]].concat())
    }

    /// What a file of the group holds that `limit WORDS…` makes.
    #[track_caller]
    fn file(&self, words: &[&str], controller: &str, file: &str) -> String {
        let mut running = Running::start(&mut self.script(words, "echo $$; read x"));
        let text = cgroups::read(&cgroups::limit_of(running.line(), controller), file);
        running.hang_up();
        // The read has failed.
        assert_eq!(running.end(), 1);
        text
    }

    /// Waits until no process with the mark and no group is left.
    #[track_caller]
    fn nothing_is_left(&self, mark: &str) {
        eventually("every process is gone", || marked(mark).is_empty());
        eventually("every group is gone", || self.place.left().is_empty());
    }

    /// `limit LIMITS… hog WORDS…` in the place.
    fn hog(&self, limits: &[&str], words: &[&str]) -> Command {
        let hog = self.hog.display().to_string();
        self.limit(&[limits, &["--", &hog], words].concat())
    }
}

/// Runs a test as [`scenes`] does, where there are these controllers. Where one is missing the test is
/// that `limit` says so.
fn with(controllers: &[&str], test: impl Fn(&Scene)) {
    scenes(|scene| match controllers.iter().find(|name| has(name).is_none()) {
        None => test(scene),
        Some(missing) => {
            let ran = scene.limit(&[example(missing), "echo", "ran"]).ran();
            assert!(lacks(ran.fails(125), missing), "{ran:?}");
            assert_eq!(ran.text(), "");
        }
    });
}

/// Whether this says that there is no such controller.
fn lacks(said: &str, controller: &str) -> bool {
    let first = said.lines().next().unwrap_or_default();
    let known = first.split_once(": no cgroup hierarchy here has the controller ");
    // In v2 it has another name.
    let named = known.is_some_and(|(_, name)| name == controller || (name, controller) == ("io", "blkio"));
    named && first.starts_with("limit: cannot limit ") && said.contains("\nlimit: hint: ")
}

/// A limit for a controller.
fn example(controller: &str) -> &'static str {
    match controller {
        "memory" => "memory=64M",
        "pids" => "pids=20",
        "cpu" => "cpu=50%",
        "cpuset" => "cpuset=0",
        "io" | "blkio" => "io=7:0:rbps=1M",
        "net_cls" => "net_cls.classid=1",
        _ => panic!("{controller} has no limits"),
    }
}

/// Runs a test as root and as the ordinary user, each in a place of his own.
fn scenes(test: impl Fn(&Scene)) {
    both(|who| test(&Scene::new(who, Place::new)));
}

/// The hog, where every user may execute it: there is no cargo in other kernels.
fn hog(who: &Who) -> (Option<TempDir>, PathBuf) {
    match std::env::var_os("NSTOOLS_HOG") {
        Some(path) => (None, path.into()),
        None => {
            let (dir, path) = who.program_for_all(env!("CARGO_BIN_EXE_hog"));
            (Some(dir), path)
        }
    }
}

/// The arguments of a command as they are given to it.
fn os_words(words: &[&[u8]]) -> Vec<OsString> {
    use std::os::unix::ffi::OsStringExt;
    words.iter().map(|word| OsString::from_vec(word.to_vec())).collect()
}
