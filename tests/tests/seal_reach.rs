//! `seal`: the ports, processes and sockets that a command may reach, what its
//! kernel must have for it, and the calls that are refused by name.
#![forbid(unsafe_code)]

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::Command;

use tests::{Run, Running, Terminal, Who, both, mark};

const PYTHON: &str = "/usr/bin/python3";

/// Tries each KIND:PORT over both protocols of the internet, and tells whether
/// the kernel let it: that nobody listens is none of its business.
const REACH: &str = "import errno, socket, sys
kinds = {
    'bind': (socket.SOCK_STREAM, 0, lambda s, where: s.bind(where)),
    'connect': (socket.SOCK_STREAM, 0, lambda s, where: s.connect(where)),
    'udp-bind': (socket.SOCK_DGRAM, 0, lambda s, where: s.bind(where)),
    'udp-connect': (socket.SOCK_DGRAM, 0, lambda s, where: s.connect(where)),
    'mptcp-bind': (socket.SOCK_STREAM, 262, lambda s, where: s.bind(where)),
    'mptcp-connect': (socket.SOCK_STREAM, 262, lambda s, where: s.connect(where)),
    'fastopen': (socket.SOCK_STREAM, 0, lambda s, where: s.sendto(b'x', socket.MSG_FASTOPEN, where)),
    'fastopen-message': (socket.SOCK_STREAM, 0, lambda s, where: s.sendmsg([b'x'], [], socket.MSG_FASTOPEN, where)),
}
told = []
for word in sys.argv[1:]:
    kind, port = word.split(':')
    type, protocol, act = kinds[kind]
    for family, host in (socket.AF_INET, '127.0.0.1'), (socket.AF_INET6, '::1'):
        try:
            act(socket.socket(family, type, protocol), (host, int(port)))
            told.append('ok')
        except ConnectionRefusedError: told.append('ok')
        except OSError as error: told.append('no' if error.errno in (errno.EACCES, errno.EPERM, errno.EPROTONOSUPPORT) else str(error))
print(*told)";

/// What comes of these attempts under `seal OPTIONS`, in a network of its own.
fn reached(who: &Who, options: &[&str], attempts: &str) -> String {
    let mut command = who.tool("isolate");
    command.arg("seal").args(options).args([PYTHON, "-c", REACH]).args(attempts.split(' '));
    command.ran().out()
}

#[test]
fn the_ports_that_were_named() {
    both(|who| {
        let words = "bind:8080 bind:8081 bind:0 connect:9090 connect:9091";
        let bind = &["--ports", "bind:8080"][..];
        let cases = [
            (&["--ports", "none"][..], "no no no no no no no no no no"),
            (bind, "ok ok no no no no no no no no"),
            (&["--ports", "connect:9090"], "no no no no no no ok ok no no"),
            (&["--ports", "bind:8080,connect:9090"], "ok ok no no no no ok ok no no"),
            (&["--ports", "bind:8080", "--ports", "connect:9090"], "ok ok no no no no ok ok no no"),
            // The kernel chooses one.
            (&["--ports", "bind:0"], "no no no no ok ok no no no no"),
            (&["--files", "rx:/"], "ok ok ok ok ok ok ok ok ok ok"),
            // From inside it can only be narrowed.
            (&["--ports", "bind:8080", "seal", "--ports", "bind:8081,bind:8080"], "ok ok no no no no no no no no"),
        ];
        for (options, told) in cases {
            assert_eq!(reached(who, options, words), told, "{options:?}");
        }
        assert_eq!(reached(who, bind, "udp-bind:8081 udp-connect:9091"), "ok ok ok ok");
    });
}

#[test]
fn no_other_way_to_a_port() {
    both(|who| {
        // Each is TCP on the wire.
        for word in ["mptcp-bind:8081", "mptcp-connect:9091", "fastopen:9091", "fastopen-message:9091"] {
            assert_eq!(reached(who, &["--ports", "none"], word), "no no", "{word}");
            assert_eq!(reached(who, &["--ports", "bind:8080,connect:9090"], word), "no no", "{word}");
        }
    });
}

