//! `unshare` and `nsenter` and the child that they fork: signals, and who ends with whom.
#![forbid(unsafe_code)]

use std::process::Command;

use nix::sys::signal::Signal;
use tests::{Names, Run, Running, Who, as_root, as_user, both, eventually, mark, marked};

/// A process in namespaces of its own, to be entered with `-U -p`.
fn target(who: &Who) -> Running {
    let ids = if who.is_root() { &["-r"][..] } else { &["-r", "--map-auto"] };
    let mut command = who.command("/usr/bin/unshare");
    command.args(ids).args(["-pf", "--kill-child", "sh", "-c", "echo ready; read word"]);
    Running::ready(&mut command)
}

/// The two tools that fork, with these options; the target must live on meanwhile.
fn forking(names: &Names, target: &Running, options: &[&str]) -> [Command; 2] {
    let pid = target.guard().unwrap().to_string();
    let unshare = names.unshare(&[&["-r"], options].concat());
    [unshare, names.nsenter(&[&["-t", &pid, "-U", "-p", "--preserve-credentials"], options].concat())]
}

#[test]
fn the_child_does_not_outlive_the_tool() {
    both(|who| {
        let names = Names::new(who);
        let target = target(who);
        for (option, signals) in [
            ("--kill-child", &[Signal::SIGHUP, Signal::SIGKILL, Signal::SIGUSR1][..]),
            ("--forward-signals", &[Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT]),
        ] {
            for &signal in signals {
                for mut command in forking(&names, &target, &[option]) {
                    let mark = mark();
                    let script = format!("echo ready; read word; : {mark}");
                    let mut running = Running::ready(command.args(["sh", "-c", &script]));
                    assert!(marked(&mark).len() >= 2, "the tool and its child");
                    running.signal(signal);
                    assert_eq!(running.end(), -(signal as i32), "{command:?}");
                    eventually("the child is gone as well", || marked(&mark).is_empty());
                }
            }
        }
    });
}

#[test]
fn the_init_of_a_pid_namespace_does_not_either() {
    both(|who| {
        let names = Names::new(who);
        for (option, signal) in [
            ("--kill-child", Signal::SIGHUP),
            ("--kill-child", Signal::SIGKILL),
            // Init handles neither of these two; the kernel would drop TERM at the death of the parent.
            ("--kill-child=TERM", Signal::SIGHUP),
            ("--forward-signals", Signal::SIGTERM),
            ("--forward-signals", Signal::SIGHUP),
        ] {
            let mark = mark();
            let script = format!("echo ready; read word; : {mark}");
            let mut command = names.unshare(&["-rp", "--mount-proc", option, "sh", "-c", &script]);
            let mut running = Running::ready(&mut command);
            running.signal(signal);
            assert_eq!(running.end(), -(signal as i32), "{command:?}");
            eventually("nothing of the namespace is left", || marked(&mark).is_empty());
        }
    });
}

#[test]
fn both_ties_at_once() {
    both(|who| {
        let names = Names::new(who);
        let target = target(who);
        for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGKILL] {
            for mut command in forking(&names, &target, &["--kill-child=TERM", "--forward-signals"]) {
                let mark = mark();
                let script = format!("echo ready; read word; : {mark}");
                let mut running = Running::ready(command.args(["sh", "-c", &script]));
                running.signal(signal);
                assert_eq!(running.end(), -(signal as i32), "{command:?}");
                eventually("the child is gone as well", || marked(&mark).is_empty());
            }
        }
    });
}

#[test]
fn the_child_may_answer_a_signal_that_is_passed_on() {
    both(|who| {
        let names = Names::new(who);
        let target = target(who);
        for (signal, name) in [(Signal::SIGTERM, "TERM"), (Signal::SIGINT, "INT")] {
            for mut command in forking(&names, &target, &["--forward-signals"]) {
                // Not a read that waits: a trap that comes just before it would wait, too.
                let script =
                    format!("trap 'echo heard; exit 3' {name}; echo ready; while :; do read word; done </dev/null");
                let mut running = Running::ready(command.args(["sh", "-c", &script]));
                running.signal(signal);
                assert_eq!((running.line().as_str(), running.end()), ("heard", 3), "{command:?}");
            }
        }
    });
}

#[test]
fn a_forking_unshare_minds_neither_term_nor_int() {
    both(|who| {
        let names = Names::new(who);
        for options in [&["-f"][..], &["-Ur", "--kill-child"]] {
            let args = [options, &["sh", "-c", "echo ready; read word; echo $word; exit 4"]].concat();
            let mut running = Running::ready(&mut names.unshare(&args));
            running.signal(Signal::SIGTERM);
            running.signal(Signal::SIGINT);
            running.say("on");
            assert_eq!((running.line().as_str(), running.end()), ("on", 4));
        }
    });
}

