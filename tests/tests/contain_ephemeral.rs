//! `contain -e`: changes that vanish, and a host that has not changed.
#![forbid(unsafe_code)]

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use tests::{Run, Running, TempDir, Who, as_root, as_user, both, mark};

/// A container of the machine itself.
fn here(who: &Who, options: &[&str], script: &str) -> Command {
    let options: Vec<_> = ["-e"].iter().chain(options).copied().collect();
    who.contain("/", &options, script)
}

#[test]
fn changes_of_a_root_vanish() {
    both(|who| {
        let root = who.busybox();
        root.file("etc/old", "old");
        root.file("etc/gone", "");
        let script = "echo new >/etc/old; rm /etc/gone; mkdir -p /opt/a; mv /bin/ls /bin/list; chown 5 /tmp; cat /etc/old; echo /opt/a /etc/* /bin/lis* /bin/ls";
        assert_eq!(who.contain(&root, &["-e"], script).ran().out(), "new\n/opt/a /etc/old /bin/list /bin/ls");
        assert_eq!(root.read("etc/old"), "old");
        assert!(root.join("etc/gone").exists() && !root.join("opt").exists() && root.join("bin/ls").exists());
    });
}

#[test]
fn the_machine_is_unharmed() {
    // What an ordinary user may not write outside is another test's.
    as_root(|who| {
        let name = mark();
        let places = ["/etc", "/usr/bin", "/var/lib", "/root", "/tmp", "/var/tmp", "/home", "/opt"];
        let script: Vec<_> = places.iter().map(|dir| format!("echo x >{dir}/{name} && cat {dir}/{name}")).collect();
        let script =
            format!("{}; rm /etc/passwd; mv /usr/bin/env /usr/bin/{name}-env; ls /etc/passwd", script.join(";"));
        let ran = here(who, &[], &script).ran();
        assert_eq!(ran.text(), vec!["x"; places.len()].join("\n"), "{ran:?}");
        assert!(ran.fails(2).contains("/etc/passwd"));
        for place in places {
            assert!(!Path::new(place).join(&name).exists(), "{place}");
        }
        assert!(Path::new("/etc/passwd").exists() && Path::new("/usr/bin/env").exists());
    });
}

#[test]
fn a_package_can_be_installed() {
    // An ordinary user cannot install one outside either.
    as_root(|who| {
        let dir = who.dir();
        let script = "cd \"$1\" && mkdir -p p/DEBIAN p/usr/share/nstools-sample && echo content >p/usr/share/nstools-sample/f &&
            printf 'Package: nstools-sample\\nVersion: 1\\nArchitecture: all\\nMaintainer: n <n@example.org>\\nDescription: s\\n' \
            >p/DEBIAN/control && dpkg-deb -b p a.deb >/dev/null";
        who.command("sh").args(["-c", script, "sh"]).arg(&*dir).ran().out();
        let script = format!(
            "dpkg -i {}/a.deb >/dev/null && dpkg-query -W nstools-sample && cat /usr/share/nstools-sample/f",
            dir.display()
        );
        assert_eq!(here(who, &[], &script).ran().text(), "nstools-sample\t1\ncontent");
        assert!(!Path::new("/usr/share/nstools-sample").exists());
        assert_eq!(who.command("dpkg-query").args(["-W", "nstools-sample"]).ran().code(), 1);
    });
}

#[test]
fn apt_installs_with_the_hosts_network() {
    as_root(|who| {
        // Something small that few machines have.
        let package = "hello";
        let installed =
            || who.command("dpkg-query").args(["-W", "-f", "${Status}", package]).ran().text().contains("ok installed");
        assert!(!installed(), "{package} is installed here: remove it");
        let script = format!(
            "apt-get update -qq 2>&1 && apt-get install -qq -y --no-install-recommends {package} 2>&1 && hello && dpkg-query -W {package}"
        );
        let mut command = here(who, &["--net", "host", "--env", "DEBIAN_FRONTEND=noninteractive"], &script);
        // The network that apt needs may be one of a proxy's.
        for name in ["http_proxy", "https_proxy", "no_proxy"] {
            if let Some(value) = std::env::var_os(name) {
                command.args(["--env", name]).env(name, value);
            }
        }
        let ran = command.ran();
        assert_eq!(ran.code(), 0, "{ran:#?}");
        assert!(ran.text().contains("Hello, world!"), "{ran:#?}");
        assert!(!installed());
        assert!(!Path::new("/usr/bin/hello").exists());
    });
}

