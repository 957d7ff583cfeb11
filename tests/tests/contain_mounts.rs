//! `contain`: what is mounted, and that it holds.
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};

use tests::{Root, Run, Who, both};

/// Everything that root of a container can do to make `$1` writable or to lift
/// it; each line that it writes is a breach.
const BREACHES: &str = "exec 2>/dev/null
    mount -o remount,rw,bind $1 && echo remounted
    mount -o remount,rw $1 && echo remounted all
    umount $1 && echo unmounted
    umount -l $1 && echo detached
    mkdir -p /tmp/there; mount --move $1 /tmp/there && echo moved
    unshare -m umount $1 && echo unmounted in a copy
    unshare -U -r -m umount $1 && echo unmounted below
    unshare -U -r -m mount -o remount,rw,bind $1 && echo remounted below
    mount --bind $1 /tmp/there && mount -o remount,rw,bind /tmp/there && echo bound
    echo done";

/// Shows that nothing of the above works on `place` with these options, and
/// that the file in it stays as it was.
fn holds(who: &Who, root: &Root, options: &[&str], place: &str) {
    let script = format!("set -- {place}; {BREACHES}");
    let ran = who.contain(root, options, &script).ran();
    assert_eq!(ran.text(), "done", "{options:?} {place}: {ran:#?}");
}

#[test]
fn a_read_only_root_holds() {
    both(|who| {
        let root = who.busybox();
        root.file("etc/file", "old");
        let write = "echo new >/etc/file";
        let options = ["--ro", "--tmpfs", "/tmp"];
        assert!(who.contain(&root, &options, write).ran().fails(1).contains("Read-only file system"));
        holds(who, &root, &options, "/");
        let script = format!("set -- /; ({BREACHES}); {write}");
        assert!(who.contain(&root, &options, &script).ran().fails(1).contains("Read-only file system"));
        assert_eq!(root.read("etc/file"), "old");
        // The same without the option shows that the test could see it.
        assert_eq!(who.contain(&root, &[], write).ran().out(), "");
        assert_eq!(root.read("etc/file"), "new\n");
    });
}

#[test]
fn what_the_breaches_do_where_they_may() {
    // So that none of them fails above for want of a program or a right.
    both(|who| {
        let root = who.busybox();
        let script = format!("mkdir /mnt/own; mount -t tmpfs -o ro none /mnt/own; set -- /mnt/own; {BREACHES}");
        let shown = who.contain(&root, &[], &script).ran().out();
        assert!(shown.starts_with("remounted\n") && shown.contains("unmounted\n"), "{shown}");
        let script = "mount -t tmpfs none /mnt; mkdir /tmp/to; mount --move /mnt /tmp/to && echo moved; unshare -m true && echo copied";
        assert_eq!(who.contain(&root, &[], script).ran().out(), "moved\ncopied");
    });
}

#[test]
fn a_read_only_bind_holds() {
    both(|who| {
        let root = who.busybox();
        let dir = who.dir();
        fs::write(dir.join("file"), "old").unwrap();
        who.give(dir.join("file"));
        let source = dir.to_str().unwrap();
        for options in [["--bind-ro", &format!("{source}:/mnt")], ["--bind", &format!("{source}:/mnt:ro")]] {
            let refused = who.contain(&root, &options, "echo new >/mnt/file").ran();
            assert!(refused.fails(1).contains("Read-only file system"), "{refused:?}");
            holds(who, &root, &options, "/mnt");
        }
        assert_eq!(fs::read_to_string(dir.join("file")).unwrap(), "old");
        assert_eq!(who.contain(&root, &["--bind", &format!("{source}:/mnt")], "echo new >/mnt/file").ran().out(), "");
        assert_eq!(fs::read_to_string(dir.join("file")).unwrap(), "new\n");
    });
}

