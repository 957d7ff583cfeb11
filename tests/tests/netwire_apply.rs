//! Topologies: all or nothing, and nothing the second time.
#![forbid(unsafe_code)]

use std::fs;

use nix::sys::signal::Signal;
use tests::{Run, Running, Who, both};

/// Runs a lab script as both callers; it must succeed and say nothing.
#[track_caller]
fn lab(script: &str) {
    both(|who| assert_eq!(who.lab(script).out(), ""));
}

/// A topology of every kind of line, in no good order, in the file `lab`.
const EVERYTHING: &str = r#"cat >lab <<'TOPOLOGY'
# Before the bridge that it is for.
wire br0 eth0@web 10.0.0.1 fd00::1 --via 10.0.0.254	# a tab, and a comment
  route "db" 192.0.2.0/24 --via '10.0.0.254'

allow br0 web db
deny-all br0
host alias /run/netns/mail
wire br0 eth0@alias auto --rate 10mbit
bridge br0 10.0.0.254/24 "fd00::ff/64"
wire 'br0' "eth0"@db 10.0.0.2 fd00::2
macvlan up m0@web 10.1.0.1/24
veth up left@mail --addr 10.1.0.9/24 --peer-addr 10.1.0.2/24
vxlan br1@mail --id 9 --local 10.1.0.2 --remote 10.1.0.9
set m0@web --mtu 1400
nat br0 --out up
lo web
netns web
netns db
netns mail
del gone@db
TOPOLOGY
"#;

#[test]
fn every_kind_of_line_in_any_order() {
    lab(&format!(
        "{EVERYTHING}
        sed -i 's,^netns mail,,' lab; host mail
        state >nothing
        quiet netwire apply lab
        pings web 10.0.0.2 fd00::2 10.1.0.2 127.0.0.1
        talks db web 10.0.0.1 fd00::1
        ip -n mail addr show eth0 | grep -q '10.0.0.3/24' || fail auto
        ip link show alias-eth0 master br0 up >/dev/null
        deaf mail 10.0.0.1
        deaf web 10.0.0.254
        ip -n db route show 192.0.2.0/24 | grep -q 'via 10.0.0.254' || fail route
        ip -n web link show m0 | grep -q 'mtu 1400' || fail MTU
        ip -n mail link show vxlan9 master br1 up >/dev/null"
    ));
}

