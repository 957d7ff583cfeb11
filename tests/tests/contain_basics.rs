//! `contain`: what a command finds in a container.
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::{ffi::OsStr, path::Path};

use tests::{Run, Running, both, noise};

#[test]
fn every_namespace_is_new() {
    both(|who| {
        let root = who.busybox();
        for namespace in ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time"] {
            let link = format!("/proc/self/ns/{namespace}");
            let outside = fs::read_link(&link).unwrap();
            let inside = who.contain(&root, &[], &format!("readlink {link}")).ran().out();
            assert!(inside.starts_with(&format!("{namespace}:[")), "{inside}");
            assert_ne!(Path::new(&inside), outside);
        }
    });
}

#[test]
fn the_command_is_pid_1_of_the_root() {
    both(|who| {
        let root = who.busybox();
        root.file("etc/mine", "");
        let shown = who.contain(&root, &[], "echo $$; id -u; id -g; pwd; ls / /etc").ran().out();
        assert_eq!(
            shown.split_whitespace().collect::<Vec<_>>().join(" "),
            "1 0 0 / /: bin dev etc mnt proc root sys tmp /etc: mine"
        );
    });
}

#[test]
fn the_default_command_is_a_shell() {
    both(|who| {
        let root = who.busybox();
        let ran = who.tool("contain").arg(&*root).ran_with(b"echo $0 $$\nexit 4\n");
        assert_eq!((ran.code(), ran.text()), (4, "/bin/sh 1".to_owned()));
    });
}

#[test]
fn only_its_own_processes_show() {
    both(|who| {
        let root = who.busybox();
        let shown = who.contain(&root, &[], "echo /proc/[0-9]*").ran().out();
        assert_eq!(shown, "/proc/1");
    });
}

#[test]
fn devices() {
    both(|who| {
        let root = who.busybox();
        let shown = who.contain(&root, &[], "cd /dev; ls | tr '\\n' ' '").ran().out();
        assert_eq!(shown, "console fd full null ptmx pts random shm stderr stdin stdout tty urandom zero");
        let script = "for d in null zero full random urandom tty console; do test -c /dev/$d || echo $d; done
            for l in fd stdin stdout stderr ptmx; do test -L /dev/$l || echo $l; done
            echo x >/dev/null && head -c 3 /dev/zero | wc -c && head -c 5 /dev/urandom | wc -c
            echo x 2>&1 >/dev/full && echo written; echo in | cat /dev/stdin /dev/fd/0
            stat -c %a /dev/shm; stat -c %a /dev/pts/ptmx; touch /dev/shm/f && ls /dev/shm";
        let shown = who.contain(&root, &[], script).ran();
        let words: Vec<_> = shown.stdout.split(|&byte| byte == b'\n').map(String::from_utf8_lossy).collect();
        let expected = ["3", "5", "sh: write error: No space left on device", "in", "1777", "666", "f", ""];
        assert_eq!(words, expected, "{shown:#?}");
    });
}

#[test]
fn device_nodes_are_the_hosts_and_stay_as_they_are() {
    both(|who| {
        let root = who.busybox();
        let before = fs::metadata("/dev/null").unwrap().permissions();
        let refused = who.contain(&root, &[], "chmod 600 /dev/null").ran();
        assert!(refused.fails(1).contains("Operation not permitted"), "{refused:?}");
        assert_eq!(fs::metadata("/dev/null").unwrap().permissions(), before);
    });
}

#[test]
fn lo_is_up_and_alone() {
    both(|who| {
        let root = who.busybox();
        let shown = who.contain(&root, &[], "ls /sys/class/net; cat /sys/class/net/lo/flags").ran().out();
        // IFF_UP is the lowest bit.
        assert_eq!(shown, "lo\n0x9");
        let talk = "nc -l -p 9 >/tmp/got & until nc 127.0.0.1 9 </etc/word; do :; done 2>/dev/null; wait; cat /tmp/got";
        root.file("etc/word", "hello\n");
        assert_eq!(who.contain(&root, &[], talk).ran().out(), "hello");
    });
}

#[test]
fn the_environment_is_clean() {
    both(|who| {
        let root = who.busybox();
        let mut command = who.contain(&root, &[], "env | sort");
        command.env("SECRET", "x").env("TERM", "vt100");
        let shown = command.ran().out();
        let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        // The shell adds PWD and SHLVL.
        let ours = |text: &str| -> Vec<String> {
            text.lines()
                .filter(|line| !line.starts_with("PWD=") && !line.starts_with("SHLVL="))
                .map(str::to_owned)
                .collect()
        };
        assert_eq!(ours(&shown), ["HOME=/root", path, "TERM=vt100", "container=nstools"]);
        let exactly = who.tool("contain").arg(&*root).arg("env").ran().out();
        assert_eq!(exactly.lines().count(), 3, "{exactly}");
    });
}

