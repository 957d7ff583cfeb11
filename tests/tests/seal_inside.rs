//! `contain` and `inject` with the options of `seal`: a jail in one line.
#![forbid(unsafe_code)]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use nix::sys::signal::Signal;
use tests::{
    Names, Root, Run, Running, Terminal, Who, both, capability_sets, copy_program, eventually, lists, mark, marked,
    report,
};

/// A root with users of its own, a directory that each may write to, and the probe.
fn root(who: &Who) -> Root {
    let root = who.busybox();
    root.file("etc/passwd", "root:x:0:0::/root:/bin/sh\nweb:x:33:44::/srv/web:/bin/sh\n");
    root.file("etc/group", "root:x:0:\nwww:x:44:\nmail:x:100:web,other\nlog:x:200:web\n");
    root.copy(env!("CARGO_BIN_EXE_probe"), "bin/probe");
    for dir in [&*root, &root.join("bin")] {
        fs::set_permissions(dir, Permissions::from_mode(0o755)).unwrap();
    }
    root
}

/// `contain OPTIONS ROOT COMMAND`.
fn contain(who: &Who, root: &Root, options: &[&str], command: &[&str]) -> Command {
    let mut contain = who.tool("contain");
    contain.args(options).arg(&**root).args(command);
    contain
}

/// What enters a container, as a whole and by namespaces.
const WAYS: [&[&str]; 2] = [&[], &["-a"]];

/// `inject OPTIONS PID COMMAND`.
fn inject(who: &Who, running: &Running, way: &[&str], options: &[&str], command: &[&str]) -> Command {
    let mut inject = who.tool("inject");
    inject.args(way).arg(running.pid().to_string()).args(options).args(command);
    inject
}

/// A container that runs until it is told to end.
fn running(who: &Who, root: &Root) -> Running {
    Running::ready(&mut who.contain(root, &[], "echo ready; read x"))
}

/// What becomes of the command, in every way to start one in a container.
fn everywhere(who: &Who, check: impl Fn(&str, &dyn Fn(&[&str], &[&str]) -> Command)) {
    let root = root(who);
    check("contain", &|options, command| contain(who, &root, options, command));
    check("contain --init", &|options, command| contain(who, &root, &[&["--init"], options].concat(), command));
    let running = running(who, &root);
    for way in WAYS {
        check(&format!("inject {way:?}"), &|options, command| inject(who, &running, way, options, command));
    }
}

#[test]
fn exactly_the_capabilities_named() {
    both(|who| {
        everywhere(who, |place, start| {
            let all = capability_sets(&report(&mut start(&[], &["probe"])))[0];
            let chown = |set: u64| set & !1;
            for (list, wanted) in [("none", 0), ("all", all), ("net_bind_service", 1 << 10), ("-chown", chown(all))] {
                for (user, uid) in [(&[][..], "0 0 0"), (&["--as", "web"], "33 33 33"), (&["--as", "0:0"], "0 0 0")] {
                    let shown = report(&mut start(&[&["--caps", list], user].concat(), &["probe"]));
                    assert_eq!((capability_sets(&shown), &*shown["uid"]), ([wanted; 5], uid), "{place} {list}");
                    assert_eq!(shown["no_new_privs"], "Ok(true)");
                }
            }
            let said = start(&["--caps", "chwon"], &["probe"]).ran().fails(125).to_owned();
            assert!(said.contains(": --caps: unknown capability \"chwon\"\n") && said.contains("did you mean chown?"));
        });
    });
}