#[test]
fn what_is_no_port() {
    both(|who| {
        let hint = "seal: hint: it is bind:N or connect:N, or none\n";
        for (text, said) in [
            ("bind:65536", "seal: --ports \"bind:65536\": \"65536\" is no port\n".to_owned()),
            ("bind:", "seal: --ports \"bind:\": \"\" is no port\n".to_owned()),
            ("connect:-1", "seal: --ports \"connect:-1\": \"-1\" is no port\n".to_owned()),
            ("bind:80,connect:http", "seal: --ports \"connect:http\": \"http\" is no port\n".to_owned()),
            ("listen:80", format!("seal: --ports \"listen:80\"\n{hint}")),
            ("80", format!("seal: --ports \"80\"\n{hint}")),
            ("", format!("seal: --ports \"\"\n{hint}")),
        ] {
            assert_eq!(who.tool("seal").args(["--ports", text, "echo", "ran"]).ran().fails(125), said);
        }
    });
}

#[test]
fn signals_and_sockets_of_the_outside() {
    both(|who| {
        let name = mark();
        let _listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let dir = who.dir();
        let _other = UnixListener::bind(dir.join("socket")).unwrap();
        who.give(dir.join("socket"));
        let victim = Running::ready(who.command("sh").args(["-c", "echo ready; read x"]));
        let program = "import os, signal, socket, sys
pid, name, path = sys.argv[1:4]
def attempt(act):
    try: act(); print('ok', end=' ')
    except PermissionError: print('no', end=' ')
def connect(where): socket.socket(socket.AF_UNIX).connect(where)
own = socket.socket(socket.AF_UNIX)
own.bind('\\0inside-' + name)
own.listen()
child = os.fork()
if child == 0: signal.pause()
attempt(lambda: os.kill(int(pid), 0))
attempt(lambda: os.kill(child, signal.SIGKILL))
attempt(lambda: connect('\\0' + name))
attempt(lambda: connect('\\0inside-' + name))
attempt(lambda: connect(path))";
        let path = dir.join("socket").display().to_string();
        for (options, told) in [
            (&["--scope", "signal"][..], "no ok ok ok ok"),
            (&["--scope", "unix"], "ok ok no ok ok"),
            (&["--scope", "signal,unix"], "no ok no ok ok"),
            (&["--scope", "unix", "--scope", "signal"], "no ok no ok ok"),
            (&["--scope", "unix", "seal", "--scope", "signal"], "no ok no ok ok"),
            (&["--no-new-privs"], "ok ok ok ok ok"),
        ] {
            let mut command = who.tool("seal");
            command.args(options).args([PYTHON, "-c", program, &victim.pid().to_string(), &name, &path]);
            assert_eq!(command.ran().out(), told, "{options:?}");
        }
        for (text, word) in [("tcp", "tcp"), ("", ""), ("signal,", "")] {
            let said = format!("seal: --scope: unknown scope {word:?}\nseal: hint: there are signal and unix\n");
            assert_eq!(who.tool("seal").args(["--scope", text, "true"]).ran().fails(125), said);
        }
    });
}

/// Runs a command for which the kernel's Landlock has the version in $1: the
/// question (landlock_create_ruleset(2), flag 1) is answered here
/// (seccomp_unotify(2)), everything else is the kernel's own.
const OLDER: &str = "import ctypes, fcntl, os, select, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
ours, theirs = socket.socketpair()
child = os.fork()
if child == 0:
    program = ctypes.create_string_buffer(struct.pack('=' + 'HBBI' * 6,
        0x20, 0, 0, 0, 0x15, 0, 3, 444, 0x20, 0, 0, 32, 0x15, 0, 1, 1, 6, 0, 0, 0x7fc00000, 6, 0, 0, 0x7fff0000))
    libc.prctl(38, 1, 0, 0, 0)
    listener = libc.syscall(317, 1, 8, struct.pack('@HP', 6, ctypes.addressof(program)))
    socket.send_fds(theirs, [b'x'], [listener])
    os.execvp(sys.argv[2], sys.argv[2:])