#[test]
fn the_environment_that_is_asked_for() {
    both(|who| {
        let root = who.busybox();
        let options = ["--env", "A=1=2", "--env", "SECRET", "--env", "MISSING", "--env", "HOME=/tmp"];
        let script = "echo $A $SECRET $HOME $OTHER; env | grep -c MISSING";
        let mut command = who.contain(&root, &options, script);
        let ran = command.env("SECRET", "x").env("OTHER", "o").ran();
        assert_eq!(ran.text(), "1=2 x /tmp\n0");
        let mut command = who.contain(&root, &["--keep-env", "--env", "A=1"], "echo $A $SECRET $HOME $container");
        let home = who.home.display();
        assert_eq!(command.env("SECRET", "x").ran().out(), format!("1 x {home} nstools"));
    });
}

#[test]
fn hostname_and_working_directory() {
    both(|who| {
        let root = who.busybox();
        let before = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        let shown = who.contain(&root, &["--hostname", "inner", "--cwd", "/tmp"], "hostname; pwd").ran().out();
        assert_eq!(shown, "inner\n/tmp");
        assert_eq!(fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), before);
        let said = "contain: cannot change to the working directory \"/nowhere\": No such file or directory\n";
        assert_eq!(who.contain(&root, &["--cwd", "/nowhere"], "true").ran().fails(125), said);
        assert!(who.contain(&root, &["--cwd", "tmp"], "true").ran().fails(125).contains("\"tmp\" is not absolute"));
    });
}

#[test]
fn the_hosts_network_without_rights_over_it() {
    both(|who| {
        let root = who.busybox();
        let host = fs::read_link("/proc/self/ns/net").unwrap();
        for options in [&["--net", "host"][..], &["-n"]] {
            let inside = who.contain(&root, options, "readlink /proc/self/ns/net").ran().out();
            assert_eq!(Path::new(&inside), host);
            let interfaces = who.contain(&root, options, "ls /sys/class/net").ran().out();
            for interface in interfaces.split_whitespace() {
                assert!(Path::new("/sys/class/net").join(interface).exists(), "{interface}");
            }
            let refused = who.contain(&root, options, "ip link set lo down").ran();
            assert!(refused.fails(2).contains("Operation not permitted"), "{refused:?}");
            let refused = who.contain(&root, options, "echo x >/sys/class/net/lo/ifalias").ran();
            assert!(refused.fails(1).contains("Read-only file system"), "{refused:?}");
        }
        // Over its own it has every right.
        assert_eq!(who.contain(&root, &["--net", "none"], "ip link set lo down && ip link set lo up").ran().out(), "");
        assert!(who.contain(&root, &["--net", "some"], "true").ran().fails(125).contains("--net \"some\""));
    });
}

#[test]
fn cgroups_are_not_there_or_not_writable() {
    both(|who| {
        let root = who.busybox();
        for options in [&[][..], &["-n"]] {
            let script = "find /sys/fs/cgroup -name release_agent -o -name cgroup.procs | while read f; do
                test -e $f && echo 0 2>/dev/null >$f && echo $f; done; cat /proc/self/cgroup | head -n 1 | cut -d: -f3";
            assert_eq!(who.contain(&root, options, script).ran().text(), "/");
        }
    });
}

#[test]
fn paths_and_arguments_need_not_be_utf8() {
    both(|who| {
        let dir = who.dir();
        let odd = dir.join(OsStr::from_bytes(b"r\xff\nt"));
        let root = who.busybox();
        fs::rename(&*root, &odd).unwrap();
        let mut command = who.tool("contain");
        command.args(["--bind-ro", "/etc/passwd:/mnt"]).arg(&odd).arg("printf").arg("%s");
        fs::remove_dir(odd.join("mnt")).unwrap();
        fs::write(odd.join("mnt"), "").unwrap();
        let bytes = b"\xfe\xff:";
        let ran = command.arg(OsStr::from_bytes(bytes)).ran();
        assert_eq!(ran.stdout, bytes, "{ran:?}");
    });
}