#[test]
fn users_are_those_of_the_container() {
    both(|who| {
        everywhere(who, |place, start| {
            let plain = report(&mut start(&[], &["probe"]));
            for (user, uid, gid, groups) in [
                ("web", "33 33 33", "44 44 44", "[44, 100, 200]"),
                ("33:mail", "33 33 33", "100 100 100", "[100, 200]"),
                ("4242:7", "4242 4242 4242", "7 7 7", "[7]"),
            ] {
                let shown = report(&mut start(&["--as", user], &["probe"]));
                assert_eq!((&*shown["uid"], &*shown["gid"]), (uid, gid), "{place} {user}");
                assert_eq!((&*shown["groups"], capability_sets(&shown)), (groups, [0; 5]), "{place} {user}");
                // What ties it to the tool, which a change of ids makes the kernel forget.
                assert_eq!(shown["pdeathsig"], plain["pdeathsig"], "{place} {user}");
            }
            // The host has that user.
            for user in ["nstools-test", "web:nstools-test", "4242"] {
                let said = start(&["--as", user], &["echo", "ran"]).ran().fails(125).to_owned();
                assert!(said.contains(&format!("--as {user:?}: no ")), "{place}: {said}");
            }
            // Root's containers have every id.
            if !who.is_root() {
                let said = start(&["--as", "4000000000:1"], &["echo", "ran"]).ran().fails(125).to_owned();
                assert!(said.contains("this user namespace does not map 4000000000"), "{place}: {said}");
            }
        });
    });
}

#[test]
fn home_goes_with_the_user() {
    both(|who| {
        let root = root(who);
        let home = ["sh", "-c", "echo $HOME"];
        for (options, shown) in [
            (&["--as", "web"][..], "/srv/web"),
            (&["--as", "web", "--env", "HOME=/mine"], "/mine"),
            (&["--env", "HOME=/mine", "--as", "web"], "/mine"),
            (&["--as", "4242:7"], "/root"),
            (&["--caps", "none"], "/root"),
        ] {
            assert_eq!(contain(who, &root, options, &home).ran().out(), shown, "{options:?}");
        }
        let kept = contain(who, &root, &["--as", "web", "--keep-env"], &home).env("HOME", "/callers").ran().out();
        assert_eq!(kept, "/callers");
        let running = running(who, &root);
        for way in WAYS {
            let kept = inject(who, &running, way, &["--as", "web"], &home).env("HOME", "/callers").ran().out();
            assert_eq!(kept, "/callers");
        }
    });
}

/// All at once. Nothing of it depends on the order in which it is written.
const JAIL: &[&str] = &[
    "--caps=none",
    "--files=rx:/bin",
    "--files=rw:/tmp",
    "--syscalls-string=ERRNO(28) { mkdir, mkdirat } DEFAULT ALLOW",
    "--as=web",
    "--ports=none",
    "--scope=signal,unix",
    "--no-userns",
    "--no-tty-input",
    "--fds=0,1,2",
    "--umask=027",
    "--personality=addr-no-randomize",
    "--parent-death=KILL",
    "--securebits=noroot,noroot-locked",
];

#[test]
fn a_jail_is_one_line() {
    both(|who| {
        let reversed: Vec<_> = JAIL.iter().copied().rev().collect();
        everywhere(who, |place, start| {
            for options in [JAIL, &reversed] {
                let shown = report(&mut start(options, &["probe"]));
                let of = |key: &str| shown[key].as_str();
                assert_eq!(
                    (of("uid"), of("gid"), capability_sets(&shown)),
                    ("33 33 33", "44 44 44", [0; 5]),
                    "{place}"
                );
                assert_eq!((of("umask"), of("pdeathsig"), of("securebits")), ("027", "9", "3"), "{place}");
                assert_eq!(of("no_new_privs"), "Ok(true)");
                let fds = shown.keys().filter(|key| key.starts_with("fd."));
                assert_eq!(fds.collect::<Vec<_>>(), ["fd.0", "fd.1", "fd.2"], "{place}");
                let script =
                    "cat /etc/passwd; mkdir /tmp/x; echo >/bin/x; unshare -U true; echo x >/tmp/$$ && echo end";
                let ran = start(options, &["sh", "-c", script]).ran();
                assert_eq!((ran.code(), ran.text()), (0, "end".to_owned()), "{place} {ran:?}");
                for said in [
                    "/etc/passwd': Permission denied",
                    "/tmp/x': No space left on device",
                    "/bin/x: Permission denied",
                    "unshare(0x10000000): Operation not permitted",
                ] {
                    assert!(ran.stderr.contains(said), "{place} {ran:?}");
                }
            }
        });
    });
}

