//! How containers have been broken, tried here.
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::symlink;

use tests::{Run, Running, Terminal, both};

#[test]
fn a_leaked_directory_as_working_directory() {
    // CVE-2024-21626: /proc/self/fd/N of a directory outside.
    both(|who| {
        let root = who.busybox();
        let outer = |options: &str| {
            let script = format!("exec 7</etc; exec contain {options} \"$0\" sh -c 'pwd; ls ..'");
            who.command("sh").args(["-c", &script]).arg(&*root).ran()
        };
        for fd in [3, 4, 5, 6, 7, 8, 9, 10, 11, 12] {
            let ran = outer(&format!("--cwd /proc/self/fd/{fd}"));
            assert_eq!(ran.code(), 125, "{fd}: {ran:?}");
        }
        // Even one that was asked for.
        let ran = outer("--pass-fd 7 --cwd /proc/self/fd/7");
        assert_eq!(ran.fails(125), "contain: the working directory \"/proc/self/fd/7\" is outside the root\n");
        symlink("/proc/self/fd/7", root.join("tmp/link")).unwrap();
        assert_eq!(outer("--pass-fd 7 --cwd /tmp/link").code(), 125);
        assert_eq!(outer("--cwd /tmp/link").code(), 125);
        assert!(outer("--cwd /tmp").out().starts_with("/tmp\n"));
    });
}

#[test]
fn no_way_to_the_hosts_files_through_proc() {
    both(|who| {
        let root = who.busybox();
        let script = "for p in /proc/[0-9]*; do readlink $p/root $p/cwd $p/exe; ls -l $p/fd; done 2>/dev/null; echo; cat /proc/1/environ | tr '\\0' '\\n'";
        for options in [&[][..], &["--init"]] {
            let mut command = who.contain(&root, options, script);
            let shown = command.env("SECRET", "very secret").ran().text();
            assert!(!shown.contains("very secret") || options == ["--init"], "{shown}");
            assert!(!shown.contains("/etc") && !shown.contains("nstools-test"), "{shown}");
        }
    });
}

#[test]
fn the_reaper_keeps_nothing_of_the_hosts_to_look_into() {
    // It does not exec, so it still has the program and the memory of the host's tool.
    both(|who| {
        let root = who.busybox();
        let script =
            "ls /proc/1/fd /proc/1/root; cat /proc/1/environ; readlink /proc/1/exe; head -c 1 /proc/1/mem; echo end";
        let mut command = who.contain(&root, &["--init"], script);
        let ran = command.env("SECRET", "very secret").ran();
        assert!(ran.text().trim_start().starts_with("end") || ran.text().ends_with("end"), "{ran:?}");
        assert!(!ran.text().contains("very secret") && !ran.text().contains("contain"), "{ran:?}");
        let overwrite = "for i in 1 2 3; do exec 3>/proc/1/exe; done; echo end";
        assert!(!who.contain(&root, &["--init"], overwrite).ran().text().contains("end"));
    });
}

#[test]
fn no_keystrokes_into_the_callers_terminal() {
    // CVE-2017-5226: TIOCSTI, and TIOCLINUX, on whatever terminal can be reached.
    both(|who| {
        let push = "import fcntl
for fd in 0, 1, 2:
    for request, data in (0x5412, b'X'), (0x5412 | 1 << 32, b'X'), (0x541C, bytes([2, 0, 0, 0, 0])):
        try: fcntl.ioctl(fd, request & 0xffffffffffffffff, data)
        except (OSError, OverflowError) as error: pass
print('pushed', flush=True)";
        for option in ["--no-console", "--console"] {
            let mut terminal = Terminal::new(who);
            let mut command = who.tool("contain");
            command.args(["-e", option, "/", "/usr/bin/python3", "-c", push]);
            let mut running = terminal.run(who, &command);
            terminal.expect("pushed");
            assert_eq!(running.end(), 0);
            // Whatever lies in the terminal's input now is what the caller's shell would read.
            let mut reader = who.command("sh");
            reader.args(["-c", "read line; echo \"<$line>\""]);
            let mut reading = terminal.run(who, &reader);
            terminal.write("mine\r");
            terminal.expect("<mine>");
            assert_eq!(reading.end(), 0);
        }
    });
}

