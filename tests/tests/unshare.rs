//! `unshare`: what releases of util-linux newer than Debian's have, and what none has.
#![forbid(unsafe_code)]

use std::fs;

use tests::{Names, Run, Who, as_root, as_user, both, copy_program, lists};

const PROBED: [&str; 4] = ["net", "ipc", "uts", "mnt"];

/// A map, or one that is expected, as its sorted extents; `S` is the caller's first
/// subordinate id, `U` his own.
fn extents(who: &Who, text: &str) -> Vec<Vec<u32>> {
    let number = |word: &str| match word.split_once('+') {
        _ if word == "U" => who.uid,
        _ if word == "S" => who.first_subuid(),
        Some(("S", more)) => who.first_subuid() + more.parse::<u32>().unwrap(),
        _ => word.parse().unwrap(),
    };
    let mut lines: Vec<Vec<u32>> =
        text.split(['\n', ';']).map(|line| line.split_whitespace().map(number).collect()).collect();
    lines.sort();
    lines
}

fn uid_map(names: &Names, who: &Who, options: &str) -> Vec<Vec<u32>> {
    let mut command = names.unshare(&[]);
    command.args(options.split(' ').map(|word| word.replace("SUB", &subid(who))));
    extents(who, &command.args(["cat", "/proc/self/uid_map"]).ran().out())
}

/// Root has none, and needs none.
fn subid(who: &Who) -> String {
    if who.is_root() { "100000".to_owned() } else { who.first_subuid().to_string() }
}

#[test]
fn a_user_maps_ranges() {
    as_user(|who| {
        let names = Names::new(who);
        for (options, expected) in [
            ("--map-users=0:SUB:10", "0 S 10"),
            ("--map-users 7:SUB:3", "7 S 3"),
            ("--map-users=SUB,7,3", "7 S 3"),
            ("--map-users=auto", "0 S 65536"),
            ("--map-users=subids", "S S 65536"),
            ("--map-subids", "S S 65536"),
            ("--map-auto", "0 S 65536"),
            ("-r --map-auto", "0 U 1; 1 S 65536"),
            ("--map-auto -r", "0 U 1; 1 S 65536"),
            ("--map-user=5 --map-auto", "0 S 5; 5 U 1; 6 S+5 65531"),
            ("-r --map-subids", "0 U 1; S S 65536"),
            ("-r --map-users=1:SUB:10", "0 U 1; 1 S 10"),
            // A range that ends before the single id, begins after it, or holds it.
            ("--map-user=5 --map-users=0:SUB:5", "0 S 5; 5 U 1"),
            ("--map-user=5 --map-users=6:SUB:5", "5 U 1; 6 S 5"),
            ("--map-user=0 --map-users=1:SUB:65536", "0 U 1; 1 S 65536"),
        ] {
            assert_eq!(uid_map(&names, who, options), extents(who, expected), "{options}");
        }
    });
}

#[test]
fn ranges_can_be_repeated() {
    as_user(|who| {
        let names = Names::new(who);
        let first = who.first_subuid();
        let second = format!("--map-users=100:{}:5", first + 100);
        let args = [&format!("--map-users=0:{first}:10"), &second, "cat", "/proc/self/uid_map"];
        assert_eq!(extents(who, &names.unshare(&args).ran().out()), extents(who, "0 S 10; 100 S+100 5"));
    });
}

#[test]
fn root_maps_what_he_likes_without_a_helper() {
    as_root(|who| {
        let names = Names::new(who);
        for (options, expected) in [
            ("--map-users=0:100000:10", "0 100000 10"),
            ("--map-users=0:100000:10 --map-users=20:200000:5", "0 100000 10; 20 200000 5"),
            ("-r --map-users=1:100000:10", "0 0 1; 1 100000 10"),
            ("--map-users=all", "0 0 4294967295"),
            ("--map-users=all --map-groups=all", "0 0 4294967295"),
        ] {
            // No newuidmap in PATH.
            let mut command = names.command(names.path().join("unshare"));
            command.args(options.split(' ')).args(["/bin/cat", "/proc/self/uid_map"]).env("PATH", names.path());
            assert_eq!(extents(who, &command.ran().out()), extents(who, expected), "{options}");
        }
    });
}

#[test]
fn ranges_leave_setgroups_allowed() {
    both(|who| {
        let names = Names::new(who);
        let map = format!("0:{}:10", subid(who));
        let args = ["--map-users", &map, "--map-groups", &map, "-S", "3", "-G", "4"];
        let script = "cat /proc/self/setgroups; id -u; id -g; id -G";
        let shown = names.unshare(&args).args(["sh", "-c", script]).ran().out();
        assert_eq!(shown, "allow\n3\n4\n4");
    });
}

