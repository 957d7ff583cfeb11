//! `contain`: signals, --init, and how it ends.
#![forbid(unsafe_code)]

use nix::sys::signal::Signal;
use tests::{Run, Running, both, eventually, marked};

const ALL: [Signal; 6] =
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2];

fn name(signal: Signal) -> &'static str {
    signal.as_str().trim_start_matches("SIG")
}

#[test]
fn signals_reach_a_trap() {
    both(|who| {
        let root = who.busybox();
        for init in [&[][..], &["--init"]] {
            for signal in [&ALL[..], &[Signal::SIGTSTP, Signal::SIGCONT, Signal::SIGWINCH]].concat() {
                let script = format!("trap 'echo got; exit 5' {}; echo ready; while :; do read x; done", name(signal));
                let mut running = Running::ready(&mut who.contain(&root, init, &script));
                running.signal(signal);
                // A shell reads on until its read ends.
                running.hang_up();
                assert_eq!(running.end(), 5, "{signal} {init:?}");
                assert_eq!(running.line(), "got");
            }
        }
    });
}

#[test]
fn a_pid_1_without_handlers_can_be_ended() {
    both(|who| {
        let root = who.busybox();
        for signal in ALL {
            // The kernel drops them for this one: sleep does nothing of its own with any.
            let mut running = Running::ready(&mut who.contain(&root, &[], "echo ready; exec sleep 100"));
            eventually("sleep runs", || sleeps(&running));
            running.signal(signal);
            assert_eq!(running.end(), 128 + signal as i32, "{signal}");
        }
    });
}

/// Whether the init of this container has become sleep, and waits.
fn sleeps(running: &Running) -> bool {
    wait_channel(running).contains("nanosleep")
}

/// What the init of this container waits for in the kernel.
fn wait_channel(running: &Running) -> String {
    let file = |pid: i32, name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
    running.init().map(|pid| file(pid, "wchan")).unwrap_or_default()
}

#[test]
fn ignored_and_blocked_signals_stay_so() {
    both(|who| {
        let root = who.busybox();
        let script = "trap '' TERM; trap 'echo int; exit 3' INT; echo ready; while :; do read x; done";
        let mut running = Running::ready(&mut who.contain(&root, &[], script));
        running.signal(Signal::SIGTERM);
        running.signal(Signal::SIGINT);
        running.hang_up();
        assert_eq!(running.line(), "int");
        assert_eq!(running.end(), 3);
        let program = "import signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
print('ready', flush=True)
sys.stdin.readline()
print(signal.SIGTERM in signal.sigpending(), flush=True)";
        let mut command = who.tool("contain");
        let mut running = Running::ready(command.args(["-e", "/", "/usr/bin/python3", "-c", program]));
        running.signal(Signal::SIGTERM);
        running.signal(Signal::SIGUSR2);
        // Both have been dealt with in order: the second ends it only if the first did not.
        assert_eq!(running.end(), 128 + Signal::SIGUSR2 as i32);
    });
}

#[test]
fn a_process_in_sigwait_receives_its_signal() {
    both(|who| {
        for signal in ALL {
            let program = format!(
                "import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.{signal}])
print('ready', flush=True)
print(signal.sigwait([signal.{signal}]).name)"
            );
            let mut command = who.tool("contain");
            let mut running = Running::ready(command.args(["-e", "/", "/usr/bin/python3", "-c", &program]));
            eventually("it waits", || wait_channel(&running).contains("sigtimedwait"));
            running.signal(signal);
            assert_eq!(running.line(), signal.as_str());
            assert_eq!(running.end(), 0);
        }
    });
}

#[test]
fn stop_and_continue() {
    both(|who| {
        let root = who.busybox();
        for init in [&[][..], &["--init"]] {
            let script = "echo ready; while read x; do echo $x; done";
            let mut running = Running::ready(&mut who.contain(&root, init, script));
            running.signal(Signal::SIGTSTP);
            eventually("the supervisor stops", || running.state() == 'T');
            running.say("hello");
            running.signal(Signal::SIGCONT);
            assert_eq!(running.line(), "hello", "{init:?}");
            running.hang_up();
            assert_eq!(running.end(), 0, "{init:?}");
        }
    });
}

