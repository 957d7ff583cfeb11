//! `isolate`: no network but lo, no IPC but its own.
#![forbid(unsafe_code)]

use tests::{Run, Who, as_user, both};

fn isolated(who: &Who, script: &str) -> tests::Ran {
    who.tool("isolate").args(["sh", "-c", script]).ran()
}

#[test]
fn network_and_ipc_are_new() {
    both(|who| {
        for (namespace, new) in [("net", true), ("ipc", true), ("mnt", false), ("pid", false), ("uts", false)] {
            let link = format!("/proc/self/ns/{namespace}");
            let outside = who.command("readlink").arg(&link).ran().out();
            let inside = who.tool("isolate").args(["readlink", &link]).ran().out();
            assert_eq!(outside != inside, new, "{namespace}: {outside} {inside}");
        }
    });
}

#[test]
fn only_lo_and_it_is_up() {
    both(|who| {
        assert_eq!(isolated(who, "tail -n +3 /proc/net/dev | cut -d: -f1").out().trim(), "lo");
        let program = "import socket
server = socket.create_server(('127.0.0.1', 0))
client = socket.create_connection(server.getsockname())
server.accept()[0].send(b'hello')
print(client.recv(5).decode())";
        assert_eq!(who.tool("isolate").args(["python3", "-c", program]).ran().out(), "hello");
        // What makes the above tell something: a new network's lo is down.
        let down = who.command("unshare").args(["-r", "-n", "python3", "-c", program]).ran();
        assert!(down.fails(1).contains("OSError"), "{down:?}");
    });
}

#[test]
fn nothing_of_the_hosts_network_answers() {
    both(|who| {
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = server.local_addr().unwrap().port();
        let program = format!("import socket; socket.create_connection(('127.0.0.1', {port})); print('connected')");
        assert_eq!(who.command("python3").args(["-c", &program]).ran().out(), "connected");
        let refused = who.tool("isolate").args(["python3", "-c", &program]).ran();
        assert!(refused.fails(1).contains("ConnectionRefusedError"));
    });
}

#[test]
fn the_ids_are_unchanged() {
    both(|who| {
        let expected = format!("{}\n{}", who.uid, who.gid);
        assert_eq!(isolated(who, "id -u; id -g").out(), expected);
        let dir = who.dir();
        let script = format!("touch {0}/f && stat -c %u {0}/f", dir.display());
        assert_eq!(isolated(who, &script).out(), who.uid.to_string());
    });
}

#[test]
fn a_user_keeps_no_rights_over_it() {
    // Root has every right over his own network.
    as_user(|who| {
        let refused = isolated(who, "ip link set lo down");
        assert!(refused.fails(2).contains("not permitted"), "{refused:?}");
        assert_eq!(isolated(who, "cat /proc/self/setgroups").out(), "deny");
    });
}

#[test]
fn the_default_command_is_the_shell() {
    both(|who| {
        assert_eq!(who.tool("isolate").env("SHELL", "/bin/pwd").ran().out(), who.home.to_str().unwrap());
        assert_eq!(who.tool("isolate").ran_with(b"echo $0\n").out(), "/bin/sh");
    });
}

#[test]
fn statuses() {
    both(|who| {
        assert_eq!(isolated(who, "exit 9").code(), 9);
        assert!(
            who.tool("isolate").arg("no-such").ran().fails(127).starts_with("isolate: cannot execute \"no-such\": ")
        );
        assert!(who.tool("isolate").arg("/etc/passwd").ran().fails(126).contains("Permission denied"));
    });
}

#[test]
fn composes_with_the_other_tools() {
    both(|who| {
        let chain = "pseudo isolate seal sh -c 'id -u; readlink /proc/self/ns/net'";
        let inside = who.command("sh").args(["-c", chain]).ran().out();
        let outside = who.command("readlink").arg("/proc/self/ns/net").ran().out();
        assert!(inside.starts_with("0\nnet:[") && !inside.ends_with(&outside), "{inside}");
    });
}