#[test]
fn only_the_command_is_sealed() {
    both(|who| {
        // What the reaper and the supervisor wait, tell and signal with.
        let calls = "kill,tgkill,pidfd_send_signal,wait4,waitid,poll,ppoll,sendmsg,recvmsg,setns";
        let filtered = ["--deny-syscalls", calls, "--caps", "none", "--files", "rx:/bin", "--scope", "signal,unix"];
        everywhere(who, |place, start| {
            for (options, script, status) in [
                (&filtered[..], "exit 7", 7),
                (&["--caps", "none", "--as", "web", "--no-userns"], "kill -USR1 $$; exit 7", 128 + 10),
                (&["--files", "rx:/bin", "--dumpable", "no"], "(sleep 1000 &) 2>&-; exit 7", 7),
            ] {
                // As PID 1 it is spared its own signals.
                if place == "contain" && status > 128 {
                    continue;
                }
                assert_eq!(start(options, &["sh", "-c", script]).ran().code(), status, "{place} {options:?}");
            }
            let mark = mark();
            let script = format!("trap 'exit 9' TERM; echo ready; : {mark}; while :; do :; done");
            // nsenter, whose way -a is, leaves its command alone.
            let ties: &[&str] = if place.contains("-a") { &["--forward-signals", "--kill-child"] } else { &[] };
            let options = [&filtered[..4], ties].concat();
            let mut running = Running::ready(&mut start(&options, &["sh", "-c", &script]));
            running.signal(Signal::SIGTERM);
            assert_eq!(running.end(), 9, "{place}");
            eventually("nothing is left", || marked(&mark).is_empty());
        });
    });
}

#[test]
fn interrupts_from_a_terminal_reach_it() {
    both(|who| {
        let root = root(who);
        let script = "trap 'echo caught; exit 3' INT; echo re''ady; while :; do read x; done";
        for options in [&[][..], &["--init"]] {
            let sealed = ["--as", "web", "--no-tty-input", "--deny-syscalls", "kill", "--files", "rx:/bin"];
            let mut terminal = Terminal::new(who);
            let options = [options, &sealed].concat();
            let mut running = terminal.run(who, &contain(who, &root, &options, &["sh", "-c", script]));
            terminal.expect("ready");
            terminal.write("\x03");
            terminal.expect("caught");
            assert_eq!(running.end(), 3);
            assert!(terminal.is_cooked());
        }
    });
}

#[test]
fn fds_that_were_named_are_left_open() {
    both(|who| {
        let root = root(who);
        let running = running(who, &root);
        let pid = running.pid().to_string();
        let root = root.display().to_string();
        let lines: [&[&str]; 4] = [
            &["contain", &root, "--fds", "0,1,2,5"],
            &["contain", &root, "--init", "--fds", "5,0,1,2", "--caps", "none"],
            &["inject", &pid, "--fds", "0,1,2,5", "--as", "web"],
            &["inject", "-a", &pid, "--fds", "0,1,2,5"],
        ];
        for line in lines {
            let mut command = who.command("sh");
            command.args(["-c", "exec 5</dev/null 7</dev/null; exec \"$@\"", "sh"]).args(line).arg("probe");
            let shown = report(&mut command);
            let fds: Vec<_> = shown.keys().filter(|key| key.starts_with("fd.")).collect();
            assert_eq!(fds, ["fd.0", "fd.1", "fd.2", "fd.5"], "{line:?}");
            let mut missing = who.command(line[0]);
            let said = missing.args(&line[1..]).arg("probe").ran().fails(125).to_owned();
            assert_eq!(said, format!("{}: --fds 5: no such fd is open\n", line[0]));
        }
    });
}