#[test]
fn a_user_writes_what_he_may_write_outside_and_it_vanishes() {
    as_user(|who| {
        let name = mark();
        let home = who.home.to_str().unwrap().to_owned();
        for dir in ["/tmp", "/var/tmp", "/dev/shm", &home] {
            let script =
                format!("echo x >{dir}/{name} && cat {dir}/{name}; mkdir {dir}/d{name} && echo y >{dir}/d{name}/f");
            assert_eq!(here(who, &[], &script).ran().out(), "x", "{dir}");
            assert!(!Path::new(dir).join(&name).exists(), "{dir}");
            assert!(!Path::new(dir).join(format!("d{name}")).exists(), "{dir}");
        }
        for dir in ["/etc", "/usr/bin", "/", "/home", "/var/lib"] {
            let ran = here(who, &[], &format!("echo x >{dir}/{name}")).ran();
            assert!(ran.code() != 0 && ran.stderr.contains("Read-only file system"), "{dir}: {ran:?}");
        }
    });
}

#[test]
fn the_read_only_part_holds_for_a_user() {
    as_user(|who| {
        let name = mark();
        let script = format!(
            "for p in / /etc /usr /home; do mount -o remount,rw,bind $p; mount -o remount,rw $p; umount -l $p; done 2>/dev/null
             for p in / /etc /usr /home; do test -d $p && echo x 2>/dev/null >$p/{name} && echo $p; done; ls -d /etc/passwd"
        );
        let ran = here(who, &[], &script).ran();
        assert_eq!(ran.text(), "/etc/passwd", "{ran:?}");
    });
}

#[test]
fn existing_files_of_ones_own_can_be_changed() {
    both(|who| {
        let dir = TempDir::new(&who.home, who);
        let file = dir.join("file");
        fs::write(&file, "old").unwrap();
        who.give(&file);
        let script = format!(
            "cd {}; echo new >file; cat file; mkdir sub; mv file sub/; ln sub/file again; rm again; ls",
            dir.display()
        );
        assert_eq!(here(who, &[], &script).ran().out(), "new\nsub");
        assert_eq!(fs::read_to_string(&file).unwrap(), "old");
        assert_eq!(dir.names(), ["file"]);
    });
}

#[test]
fn tmp_keeps_its_sticky_bit() {
    both(|who| {
        let script = "stat -c '%a %u' /tmp /var/tmp / /home /etc";
        let outside = who.command("sh").args(["-c", script]).ran().out();
        let inside = here(who, &[], script).ran().out();
        let modes =
            |text: &str| text.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>();
        assert_eq!(modes(&inside), modes(&outside));
        assert_eq!(modes(&inside)[..2], ["1777", "1777"]);
        if who.is_root() {
            assert_eq!(inside, outside);
        }
    });
}

/// A socket of the host that answers "host" to all who connect.
fn answering(path: PathBuf) -> PathBuf {
    let listener = UnixListener::bind(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = stream.unwrap().write_all(b"host");
        }
    });
    path
}

