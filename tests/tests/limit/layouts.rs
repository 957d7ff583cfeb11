//! All of it again in other kernels, on every layout of cgroups. It is this same
//! program that runs there.

use std::process::Command;

/// What is new under version 2, which this machine may not have; and what takes
/// more rights than root may have here.
const NEW: &str = "memory:: controls:: inside::it_is inside::nothing nested::inner nested::the_ nested::of nested::each \
    swept::limit swept::its swept::the_next report::what report::every time::those time::one_that_i \
    time::processor rlimits:: attributes:: errors::nothing errors::a_place";

/// What differs from layout to layout.
const DIFFERENT: &str = "memory::a_ controls::forks controls::processor_time inside::nothing nested::inner_in \
    nested::the_ nested::of swept::its swept::the_next report::what errors::a_place";

/// Runs tests of this program in a kernel with a layout, and looks at what it
/// says: so many must have passed, at least.
#[track_caller]
fn passes_on(kernel: &str, layout: &str, tests: &str, least: u32) {
    let program = std::env::current_exe().expect("/proc is mounted");
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/vm"));
    command.args(["-k", kernel, "-c", layout, "-m", "1024"]);
    command.arg("-f").arg(format!("{}:/t/limit", program.display()));
    command.arg("-f").arg(format!("{}:/t/hog", env!("CARGO_BIN_EXE_hog")));
    // One by one: there is one slow processor.
    let script = "export NSTOOLS_HOG=/t/hog NSTOOLS_BIN=$(dirname \"$(command -v limit)\") TMPDIR=/tmp
        exec /t/hog job /t/limit --test-threads=1 --skip layouts:: \"$@\"";
    command.args(["--", "sh", "-c", script, "sh"]).args(tests.split_whitespace()).env("VM_TIMEOUT", "900");
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // That none has run is no success.
    let passed = out.split_once("test result: ok. ").and_then(|(_, rest)| rest.split(' ').next()?.parse::<u32>().ok());
    let enough = passed.is_some_and(|count| count >= least);
    assert!(output.status.success() && enough, "{kernel}, {layout}: {}\n{out}\n{err}", output.status);
}

#[test]
fn version_2() {
    passes_on("6.1", "v2", NEW, 50);
}

#[test]
fn version_2_of_an_old_kernel() {
    passes_on("5.10", "v2", DIFFERENT, 10);
}

#[test]
fn version_2_of_the_newest_kernel() {
    passes_on("newest", "v2", DIFFERENT, 10);
}

#[test]
fn version_1() {
    passes_on("6.1", "v1", DIFFERENT, 10);
}

#[test]
fn both_versions() {
    passes_on("6.12", "hybrid", DIFFERENT, 10);
}