#[test]
fn filters_from_pipes_are_read_once() {
    both(|who| {
        let root = root(who);
        let running = running(who, &root);
        let pid = running.pid().to_string();
        // A tool that the container's root could write to is first executed anew, from
        // where that is not so.
        let own = who.dir();
        copy_program(who.tool("contain").get_program(), own.join("contain"));
        who.give(own.join("contain"));
        let own = own.join("contain").display().to_string();
        let map: &[&str] = if who.is_root() { &["-u", "0:0:65536", "-g", "0:0:65536"] } else { &[] };
        let root = root.display().to_string();
        let program = "seal --deny-syscalls mkdir,mkdirat --emit-bpf - | (exec 5<&0 </dev/null; exec \"$@\" --bpf 5";
        let policy = "echo 'ERRNO(1) { mkdir, mkdirat } DEFAULT ALLOW' | (exec \"$@\" --syscalls /dev/stdin";
        for line in [
            [&["contain"], map, &[&root]].concat(),
            [&[&*own], map, &[&root]].concat(),
            vec!["inject", &pid],
            vec!["inject", "-a", &pid],
        ] {
            for from in [program, policy] {
                let mut command = who.command("sh");
                command
                    .args([
                        "-c",
                        &format!("{from} sh -c 'mkdir /tmp/x; ls /proc/self/fd | grep -x 5; echo end')"),
                        "sh",
                    ])
                    .args(&line);
                let ran = command.ran();
                assert_eq!(ran.stderr, "mkdir: can't create directory '/tmp/x': Operation not permitted\n", "{line:?}");
                // The program was for the tool alone.
                assert_eq!((ran.code(), &*ran.text()), (0, "end"), "{line:?}");
            }
        }
    });
}

#[test]
fn what_cannot_be_applied_ends_the_run() {
    both(|who| {
        everywhere(who, |place, start| {
            for options in [
                &["--as", "nosuch"][..],
                &["--files", "ro:/no/such"],
                &["--files", "none"],
                &["--syscalls", "/no/such"],
                &["--syscalls-string", "KILL { execve, execveat } DEFAULT ALLOW"],
                &["--securebits", "nosuch"],
                &["--bpf", "9"],
                &["--umask", "8"],
                &["--ports", "80"],
                &["--dumpable", "yes"],
            ] {
                let mark = mark();
                let ran = start(options, &["echo", "ran", &mark]).ran();
                // That nothing may be executed is the command's failure, as ever.
                let status = if options[1] == "none" { 126 } else { 125 };
                assert_eq!((ran.code(), ran.text()), (status, String::new()), "{place} {options:?} {ran:?}");
                assert!(ran.stderr.starts_with(place.split(' ').next().unwrap()), "{ran:?}");
                assert_eq!(marked(&mark), [], "{place} {options:?}");
            }
        });
    });
}

#[test]
fn nsenter_knows_none_of_them() {
    both(|who| {
        let names = Names::new(who);
        let help = who.tool("seal").arg("--help").ran().out();
        let theirs = names.nsenter(&["--help"]).ran().out();
        let words = help.split_whitespace().filter_map(|word| word.strip_prefix("--"));
        let about_itself = ["help", "version", "man", ""];
        let options: Vec<_> = words
            .map(|word| word.trim_end_matches(',').split(['=', '[']).next().unwrap())
            .filter(|name| !about_itself.contains(name))
            .collect();
        assert!(options.contains(&"caps") && options.contains(&"as") && options.len() >= 24, "{options:?}");
        for option in options {
            assert!(!lists(&theirs, option), "{option}");
            let refused = names.nsenter(&["--target", "1", &format!("--{option}"), "true"]).ran();
            let said = refused.fails(1);
            assert!(said.contains(&format!("unrecognized option '--{option}'")), "{said}");
        }
    });
}
