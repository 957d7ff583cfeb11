//! Whatever is killed, at whatever instant, leaves nothing behind.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tests::{Run, Running, both, eventually, mark, marked};

/// What a container could leave behind besides processes: mounts, interfaces,
/// cgroups, and files in the directories that it knows.
fn traces(dirs: &[&Path]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in fs::read_to_string("/proc/self/mountinfo").unwrap().lines() {
        found.insert(format!("mount {line}"));
    }
    for (dir, depth) in dirs.iter().map(|dir| (*dir, 1)).chain([(Path::new("/sys/class/net"), 1)]) {
        list(dir, depth, &mut found);
    }
    found
}

fn list(dir: &Path, depth: u32, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        found.insert(entry.path().display().to_string());
        if depth > 1 {
            list(&entry.path(), depth - 1, found);
        }
    }
}

/// Payloads that do what they can to stay. Each says "ready".
const STUBBORN: [&str; 4] = [
    // No signal on the parent's death, a session of its own, and two forks.
    "import ctypes, os, time
ctypes.CDLL(None).prctl(1, 0)
for i in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            ctypes.CDLL(None).prctl(1, 0)
            time.sleep(1000)
        time.sleep(1000)
print('ready', flush=True)
time.sleep(1000)",
    // Other ids, which makes the kernel forget that signal.
    "import os, time
os.setgroups([])
os.setresgid(5, 5, 5)
os.setresuid(5, 5, 5)
print('ready', flush=True)
time.sleep(1000)",
    // Every signal ignored or blocked.
    "import signal, time
for s in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}: signal.signal(s, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
print('ready', flush=True)
time.sleep(1000)",
    // A container of its own, whose init is not its child.
    "import os, time
os.system('unshare -r -p -f --mount-proc sh -c \"sleep 1000 & echo ready; wait\" &')
time.sleep(1000)",
];

#[test]
fn a_killed_supervisor_takes_every_process_along() {
    both(|who| {
        for init in [&[][..], &["--init"]] {
            for program in STUBBORN {
                let mark = mark();
                let mut command = who.tool("contain");
                command.args(init).args(["-e", "/", "/usr/bin/python3", "-c", program, &mark]);
                let mut running = Running::ready(&mut command);
                assert!(marked(&mark).len() >= 3, "supervisor, guard and payload");
                running.signal(Signal::SIGKILL);
                assert_eq!(running.end(), -9);
                eventually("every process is gone", || marked(&mark).is_empty());
            }
        }
    });
}

#[test]
fn a_killed_guard_or_init_ends_it_all() {
    both(|who| {
        let root = who.busybox();
        for guard in [true, false] {
            let mark = mark();
            let script = format!("echo ready; sleep 1000; : {mark}");
            let mut running = Running::ready(&mut who.contain(&root, &[], &script));
            let victim = if guard { running.guard() } else { running.init() };
            // Both are his: an ordinary user may, too.
            who.command("kill").args(["-KILL", &victim.unwrap().to_string()]).ran().out();
            assert_eq!(running.end(), 128 + 9);
            assert_eq!(marked(&mark), []);
        }
    });
}

#[test]
fn at_whatever_instant() {
    both(|who| {
        let root = who.busybox();
        let dir = who.dir();
        let mark = mark();
        let dirs = [&*dir, &*root, &root.join("dev"), &root.join("tmp")];
        let before = traces(&dirs);
        let command = |index: u32| {
            let options = [&["--init"][..], &["-e"], &["--tmpfs", "/mnt"], &["--net", "host"]][index as usize % 4];
            let mut command = who.contain(&root, options, &format!("sleep 1000; : {mark}"));
            command.current_dir(&*dir).env("TMPDIR", &*dir);
            command
        };
        for index in 0..100_u32 {
            let running = Running::start(&mut command(index));
            let start = Instant::now();
            // From before the exec to after the command has started.
            let instant = Duration::from_micros(u64::from(index) * 100);
            while start.elapsed() < instant {
                std::hint::spin_loop();
            }
            running.signal(Signal::SIGKILL);
        }
        eventually("every process is gone", || marked(&mark).is_empty());
        let after = traces(&dirs);
        let new: Vec<_> = after.difference(&before).collect();
        assert!(new.is_empty(), "{new:#?}");
    });
}

#[test]
fn an_orderly_end_leaves_nothing_either() {
    both(|who| {
        let root = who.busybox();
        let dir = who.dir();
        let dirs = [&*dir, &*root, &root.join("dev"), Path::new("/dev/shm")];
        let before = traces(&dirs);
        for options in [&["-e"][..], &["--tmpfs", "/mnt"], &["--init", "--hostname", "x"]] {
            let mut command = who.contain(&root, options, "true");
            command.current_dir(&*dir).env("TMPDIR", &*dir).ran().out();
        }
        for (tool, options) in [("pseudo", &["true"][..]), ("isolate", &["true"]), ("seal", &["true"])] {
            who.tool(tool).args(options).current_dir(&*dir).env("TMPDIR", &*dir).ran().out();
        }
        let after = traces(&dirs);
        let new: Vec<_> = after.difference(&before).collect();
        assert!(new.is_empty(), "{new:#?}");
    });
}

#[test]
fn a_stopped_guard_goes_too() {
    both(|who| {
        let root = who.busybox();
        let mark = mark();
        let mut running = Running::ready(&mut who.contain(&root, &[], &format!("echo ready; : {mark}; read x")));
        let guard = nix::unistd::Pid::from_raw(running.guard().unwrap());
        nix::sys::signal::kill(guard, Signal::SIGSTOP).unwrap();
        running.signal(Signal::SIGKILL);
        assert_eq!(running.end(), -(Signal::SIGKILL as i32));
        eventually("nothing is left", || marked(&mark).is_empty());
    });
}

#[test]
fn an_outside_helper_that_hangs_ends_with_the_run() {
    both(|who| {
        let root = who.busybox();
        let mark = mark();
        // It hangs itself: what it may have started is not ours to know.
        let helper = format!("echo ready; : {mark}; while :; do :; done");
        let mut running = Running::ready(&mut who.contain(&root, &["-o", &helper], "echo ran"));
        running.signal(Signal::SIGTERM);
        assert_eq!(running.end(), 128 + 15);
        eventually("nothing is left", || marked(&mark).is_empty());
    });
}