#[test]
fn options_stand_on_both_sides_of_the_root() {
    both(|who| {
        let root = who.busybox();
        let mut command = who.tool("contain");
        command.args(["--hostname", "a"]).arg(&*root).args(["--cwd", "/tmp", "--env", "A=1", "--", "sh", "-c"]);
        let shown = command.args(["hostname; pwd; echo $A $0 $1", "--ro", "-e"]).ran().out();
        assert_eq!(shown, "a\n/tmp\n1 --ro -e");
    });
}

#[test]
fn messages_say_what_was_tried_on_what_and_why() {
    both(|who| {
        let said = "contain: cannot open the root \"/no/such/root\": No such file or directory\n";
        assert_eq!(who.contain("/no/such/root", &[], "true").ran().fails(125), said);
        let root = who.busybox();
        let file = root.file("etc/file", "");
        assert!(who.contain(&file, &[], "true").ran().fails(125).ends_with("file\": Not a directory\n"));
        fs::remove_dir(root.join("proc")).unwrap();
        let ran = who.contain(&root, &[], "true").ran();
        let mut lines = ran.fails(125).lines();
        assert!(lines.next().unwrap().starts_with("contain: cannot find the mount point \"proc\" in "), "{ran:?}");
        assert!(lines.next().unwrap().starts_with("contain: hint: "), "{ran:?}");
        assert_eq!(lines.next(), None);
    });
}

#[test]
fn statuses() {
    both(|who| {
        let root = who.busybox();
        assert_eq!(who.contain(&root, &[], "exit 42").ran().code(), 42);
        let signalled = who.contain(&root, &["--init"], "kill -USR1 $$").ran();
        assert_eq!(signalled.code(), 128 + 10);
        root.file("etc/text", "");
        let run = |word: &str| who.tool("contain").arg(&*root).arg(word).ran();
        assert_eq!(run("no-such").fails(127), "contain: cannot execute \"no-such\": No such file or directory\n");
        assert_eq!(run("/etc/text").fails(126), "contain: cannot execute \"/etc/text\": Permission denied\n");
        assert_eq!(run("/etc").fails(126), "contain: cannot execute \"/etc\": Permission denied\n");
    });
}

#[test]
fn only_the_fds_that_are_asked_for() {
    both(|who| {
        let root = who.busybox();
        let dir = who.dir();
        let outer = "exec 4</etc/passwd 5</etc/group 7</etc/hosts; exec contain --pass-fd 5 --pass-fd 7 \"$0\" \
                     sh -c 'ls /proc/$$/fd; head -c 5 <&5'";
        let ran = who.command("sh").args(["-c", outer]).arg(&*root).ran();
        let text = ran.out();
        let (fds, content) = text.rsplit_once('\n').unwrap();
        let group = fs::read_to_string("/etc/group").unwrap();
        assert_eq!((fds, content), ("0\n1\n2\n5\n7", &group[..5]));
        let none = "exec 4</etc/passwd 9<.; exec contain \"$0\" sh -c 'ls /proc/1/fd; true'";
        let ran = who.command("sh").args(["-c", none]).arg(&*root).current_dir(&*dir).ran();
        assert_eq!(ran.out(), "0\n1\n2");
        for option in ["--pass-fd", "--status-fd"] {
            let ran = who.contain(&root, &[option, "77"], "true").ran();
            assert_eq!(ran.fails(125), format!("contain: {option} 77: no such fd is open\n"));
        }
    });
}

#[test]
fn bytes_pass_untouched() {
    both(|who| {
        let root = who.busybox();
        root.file("etc/err", "told\n");
        let bytes = noise(1 << 20);
        let ran = who.contain(&root, &[], "cat | cat; cat /etc/err >&2").ran_with(&bytes);
        assert!(ran.stdout == bytes, "{} bytes came back", ran.stdout.len());
        assert_eq!(ran.stderr, "told\n");
    });
}

#[test]
fn a_closed_pipe_ends_the_command() {
    both(|who| {
        let root = who.busybox();
        let outer = "{ contain \"$0\" sh -c 'yes; exit 7'; echo $? >&2; } | head -n 1";
        let ran = who.command("sh").args(["-c", outer]).arg(&*root).ran();
        assert_eq!(ran.text(), "y");
        // Not 0, and not 7: yes is killed by SIGPIPE or told EPIPE, the shell goes on with 7.
        assert_eq!(ran.stderr.lines().last(), Some("7"), "{ran:?}");
    });
}