#[test]
fn a_container_that_stops_itself_stops_the_supervisor() {
    both(|who| {
        let root = who.busybox();
        let mut running = Running::ready(&mut who.contain(&root, &["--init"], "echo ready; kill -STOP $$; echo on"));
        eventually("the supervisor stops", || running.state() == 'T');
        running.signal(Signal::SIGCONT);
        assert_eq!(running.line(), "on");
        assert_eq!(running.end(), 0);
    });
}

#[test]
fn signals_before_the_command_end_the_run() {
    both(|who| {
        let root = who.busybox();
        // Held up in the helper: the command has not started.
        who.command("mkfifo").arg(root.join("fifo")).ran().out();
        let helper = "echo ready; cat fifo";
        let mut running = Running::ready(&mut who.contain(&root, &["-i", helper], "echo ran"));
        running.signal(Signal::SIGTERM);
        assert_eq!(running.end(), 128 + 15);
    });
}

#[test]
fn init_is_pid_1_and_the_command_its_child() {
    both(|who| {
        let root = who.busybox();
        assert_ne!(who.contain(&root, &["--init"], "echo $$").ran().out(), "1");
        assert_eq!(who.contain(&root, &["--init"], "echo $PPID").ran().out(), "1");
    });
}

#[test]
fn init_gives_the_exact_status() {
    both(|who| {
        let root = who.busybox();
        for status in [0, 1, 42, 124, 255] {
            assert_eq!(who.contain(&root, &["--init"], &format!("exit {status}")).ran().code(), status);
        }
        for signal in [1, 2, 9, 11, 15] {
            assert_eq!(who.contain(&root, &["--init"], &format!("kill -{signal} $$")).ran().code(), 128 + signal);
        }
        let run = |word: &str| who.tool("contain").arg("--init").arg(&*root).arg(word).ran();
        assert_eq!(run("no-such").fails(127), "contain: cannot execute \"no-such\": No such file or directory\n");
        root.file("etc/text", "");
        assert!(run("/etc/text").fails(126).contains("Permission denied"));
    });
}

#[test]
fn init_reaps() {
    both(|who| {
        let root = who.busybox();
        // Orphans that end at once: with no one to reap them they stay as zombies.
        let orphans = "for i in 1 2 3 4 5; do (sleep 0 &); done;";
        let wait = "set -- /proc/[0-9]*; while [ $# -gt 2 ]; do set -- /proc/[0-9]*; done; echo end";
        assert_eq!(who.contain(&root, &["--init"], &format!("{orphans} {wait}")).ran().out(), "end");
        // The command's end is the end, whoever is left.
        let ran = who.contain(&root, &["--init"], "sleep 100 & exit 6").ran();
        assert_eq!(ran.code(), 6);
    });
}

#[test]
fn background_processes_end_with_the_command() {
    both(|who| {
        let root = who.busybox();
        let mark = tests::mark();
        let ran = who
            .contain(
                &root,
                &[],
                &format!("sh -c 'sleep 1000; : {mark}' & setsid sh -c 'sleep 1000; : {mark}' & exit 3"),
            )
            .ran();
        assert_eq!(ran.code(), 3);
        // They are gone before contain is.
        assert_eq!(marked(&mark), []);
    });
}

#[test]
fn killed_by_a_signal_is_128_and_the_signal() {
    both(|who| {
        // A PID 1 can be killed from outside only: by the kernel for its own fault.
        let mut command = who.tool("contain");
        let crash = "import ctypes; ctypes.string_at(0)";
        assert_eq!(command.args(["-e", "/", "/usr/bin/python3", "-c", crash]).ran().code(), 128 + 11);
        let root = who.busybox();
        let mut running = Running::ready(&mut who.contain(&root, &["--init"], "echo ready; exec sleep 100"));
        running.signal(Signal::SIGTERM);
        assert_eq!(running.end(), 128 + 15);
    });
}