#[test]
fn setgroups_are_not_allowed_over_one_group() {
    as_user(|who| {
        let (uid, gid) = (format!("0:{}:1", who.uid), format!("0:{}:1", who.gid));
        let args = ["--map-users", &uid, "--map-groups", &gid, "--setgroups=allow", "true"];
        assert!(Names::new(who).unshare(&args).ran().fails(1).contains("--setgroups=allow"));
    });
}

#[test]
fn maps_that_are_none() {
    both(|who| {
        let names = Names::new(who);
        for map in ["0:5", "0:5:0", "a:b:c", "1:2:3:4", "0:-1:5", "0:0:4294967296", "4294967295:0:5", "alll", ":::"] {
            let ran = names.unshare(&["--map-users", map, "true"]).ran();
            let said = ran.fails(1);
            assert!(said.starts_with("unshare: ") && said.contains(map), "{said}");
        }
        // Two ranges that overlap are refused by us, not left to EINVAL.
        let map = format!("0:{}:10", subid(who));
        let ran = names.unshare(&["--map-users", &map, "--map-users", &map, "true"]).ran();
        assert!(ran.fails(1).starts_with("unshare: "));
    });
}

#[test]
fn an_owner_of_the_namespaces() {
    let program = "import fcntl, struct, sys
fd = open('/proc/self/ns/user')
owner = bytearray(4)
fcntl.ioctl(fd, 0xb704, owner)  # NS_GET_OWNER_UID
print(struct.unpack('I', owner)[0], open('/proc/self/uid_map').read().split())";
    as_root(|who| {
        let names = Names::new(who);
        let user = tests_user();
        let owner = format!("{}:{}", user.0, user.1);
        let map = ["--map-users=all", "--map-groups=all"];
        let args = [&["--owner", &owner, "-U"][..], &map, &["python3", "-c", program]].concat();
        let shown = names.unshare(&args).env("PATH", path(&names)).ran().out();
        assert_eq!(shown, format!("{} ['0', '0', '4294967295']", user.0));
        // Written by the owner himself: his one id, by which he is told, and a clock.
        let args = ["--owner", &owner, "-rT", "--monotonic", "5", "python3", "-c", program];
        assert_eq!(names.unshare(&args).env("PATH", path(&names)).ran().out(), format!("0 ['0', '{}', '1']", user.0));
    });
    both(|who| {
        let names = Names::new(who);
        for owner in ["5", "5:", ":5", "root:root", "-1:5", "5:4294967295"] {
            assert!(names.unshare(&["--owner", owner, "-U", "true"]).ran().fails(1).contains(owner), "{owner}");
        }
    });
    as_user(|who| {
        let ran = Names::new(who).unshare(&["--owner", "0:0", "-U", "true"]).ran();
        assert!(ran.fails(1).contains("not permitted"), "{ran:?}");
    });
}

/// The ordinary user's ids.
fn tests_user() -> (u32, u32) {
    let ids = std::cell::Cell::new((0, 0));
    as_user(|who| ids.set((who.uid, who.gid)));
    ids.get()
}

fn path(names: &Names) -> String {
    format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", names.path().display())
}

#[test]
fn binfmt_of_its_own() {
    let supported = fs::read_to_string("/proc/filesystems").unwrap().contains("binfmt_misc");
    both(|who| {
        let names = Names::new(who);
        let status = names.unshare(&["-r", "--mount-binfmt", "cat", "/proc/sys/fs/binfmt_misc/status"]).ran();
        if !supported {
            assert!(status.fails(1).contains("binfmt_misc"), "{status:?}");
            return;
        }
        assert_eq!(status.out(), "enabled");
        let dir = who.dir();
        let elsewhere = format!("--mount-binfmt={}", dir.display());
        let listed = names.unshare(&["-r", &elsewhere, "ls", dir.to_str().unwrap()]).ran().out();
        assert_eq!(listed, "register\nstatus");
        // The interpreter gets the file's name as its argument.
        let file = dir.join("file");
        fs::write(&file, "\x7fTST and more").unwrap();
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        who.give(&file);
        for interpreter in [":test:M::\\x7fTST::/bin/echo:", ":test:M::\\x7fTST::/bin/echo:F"] {
            for option in ["-l", "--load-interp"] {
                let ran = names.unshare(&["-r", option, interpreter, file.to_str().unwrap(), "word"]).ran();
                assert_eq!(ran.out(), format!("{} word", file.display()), "{interpreter}");
            }
        }
        let refused = names.unshare(&["-r", "-l", "nonsense", "true"]).ran();
        assert!(refused.fails(1).contains("nonsense"), "{refused:?}");
        // None of this is seen outside.
        assert!(!fs::exists("/proc/sys/fs/binfmt_misc/test").unwrap());
    });
}