#[test]
fn masks_hold() {
    both(|who| {
        let root = who.busybox();
        root.dir("etc/secret");
        root.file("etc/secret/key", "key");
        root.file("etc/file", "secret");
        let options = ["--tmpfs", "/etc/secret:ro", "--bind-ro", "/dev/null:/etc/file:no-idmap"];
        let script = "ls /etc/secret; cat /etc/file; for p in /etc/secret /etc/file; do umount $p; umount -l $p;
            mkdir -p /tmp/t; mount --move $p /tmp/t; unshare -m umount $p; done 2>/dev/null; ls /etc/secret; cat /etc/file; echo end";
        assert_eq!(who.contain(&root, &options, script).ran().out(), "end");
        holds(who, &root, &options, "/etc/secret");
        assert_eq!(who.contain(&root, &[], "cat /etc/secret/key /etc/file").ran().out(), "keysecret");
    });
}

#[test]
fn what_the_container_is_built_on_holds() {
    both(|who| {
        let root = who.busybox();
        root.file("dev/below", "");
        // Nothing comes to light below what was mounted over it.
        let script = "for p in /dev/null /dev; do umount $p && echo $p; umount -l $p && echo $p; done 2>/dev/null; ls /dev/below";
        let ran = who.contain(&root, &[], script).ran();
        assert!(ran.fails(1).contains("No such file"), "{ran:?}");
        assert_eq!(ran.text(), "");
        // The root was bound over itself: there is nothing of the host behind it.
        let script = "umount -l / 2>/dev/null; cd ..; cd ../..; ls -d /nstools-work old 2>/dev/null; ls /";
        assert_eq!(who.contain(&root, &[], script).ran().out(), who.contain(&root, &[], "ls /").ran().out());
    });
}

#[test]
fn a_read_only_bind_is_so_on_what_is_mounted_below() {
    both(|who| {
        let root = who.busybox();
        let dir = who.dir();
        fs::set_permissions(&*dir, fs::Permissions::from_mode(0o755)).unwrap();
        // A namespace of the caller's own with a mount below the source: what contain finds there.
        let script = format!(
            "mkdir -p {0}/sub; mount -t tmpfs none {0}/sub && touch {0}/sub/f && chmod 777 {0}/sub/f &&
             contain --bind-ro {0}:/mnt:no-idmap {1} sh -c \"$0\"",
            dir.display(),
            root.display()
        );
        let unshared = |inner: &str| {
            let mut command = who.command("unshare");
            command.args(if who.is_root() { &["-m"][..] } else { &["-r", "-m"] });
            command.args(["sh", "-c", &script, inner]).current_dir("/");
            command.ran()
        };
        assert_eq!(unshared("ls /mnt/sub").out(), "f");
        assert!(unshared("echo x >/mnt/sub/f").fails(1).contains("Read-only file system"));
        assert_eq!(unshared(&format!("set -- /mnt/sub; {BREACHES}")).text(), "done");
    });
}

#[test]
fn mounts_come_in_the_order_given() {
    both(|who| {
        let root = who.busybox();
        let dir = who.dir();
        fs::create_dir(dir.join("sub")).unwrap();
        fs::write(dir.join("word"), "bound\n").unwrap();
        let bind = format!("{}:/mnt", dir.display());
        let over = who.contain(&root, &["--bind", &bind, "--tmpfs", "/mnt"], "ls /mnt").ran().out();
        assert_eq!(over, "");
        let over = who.contain(&root, &["--tmpfs", "/mnt", "--bind", &bind], "cat /mnt/word").ran().out();
        assert_eq!(over, "bound");
        let file = format!("{}:/mnt/a/b", dir.join("word").display());
        let below = [
            "--tmpfs",
            "/mnt",
            "--bind-ro",
            &file,
            "--tmpfs",
            "/mnt/c",
            "--bind",
            &format!("{}:/mnt/d", dir.display()),
        ];
        assert_eq!(
            who.contain(&root, &below, "cat /mnt/a/b /mnt/d/word; ls /mnt").ran().out(),
            "bound\nbound\na\nc\nd"
        );
    });
}

