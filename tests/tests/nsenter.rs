//! `nsenter`: what releases of util-linux newer than Debian's have, and what none has.
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tests::{Names, Ran, Run, Running, Who, as_root, as_user, both, eventually, lists, mark};

/// A process of `who` in user and network namespaces of its own, where
/// setgroups(2) is allowed.
fn target(who: &Who, script: &str) -> Running {
    let ids = if who.is_root() { &["-r"][..] } else { &["-r", "--map-auto"] };
    let mut command = who.command("/usr/bin/unshare");
    command.args(ids).args(["-n", "sh", "-c", script]);
    Running::ready(&mut command)
}

const WAIT: &str = "echo ready; read word";

fn link(pid: u32, namespace: &str) -> String {
    fs::read_link(format!("/proc/{pid}/ns/{namespace}")).unwrap().display().to_string()
}

/// `nsenter -t PID OPTIONS COMMAND`.
fn enter(who: &Who, pid: impl ToString, args: &[&str]) -> Ran {
    Names::new(who).nsenter(&["-t", &pid.to_string()]).args(args).ran()
}

#[test]
fn the_environment_of_the_target() {
    both(|who| {
        let mut command = who.command("sh");
        command.args(["-c", WAIT]).env_clear().env("ONE", "two words").env("EMPTY", "").env("PATH", "/usr/bin");
        let running = Running::ready(&mut command);
        for option in ["-e", "--env"] {
            let shown = enter(who, running.pid(), &[option, "/usr/bin/env"]).out();
            let mut lines: Vec<_> = shown.lines().collect();
            lines.sort_unstable();
            // The caller's own, HOME among it, is replaced.
            assert_eq!(lines, ["EMPTY=", "ONE=two words", "PATH=/usr/bin"]);
        }
        assert!(!enter(who, running.pid(), &["/usr/bin/env"]).out().contains("ONE="));
        let shown = enter(who, running.pid(), &["-e"]);
        assert_eq!(shown.status.code(), Some(0), "the login shell is found: {shown:?}");
    });
}

#[test]
fn the_ids_of_the_target() {
    as_root(|who| {
        let user = who.command("id").args(["-u", "nobody"]).ran().out();
        let mut command = who.command("setpriv");
        command.args(["--reuid", &user, "--regid", "12345", "--groups", "7,8", "sh", "-c", WAIT]);
        let running = Running::ready(&mut command);
        let ids =
            |options: &[&str]| enter(who, running.pid(), &[options, &["sh", "-c", "id -u; id -g"]].concat()).out();
        assert_eq!(ids(&["-S", "follow"]), format!("{user}\n0"));
        assert_eq!(ids(&["-G", "follow"]), "0\n12345");
        assert_eq!(ids(&["-S", "follow", "-G", "follow"]), format!("{user}\n12345"));
        assert_eq!(ids(&["--setuid=follow", "-G", "6"]), format!("{user}\n6"));
    });
    as_user(|who| {
        let running = target(who, WAIT);
        let args = ["-U", "-S", "follow", "-G", "follow", "sh", "-c", "id -u; id -g"];
        assert_eq!(enter(who, running.pid(), &args).out(), "0\n0");
    });
    both(|who| {
        for option in ["-S", "-G"] {
            assert!(Names::new(who).nsenter(&[option, "follow", "true"]).ran().fails(1).contains("target"));
        }
    });
}