#[test]
fn an_interpreter_from_outside_of_the_root() {
    let supported = fs::read_to_string("/proc/filesystems").unwrap().contains("binfmt_misc");
    both(|who| {
        let names = Names::new(who);
        let root = who.busybox();
        let file = root.file("bin/file", "\x7fTST and more");
        fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        // It is nowhere in the root, and opened before it is entered.
        let dir = who.dir();
        copy_program("/bin/busybox", dir.join("echo"));
        who.give(dir.join("echo"));
        let interpreter = format!(":test:M::\\x7fTST::{}/echo:F", dir.display());
        let mut command = names.unshare(&["-rpf", "--mount-proc", "-R", root.to_str().unwrap()]);
        command.args(["-l", &interpreter, "/bin/file", "word"]);
        let ran = command.ran();
        if supported {
            assert_eq!(ran.out(), "/bin/file word");
        } else {
            assert!(ran.fails(1).contains("binfmt_misc"), "{ran:?}");
        }
    });
}

#[test]
fn an_environment_that_is_cleared() {
    both(|who| {
        let names = Names::new(who);
        let run = |options: &[&str]| {
            let mut command = names.unshare(options);
            command.arg("/usr/bin/env").env("ONE", "1").env("TWO", "2").ran().out()
        };
        assert!(run(&[]).contains("ONE=1"));
        assert_eq!(run(&["--clear-env"]), "");
        assert_eq!(run(&["--whitelist-env", "ONE"]), "ONE=1");
        assert_eq!(run(&["--whitelist-env=TWO,NO_SUCH,ONE"]).split('\n').count(), 2);
        assert_eq!(run(&["--clear-env", "--whitelist-env=TWO"]), "TWO=2");
        // util-linux clears nothing then.
        assert_eq!(run(&["--whitelist-env", "NO_SUCH"]), "");
        assert_eq!(run(&["--whitelist-env", "ON"]), "");
    });
}

#[test]
fn an_environment_of_any_words() {
    let program = "import ctypes, os, sys
words = lambda *words: (ctypes.c_char_p * (len(words) + 1))(*words, None)
path = os.fsencode(sys.argv[1])
arguments = words(b'unshare', b'/bin/cat', b'/proc/self/environ')
ctypes.CDLL(None).execve(path, arguments, words(b'NO_SIGN', b'A=1', b'A=2', b'=', b'B=\\xff'))";
    both(|who| {
        let names = Names::new(who);
        let ran = names.command("python3").args(["-c", program]).arg(names.path().join("unshare")).ran();
        assert_eq!(ran.stdout, b"NO_SIGN\0A=1\0A=2\0=\0B=\xff\0", "{ran:?}");
    });
}

#[test]
fn clocks_by_fractions_of_a_second() {
    both(|who| {
        let names = Names::new(who);
        for fork in [&[][..], &["-f"]] {
            let args = [fork, &["-r", "-T", "--monotonic", "1.5", "--boottime", "-0.25"]].concat();
            let shown = names.unshare(&args).args(["cat", "/proc/self/timens_offsets"]).ran().out();
            let lines: Vec<Vec<_>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
            assert_eq!(lines, [["monotonic", "1", "500000000"], ["boottime", "-1", "750000000"]]);
        }
        for offset in ["1.2.3", "1e3", "0x5", "1,5", "1.5s", "-", "nan", "+-1", "--1"] {
            let ran = names.unshare(&["-r", "-T", &format!("--monotonic={offset}"), "true"]).ran();
            assert!(ran.fails(1).contains(offset), "{ran:?}");
        }
    });
}

#[test]
fn the_clock_that_the_command_reads() {
    both(|who| {
        let names = Names::new(who);
        let program = "import time; print(time.clock_gettime(time.CLOCK_BOOTTIME))";
        let read = |options: &[&str]| -> f64 {
            let mut command = names.unshare(options);
            command.args(["python3", "-c", program]).env("PATH", path(&names)).ran().out().parse().unwrap()
        };
        for fork in [&["-r"][..], &["-rf"]] {
            let before = read(&[]);
            let moved = read(&[fork, &["-T", "--boottime", "1000000.5"]].concat());
            let after = read(&[]);
            assert!(before + 1_000_000.5 <= moved && moved <= after + 1_000_000.5, "{before} {moved} {after}");
        }
    });
}