#[test]
fn twice_changes_nothing() {
    lab(&format!(
        "{EVERYTHING}
        sed -i 's,^netns mail,,' lab; host mail
        netwire apply --dry-run lab >plan
        [ -z \"$(ls /run/netns | grep -v mail)\" ] || fail the dry run made something
        grep -qx 'create the network namespace web' plan || fail \"$(cat plan)\"
        quiet netwire apply lab
        watch . web db mail
        state >before
        quiet netwire apply --dry-run lab
        quiet netwire apply lab
        quiet netwire apply - <lab
        for name in . web db mail; do
            seen=$(watched $name); [ -z \"$seen\" ] || fail \"$name: $seen\"
        done
        same before
        # What is not mentioned is left alone, what is missing comes back.
        ip -n db addr add 10.7.0.1/24 dev eth0
        ip -n web addr del 10.0.0.1/24 dev eth0
        netwire del eth0@mail
        netwire apply --dry-run lab >plan
        [ \"$(grep -c . plan)\" -ge 2 ] || fail \"$(cat plan)\"
        ! grep -e 10.7.0.1 -e br1 -e m0 plan || fail \"$(cat plan)\"
        quiet netwire apply lab
        quiet netwire apply --dry-run lab
        pings db 10.0.0.1
        ip -n db addr show eth0 | grep -q 10.7.0.1/24 || fail \"$(ip -n db addr)\""
    ));
}

#[test]
fn what_a_dry_run_says() {
    lab("host a
        cat >lab <<'TOPOLOGY'
netns web
bridge br0 10.0.0.254/24
wire br0 eth0@web 10.0.0.1 --via 10.0.0.254
veth x y@web
macvlan x m0@a
TOPOLOGY
        state >before
        netwire apply --dry-run lab >plan
        same before
        for line in 'create the network namespace web' 'create the bridge br0' 'add 10.0.0.254/24 to br0' \\
            'wire eth0@web to br0 as web-eth0' 'add 10.0.0.1/24 to eth0@web' 'create the macvlan m0@a' \\
            'add the route default via 10.0.0.254 in web' 'bring br0 up'; do
            grep -qx \"$line\" plan || fail \"no '$line' in: $(cat plan)\"
        done
        grep -q '^create the veth x@. with the peer y@web$' plan || grep -q '^create the veth x with the peer y@web$' plan ||
            fail \"no veth in $(cat plan)\"
        # What depends on something comes later.
        order=$(grep -n -o -e 'namespace web' -e 'eth0@web to br0' -e 'route default' plan | cut -d: -f1 | xargs)
        [ \"$order\" = \"$(echo $order | tr ' ' '\\n' | sort -n | xargs)\" ] || fail \"$(cat plan)\"");
}

/// 39 good lines in the file `lab`, to which `bad TEXT LINE` adds the last.
const FORTY: &str = "{ echo 'bridge br0 10.0.0.254/24'
    echo 'veth p q@n1 --peer-addr 10.9.0.2/24'
    for n in $(seq 36); do echo \"wire br0 eth$n@n$((n % 3)) 10.0.0.$n\"; done
    echo deny-all br0; } >lab
    host n0 n1 n2
    bad() { cp lab lab.bad; echo \"$2\" >>lab.bad; refused \"$1\" netwire apply lab.bad
        grep -q '^netwire: lab.bad:40: ' refused.err || fail \"$2: $(cat refused.err)\"; same before; }";

#[test]
fn an_error_in_the_last_of_forty_lines() {
    lab(&format!(
        "{FORTY}
        state >before
        bad nonsense 'nonsense br0'
        bad '--nonsense' 'bridge br1 --nonsense'
        bad '17 bytes' 'bridge averyveryverylong'
        bad 'there is no network namespace \"gone\" in /run/netns' 'wire br0 eth99@gone'
        bad 'there is no process 4000000' 'wire br0 eth99@4000000'
        bad '10.9.0.1/24 is in no subnet of br0' 'wire br0 eth99@n1 10.9.0.1/24'
        bad 'is taken by' 'wire br0 eth99@n1 10.0.0.7'
        bad br9 'wire br9 eth99@n1'
        bad apply 'apply lab'
        bad show 'show'
        bad '' 'wire br0 \"eth99@n1'
        bad n1 'veth eth1@n1 other@n2'
        bad web 'allow br0 n1 web'
        cp lab lab.bad; echo 'nonsense' >>lab.bad
        refused nonsense netwire apply - <lab.bad
        grep -q '^netwire: -:40: ' refused.err || fail \"$(cat refused.err)\"
        same before
        quiet netwire apply lab"
    ));
}

#[test]
fn the_kernel_refuses_late() {
    lab(&format!(
        "{FORTY}
        ip link add parent type veth peer name child
        state >before
        # Only the kernel knows: there is no way to the gateway; a second passthru.
        bad '' 'route n1 192.0.2.0/24 --via 198.51.100.1'
        ip link add link parent name first type macvlan mode passthru
        state >before
        bad '' 'macvlan parent second@n1 --mode bridge'
        ip link del first
        ip link set child netns n1
        state >before
        bad '' 'set eth36@n0 --mac 01:00:00:00:00:01'
        # With a part of it there before: what was there stays as it was.
        sed -n 1,9p lab >part; netwire apply part; ip addr add 10.44.0.1/24 dev br0; ip link set br0 mtu 1450
        state >before
        bad '' 'route n1 192.0.2.0/24 --via 198.51.100.1'
        sed -i 's,^bridge br0 ,&--mtu 1440 10.0.0.253/24 --mac 02:00:00:00:00:99 ,' lab
        bad '' 'route n1 192.0.2.0/24 --via 198.51.100.1'"
    ));
}

#[test]
fn something_else_is_there() {
    lab("host a b
        ip link add br0 type veth peer name other
        ip link add br1 type bridge
        ip link add x type veth peer name y netns b
        ip -n a link add eth0 type bridge
        netwire bridge br2 10.0.0.254/24; netwire wire br2 eth1@a 10.0.0.1
        state >before
        bad() { echo \"$1\" >lab; refused \"${2:-}\" netwire apply lab; same before; }
        bad 'bridge br0' br0
        bad 'veth x y@a' x
        bad 'veth br1 z@a' br1
        bad 'wire br1 eth0@a' eth0@a
        bad 'wire br1 eth1@a' eth1@a
        bad 'macvlan x eth0@a' eth0@a
        bad 'netns a
veth x@a y@a
veth x@a z@b' x@a");
}

#[test]
fn how_a_file_is_written() {
    lab("printf 'bridge br0 10.0.0.254/24\\r\\nnetns web\\r\\nwire br0 eth0@web 10.0.0.1\\r\\n' >crlf
        state >before
        if netwire apply crlf 2>refused.err; then
            pings web 10.0.0.254
        else
            grep -q '^netwire: crlf:1: ' refused.err || fail \"$(cat refused.err)\"
            same before
        fi
        for bad in 'netns w\\000eb' 'bridge \"br9' 'wire br9 \\033[31mr@a' '\\377'; do
            rm -rf before; state >before
            printf \"# first\\n$bad\\n\" >bad
            refused '' netwire apply bad
            grep -q '^netwire: bad:2: ' refused.err || fail \"$(cat refused.err)\"
            ! grep -q \"$(printf '\\033')\" refused.err || fail an escape reached the terminal
            same before
        done
        : >empty; quiet netwire apply empty
        printf '# only\\n\\n   # comments' >empty; quiet netwire apply empty
        quiet netwire apply - </dev/null
        printf 'bridge br7#1 # not the first' >last; quiet netwire apply last
        ip link show 'br7#1' >/dev/null
        # Bytes that are no text are as good as others.
        printf 'bridge b\\377r\\n' >bytes; quiet netwire apply bytes
        ip link show \"$(printf 'b\\377r')\" >/dev/null
        refused 'No such file' netwire apply nowhere
        refused '' netwire apply /run");
}

/// A large topology in the file `lab`: hosts on one bridge.
const LARGE: &str = "{ echo bridge br0 10.0.0.1/16; for n in $(seq 300); do
    echo netns n$n; echo wire br0 eth0@n$n auto; done; } >lab";

/// When a signal comes: the first namespace is there, or the first port of the bridge.
const MOMENTS: [&str; 2] = ["[ -e /run/netns/n1 ]", "grep -q -- -eth0: /proc/net/dev"];

/// Ends an apply of LARGE by a signal at some moment; `$status` is its status.
fn interrupted(who: &Who, signal: &str, moment: &str, after: &str) {
    // What runs in the background of a script ignores SIGINT.
    let script = format!(
        "{LARGE}
        state >before
        env --default-signal netwire apply lab 2>err & apply=$!
        until {moment}; do :; done
        kill -{signal} $apply || :
        status=0; wait $apply 2>/dev/null || status=$?
        {after}"
    );
    assert_eq!(who.lab(&script).out(), "", "{signal} when {moment}");
}

#[test]
fn a_signal_takes_everything_back() {
    both(|who| {
        for signal in ["INT", "TERM", "HUP"] {
            for moment in MOMENTS {
                interrupted(
                    who,
                    signal,
                    moment,
                    "[ $status != 0 ] || fail it ended before
                    [ -z \"$(ls /run/netns)\" ] || fail \"left: $(ls /run/netns | wc -l) namespaces\"
                    same before
                    quiet netwire apply lab",
                );
            }
        }
    });
}

#[test]
fn applied_again_after_a_kill_it_is_complete() {
    both(|who| {
        for moment in MOMENTS {
            interrupted(
                who,
                "KILL",
                moment,
                "[ $status = 137 ] || fail \"status $status\"
                quiet netwire apply lab
                quiet netwire apply --dry-run lab
                [ \"$(ls /run/netns | wc -l)\" = 300 ] || fail namespaces
                [ \"$(ip -o link show master br0 up | wc -l)\" = 300 ] || fail ports
                pings n1 10.0.0.1; pings n300 10.0.0.1",
            );
        }
    });
}

#[test]
fn more_hosts_than_a_bridge_has_ports() {
    both(|who| {
        let script = "{ echo bridge br0 10.0.0.1/16 fd00::1/64; for n in $(seq 1100); do
                echo netns n$n; echo wire br0 eth0@n$n auto; done; } >lab
            quiet netwire apply lab
            echo applied
            ip link show br0.1 up >/dev/null
            ip link show br0.1-up master br0.1 >/dev/null
            ip link show br0.1-dn master br0 >/dev/null
            quiet netwire apply --dry-run lab
            echo again
            of() { ip -n $1 -4 -o addr show eth0 | sed 's,.*inet \\([^/]*\\)/.*,\\1,'; }
            pings n1 $(of n1100) 10.0.0.1 fd00::1
            pings n1100 $(of n1) 10.0.0.1 fd00::1
            pings n1023 $(of n1024); pings n1024 $(of n1023) $(of n1100)
            talks n1 n1100 $(of n1100)
            # One more by a command.
            netwire netns more
            quiet netwire wire br0 eth0@more auto
            pings more $(of n1) $(of n1100)
            echo done";
        let mut running = Running::start(&mut who.lab_command(script));
        for expected in ["applied", "again", "done"] {
            assert_eq!(running.line(), expected, "as {}", who.name);
        }
        assert_eq!(running.end(), 0);
    });
}

#[test]
fn nothing_of_a_lab_is_left_on_the_machine() {
    both(|who| {
        let links = || who.command("ip").args(["-o", "link"]).ran().out();
        let before = links();
        let script = format!(
            "{EVERYTHING}
            sed -i 's,^netns mail,,' lab; host mail
            netwire apply lab
            for name in web db mail; do on $name readlink /proc/self/ns/net; done
            echo ready; exec sleep 1000"
        );
        let mut running = Running::start(&mut who.lab_command(&script));
        let namespaces: Vec<_> = std::iter::repeat_with(|| running.line()).take_while(|line| line != "ready").collect();
        assert_eq!(namespaces.len(), 3);
        running.signal(Signal::SIGKILL);
        running.end();
        tests::eventually("nothing is in them", || {
            let processes = fs::read_dir("/proc").unwrap().flatten();
            let nets = processes.filter_map(|process| fs::read_link(process.path().join("ns/net")).ok());
            !nets.into_iter().any(|net| namespaces.iter().any(|namespace| *namespace == *net.to_string_lossy()))
        });
        assert_eq!(links(), before);
    });
}

#[test]
fn lines_that_exclude_one_another() {
    lab("host a
        netwire bridge br0 10.0.0.254/24
        state >before
        for lines in 'set eth0@a --mtu 1400|set eth0@a --mtu 1500' 'set eth0@a --up|set eth0@a --down' \\
            'allow br0 a .|deny br0 . a' 'deny-all br0|allow-all br0' 'del eth0@a'; do
            { echo 'wire br0 eth0@a auto'; echo \"$lines\" | tr '|' '\\n'; } >lab
            refused 'lab:' netwire apply lab
        done
        same before
        # A link that is made is up, unless another line says otherwise.
        printf '%s\\n' 'wire br0 eth0@a auto --mtu 1400' 'set eth0@a --down' >lab
        quiet netwire apply lab
        ip -n a link show eth0 | grep -q 'state DOWN' || fail up
        [ -z \"$(netwire apply --dry-run lab)\" ] || fail \"$(netwire apply --dry-run lab)\"");
}
