//! `contain`: whose files are whose, inside and on disk.
#![forbid(unsafe_code)]

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use tests::{Run, Who, as_root, as_user, both};

fn owner(path: impl AsRef<Path>) -> (u32, u32) {
    let stat = fs::symlink_metadata(path).unwrap();
    (stat.uid(), stat.gid())
}

/// What the ids of a container of `who` are on disk. Root's trees are idmapped.
fn on_disk(who: &Who, id: u32) -> u32 {
    match id {
        id if who.is_root() => id,
        0 => who.uid,
        id => who.first_subuid() + id - 1,
    }
}

#[test]
fn chown_inside_shows_on_disk() {
    both(|who| {
        let root = who.busybox();
        let script = "touch /f /g && chown 33:44 /f && stat -c %u:%g /f /g";
        assert_eq!(who.contain(&root, &[], script).ran().out(), "33:44\n0:0");
        assert_eq!(owner(root.join("f")).0, on_disk(who, 33));
        assert_eq!(owner(root.join("g")).0, on_disk(who, 0));
    });
}

#[test]
fn root_of_the_container_is_not_root_of_the_host() {
    // For a user it is himself.
    as_root(|who| {
        let root = who.busybox();
        let shown = who.contain(&root, &[], "cat /proc/self/uid_map").ran().out();
        assert_eq!(shown.split_whitespace().next_back(), Some("4294967293"));
        let outside = who.contain(&root, &["-o", "grep Uid /proc/$CONTAIN_INIT/status"], "true").ran().out();
        assert!(outside.contains("4294967294"), "{outside}");
    });
}

#[test]
fn ids_on_disk_show_inside() {
    // A user has no files of others.
    as_root(|who| {
        let root = who.busybox();
        let file = root.file("etc/theirs", "");
        chown(&file, Some(1234), Some(2345)).unwrap();
        assert_eq!(who.contain(&root, &[], "stat -c %u:%g /etc/theirs /bin").ran().out(), "1234:2345\n0:0");
    });
}

#[test]
fn binds_show_the_ids_on_disk_too() {
    both(|who| {
        let root = who.busybox();
        let dir = who.dir();
        fs::write(dir.join("f"), "").unwrap();
        chown(dir.join("f"), Some(on_disk(who, 77)), Some(who.gid)).unwrap();
        let bind = format!("{}:/mnt", dir.display());
        let shown =
            who.contain(&root, &["--bind", &bind], "stat -c %u /mnt /mnt/f; touch /mnt/g; chown 78 /mnt/g").ran();
        assert_eq!(shown.out(), "0\n77");
        assert_eq!(owner(dir.join("g")).0, on_disk(who, 78));
    });
}

#[test]
fn a_tree_unpacked_under_pseudo_needs_no_idmap() {
    both(|who| {
        let root = who.busybox();
        // The ids of such a tree are shifted by the default map.
        let shifted = |id| if who.is_root() && id == 0 { u32::MAX - 1 } else { on_disk(who, id) };
        for path in ["", "bin", "etc", "mnt", "tmp", "root"] {
            chown(root.join(path), Some(shifted(0)), Some(shifted(0))).unwrap();
        }
        let file = root.file("etc/theirs", "");
        chown(&file, Some(shifted(33)), None).unwrap();
        let script = "stat -c %u /etc /etc/theirs; touch /etc/new; chown 0 /etc/new";
        assert_eq!(who.contain(&root, &["--no-idmap"], script).ran().out(), "0\n33");
        assert_eq!(owner(root.join("etc/new")).0, shifted(0));
    });
}

#[test]
fn a_file_system_that_cannot_be_idmapped_is_told() {
    // Only root's trees are.
    as_root(|who| {
        let root = who.busybox();
        let options = ["--bind".to_owned(), "/proc/sys:/mnt:".to_owned()];
        let options: Vec<_> = options.iter().map(String::as_str).collect();
        let ran = who.contain(&root, &options, "true").ran();
        let said = ran.fails(125);
        assert!(said.contains("\"/proc/sys\""), "{said}");
        let ran = who.contain(&root, &["--bind-ro", "/proc/sys:/mnt"], "true").ran();
        let said = ran.fails(125);
        assert!(said.starts_with("contain: cannot idmap \"/proc/sys\": Invalid argument\n"), "{said}");
        assert!(said.contains("contain: hint: ") && said.contains("--no-idmap"), "{said}");
        assert_eq!(
            who.contain(&root, &["--bind-ro", "/proc/sys:/mnt:no-idmap"], "ls /mnt/kernel/ostype").ran().out(),
            "/mnt/kernel/ostype"
        );
    });
}