#[test]
fn a_missing_mount_point_is_told_or_made_where_it_vanishes() {
    both(|who| {
        let root = who.busybox();
        let bind = ["--bind-ro", "/etc/passwd:/opt/deep/file"];
        let ran = who.contain(&root, &bind, "true").ran();
        let said = ran.fails(125);
        assert!(said.starts_with("contain: cannot find the mount point \"/opt/deep/file\" in "), "{said}");
        assert!(said.contains("contain: hint: ") && said.contains("--ephemeral"), "{said}");
        assert!(!root.join("opt").exists());
        let made = who.contain(&root, &["-e", bind[0], bind[1]], "cat /opt/deep/file").ran().out();
        assert_eq!(made, fs::read_to_string("/etc/passwd").unwrap().trim_end());
        assert!(!root.join("opt").exists());
    });
}

#[test]
fn colons_and_odd_names() {
    both(|who| {
        let root = who.busybox();
        let dir = who.dir();
        let odd = dir.join("a:b\\c d");
        fs::create_dir(&odd).unwrap();
        fs::write(odd.join("word"), "odd\n").unwrap();
        let source = odd.to_str().unwrap().replace('\\', r"\\").replace(':', r"\:");
        let bind = format!(r"{source}:/mnt/x\:y:ro,noexec");
        let ran = who.contain(&root, &["--tmpfs", "/mnt", "--bind", &bind], "cat /mnt/x:y/word").ran();
        assert_eq!(ran.out(), "odd");
    });
}

#[test]
fn wrong_mounts_are_told() {
    both(|who| {
        let root = who.busybox();
        let cases = [
            ("--bind", "/etc:mnt", "the destination \"mnt\" is not absolute"),
            ("--bind", "etc", "the destination \"etc\" is not absolute"),
            ("--bind", "/etc:/mnt/../etc", "has a \"..\" in it"),
            ("--bind", "/etc:/mnt:ro:x", "has too many fields"),
            ("--bind", "/etc:/mnt:rx", "unknown option \"rx\""),
            ("--bind-ro", "/etc:/mnt:size=1k", "unknown option \"size=1k\""),
            ("--tmpfs", "/mnt:colour=red", "unknown option \"colour=red\""),
            ("--tmpfs", "mnt", "is not absolute"),
            ("--tmpfs", "/", "is the root itself"),
            ("--bind", "/etc:/proc/x", "is in a file system that the container mounts for itself"),
            ("--bind-ro", "/no/such:/mnt", "cannot bind \"/no/such\": No such file or directory"),
            ("--tmpfs", "/mnt:size=much", "with \"size=much\": Invalid argument"),
        ];
        for (option, mount, expected) in cases {
            let ran = who.contain(&root, &[option, mount], "true").ran();
            let said = ran.fails(125);
            assert!(said.starts_with("contain: ") && said.contains(expected), "{option} {mount}: {said}");
        }
    });
}

#[test]
fn options_of_a_tmpfs() {
    both(|who| {
        let root = who.busybox();
        let script = "stat -c %a /mnt; dd if=/dev/zero of=/mnt/f bs=1k count=2000 2>/dev/null; stat -c %s /mnt/f; stat -c %u:%g /mnt";
        let shown = who.contain(&root, &["--tmpfs", "/mnt:size=1m,mode=700"], script).ran();
        assert_eq!(shown.text(), "700\n1048576\n0:0", "{shown:?}");
        // Over /tmp it stays a /tmp.
        assert_eq!(who.contain(&root, &["--tmpfs", "/tmp"], "stat -c %a /tmp").ran().out(), "1777");
        let refused = who.contain(&root, &["--tmpfs", "/mnt:noexec"], "cp /bin/busybox /mnt/true; /mnt/true").ran();
        assert!(refused.fails(126).contains("Permission denied"), "{refused:?}");
        assert!(!root.join("mnt/f").exists());
    });
}

