//! `limit` under a real systemd, in a virtual machine: as root in services, and
//! as a user whose manager runs, wherever he starts it. There is one boot for
//! all; tests/guest/systemd-checks is what runs in it.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::process::Command;
use std::sync::LazyLock;

/// What one check in the guest has said, and its status.
#[derive(Debug)]
struct Check {
    stdout: Vec<String>,
    stderr: Vec<String>,
    status: i32,
}

static CHECKS: LazyLock<HashMap<String, Check>> = LazyLock::new(|| {
    let output = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/guest/systemd")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.trim_start_matches("== ").split("\n== ").map(parse).collect()
});

fn parse(section: &str) -> (String, Check) {
    let mut lines = section.lines().map(str::to_owned);
    let name = lines.next().unwrap();
    let mut check = Check { stdout: Vec::new(), stderr: Vec::new(), status: -1 };
    for line in lines {
        if let Some(status) = line.strip_prefix("status ") {
            check.status = status.parse().unwrap();
        } else if let Some(line) = line.strip_prefix("2> ") {
            check.stderr.push(line.to_owned());
        } else if line != "end" {
            check.stdout.push(line);
        }
    }
    (name, check)
}

#[track_caller]
fn check(name: &str) -> &'static Check {
    CHECKS.get(name).unwrap_or_else(|| panic!("there is no check {name:?}: {:#?}", CHECKS.keys()))
}

const MANAGER: &str = "/user.slice/user-1000.slice/user@1000.service/app.slice/";
const LIMITS: [&str; 3] = ["memory.max 67108864", "pids.max 20", "cpu.max 50000 100000"];

/// The check's command was in a cgroup of `limit` in the scope or service that is
/// `unit`, and under the limits.
#[track_caller]
fn is_limited(name: &str, unit: &str) {
    let found = check(name);
    assert_eq!((found.status, found.stderr.as_slice()), (0, &[][..]), "{name}: {found:#?}");
    let [group, limits @ .., report] = found.stdout.as_slice() else { panic!("{name}: {found:#?}") };
    assert!(group.starts_with(&format!("group {unit}")), "{name}: {group}");
    let ours = group.rsplit('/').nth(1).unwrap_or_default();
    assert!(ours.starts_with("limit-") && group.ends_with("/cmd"), "{name}: {group}");
    assert_eq!(limits, LIMITS, "{name}");
    assert!(report.contains("\"exit_status\":0") && report.contains("\"ended_by\":null"), "{name}: {report}");
    for account in ["memory_peak_bytes", "pids_peak", "oom_kills", "throttled_seconds"] {
        assert!(report.contains(&format!("\"{account}\":")), "{name}: {report}");
        assert!(!report.contains(&format!("\"{account}\":null")), "{name}: {report}");
    }
}

#[test]
fn root_gets_a_scope_in_the_slice_that_he_is_in() {
    is_limited("root", "/system.slice/run-limit-");
    is_limited("service", "/small.slice/run-limit-");
}

#[test]
fn what_is_delegated_already_needs_no_scope() {
    is_limited("delegated", "/system.slice/run-u");
}

#[test]
fn the_limits_of_a_unit_are_not_escaped() {
    let found = check("unit with a limit");
    let [error, hint] = found.stderr.as_slice() else { panic!("{found:#?}") };
    assert!(error.starts_with("limit: cannot create a cgroup in \"/sys/fs/cgroup/system.slice/run-u"), "{error}");
    assert!(hint.contains("/memory.max\", 134217728: ") && hint.contains("Delegate=yes"), "{hint}");
    assert_eq!(found.status, 125);
    is_limited("alone in a unit with a limit", "/system.slice/run-u");
}

#[test]
fn a_user_gets_a_scope_of_his_own_manager_from_anywhere() {
    is_limited("user", &format!("{MANAGER}run-limit-"));
    is_limited("session", &format!("{MANAGER}run-limit-"));
    is_limited("daemon", &format!("{MANAGER}run-limit-"));
}

#[test]
fn other_namespaces_are_no_matter() {
    is_limited("root pidns", "/system.slice/run-limit-");
    is_limited("user pseudo", &format!("{MANAGER}run-limit-"));
}

#[test]
fn nested_runs_share_the_scope() {
    for caller in ["root", "user", "session"] {
        let name = format!("{caller} nested");
        let found = check(&name);
        assert_eq!((found.status, found.stderr.as_slice()), (0, &[][..]), "{name}: {found:#?}");
        let (outer, inner) = found.stdout.split_at(4);
        assert_eq!(outer[1..], LIMITS, "{name}");
        let around = outer[0].strip_suffix("cmd").unwrap();
        assert!(inner[0].starts_with(&format!("{around}limit-")), "{name}: {} in {}", inner[0], outer[0]);
        assert_eq!(inner[1..], ["memory.max 33554432", "pids.max 10", LIMITS[2]], "{name}");
    }
}

#[test]
fn a_memory_hog_is_killed() {
    for caller in ["root", "user", "session"] {
        let name = format!("{caller} hog");
        let found = check(&name);
        assert_eq!(found.stderr, ["limit: memory: killed at 32 MiB"], "{name}");
        assert_eq!(found.status, 137, "{name}");
    }
}

#[test]
fn no_time_is_left_to_those_who_ignore_the_end() {
    let found = check("root time");
    assert_eq!(found.stderr.last().map(String::as_str), Some("limit: time: ended after 0.2 s"), "{found:#?}");
    assert_eq!(found.status, 124);
}

#[test]
fn without_a_manager_only_what_needs_none_is_possible() {
    let found = check("other");
    assert_eq!(found.status, 125);
    assert_eq!(
        found.stderr,
        [
            "limit: no systemd manager answers at \"/run/user/1001/systemd/private\": No such file or directory",
            "limit: hint: a login starts one, and so does loginctl enable-linger 1001; XDG_RUNTIME_DIR says where it is",
        ]
    );
    let found = check("other report");
    assert_eq!((found.status, found.stderr.as_slice()), (0, &[][..]), "{found:#?}");
    assert!(found.stdout[0].contains("\"memory_peak_bytes\":null"), "{found:#?}");
    let found = check("other rlimit");
    assert_eq!((found.status, found.stdout.as_slice()), (0, &["64".to_owned()][..]), "{found:#?}");
}

#[test]
fn neither_a_cgroup_nor_a_scope_is_left() {
    let killed = ["root killed", "user killed", "session killed"];
    for name in killed {
        assert_eq!(check(name).stdout, ["started"], "{name}");
    }
    let usual = ["root", "service", "delegated", "user", "session", "daemon", "all"];
    let hogs = ["root hog", "user hog", "session hog"];
    let gone =
        usual.iter().chain(&hogs).chain(&killed).chain(&["unit with a limit"]).map(|name| format!("{name} gone"));
    for name in gone.chain(["root units".to_owned(), "user units".to_owned()]) {
        let found = check(&name);
        assert_eq!((found.stdout.as_slice(), found.stderr.as_slice(), found.status), (&[][..], &[][..], 0), "{name}");
    }
}