#[test]
fn the_pid_file_is_there_before_the_command() {
    both(|who| {
        let root = who.busybox();
        let dir = who.dir();
        let file = dir.join("pid");
        let running =
            Running::ready(&mut who.contain(&root, &["--pid-file", file.to_str().unwrap()], "echo ready; cat"));
        assert_eq!(fs::read_to_string(&file).unwrap(), format!("{}\n", running.pid()));
        let said = "contain: cannot write the PID file \"/no/such/file\": No such file or directory\n";
        assert_eq!(who.contain(&root, &["--pid-file", "/no/such/file"], "echo run").ran().fails(125), said);
    });
}

#[test]
fn the_status_fd_tells_start_and_end() {
    both(|who| {
        let root = who.busybox();
        let outer = "exec contain --status-fd 3 \"$0\" sh -c 'read x; exit 3' 3>&1 >/dev/null";
        let mut running = Running::start(who.command("sh").args(["-c", outer]).arg(&*root));
        let started = running.line();
        let pid = running.pid();
        let prefix = format!("{{\"event\":\"started\",\"pid\":{pid},\"init\":");
        let rest = started.strip_prefix(&prefix).unwrap_or_else(|| panic!("{started}"));
        let (init, namespaces) = rest.split_once(",\"namespaces\":{").unwrap();
        let namespaces = namespaces.strip_suffix("}}").unwrap();
        let mut names = Vec::new();
        for pair in namespaces.split(',') {
            let (name, inode) = pair.split_once(':').unwrap();
            let name = name.trim_matches('"');
            let link = fs::read_link(format!("/proc/{init}/ns/{name}")).unwrap();
            assert_eq!(link, Path::new(&format!("{name}:[{inode}]")));
            names.push(name);
        }
        names.sort_unstable();
        assert_eq!(names, ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"]);
        running.say("go");
        assert_eq!(running.line(), "{\"event\":\"exited\",\"status\":3}");
        assert_eq!(running.end(), 3);
    });
}

#[test]
fn the_inside_helper_works_in_the_root_before_the_command() {
    both(|who| {
        let root = who.busybox();
        let options = ["-i", "mount -t tmpfs none mnt && echo hello >mnt/word && pwd >&2"];
        let ran = who.contain(&root, &options, "cat /mnt/word").ran();
        assert_eq!((ran.code(), ran.text()), (0, "hello".to_owned()), "{ran:?}");
        assert_eq!(ran.stderr, format!("{}\n", root.display()));
        assert!(fs::read_dir(root.join("mnt")).unwrap().next().is_none());
        let ran = who.contain(&root, &["-i", "exit 3"], "echo run").ran();
        assert_eq!(ran.fails(125), "contain: the inside helper \"exit 3\" failed: exit status 3\n");
        assert_eq!(ran.text(), "");
    });
}

#[test]
fn the_outside_helper_knows_the_container() {
    both(|who| {
        let root = who.busybox();
        let helper = "echo $CONTAIN_PID; readlink /proc/$CONTAIN_INIT/ns/pid /proc/self/ns/pid; tr '\\0' ' ' </proc/$CONTAIN_PID/cmdline; echo";
        let ran = who.contain(&root, &["-o", helper], "readlink /proc/self/ns/pid").ran();
        let text = ran.out();
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].parse::<u32>().is_ok(), "{text}");
        let host = fs::read_link("/proc/self/ns/pid").unwrap();
        // A process that is not dumpable shows its namespaces to root alone.
        if who.is_root() {
            assert_eq!(lines[1], lines[4], "{text}");
        }
        assert_eq!(Path::new(lines[lines.len() - 3]), host, "{text}");
        assert!(lines[lines.len() - 2].starts_with("contain -o "), "{text}");
        let ran = who.contain(&root, &["-o", "exit 3"], "echo run").ran();
        assert!(ran.fails(125).starts_with("contain: the outside helper \"exit 3\" failed: "));
        assert_eq!(ran.text(), "");
    });
}

#[test]
fn the_outside_helper_ends_before_the_command_starts() {
    both(|who| {
        let root = who.busybox();
        let dir = who.dir();
        let flag = dir.join("flag");
        let options = [
            "-o".to_owned(),
            format!("touch {}", flag.display()),
            "--bind".to_owned(),
            format!("{}:/mnt", dir.display()),
        ];
        let options: Vec<_> = options.iter().map(String::as_str).collect();
        let mut command = who.contain(&root, &options, "ls /mnt");
        assert_eq!(command.ran().out(), "flag");
    });
}