#[test]
fn links_in_the_root_lead_nowhere_else() {
    // CVE-2021-30465 and kin: a target that is a link is resolved in the root.
    both(|who| {
        let dir = who.dir();
        fs::create_dir_all(dir.join("deep/deep")).unwrap();
        for (name, link) in [("proc", "/deep"), ("sys", "../../../../../../deep"), ("dev", "/deep/../deep")] {
            let root = who.busybox();
            fs::remove_dir(root.join(name)).unwrap();
            let inner = root.dir("deep");
            symlink(link, root.join(name)).unwrap();
            let ran = who.contain(&root, &[], &format!("ls -d /{name}/. /deep; mount | grep -c ' /deep '")).ran();
            assert_eq!(ran.text().lines().last(), Some("1"), "{name}: {ran:?}");
            assert!(fs::read_dir(inner).unwrap().next().is_none());
        }
        let root = who.busybox();
        fs::remove_dir(root.join("mnt")).unwrap();
        symlink(dir.join("deep"), root.join("mnt")).unwrap();
        let ran = who.contain(&root, &["--tmpfs", "/mnt"], "true").ran();
        assert!(ran.fails(125).contains("mount point \"/mnt\""), "{ran:?}");
        assert!(fs::read_dir(dir.join("deep/deep")).unwrap().next().is_none());
        let ran =
            who.contain(&root, &["-e", "--bind-ro", "/etc:/tmp/a/b", "--tmpfs", "/mnt/x"], "ls /tmp/a/b/passwd").ran();
        assert!(ran.code() == 0 || ran.code() == 125, "{ran:?}");
        assert!(!dir.join("deep/x").exists());
    });
}

#[test]
fn a_console_that_is_a_link_stays_inside() {
    // CVE-2025-52565: what /dev of the image holds is covered before anything is mounted there.
    both(|who| {
        let root = who.busybox();
        let victim = root.file("etc/victim", "victim");
        for name in ["console", "null", "pts", "ptmx"] {
            symlink("/etc/victim", root.join("dev").join(name)).unwrap();
        }
        let mut command =
            who.contain(&root, &["--console"], "cat /etc/victim; test -c /dev/null && test -c /dev/console && echo ok");
        let shown = command.ran();
        assert!(shown.text().ends_with("victimok"), "{shown:?}");
        assert_eq!(fs::read_to_string(victim).unwrap(), "victim");
    });
}

#[test]
fn devices_on_disk_do_nothing() {
    // Only root can make one there.
    tests::as_root(|who| {
        let root = who.busybox();
        let made = who.command("mknod").arg(root.join("tmp/zero")).args(["c", "1", "5"]).ran();
        assert_eq!(made.out(), "");
        assert!(fs::metadata(root.join("tmp/zero")).unwrap().file_type().is_char_device());
        for options in [&[][..], &["-e"], &["--ro"]] {
            let refused = who.contain(&root, options, "head -c 1 /tmp/zero").ran();
            assert!(refused.fails(1).contains("Permission denied"), "{options:?} {refused:?}");
        }
        let dir = root.join("tmp").to_str().unwrap().to_owned();
        let refused = who.contain(&root, &["--bind", &format!("{dir}:/mnt")], "head -c 1 /mnt/zero").ran();
        assert!(refused.fails(1).contains("Permission denied"), "{refused:?}");
        let wanted = who.contain(&root, &["--bind", &format!("{dir}:/mnt:dev")], "head -c 1 /mnt/zero | wc -c").ran();
        assert_eq!(wanted.out(), "1");
        assert!(who.contain(&root, &[], "mknod /tmp/new c 1 5").ran().fails(1).contains("Operation not permitted"));
    });
}

#[test]
fn what_the_host_mounts_later_does_not_appear() {
    // Mounting is root's.
    tests::as_root(|who| {
        let root = who.busybox();
        let script = "mount --make-rshared / 2>/dev/null; mkdir -p $0/mnt/late; mkfifo $0/go
            contain $0 sh -c 'echo ready; cat /go >/dev/null; ls -A /mnt/late' | { read x; echo $x
            mount -t tmpfs none $0/mnt/late; touch $0/mnt/late/f; echo >$0/go; cat; echo end; }";
        let mut command = who.command("unshare");
        let ran = command.args(["-m", "sh", "-c", script]).arg(&*root).ran();
        assert_eq!(ran.out(), "ready\nend");
    });
}