theirs.close()
listener = socket.recv_fds(ours, 1, 1)[1][0]
poll = select.poll()
poll.register(listener, select.POLLIN)
while not poll.poll()[0][1] & select.POLLHUP:
    told = bytearray(80)
    fcntl.ioctl(listener, 0xc0502100, told)
    fcntl.ioctl(listener, 0xc0182101, told[:8] + struct.pack('=qiI', int(sys.argv[1]), 0, 0))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))";

#[test]
fn a_kernel_that_lacks_it_is_an_error() {
    both(|who| {
        let (files, ports, scope) = (["--files", "rx:/"], ["--ports", "bind:8080"], ["--scope", "signal"]);
        let lacks = |option: &str, needs: i32, has: i32| {
            Some(format!("seal: --{option} needs version {needs} of Landlock, this kernel has version {has}\n"))
        };
        let cases = [
            (1, &files[..], lacks("files", 3, 1)),
            (2, &files, lacks("files", 3, 2)),
            (3, &files, None),
            (1, &ports, lacks("ports", 4, 1)),
            (3, &ports, lacks("ports", 4, 3)),
            (4, &ports, None),
            (5, &scope, lacks("scope", 6, 5)),
            (6, &scope, None),
        ];
        for (version, options, said) in cases {
            let mut command = who.command(PYTHON);
            command.args(["-c", OLDER, &version.to_string(), "seal"]).args(options).args(["echo", "ran"]);
            let ran = command.ran();
            match said {
                Some(said) => assert_eq!((ran.fails(125), ran.text()), (&*said, String::new()), "{version}"),
                None => assert_eq!(ran.out(), "ran", "{version} {options:?}"),
            }
        }
        for errno in [38, 95] {
            let none = format!("ERRNO({errno}) {{ landlock_create_ruleset }} DEFAULT ALLOW");
            for (options, needs) in [(files, 3), (ports, 4), (scope, 6)] {
                let mut command = who.tool("seal");
                command.args(["--syscalls-string", &none, "seal"]).args(options).args(["echo", "ran"]);
                let ran = command.ran();
                let said = ran.fails(125);
                let first = format!("seal: {} needs version {needs} of Landlock, this kernel has none\n", options[0]);
                assert!(said.starts_with(&first), "{said}");
                assert!(said.contains("seal: hint: ") && ran.text().is_empty(), "{said}");
            }
        }
    });
}

/// unshare(2), clone(2) and clone3(2) with CLONE_NEWUSER: here, in a child, in a
/// thread; then what must go on to work.
const NAMESPACES: &str = "import ctypes, errno, os, subprocess, threading
libc = ctypes.CDLL(None, use_errno=True)
NEWUSER, NEWUTS = 0x10000000, 0x4000000
def call(*arguments):
    result = libc.syscall(*map(ctypes.c_ulong, arguments))
    return 'ok' if result >= 0 else errno.errorcode[ctypes.get_errno()]