#[test]
fn a_writable_root_that_others_reach_is_refused() {
    // An ordinary user has no ids to give away but his own.
    as_root(|who| {
        let root = who.busybox();
        let parent = root.parent().unwrap().to_owned();
        let plant = "cp /bin/busybox /tmp/planted && chmod 4755 /tmp/planted && echo planted";
        assert_eq!(who.contain(&root, &[], plant).ran().out(), "planted");
        assert_eq!(owner(root.join("tmp/planted")), (0, 0));

        fs::set_permissions(&parent, Permissions::from_mode(0o755)).unwrap();
        let ran = who.contain(&root, &[], plant).ran();
        let said = ran.fails(125);
        assert!(said.starts_with("contain: other users of this host can reach "), "{said}");
        assert!(said.contains("contain: hint: keep it in a directory of mode 700, or use --ro, or -e"), "{said}");
        for options in [&["--ro"][..], &["-e"], &["--no-idmap"]] {
            assert_eq!(who.contain(&root, options, "id -u").ran().out(), "0", "{options:?}");
        }
        fs::set_permissions(&parent, Permissions::from_mode(0o711)).unwrap();
        assert!(who.contain(&root, &[], plant).ran().fails(125).contains("can reach"));
        // Its own mode is no help: inside, it can be changed.
        fs::set_permissions(&*root, Permissions::from_mode(0o700)).unwrap();
        assert!(who.contain(&root, &[], plant).ran().fails(125).contains("can reach"));
        fs::set_permissions(&parent, Permissions::from_mode(0o700)).unwrap();
        assert_eq!(who.contain(&root, &[], "id -u").ran().out(), "0");
    });
}

#[test]
fn a_writable_bind_that_others_reach_is_refused() {
    as_root(|who| {
        let root = who.busybox();
        let dir = who.dir();
        fs::set_permissions(&*dir, Permissions::from_mode(0o755)).unwrap();
        let bind = format!("{}:/mnt", dir.display());
        let ran = who.contain(&root, &["--bind", &bind], "true").ran();
        let said = ran.fails(125);
        assert!(said.contains("can reach") && said.contains("use --bind-ro"), "{said}");
        assert_eq!(who.contain(&root, &["--bind-ro", &bind], "echo ok").ran().out(), "ok");
        assert_eq!(who.contain(&root, &["--bind", &format!("{bind}:no-idmap")], "echo ok").ran().out(), "ok");
    });
}

#[test]
fn maps_that_are_asked_for() {
    both(|who| {
        let root = who.busybox();
        let first = if who.is_root() { 200_000 } else { who.first_subuid() };
        let map = format!("0:{first}:1000");
        let shown =
            who.contain(&root, &["-u", &map, "-g", &map, "--ro"], "cat /proc/self/uid_map /proc/self/gid_map").ran();
        // An ordinary user's inner map repeats the outer extents.
        let lower = if who.is_root() { first } else { 0 };
        let line = format!("0 {lower} 1000");
        let lines: Vec<_> =
            shown.text().lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(lines, [line.clone(), line], "{shown:?}");
    });
}

#[test]
fn wrong_maps_are_told_by_their_part() {
    both(|who| {
        let root = who.busybox();
        let cases = [
            ("0:1", "\"0:1\" is not START:LOWER:COUNT"),
            ("0:100000:9,8:200000:1", "\"8:200000:1\" overlaps \"0:100000:9\""),
            ("0:4294967294:2", "goes beyond the last id"),
        ];
        for (map, expected) in cases {
            for option in ["-u", "--gid-map"] {
                let ran = who.contain(&root, &[option, map], "true").ran();
                assert!(ran.fails(125).starts_with("contain: ") && ran.stderr.contains(expected), "{ran:?}");
            }
        }
    });
}

#[test]
fn a_one_id_map_denies_setgroups() {
    // CVE-2014-8989; root's maps are written with privilege.
    as_user(|who| {
        let root = who.busybox();
        let (uid, gid) = (format!("0:{}:1", who.uid), format!("0:{}:1", who.gid));
        let shown = who.contain(&root, &["-u", &uid, "-g", &gid], "cat /proc/self/setgroups; id -G").ran().out();
        assert_eq!(shown, "deny\n0");
    });
}

#[test]
fn without_newuidmap_it_is_one_id() {
    // Root writes his maps himself.
    as_user(|who| {
        let root = who.busybox();
        let mut command = who.contain(&root, &[], "cat /proc/self/uid_map; touch /f; stat -c %u /f");
        let shown = command.env("PATH", "/nowhere").ran().out();
        assert_eq!(shown.split_whitespace().collect::<Vec<_>>(), ["0", "0", "1", "0"]);
        assert_eq!(owner(root.join("f")), (who.uid, who.gid));
    });
}

#[test]
fn works_under_pseudo_with_the_ids_of_pseudo() {
    both(|who| {
        let root = who.busybox();
        if who.is_root() {
            chown(&*root, Some(u32::MAX - 1), Some(u32::MAX - 1)).unwrap();
            fs::set_permissions(root.parent().unwrap(), Permissions::from_mode(0o711)).unwrap();
        }
        let mut command = who.tool("pseudo");
        command.current_dir("/").args(["contain"]).arg(&*root).args([
            "sh",
            "-c",
            "touch /f; chown 5 /f; stat -c %u / /f; id -u",
        ]);
        assert_eq!(command.ran().out(), "0\n5\n0");
        assert_eq!(owner(root.join("f")).0, on_disk(who, 5));
    });
}