#[test]
fn capabilities_are_kept_over_a_change_of_ids() {
    as_user(|who| {
        let running = target(who, WAIT);
        let held = |options: &[&str]| {
            let args = [options, &["grep", "^Cap[PEA]", "/proc/self/status"]].concat();
            let shown = enter(who, running.pid(), &args).out();
            let numbers = shown.lines().map(|line| line.split_whitespace().nth(1).unwrap().to_owned());
            numbers.map(|number| u64::from_str_radix(&number, 16).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(held(&["-U", "-S", "1", "-G", "1"]), [0, 0, 0]);
        let kept = held(&["-U", "-S", "1", "-G", "1", "--keep-caps"]);
        assert!(kept[0] != 0 && kept.iter().all(|set| *set == kept[0]), "{kept:x?}");
        let kept = held(&["-U", "--preserve-credentials", "--keep-caps"]);
        assert!(kept[0] != 0 && kept[2] == kept[0], "{kept:x?}");
    });
}

#[test]
fn a_process_that_is_told_from_its_successor() {
    both(|who| {
        let running = target(who, WAIT);
        let pidfd = pidfd_open(Pid::from_raw(running.pid() as i32).unwrap(), PidfdFlags::empty()).unwrap();
        let inode = fs::File::from(pidfd).metadata().unwrap().ino();
        let args = ["-U", "-n", "--preserve-credentials", "readlink", "/proc/self/ns/net"];
        let pid = running.pid();
        assert_eq!(enter(who, format!("{pid}:{inode}"), &args).out(), link(pid, "net"));
        let other = enter(who, format!("{pid}:{}", inode + 1), &args);
        assert!(other.fails(1).contains(&pid.to_string()), "{other:?}");
        for text in ["{pid}:", "{pid}:x", "{pid}:-1", ":5", "{pid}:{inode}:1"] {
            let text = text.replace("{pid}", &pid.to_string()).replace("{inode}", &inode.to_string());
            assert!(enter(who, &text, &args).fails(1).contains(&text), "{text}");
        }
    });
}

#[test]
fn a_namespace_by_its_id() {
    both(|who| {
        for option in ["--net=:", "--uts=:", "-n:", "-n=:"] {
            // No id, and one that no namespace has.
            for id in ["x", "", "18446744073709551615"] {
                let ran = Names::new(who).nsenter(&[&format!("{option}{id}"), "echo", "never"]).ran();
                assert!(ran.fails(1).starts_with("nsenter: ") && ran.stdout.is_empty(), "{ran:?}");
            }
        }
    });
}

#[test]
fn glued_arguments_with_and_without_a_sign() {
    as_root(|who| {
        let running = target(who, WAIT);
        let names = Names::new(who);
        let file = format!("/proc/{}/ns/net", running.pid());
        for option in ["-n", "-n=", "--net="] {
            let shown = names.nsenter(&[&format!("{option}{file}"), "readlink", "/proc/self/ns/net"]).ran().out();
            assert_eq!(shown, link(running.pid(), "net"));
        }
        // A root may be called so.
        let ran = names.nsenter(&["-r=/", "true"]).ran();
        assert!(ran.fails(1).contains("=/"), "{ran:?}");
    });
}

#[test]
fn the_namespace_of_a_socket() {
    let program = "import os, socket
socket = socket.socket()
print('ready', flush=True)
print(socket.fileno(), flush=True)
print(os.open('/', os.O_RDONLY), flush=True)
input()";
    both(|who| {
        let dir = who.dir();
        fs::write(dir.join("program"), program).unwrap();
        let running = target(who, &format!("exec python3 {}", dir.join("program").display()));
        let (socket, other) = (running.line(), running.line());
        let there = link(running.pid(), "net");
        let user = if who.is_root() { &[][..] } else { &["-U", "--preserve-credentials"] };
        for options in [&["-N", &socket][..], &["--net-socket", &socket]] {
            let args = [user, options, &["readlink", "/proc/self/ns/net"]].concat();
            assert_eq!(enter(who, running.pid(), &args).out(), there);
        }
        for fd in [other.as_str(), "999999", "x", "-1", ""] {
            let ran = enter(who, running.pid(), &[user, &["-N", fd, "true"]].concat());
            assert!(ran.fails(1).starts_with("nsenter: "), "{ran:?}");
        }
        assert!(Names::new(who).nsenter(&["-N", &socket, "true"]).ran().fails(1).contains("target"));
    });
}

#[test]
fn the_parent_of_the_user_namespace() {
    both(|who| {
        let inner = "exec unshare -Ur sh -c 'echo ready; read word'";
        let mut command = who.command("/usr/bin/unshare");
        command.args(["-Ur", "sh", "-c", &format!("readlink /proc/self/ns/user; {inner}")]);
        let running = Running::start(&mut command);
        let parent = running.line();
        assert_eq!(running.line(), "ready");
        let args = ["--user-parent", "--preserve-credentials", "readlink", "/proc/self/ns/user"];
        assert_eq!(enter(who, running.pid(), &args).out(), parent);
        assert_ne!(link(running.pid(), "user"), parent);
        // Of a file's, without a process.
        let net = target(who, WAIT);
        let file = format!("--net=/proc/{}/ns/net", net.pid());
        let args = [&file, "--user-parent", "--preserve-credentials", "readlink", "/proc/self/ns/user"];
        assert_eq!(Names::new(who).nsenter(&args).ran().out(), link(net.pid(), "user"));
        assert!(Names::new(who).nsenter(&["--user-parent", "true"]).ran().fails(1).contains("target"));
    });
}

#[test]
fn the_cgroup_of_the_target() {
    as_root(|who| {
        let unified = Path::new("/sys/fs/cgroup/unified");
        let hierarchy = if unified.exists() { unified } else { Path::new("/sys/fs/cgroup") };
        let mut running = Running::ready(who.command("sh").args(["-c", WAIT]));
        let name = mark();
        let group = hierarchy.join(&name);
        fs::create_dir(&group).unwrap();
        fs::write(group.join("cgroup.procs"), running.pid().to_string()).unwrap();
        for option in ["-c", "--join-cgroup"] {
            // Its stdin stays open, too.
            let script = "cat; grep ^0: /proc/self/cgroup";
            let pid = running.pid().to_string();
            let ran = Names::new(who).nsenter(&["-t", &pid, option, "sh", "-c", script]).ran_with(b"input\n");
            assert_eq!(ran.out(), format!("input\n0::/{name}"));
        }
        let stayed = enter(who, running.pid(), &["grep", "^0:", "/proc/self/cgroup"]).out();
        assert!(!stayed.contains(&name), "{stayed}");
        running.hang_up();
        running.end();
        eventually("the cgroup is empty", || fs::remove_dir(&group).is_ok());
    });
    both(|who| {
        let ran = Names::new(who).nsenter(&["-c", "true"]).ran();
        assert!(ran.fails(1).contains("target"), "{ran:?}");
    });
}

#[test]
fn all_of_a_process_that_shares_some_with_a_user() {
    as_user(|who| {
        let running = target(who, WAIT);
        let script = "readlink /proc/self/ns/net; readlink /proc/self/ns/mnt; id -u";
        for options in [&["-a"][..], &["-a", "-F"], &["-a", "-r", "-w"], &["--all", "--preserve-credentials"]] {
            let args = [options, &["sh", "-c", script]].concat();
            let expected = format!("{}\n{}\n0", link(running.pid(), "net"), link(running.pid(), "mnt"));
            assert_eq!(enter(who, running.pid(), &args).out(), expected, "{options:?}");
        }
        // All of them are his.
        let own = Running::ready(who.command("sh").args(["-c", WAIT]));
        assert_eq!(enter(who, own.pid(), &["-a", "id", "-u"]).out(), who.uid.to_string());
    });
}

#[test]
fn all_options_are_in_the_help() {
    both(|who| {
        let help = Names::new(who).nsenter(&["--help"]).ran().out();
        let own = who.tool("inject").arg("--help").ran().out();
        for option in [
            "all",
            "target",
            "mount",
            "uts",
            "ipc",
            "net",
            "pid",
            "user",
            "cgroup",
            "time",
            "net-socket",
            "user-parent",
            "setuid",
            "setgid",
            "preserve-credentials",
            "keep-caps",
            "root",
            "wd",
            "wdns",
            "env",
            "no-fork",
            "join-cgroup",
            "kill-child",
            "forward-signals",
            "help",
            "version",
        ] {
            for text in [&help, &own] {
                assert!(lists(text, option), "--{option} is not in {text}");
            }
        }
        assert!(help.contains("nsenter ") && own.contains("inject "));
    });
}

#[test]
fn under_its_own_name() {
    both(|who| {
        let running = target(who, WAIT);
        let pid = &*running.pid().to_string();
        let run = |args: &[&str]| who.tool("inject").args(args).ran();
        let read = ["readlink", "/proc/self/ns/net"];
        let there = link(running.pid(), "net");
        assert_eq!(run(&[&[pid][..], &read].concat()).out(), there);
        let user = if who.is_root() { &[][..] } else { &["-U", "--preserve-credentials"] };
        assert_eq!(run(&[user, &["-n", pid], &read].concat()).out(), there);
        assert_eq!(run(&[user, &["-n", "-t", pid], &read].concat()).out(), there);
        assert_eq!(run(&[user, &["-t", pid, "-n"], &read].concat()).out(), there);
        // Only that.
        let user_link = ["readlink", "/proc/self/ns/user"];
        let inside = if who.is_root() { link(std::process::id(), "user") } else { link(running.pid(), "user") };
        assert_eq!(run(&[user, &["-n", pid], &user_link].concat()).out(), inside);
        assert_eq!(run(&[&[pid][..], &user_link].concat()).out(), link(running.pid(), "user"));
        // A file needs no process.
        let net = format!("--net=/proc/{pid}/ns/net");
        let file = format!("--user=/proc/{pid}/ns/user");
        let user = if who.is_root() { &[][..] } else { &[file.as_str(), "--preserve-credentials"] };
        assert_eq!(run(&[user, &[&net], &read].concat()).out(), there);
    });
}

#[test]
fn the_first_operand_is_the_pid() {
    both(|who| {
        let running = target(who, WAIT);
        let pid = &*running.pid().to_string();
        let run = |args: &[&str]| who.tool("inject").args(args).ran();
        // Not the command.
        assert!(run(&["-F", pid, "echo", "ran"]).fails(125).contains("--no-fork"));
        assert_eq!(run(&["-U", "--preserve-credentials", "--wd", pid, "pwd"]).out(), who.home.to_str().unwrap());
        let read = ["readlink", "/proc/self/ns/user"];
        let parent = run(&[&["--preserve-credentials", "--user-parent", "-U", pid][..], &read].concat());
        assert!(parent.fails(125).contains("cannot enter the user namespace"), "one's own: {parent:?}");
        for (options, word) in [
            (&["--kill-child=TERM"][..], "--kill-child"),
            (&["-c", "--no-cgroup"], "--no-cgroup"),
            (&["--wd=/", "--wdns=/"], "--wdns"),
            (&["-F", "--kill-child"], "--no-fork"),
            (&["-n", "--carry"], "--carry"),
        ] {
            assert!(run(&[options, &[pid, "true"]].concat()).fails(125).contains(word), "{options:?}");
        }
    });
}

#[test]
fn a_thread_has_namespaces_too() {
    both(|who| {
        // A second thread that has left the network of the first.
        let program = "import ctypes, threading
def leave():
    ctypes.CDLL(None).unshare(0x40000000)
    print(threading.get_native_id(), flush=True)
    input()
threading.Thread(target=leave).start()";
        let mut command = who.command("/usr/bin/unshare");
        let running = Running::start(command.args(["-r", "python3", "-c", program]));
        let thread = running.line();
        let there = fs::read_link(format!("/proc/{thread}/ns/net")).unwrap();
        let user = if who.is_root() { &["-n"][..] } else { &["-U", "--preserve-credentials", "-n"] };
        let entered = enter(who, &thread, &[user, &["readlink", "/proc/self/ns/net"]].concat()).out();
        assert_eq!(entered, there.display().to_string());
        assert_ne!(entered, link(running.pid(), "net"));
    });
}

#[test]
fn a_mount_namespace_by_a_file_may_hold_the_owner_of_the_tool() {
    // CVE-2019-5736: the target's map says nothing of who is in that.
    as_root(|who| {
        let user = std::cell::RefCell::new(None);
        as_user(|who| *user.borrow_mut() = Some(target(who, WAIT)));
        let user = user.into_inner().unwrap();
        let mut command = who.command("/usr/bin/unshare");
        let mounts = Running::ready(command.args(["-m", "sh", "-c", WAIT]));
        let file = format!("--mount=/proc/{}/ns/mnt", mounts.pid());
        // The parent is seen through the file that it runs; read-only, its mount has no other name.
        let read = ["sh", "-c", "readlink /proc/$PPID/exe"];
        let seen = enter(who, user.pid(), &[&["-n", &file, "--kill-child"][..], &read].concat()).out();
        assert_eq!(seen, "/");
    });
}

#[test]
fn the_user_namespace_above_may_hold_the_owner_of_the_tool() {
    // CVE-2019-5736, by a process beside the target in its PID namespace.
    as_root(|who| {
        let inner = "setpriv --reuid 1 --regid 1 --clear-groups /usr/bin/unshare -r -f sh -c 'echo ready; read word'";
        let all = ["--map-users=all", "--map-groups=all", "-S", "0", "-G", "0", "-mpf", "--mount-proc", "--kill-child"];
        let names = Names::new(who);
        let outer = Running::ready(names.unshare(&all).args(["sh", "-c", &format!("{inner}; true")]));
        // sh, unshare, its child.
        let child = |pid: i32| {
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
            children.split_whitespace().next().unwrap().parse().unwrap()
        };
        let target: i32 = child(child(child(outer.pid() as i32)));
        let options = ["-t", &target.to_string(), "-U", "-m", "-p", "--preserve-credentials"];
        let entered = Running::ready(names.nsenter(&options).args(["sh", "-c", WAIT]));
        // What it runs from is read-only, and its mount has no other name.
        assert_eq!(fs::read_link(format!("/proc/{}/exe", entered.pid())).unwrap(), Path::new("/"));
    });
}

#[test]
fn statuses_of_both_names() {
    both(|who| {
        let running = target(who, WAIT);
        let pid = running.pid().to_string();
        let names = Names::new(who);
        let run = |args: &[&str]| {
            let own = who.tool("inject").args(["-t", &pid]).args(args).ran();
            let theirs = names.nsenter(&["-t", &pid]).args(args).ran();
            assert!(own.stderr.is_empty() || own.stderr.starts_with("inject: "), "{own:?}");
            assert!(theirs.stderr.is_empty() || theirs.stderr.starts_with("nsenter: "), "{theirs:?}");
            (own.code(), theirs.code())
        };
        assert_eq!(run(&["--nonsense", "true"]), (125, 1));
        assert_eq!(run(&["-U", "-S", "x", "true"]), (125, 1));
        assert_eq!(run(&["-U", "--wd=/no/such", "true"]), (125, 1));
        assert_eq!(run(&["-U", "no-such-program"]), (127, 127));
        assert_eq!(run(&["-U", "/etc/passwd"]), (126, 126));
        assert_eq!(run(&["-U", "sh", "-c", "exit 9"]), (9, 9));
    });
}