def clone(number, *arguments):
    child = os.fork()
    if child == 0:
        print(call(number, *arguments), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
def all():
    print(call(272, NEWUSER), call(272, NEWUSER | NEWUTS), call(272, NEWUSER | 1 << 32), flush=True)
    print(call(435, 0, 0), flush=True)
    clone(56, NEWUSER | 17, 0, 0, 0, 0)
all()
thread = threading.Thread(target=all); thread.start(); thread.join()
print(subprocess.run(['true']).returncode, os.waitstatus_to_exitcode(os.system('exit 3')))
if os.geteuid() == 0:
    net, user = (os.open('/proc/self/ns/' + kind, os.O_RDONLY) for kind in ('net', 'user'))
    print(libc.unshare(NEWUTS), libc.setns(net, 0x40000000), call(308, net, 0), call(308, user, NEWUSER))";

#[test]
fn no_further_user_namespaces() {
    both(|who| {
        let seal = |options: &[&str], command: &[&str]| who.tool("seal").args(options).args(command).ran();
        let told = seal(&["--no-userns"], &[PYTHON, "-c", NAMESPACES]).out();
        let refused = "EPERM EPERM EPERM\nENOSYS\nEPERM\n";
        let more = if who.is_root() { "\n0 0 EPERM EPERM" } else { "" };
        assert_eq!(told, format!("{refused}{refused}0 3{more}"));
        let makes = ["unshare", "--user", "echo", "made"];
        assert_eq!(seal(&["--no-new-privs"], &makes).out(), "made");
        for options in [&["--no-userns"][..], &["--no-userns", "sh", "-c", "\"$@\"", "sh"]] {
            let said = seal(options, &makes).fails(1).to_owned();
            assert_eq!(said, "unshare: unshare failed: Operation not permitted\n");
        }
        assert_eq!(seal(&["--no-userns"], &["pseudo", "true"]).code(), 125);
    });
}

/// ioctl(2) 16 on fd 0: TIOCSTI, and TIOCLINUX to paste, plain and with bits that
/// the kernel does not look at.
const TYPE: &str = "import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
def push(request, data):
    result = libc.syscall(16, 0, ctypes.c_ulong(request), ctypes.c_char_p(data))
    return 'ok' if result == 0 else errno.errorcode[ctypes.get_errno()]
print('told', *[push(request | high << 32, data) for request, data in ((0x5412, b'X'), (0x541c, b'\\2'))
                for high in (0, 1, 0xffffffff)], 'end', flush=True)";

#[test]
fn nothing_is_typed_into_the_terminal() {
    both(|who| {
        let refused = "EPERM EPERM EPERM EPERM EPERM EPERM";
        // A pseudo-terminal is no console of Linux.
        let pushed = "ok ok ok ENOTTY ENOTTY ENOTTY";
        for (options, told) in [(&["--no-tty-input"][..], refused), (&["--no-new-privs"], pushed)] {
            let mut terminal = Terminal::new(who);
            let mut command = who.tool("seal");
            command.args(options).args([PYTHON, "-c", TYPE]);
            let mut running = terminal.run(who, &command);
            terminal.expect("told ");
            assert_eq!(terminal.expect(" end"), format!("{told} end"), "{options:?}");
            assert_eq!(running.end(), 0);
        }
    });
}

#[test]
fn all_of_it_in_one_line() {
    both(|who| {
        let user: &[&str] = if who.is_root() { &["--as", "nobody"] } else { &[] };
        let mut command: Command = who.tool("seal");
        command.args(["--files", "rx:/usr", "--files", "rx:/lib", "--files", "rx:/lib64", "--files", "ro:/etc"]);
        command.args(["--no-userns", "--ports", "none", "--caps", "none", "--umask", "077", "--fds", "0,1,2"]);
        command.args(["--syscalls-string", "ERRNO(13) { mkdir, mkdirat } DEFAULT ALLOW"]).args(user);
        let script = "id -un; umask; cat /var/lib/dpkg/status; mkdir /tmp/x; unshare -U true; echo $?";
        let ran = command.args(["sh", "-c", script]).ran();
        let name = if who.is_root() { "nobody" } else { &who.name };
        assert_eq!((ran.code(), ran.text()), (0, format!("{name}\n0077\n1")));
        for said in ["status: Permission denied", "'/tmp/x': Permission denied", "Operation not permitted"] {
            assert!(ran.stderr.contains(said), "{}", ran.stderr);
        }
    });
}

/// What is refused to the command is not refused to what comes before, and paths
/// that the command may not read are read for its sake.
#[test]
fn landlock_and_then_the_filter_come_last() {
    both(|who| {
        let policy = "ERRNO(1) { landlock_create_ruleset, landlock_add_rule, landlock_restrict_self, seccomp, capset, \
                      prctl, personality, setgroups, setresuid, setresgid, close_range } DEFAULT ALLOW";
        let mut command = who.tool("seal");
        command
            .args(["--syscalls-string", policy])
            .args("--files rx:/bin/busybox --scope signal --caps none".split(' '));
        command.args("--umask 027 --personality 0 --fds 0,1,2 --parent-death KILL".split(' '));
        if who.is_root() {
            command.args(["--as", "nstools-test"]);
        }
        let told = command.args(["/bin/busybox", "sh", "-c", "umask; echo </etc/passwd"]).ran();
        assert_eq!(told.text(), "0027");
        assert!(told.stderr.contains("/etc/passwd: Permission denied"), "{}", told.stderr);
    });
}
