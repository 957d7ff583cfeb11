//! What `unshare` and `nsenter` say about the causes of a failure that its errno does not tell.
#![forbid(unsafe_code)]

use tests::{Names, Ran, Run, Running, Who, as_user, both, copy_program};

/// The hint of a run that failed, in lower case.
#[track_caller]
fn hint(ran: &Ran, name: &str) -> String {
    let said = ran.fails(1);
    let lines: Vec<_> = said.lines().collect();
    assert!(lines.iter().any(|line| line.starts_with(&format!("{name}: "))), "{said}");
    let hint = lines.iter().find_map(|line| line.strip_prefix(&format!("{name}: hint: ")));
    hint.unwrap_or_else(|| panic!("no hint: {said}")).to_lowercase()
}

/// Runs a script in namespaces made with these options, which root and the user may.
fn inside(who: &Who, options: &[&str], script: &str) -> Ran {
    Names::new(who).command("/usr/bin/unshare").args(options).args(["sh", "-ec", script]).ran()
}

#[test]
fn no_more_user_namespaces() {
    both(|who| {
        let ran = inside(who, &["-Ur"], "echo 0 >/proc/sys/user/max_user_namespaces; exec unshare -U true");
        assert!(hint(&ran, "unshare").contains("max_user_namespaces"), "{ran:?}");
    });
}

#[test]
fn no_newuidmap() {
    as_user(|who| {
        let names = Names::new(who);
        let mut command = names.command(names.path().join("unshare"));
        let ran = command.args(["--map-auto", "true"]).env("PATH", names.path()).ran();
        assert!(hint(&ran, "unshare").contains("uidmap"), "{ran:?}");
    });
}

#[test]
fn no_subordinate_ids() {
    as_user(|who| {
        // Root hides what the system delegates, in mounts of his own.
        let root = Who { uid: 0, gid: 0, ..who.clone() };
        let ids = [who.uid, who.gid].map(|id| id.to_string());
        for file in ["/etc/subuid", "/etc/subgid"] {
            let script = format!(
                "mount --bind /dev/null {file}; \
                 exec setpriv --reuid {} --regid {} --clear-groups unshare -r --map-auto true",
                ids[0], ids[1]
            );
            let names = Names::new(who);
            let mut command = root.command("/usr/bin/unshare");
            let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", names.path().display());
            let ran = command.args(["-m", "sh", "-ec", &script]).env("PATH", path).ran();
            let said = format!("{} {}", ran.fails(1), hint(&ran, "unshare"));
            assert!(said.contains(file), "{ran:?}");
        }
    });
}

#[test]
fn a_masked_proc() {
    both(|who| {
        for (mask, at) in [("--bind /dev/null", "/proc/uptime"), ("-t tmpfs none", "/proc/sys")] {
            let script = format!("mount {mask} {at}; exec unshare -Urmpf --mount-proc true");
            let ran = inside(who, &["-Urmpf", "--mount-proc"], &script);
            assert!(hint(&ran, "unshare").contains(at), "{ran:?}");
        }
    });
}

#[test]
fn setgroups_denied() {
    both(|who| {
        let ran = Names::new(who).unshare(&["-r", "-G", "0", "true"]).ran();
        assert!(hint(&ran, "unshare").contains("setgroups"), "{ran:?}");
    });
    as_user(|who| {
        let mut target = who.command("/usr/bin/unshare");
        let running = Running::ready(target.args(["-Ur", "sh", "-c", "echo ready; read word"]));
        let ran = Names::new(who).nsenter(&["-t", &running.pid().to_string(), "-U", "true"]).ran();
        assert!(hint(&ran, "nsenter").contains("--preserve-credentials"), "{ran:?}");
    });
}

#[test]
fn apparmor() {
    as_user(|who| {
        // Its switch as Ubuntu has it, and the EPERM that a chroot gives (user_namespaces(7)).
        let root = who.busybox();
        copy_program(std::env::var("NSTOOLS_BIN").unwrap() + "/isolate", root.join("bin/unshare"));
        who.give(root.join("bin/unshare"));
        let script = format!(
            "cd {root}; mount --rbind /proc proc; mount -t tmpfs none proc/sys/kernel; \
             echo 1 >proc/sys/kernel/apparmor_restrict_unprivileged_userns; \
             exec chroot --userspec={}:{} --groups= {root} unshare -U true",
            who.uid,
            who.gid,
            root = root.display()
        );
        let admin = Who { uid: 0, gid: 0, ..who.clone() };
        let ran = admin.command("/usr/bin/unshare").args(["-m", "sh", "-ec", &script]).ran();
        assert!(hint(&ran, "unshare").contains("apparmor_restrict_unprivileged_userns"), "{ran:?}");
    });
}

#[test]
fn what_only_root_may() {
    as_user(|who| {
        let ran = Names::new(who).unshare(&["-n", "true"]).ran();
        assert!(hint(&ran, "unshare").contains("-r"), "{ran:?}");
    });
}