#[test]
fn no_escape_by_chroot() {
    both(|who| {
        let root = who.busybox();
        root.file("etc/inside", "");
        let script = "mkdir /tmp/jail; cp /bin/busybox /tmp/jail/; cd /; for i in 1 2 3 4 5 6 7 8; do cd ..; done
            chroot /tmp/jail /busybox sh -c 'cd ../../../../..; echo /busybox; echo *'; chroot . /bin/ls /etc";
        assert_eq!(who.contain(&root, &[], script).ran().out(), "/busybox\nbusybox\ninside");
    });
}

#[test]
fn a_bind_through_links_stays_inside() {
    both(|who| {
        let outside = who.dir();
        fs::create_dir(outside.join("target")).unwrap();
        let target = outside.join("target");
        for link in [target.display().to_string(), format!("../../../../../../../..{}", target.display())] {
            let root = who.busybox();
            symlink(&link, root.join("tmp/link")).unwrap();
            let ran = who.contain(&root, &["--tmpfs", "/tmp/link/deep"], "true").ran();
            assert_eq!(ran.code(), 125, "{ran:?}");
            let ran = who.contain(&root, &["-e", "--bind-ro", "/etc:/tmp/link"], "ls /tmp/link").ran();
            // Made inside or refused, but never the host's.
            assert!([0, 1, 125].contains(&ran.code()), "{ran:?}");
            assert!(fs::read_dir(&target).unwrap().next().is_none());
        }
        // A link that leads somewhere in the root is followed there.
        let root = who.busybox();
        symlink("../../../mnt", root.join("tmp/link")).unwrap();
        assert_eq!(who.contain(&root, &["--bind-ro", "/etc/passwd:/tmp/link/file"], "true").ran().code(), 125);
        assert_eq!(who.contain(&root, &["--tmpfs", "/tmp/link"], "echo x >/mnt/f; cat /tmp/link/f").ran().out(), "x");
        assert!(!root.join("mnt/f").exists());
    });
}

#[test]
fn processes_of_the_host_cannot_be_seen_or_signalled() {
    both(|who| {
        let root = who.busybox();
        let mut victim = Running::ready(who.command("sh").args(["-c", "echo ready; read x; exit 7"]));
        let script = format!(
            "kill -9 {0} 2>/dev/null && echo killed; kill -9 -1; ls -d /proc/{0} 2>/dev/null; echo end",
            victim.pid()
        );
        assert_eq!(who.contain(&root, &[], &script).ran().text(), "end");
        victim.say("go");
        assert_eq!(victim.end(), 7);
    });
}

#[test]
fn no_trace_from_inside_while_it_is_set_up() {
    // CVE-2016-9962: the init holds the host's program and fds until its exec.
    both(|who| {
        let root = who.busybox();
        let look = "grep -h -e ^Dumpable -e ^State /proc/$CONTAIN_INIT/status >/dev/null; ls /proc/$CONTAIN_INIT/fd";
        let ran = who.contain(&root, &["-o", look], "true").ran();
        // To an ordinary user a process that is not dumpable is closed; to root nothing is.
        assert_eq!(ran.code(), if who.is_root() { 0 } else { 125 }, "{ran:?}");
    });
}

#[test]
fn the_callers_session_keyring_stays_outside() {
    both(|who| {
        // add_key(2), keyctl(2): join a keyring, add a key, look for it in a child.
        let program = "import ctypes, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)
ADD_KEY, KEYCTL, JOIN, SEARCH, SESSION = 248, 250, 1, 10, -3
look = f'import ctypes; print(ctypes.CDLL(None).syscall({KEYCTL}, {SEARCH}, {SESSION}, b\"user\", b\"secret\", 0) > 0)'
assert libc.syscall(KEYCTL, JOIN, None) > 0
assert libc.syscall(ADD_KEY, b'user', b'secret', b'value', 5, SESSION) > 0
for prefix in [], sys.argv[1:]:
    subprocess.run([*prefix, '/usr/bin/python3', '-c', look], check=True)";
        let ran = who.command("python3").args(["-c", program, "contain", "-e", "/"]).ran();
        assert_eq!(ran.out(), "True\nFalse");
    });
}
