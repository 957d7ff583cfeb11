//! Namespaces that are kept on a file, and entered through it.
#![forbid(unsafe_code)]

use std::fs;

use tests::{Names, Ran, Run, Who, both};

/// Runs a script with mounts of its own, where `$f` is a file on a mount that
/// is not shared. An ordinary user has these in a user namespace.
fn with_mounts(who: &Who, propagation: &str, script: &str) -> Ran {
    let names = Names::new(who);
    let dir = who.dir();
    let script = format!(
        "cd {dir}; mount -t tmpfs none {dir}; mount --make-{propagation} {dir}; f={dir}/file; touch $f; {script}",
        dir = dir.display()
    );
    let mut command = names.command("taskset");
    command.args(["-c", &cpu(), "/usr/bin/unshare"]);
    command.args(if who.is_root() { &["-m"][..] } else { &["-Urm"] });
    command.args(["--propagation", if propagation == "shared" { "shared" } else { "private" }]);
    command.args(["sh", "-ec", &script]).ran()
}

/// One that we may run on. Linux 6.18 gives namespaces their ids in batches, one
/// for each CPU, and refuses to bind a mount namespace whose id is less than the
/// caller's, taking it for an older one: only on one CPU are they in order.
fn cpu() -> String {
    let set = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)).expect("a process may ask about itself");
    (0..nix::sched::CpuSet::count()).find(|cpu| set.is_set(*cpu) == Ok(true)).expect("it runs").to_string()
}

/// What it made, what is entered through the file, and that it is not the caller's.
fn check(ran: Ran, namespace: &str) {
    let shown = ran.out();
    let lines: Vec<_> = shown.lines().collect();
    let own = fs::read_link(format!("/proc/self/ns/{namespace}")).unwrap();
    assert_eq!(lines.len(), 2, "{ran:?}");
    assert_eq!(lines[0], lines[1], "{ran:?}");
    assert!(lines[0].starts_with(&format!("{namespace}:[")) && own.as_os_str() != lines[0], "{ran:?}");
}

#[test]
fn of_every_simple_type() {
    both(|who| {
        for (option, name) in [("net", "net"), ("uts", "uts"), ("ipc", "ipc"), ("cgroup", "cgroup")] {
            let link = format!("readlink /proc/self/ns/{name}");
            for fork in ["", "-f"] {
                let script = format!("unshare {fork} --{option}=$f {link}; nsenter --{option}=$f {link}");
                check(with_mounts(who, "private", &script), name);
            }
        }
    });
}

#[test]
fn of_mounts() {
    both(|who| {
        for fork in ["", "-f"] {
            let script = format!(
                "unshare {fork} --mount=$f readlink /proc/self/ns/mnt; nsenter --mount=$f readlink /proc/self/ns/mnt"
            );
            check(with_mounts(who, "private", &script), "mnt");
        }
    });
}

#[test]
fn of_ids() {
    both(|who| {
        for options in ["", "-r", "-f", "-r -n"] {
            let script = format!(
                "unshare {options} --user=$f readlink /proc/self/ns/user; \
                 nsenter --user=$f --preserve-credentials readlink /proc/self/ns/user"
            );
            check(with_mounts(who, "private", &script), "user");
        }
    });
}

#[test]
fn of_processes() {
    both(|who| {
        // While its init lives it can be entered.
        let script = "unshare --pid=$f -f sh -ec 'readlink /proc/self/ns/pid; nsenter --pid=\"$1\" readlink /proc/self/ns/pid' sh $f";
        check(with_mounts(who, "private", script), "pid");
        let forkless = with_mounts(who, "private", "unshare --pid=$f true");
        assert!(forkless.fails(1).contains("fork"), "{forkless:?}");
    });
}

#[test]
fn of_clocks() {
    both(|who| {
        for fork in ["", "-f"] {
            let script = format!(
                "unshare {fork} --time=$f --boottime 1000 readlink /proc/self/ns/time; \
                 nsenter --time=$f readlink /proc/self/ns/time"
            );
            check(with_mounts(who, "private", &script), "time");
        }
        let script = "unshare --time=$f --boottime 1000 true; nsenter --time=$f cat /proc/self/timens_offsets";
        let shown = with_mounts(who, "private", script).out();
        let boottime = shown.lines().find(|line| line.starts_with("boottime")).unwrap();
        assert_eq!(boottime.split_whitespace().collect::<Vec<_>>(), ["boottime", "1000", "0"]);
    });
}

#[test]
fn several_at_once() {
    both(|who| {
        let script = "touch u n m; \
             unshare --uts=u --net=n --mount=m sh -ec 'hostname kept; readlink /proc/self/ns/net'; \
             nsenter --uts=u --net=n --mount=m sh -ec 'readlink /proc/self/ns/net; hostname >&2'";
        let ran = with_mounts(who, "private", script);
        assert_eq!((ran.status.code(), ran.stderr.as_str()), (Some(0), "kept\n"), "{ran:?}");
        let lines: Vec<_> = ran.text().lines().map(str::to_owned).collect();
        assert!(lines.len() == 2 && lines[0] == lines[1], "{ran:?}");
    });
}

#[test]
fn on_a_shared_mount() {
    both(|who| {
        let ran = with_mounts(who, "shared", "unshare --mount=$f true");
        let said = ran.fails(1);
        assert!(said.starts_with("unshare: ") && said.contains("unshare: hint: ") && said.contains("shared"), "{said}");
        // Others are bound there as anywhere.
        let script = "unshare --net=$f readlink /proc/self/ns/net; nsenter --net=$f readlink /proc/self/ns/net";
        check(with_mounts(who, "shared", script), "net");
    });
}

#[test]
fn on_what_is_no_file() {
    both(|who| {
        for (file, keyword) in [("$f.none", "file.none"), ("/", "/")] {
            for option in ["net", "uts", "ipc", "mount", "user", "cgroup", "time"] {
                let ran = with_mounts(who, "private", &format!("unshare --{option}={file} echo never"));
                let said = ran.fails(1);
                assert!(said.starts_with("unshare: ") && said.contains(keyword) && ran.stdout.is_empty(), "{ran:?}");
            }
        }
    });
}

#[test]
fn a_command_that_fails_keeps_the_namespace() {
    both(|who| {
        let script = "unshare --net=$f sh -c 'exit 3' || echo $?; unshare -f --uts=$f no-such-program 2>/dev/null || echo $?; \
             nsenter --uts=$f true; umount $f; nsenter --net=$f true";
        let ran = with_mounts(who, "private", script);
        assert_eq!(ran.out(), "3\n127");
    });
}