#[test]
fn no_unix_socket_of_the_host_answers() {
    both(|who| {
        let (tmp, home) = (TempDir::new("/tmp", who), TempDir::new(&who.home, who));
        let run = Path::new("/run").join(mark());
        let (run, run_dir) = (answering(run.clone()), run);
        for path in [answering(tmp.join("s")), answering(home.join("s")), run] {
            let ask = format!(
                "import socket; s = socket.socket(socket.AF_UNIX); s.connect('{}'); print(s.recv(9).decode())",
                path.display()
            );
            assert_eq!(who.command("python3").args(["-c", &ask]).ran().out(), "host");
            let inside = |options: &[&str]| {
                let mut command = who.tool("contain");
                command.args(["-e", "/"]).args(options).args(["/usr/bin/python3", "-c", &ask]).ran()
            };
            let refused = inside(&[]);
            let said = refused.fails(1);
            assert!(said.contains("ConnectionRefusedError") || said.contains("FileNotFoundError"), "{path:?}: {said}");
            let bind = format!("{0}:{0}:no-idmap", path.display());
            assert_eq!(inside(&["--bind", &bind]).out(), "host", "{path:?}");
        }
        fs::remove_file(run_dir).unwrap();
    });
}

#[test]
fn moves_between_overlays_fall_back_to_copies() {
    // The directories of a user are overlays of their own.
    as_user(|who| {
        let script = "echo x >/tmp/a && mv /tmp/a /var/tmp/a && cat /var/tmp/a
            python3 -c 'import os; os.rename(\"/var/tmp/a\", \"/tmp/b\")' 2>&1 | grep -c 'Invalid cross-device link'";
        assert_eq!(here(who, &[], script).ran().out(), "x\n1");
    });
}

#[test]
fn lower_directories_can_be_renamed_and_removed() {
    as_root(|who| {
        let root = who.busybox();
        root.dir("etc/lower/deep");
        root.file("etc/lower/f", "x");
        let script = "mv /etc/lower /etc/moved && cat /etc/moved/f && rm -r /etc/moved && ls /etc";
        assert_eq!(who.contain(&root, &["-e"], script).ran().out(), "x");
        assert_eq!(root.read("etc/lower/f"), "x");
    });
}

#[test]
fn file_systems_below_the_root_are_covered() {
    both(|who| {
        // A mount namespace with a file system below ROOT.
        let dir = who.dir();
        let root = who.busybox();
        let script = format!(
            "mount -t tmpfs none {0}/mnt && echo old >{0}/mnt/f && chmod 666 {0}/mnt/f &&
             contain -e {0} sh -c 'cat /mnt/f; echo new >/mnt/f; cat /mnt/f' 2>&1; cat {0}/mnt/f",
            root.display()
        );
        let mut command = who.command("unshare");
        let own = if who.is_root() { &["-m"][..] } else { &["-r", "-m"] };
        let ran = command.args(own).args(["sh", "-c", &script]).current_dir(&*dir).ran();
        let lines: Vec<_> = ran.text().lines().map(str::to_owned).collect();
        assert_eq!((lines[0].as_str(), lines[lines.len() - 1].as_str()), ("old", "old"), "{ran:?}");
    });
}

#[test]
fn read_only_and_ephemeral() {
    both(|who| {
        let root = who.busybox();
        let refused = who.contain(&root, &["-e", "--ro"], "echo x >/etc/f").ran();
        assert!(refused.fails(1).contains("Read-only file system"), "{refused:?}");
        // Mount points can be made all the same.
        let made = who.contain(&root, &["-e", "--ro", "--tmpfs", "/new/deep"], "echo x >/new/deep/f; cat /new/deep/f");
        assert_eq!({ made }.ran().out(), "x");
    });
}

#[test]
fn two_at_once_do_not_meet() {
    both(|who| {
        let root = who.busybox();
        let mut first =
            Running::ready(&mut who.contain(&root, &["-e"], "echo 1 >/etc/f; echo ready; read x; cat /etc/f"));
        assert_eq!(who.contain(&root, &["-e"], "ls /etc; echo 2 >/etc/f").ran().out(), "");
        first.say("go");
        assert_eq!(first.line(), "1");
    });
}

#[test]
fn under_pseudo_too() {
    both(|who| {
        let name = mark();
        let mut command = who.tool("pseudo");
        let script = format!("echo x >/tmp/{name} && cat /tmp/{name}");
        command.args(["contain", "-e", "/", "sh", "-c", &script]);
        assert_eq!(command.ran().out(), "x");
        assert!(!Path::new("/tmp").join(&name).exists());
    });
}
