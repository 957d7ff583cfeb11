//! Runs the rows on both sides and tells where they differ.

use std::any::Any;
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::Who;

use crate::row::{Row, Stderr, words};
use crate::world::World;

/// When to give up on a command.
const DEADLINE: Duration = Duration::from_secs(20);

/// What came of a row on one side.
struct Outcome {
    /// What the command saw, and how it ended.
    seen: BTreeMap<String, String>,
    stderr: String,
}

/// Runs all rows of one caller; panics with every difference that is not meant.
pub fn compare(who: &Who, tables: &[&[Row]]) {
    let rows: Vec<_> = tables.iter().flat_map(|table| table.iter()).collect();
    let world = World::new(who);
    let failures = Mutex::new(BTreeMap::new());
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some((at, row)) =
            { Some(next.fetch_add(1, Ordering::Relaxed)) }.and_then(|at| Some((at, rows.get(at)?)))
        {
            let wanted = if who.is_root() { row.root } else { row.user };
            if !wanted {
                continue;
            }
            let result = catch_unwind(AssertUnwindSafe(|| check(&world, row)));
            let differences = result.unwrap_or_else(|panic| vec![message(&*panic)]);
            if !differences.is_empty() {
                let line = format!("{} {} {}", row.under, row.tool, row.args);
                let text = format!("{}\n    {}", line.trim_start(), differences.join("\n    "));
                failures.lock().unwrap().insert(at, text);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(work);
        }
    });
    let failures = failures.into_inner().unwrap();
    let text: Vec<_> = failures.values().map(String::as_str).collect();
    assert!(text.is_empty(), "as {}, {} of {} rows fail:\n{}", who.name, text.len(), rows.len(), text.join("\n"));
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
}

/// Where the sides differ and are not to, and where they are to and do not.
fn check(world: &World, row: &Row) -> Vec<String> {
    let theirs = run(world, row, "debian");
    let ours = run(world, row, "ours");
    let mut differences = Vec::new();
    let mut expected = theirs.seen.clone();
    // Where one side alone is to run the command there is nothing else to compare.
    let compared = row.intended().all(|(key, _)| key != "exit");
    for (key, value) in row.intended() {
        let value = world.expand(value);
        if expected.get(key) == Some(&value) {
            differences.push(format!("util-linux has the intended {key} {value} as well"));
        }
        expected.insert(key.to_owned(), value);
    }
    let keys = expected.keys().chain(ours.seen.keys().filter(|_| compared));
    let mut keys: Vec<_> = keys.filter(|key| compared || row.intended().any(|(listed, _)| listed == *key)).collect();
    keys.sort();
    keys.dedup();
    if expected.get("exit") != ours.seen.get("exit") && compared {
        // One side has not run the command: what it would have seen is no news.
        keys.retain(|key| *key == "exit");
    }
    for key in keys {
        let (want, have) = (expected.get(key), ours.seen.get(key));
        // Anything but theirs.
        let other = want.is_some_and(|want| want == "*") && have.is_some() && have != theirs.seen.get(key);
        if want != have && !other {
            let show =
                |value: Option<&String>| value.map_or_else(|| "nothing".to_owned(), |value| format!("{value:?}"));
            differences.push(format!("{key}: {} is wanted, ours has {}", show(want), show(have)));
        }
    }
    differences.extend(stderr_differs(world, row, &theirs, &ours));
    differences
}

fn stderr_differs(world: &World, row: &Row, theirs: &Outcome, ours: &Outcome) -> Option<String> {
    // Where the exit status is meant to differ, theirs may be an error that ours is not.
    let theirs_differs = row.intended().any(|(key, _)| key == "exit" || key == "err");
    let right = match row.stderr {
        Stderr::Silent => ours.stderr.is_empty() && (theirs.stderr.is_empty() || theirs_differs),
        Stderr::Exact => !theirs.stderr.is_empty() && ours.stderr == theirs.stderr,
        Stderr::Keyword(word) => {
            complains(row.tool, &ours.stderr, &world.expand(word)) && (!theirs.stderr.is_empty() || theirs_differs)
        }
    };
    (!right)
        .then(|| format!("stderr, {:?}: util-linux says {:?}, ours says {:?}", row.stderr, theirs.stderr, ours.stderr))
}

/// Whether a complaint begins with the name, but for what newuidmap says
/// itself, and has the word in it.
fn complains(tool: &str, stderr: &str, word: &str) -> bool {
    let own: Vec<_> =
        stderr.lines().skip_while(|line| line.starts_with("newuidmap: ") || line.starts_with("newgidmap: ")).collect();
    own.first().is_some_and(|line| line.starts_with(&format!("{tool}: ")))
        && own.iter().any(|line| line.to_lowercase().contains(&word.to_lowercase()))
}

fn run(world: &World, row: &Row, side: &str) -> Outcome {
    let split = |text: &str| words(text).iter().map(|word| world.expand(word)).collect::<Vec<_>>();
    let mut command = world.command(side, &split(row.under), row.tool, &split(row.args));
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it can be started");
    let pid = child.id();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(child.wait_with_output()));
    let output = receiver.recv_timeout(DEADLINE).unwrap_or_else(|_| {
        kill(Pid::from_raw(pid as i32), Signal::SIGKILL).expect("it has not been waited for");
        panic!("{side}: it does not end");
    });
    let output = output.unwrap();
    let mut seen = world.observation(&String::from_utf8_lossy(&output.stdout), side, pid);
    seen.insert("exit".to_owned(), end(output.status));
    Outcome { seen, stderr: world.without_side(&String::from_utf8_lossy(&output.stderr), side) }
}

fn end(status: ExitStatus) -> String {
    status.code().map_or_else(|| format!("by signal {}", status.signal().unwrap()), |code| code.to_string())
}