#[test]
fn the_tie_survives_a_change_of_ids() {
    let check = |who: &Who, ids: &[&str]| {
        let names = Names::new(who);
        for change in [&["-S", "1"][..], &["-G", "1"], &["-S", "1", "-G", "1"]] {
            let mark = mark();
            let script = format!("echo ready; read word; : {mark}");
            let args = [ids, &["--kill-child"], change, &["sh", "-c", &script]].concat();
            let mut running = Running::ready(&mut names.unshare(&args));
            running.signal(Signal::SIGKILL);
            assert_eq!(running.end(), -9);
            eventually("the child is gone as well", || marked(&mark).is_empty());
        }
    };
    as_root(|who| check(who, &[]));
    as_user(|who| check(who, &["-r", "--map-auto"]));
    as_user(|who| {
        let names = Names::new(who);
        let target = target(who);
        let pid = target.guard().unwrap().to_string();
        let mark = mark();
        let script = format!("echo ready; read word; : {mark}");
        let args = ["-t", &pid, "-U", "-p", "-S", "1", "-G", "1", "--kill-child", "sh", "-c", &script];
        let mut running = Running::ready(&mut names.nsenter(&args));
        running.signal(Signal::SIGKILL);
        assert_eq!(running.end(), -9);
        eventually("the child is gone as well", || marked(&mark).is_empty());
    });
}

#[test]
fn the_tool_may_be_killed_at_any_time() {
    both(|who| {
        let names = Names::new(who);
        let target = target(who);
        for round in 0..20 {
            for mut command in forking(&names, &target, &["--kill-child"]) {
                let mark = mark();
                let script = format!("echo ready; read word; : {mark}");
                let mut running = Running::start(command.args(["sh", "-c", &script]));
                // Each round lets it come a little further.
                for _ in 0..round * 20 {
                    std::thread::yield_now();
                }
                running.signal(Signal::SIGKILL);
                assert_eq!(running.end(), -9);
                eventually("nothing is left", || marked(&mark).is_empty());
            }
        }
    });
}

#[test]
fn the_tool_stops_and_goes_on_with_the_command() {
    both(|who| {
        let names = Names::new(who);
        let target = target(who);
        for options in [&[][..], &["--forward-signals"]] {
            let mut commands = forking(&names, &target, options);
            commands[0].arg("-f");
            for mut command in commands {
                let mut running =
                    Running::ready(command.args(["sh", "-c", "echo ready; kill -STOP $$; echo on; exit 5"]));
                eventually("the tool has stopped, too", || running.state() == 'T');
                running.signal(Signal::SIGCONT);
                assert_eq!((running.line().as_str(), running.end()), ("on", 5), "{command:?}");
            }
        }
    });
}

#[test]
fn a_signal_for_the_child_by_its_name_alone() {
    both(|who| {
        let names = Names::new(who);
        let target = target(who);
        for signal in ["15", "0", "NONSENSE", ""] {
            let option = format!("--kill-child={signal}");
            for mut command in forking(&names, &target, &[&option]) {
                let ran = command.arg("true").ran();
                assert!(ran.fails(1).contains("kill-child"), "{ran:?}");
            }
        }
    });
}

#[test]
fn a_job_stops_once_and_goes_on() {
    // What a shell's ^Z and fg do; cat answers when it runs again.
    let program = "import os, signal, subprocess, sys
tool = subprocess.Popen(sys.argv[1:] + ['cat'], stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0)
def answers():
    tool.stdin.write(b'line\\n')
    tool.stdin.flush()
    return tool.stdout.readline() == b'line\\n'
assert answers()
for _ in range(50):
    os.killpg(tool.pid, signal.SIGTSTP)
    assert os.WIFSTOPPED(os.waitpid(tool.pid, os.WUNTRACED)[1])
    os.killpg(tool.pid, signal.SIGCONT)
    assert answers()
    assert os.waitpid(tool.pid, os.WUNTRACED | os.WNOHANG) == (0, 0), 'it has stopped again'
tool.stdin.close()
print(tool.wait())";
    both(|who| {
        let names = Names::new(who);
        let target = target(who);
        for command in forking(&names, &target, &[]).iter().chain(&forking(&names, &target, &["--forward-signals"])) {
            let mut python = names.command("python3");
            python.args(["-c", program]).arg(command.get_program());
            if command.get_program() == "unshare" {
                python.arg("-f");
            }
            assert_eq!(python.args(command.get_args()).ran().out(), "0", "{command:?}");
        }
    });
}

#[test]
fn a_hang_up_is_passed_on() {
    // The kernel tells it to the leader of the session alone.
    let program = "import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
while b'ready' not in os.read(terminal, 1000): pass
os.close(terminal)
print(os.WTERMSIG(os.waitpid(pid, 0)[1]))";
    both(|who| {
        let names = Names::new(who);
        // Becoming sleep, the shell leaves no child that no one would tell.
        let options = ["unshare", "-r", "--forward-signals", "sh", "-c", "echo ready; exec sleep 1000"];
        let ran = names.command("python3").args(["-c", program]).args(options).ran();
        assert_eq!(ran.out(), (Signal::SIGHUP as i32).to_string(), "that of its child");
    });
}