#[test]
fn all_options_are_in_the_help() {
    both(|who| {
        let names = Names::new(who);
        let help = names.unshare(&["--help"]).ran().out();
        let own = who.tool("isolate").arg("--help").ran().out();
        for option in [
            "mount",
            "uts",
            "ipc",
            "net",
            "pid",
            "user",
            "cgroup",
            "time",
            "fork",
            "kill-child",
            "forward-signals",
            "mount-proc",
            "mount-binfmt",
            "load-interp",
            "propagation",
            "root",
            "wd",
            "setuid",
            "setgid",
            "map-user",
            "map-group",
            "map-root-user",
            "map-current-user",
            "map-users",
            "map-groups",
            "map-auto",
            "map-subids",
            "owner",
            "setgroups",
            "keep-caps",
            "monotonic",
            "boottime",
            "clear-env",
            "whitelist-env",
            "help",
            "version",
        ] {
            for text in [&help, &own] {
                assert!(lists(text, option), "--{option} is not in {text}");
            }
        }
        assert!(help.contains("unshare ") && own.contains("isolate "));
        // stdout cannot take it.
        let mut full = names.unshare(&["--help"]);
        let script = "exec \"$@\" >/dev/full";
        let mut command = names.command("sh");
        command.args(["-c", script, "sh"]).arg(full.get_program()).args(full.get_args());
        assert_ne!(command.ran().code(), 0);
        assert!(full.ran().out().len() > 100);
    });
}

#[test]
fn under_its_own_name() {
    both(|who| {
        let links = |options: &[&str]| -> Vec<bool> {
            let script = PROBED.map(|name| format!("readlink /proc/self/ns/{name}")).join("; ");
            let shown = who.tool("isolate").args(options).args(["sh", "-c", &script]).ran().out();
            let outside = PROBED.map(|name| fs::read_link(format!("/proc/self/ns/{name}")).unwrap());
            shown.lines().zip(outside).map(|(inside, outside)| outside.as_os_str() != inside).collect()
        };
        assert_eq!(links(&[]), [true, true, false, false]);
        let user = if who.is_root() { &[][..] } else { &["-Ur"] };
        assert_eq!(links(&[user, &["-n"]].concat()), [true, false, false, false]);
        assert_eq!(links(&[user, &["-u", "-m"]].concat()), [false, false, true, true]);
        assert_eq!(links(&[user, &["--ipc", "--",]].concat()), [false, true, false, false]);
        assert_eq!(links(&["-Ur"]), [false; 4]);
        assert_eq!(who.tool("isolate").args(["-Ur", "id", "-u"]).ran().out(), "0");
        // Only where nothing is asked for is lo up.
        let routes =
            |options: &[&str]| who.tool("isolate").args(options).args(["cat", "/proc/net/fib_trie"]).ran().out();
        assert!(routes(&[]).contains("127.0.0.1") && !routes(&["-r", "-n"]).contains("127.0.0.1"));
    });
}

#[test]
fn statuses_of_both_names() {
    both(|who| {
        let names = Names::new(who);
        let run = |args: &[&str]| {
            let own = who.tool("isolate").args(args).ran();
            let theirs = names.unshare(args).ran();
            assert!(own.stderr.is_empty() || own.stderr.starts_with("isolate: "), "{own:?}");
            assert!(theirs.stderr.is_empty() || theirs.stderr.starts_with("unshare: "), "{theirs:?}");
            (own.code(), theirs.code())
        };
        assert_eq!(run(&["--nonsense", "true"]), (125, 1));
        assert_eq!(run(&["-U", "-S", "x", "true"]), (125, 1));
        assert_eq!(run(&["-U", "-w", "/no/such", "true"]), (125, 1));
        assert_eq!(run(&["-U", "-S", "12345", "true"]), (125, 1));
        assert_eq!(run(&["-U", "no-such-program"]), (127, 127));
        assert_eq!(run(&["-U", "/etc/passwd"]), (126, 126));
        assert_eq!(run(&["-Uf", "no-such-program"]), (127, 127));
        assert_eq!(run(&["-U", "sh", "-c", "exit 9"]), (9, 9));
        assert_eq!(run(&["-Uf", "sh", "-c", "exit 9"]), (9, 9));
    });
}

#[test]
fn deaths_under_both_names() {
    use std::os::unix::process::ExitStatusExt;
    both(|who| {
        let names = Names::new(who);
        for (name, number) in [("TERM", 15), ("KILL", 9), ("HUP", 1), ("INT", 2), ("USR1", 10), ("40", 40)] {
            for options in [&["-Uf"][..], &["-U", "--kill-child"], &["-U", "--forward-signals"]] {
                let script = format!("kill -{name} $$");
                let args = [options, &["sh", "-c", &script]].concat();
                assert_eq!(who.tool("isolate").args(&args).ran().code(), 128 + number, "{args:?}");
                assert_eq!(names.unshare(&args).ran().status.signal(), Some(number), "{args:?}");
            }
        }
    });
}
