//! What `netwire` cannot do: it says why, ends with 125, and leaves what was there.
#![forbid(unsafe_code)]

use tests::{Run, Running, as_root, as_user, both};

/// Runs a lab script as both callers; it must succeed and say nothing.
#[track_caller]
fn lab(script: &str) {
    both(|who| assert_eq!(who.lab(script).out(), ""));
}

/// A lab with a few links, and `bad TEXT ARG...`: netwire refuses, and nothing is changed.
///
/// With `each=` (nothing), only `same before` at the end tells the latter.
const BAD: &str = "host web db
    netwire bridge br0 10.0.0.254/24
    netwire wire br0 eth0@web 10.0.0.1
    netwire veth x y@db --peer-addr 10.1.0.1/24
    state >before
    bad() { said=$1; shift; refused \"$said\" netwire \"$@\"; [ -z \"$each\" ] || same before; }
    each=yes";

#[test]
fn names_of_interfaces() {
    lab(&format!(
        "{BAD}
        each=
        long='the interface name \"averyveryverylong\" has 17 bytes, more than 15'
        bad \"$long\" bridge averyveryverylong
        bad \"$long\" veth a averyveryverylong@web
        bad \"$long\" veth averyveryverylong@db b@web
        bad \"$long\" wire br0 averyveryverylong@db
        bad \"$long\" wire averyveryverylong eth9@db
        bad \"$long\" macvlan x averyveryverylong@db
        bad \"$long\" set averyveryverylong --up
        bad \"$long\" del averyveryverylong@db
        bad \"$long\" route web 10.9.0.0/24 --dev averyveryverylong
        bad 16 bridge 1234567890123456
        # In bytes, not in characters.
        bad 16 bridge éééééééé
        for name in . .. a/b a:b 'a b' \"$(printf 'a\\tb')\" ''; do bad '' bridge \"$name\"; done
        for name in 'a@' '@web' 'a@b@c'; do bad '' bridge \"$name\"; done
        same before
        # The longest that the kernel knows.
        quiet netwire bridge 123456789012345; ip link show 123456789012345 >/dev/null"
    ));
}

#[test]
fn an_interface_that_exists() {
    lab(&format!(
        "{BAD}
        bad 'br0 exists' bridge br0
        bad 'x exists' bridge x
        bad 'x exists' veth x z@web
        bad 'eth0@web exists' veth z eth0@web
        bad 'eth0@web exists' veth eth0@web z
        bad 'eth0@web exists' wire br0 eth0@web
        bad 'y@db exists' wire br0 y@db
        bad 'eth0@web exists' macvlan x eth0@web
        bad 'lo@db exists' macvlan x lo@db
        bad '\"web\" exists' netns web
        bad '' veth z z
        bad 'x exists' veth n1 x
        ip link add web-eth1 type bridge; state >before
        bad 'web-eth1' wire br0 eth1@web
        ip link add vxlan7 type bridge; state >before
        bad 'vxlan7' vxlan br0 --id 7 --local 10.0.0.254"
    ));
}

#[test]
fn an_interface_that_does_not() {
    lab(&format!(
        "{BAD}
        bad 'there is no br9' wire br9 eth9@db
        bad 'there is no br9' deny-all br9
        bad 'there is no br9@web' wire br9@web eth9@db
        bad 'there is no p9' macvlan p9 eth9@db
        bad 'there is no x9@db' set x9@db --up
        bad 'there is no x9' del x9
        bad 'there is no y9@db' route db 10.8.0.0/24 --dev y9@db || bad 'there is no y9' route db 10.8.0.0/24 --dev y9
        bad 'x is no bridge' wire x eth9@db
        bad 'x is no bridge' deny-all x
        bad 'y@db is no bridge' vxlan y@db --id 7 --local 10.1.0.1"
    )
    .replace("bad 'there is no y9@db' route db 10.8.0.0/24 --dev y9@db || ", ""));
}

#[test]
fn a_target_that_is_gone() {
    lab(&format!(
        "{BAD}
        bad 'there is no process 4000000' wire br0 eth9@4000000
        bad 'there is no process 4000000' veth a b@4000000
        bad 'there is no network namespace \"gone\" in /run/netns' wire br0 eth9@gone
        bad 'there is no network namespace \"gone\" in /run/netns' lo gone
        bad 'cannot open the network namespace \"/gone\": No such file or directory' wire br0 eth9@/gone
        bad '\"/etc/passwd\" is no network namespace' wire br0 eth9@/etc/passwd
        bad 'is no network namespace' wire br0 eth9@/proc/self/ns/mnt
        : >/run/netns/empty
        refused '\"/run/netns/empty\" is no network namespace' netwire wire br0 eth9@empty; rm /run/netns/empty
        same before
        bad '' wire br0 eth9@99999999999999999999
        bad '' lo ''
        # A zombie has no namespace any more.
        sh -c 'echo $PPID >parent; sleep 0 & exec sleep 1000' & parent=$!
        until zombie=$(grep -l \"^PPid:.$parent\" /proc/[0-9]*/status 2>/dev/null | cut -d/ -f3) &&
            grep -q '^State:.Z' /proc/$zombie/status 2>/dev/null; do :; done
        bad \"$zombie\" wire br0 eth9@$zombie"
    ));
}

#[test]
fn another_process_of_the_same_number() {
    lab(&format!(
        "{BAD}
        inode() {{ python3 -c 'import os, sys
print(os.fstat(os.pidfd_open(int(sys.argv[1]))).st_ino)' \"$1\"; }}
        process
        old=$process:$(inode $process)
        netwire wire br0 eth1@$old; netwire del eth1@$process
        kill $process; wait $process 2>/dev/null || :
        bad \"process $process\" wire br0 eth9@$old
        # The next process gets the number that is asked for.
        echo $((process - 1)) >/proc/sys/kernel/ns_last_pid
        unshare -n sleep 1000 & new=$!
        [ $new = $process ] || fail $new, not $process
        bad \"process $old is gone; $new is now another, $new:$(inode $new)\" wire br0 eth9@$old
        bad '' wire br0 eth9@$process:
        bad '' wire br0 eth9@$process:x"
    ));
}

#[test]
fn addresses() {
    lab(&format!(
        "{BAD}
        each=
        bad '10.9.0.1/24 is in no subnet of br0 (10.0.0.254/24)' wire br0 eth9@db 10.9.0.1/24
        bad 'is in no subnet of br0' wire br0 eth9@db 10.9.0.1
        bad 'the gateway 10.9.0.1 is in no subnet of eth9@db' wire br0 eth9@db 10.0.0.9 --via 10.9.0.1
        bad 'the gateway fd00::1' wire br0 eth9@db 10.0.0.9 --via fd00::1
        bad 'the gateway 10.9.0.1' macvlan x eth9@db 10.0.0.9/24 --via 10.9.0.1
        bad 'is taken by' wire br0 eth9@db 10.0.0.1
        bad 'is taken by br0' wire br0 eth9@db 10.0.0.254
        for address in 10.0.0 10.0.0.256 10.0.0.1/33 fd00::1/129 fd00:::1/64 10.0.0.1/ x /24 10.0.0.1/-1 10.0.0.1/024x; do
            bad '' wire br0 eth9@db $address
            bad '' veth a b@db --peer-addr $address
        done
        bad '' veth a b@db --addr auto
        bad '' bridge br9 auto
        # No host has such an address.
        bad '' bridge br9 10.7.0.1/24 224.0.0.1/24
        bad '' set x --addr ff02::1/64
        bad '' wire br0 eth9@db 10.0.0.9 --via nonsense
        bad '' route db 10.0.0.0/33
        bad '' route db nonsense --via 10.1.0.2
        bad '' route db 10.9.0.0/24 --via fd00::1
        bad '' route db default --via 10.200.0.1
        bad '' route db 10.9.0.0/24
        same before"
    ));
}

#[test]
fn values() {
    lab(&format!(
        "{BAD}
        each=
        for mac in x 02:00:00:00:00 02:00:00:00:00:0g 02:00:00:00:00:00:00; do bad '' bridge br9 --mac $mac; done
        # For groups; no one's.
        for mac in 01:00:00:00:00:01 ff:ff:ff:ff:ff:ff 00:00:00:00:00:00; do
            bad '' bridge br9 --mac $mac
            bad '' wire br0 eth9@db --mac $mac
        done
        for mtu in x 0 -1 10 70000 99999999999; do bad '' veth a b@db --mtu $mtu; bad '' set x --mtu $mtu; done
        for rate in x 0 0mbit 10 10mb -1mbit 10parsec 99999999999gbit; do
            bad '' set x --rate $rate
            bad '' wire br0 eth9@db --rate $rate
        done
        for mode in x '' BRIDGE l2; do bad '' macvlan x eth9@db --mode \"$mode\"; done
        for id in x -1 16777216 ''; do bad '' vxlan br0 --id \"$id\" --local 10.0.0.254; done
        for id in x 0 4095 ''; do bad '' vlan x eth9@db --id \"$id\"; done
        for port in x 0 65536; do bad '' vxlan br0 --id 7 --local 10.0.0.254 --port $port; done
        bad '' vxlan br0 --local 10.0.0.254
        bad '' vxlan br0 --id 7
        bad '' vxlan br0 --id 7 --local 10.0.0.254 --remote fd00::1
        bad '' set x --up --down
        bad '' route db 10.9.0.0/24 --dev y --metric x
        bad '' netns a/b
        bad '' netns ..
        bad '' netns ''
        bad '' del /etc/passwd
        bad '' del /run/netns/../netns/web
        same before"
    ));
}

#[test]
fn usage() {
    lab(&format!(
        "{BAD}
        hint() {{ bad \"$@\"; grep -q '^netwire: hint: netwire --help lists' refused.err || fail \"$(cat refused.err)\"; }}
        hint '' nonsense
        hint nonsense --nonsense
        hint '' bridge
        hint '' veth a
        hint '' veth a b c
        hint --nonsense bridge br9 --nonsense
        hint --id bridge br9 --id 3
        hint '' bridge br9 --mtu
        hint '' apply
        hint '' apply a b
        hint ''
        for command in '' veth bridge wire macvlan ipvlan vlan vxlan tap dummy netns del set route lo \\
            deny-all allow deny bind allow-all nat apply show; do
            netwire $command --help | grep -q '^Usage: netwire' || fail \"help of $command\"
        done
        netwire --version | grep -q '^netwire [0-9]' || fail version
        netwire --man | man --warnings -l - 2>&1 >/dev/null | grep . && fail man || :"
    ));
}

#[test]
fn nothing_half_made_when_the_second_end_fails() {
    lab(&format!(
        "{BAD}
        ip link add parent type veth peer name child
        ip link add link parent name only type macvlan mode passthru
        state >before
        bad '' macvlan parent m0@db 10.0.0.9/24
        # A metric that is taken by another route.
        ip -n db route add default via 10.1.0.9 dev y
        state >before
        bad '' wire br0 eth9@db 10.0.0.9 --via 10.0.0.254
        bad '' vxlan new --id 7 --local 10.0.0.254 --remote 224.0.0.300
        bad '' vxlan new --id 7 --local 203.0.113.9 --remote 10.0.0.1 --port 99999
        bad '' tap t0 --bridge x
        bad '' tap t0 --bridge br9
        bad '' tap t0 --owner nobody-of-that-name"
    ));
}

#[test]
fn a_namespace_of_roots() {
    let root = std::cell::RefCell::new(None);
    as_root(|who| {
        let mut command = who.tool("isolate");
        *root.borrow_mut() = Some(Running::ready(command.args(["sh", "-c", "echo ready; read word"])));
    });
    let pid = root.borrow().as_ref().unwrap().pid();
    as_user(|who| {
        // Outside any lab, where he has no rights, and in one, where he has those over his own.
        let own = who.tool("netwire").args(["lo", &pid.to_string()]).ran();
        let mut inside = who.tool("pseudo");
        let inside = inside.args(["isolate", "netwire", "veth", "a", &format!("b@{pid}")]).ran();
        for ran in [own, inside] {
            let said = ran.fails(125);
            let expected = format!("netwire: process {pid} is not yours but belongs to ");
            assert!(said.starts_with(&expected), "{ran:?}");
            let hint = said.lines().nth(1).unwrap_or_default();
            assert!(hint.starts_with("netwire: hint: ") && hint.contains("root"), "{ran:?}");
        }
    });
}

#[test]
fn here_without_rights() {
    as_user(|who| {
        for args in [&["bridge", "br-none"][..], &["veth", "a-none", "b-none"], &["set", "lo", "--mtu", "65000"]] {
            let ran = who.tool("netwire").args(args).ran();
            let said = ran.fails(125);
            assert!(said.contains("Operation not permitted"), "{ran:?}");
            assert!(said.contains("netwire: hint: ") && said.contains("pseudo isolate"), "{ran:?}");
        }
        let ran = who.tool("netwire").args(["netns", "none"]).ran();
        assert!(ran.fails(125).contains("/run/netns"), "{ran:?}");
        // What needs none.
        assert!(who.tool("netwire").args(["show", "."]).ran().out().contains("lo"));
    });
}

#[test]
fn what_would_be_taken_for_something_else() {
    both(|who| {
        let script = "netwire netns web; netwire bridge br0 10.0.0.254/24
            refused \"process $$ is in this network namespace\" netwire wire br0 eth0@$$ auto
            refused '\"eth0\" names no target' netwire wire br0 eth0 auto
            refused 'nothing is to be set of br0' netwire set br0
            for wrong in 10.0.0.0 10.0.0.255 10.0.0.0/24; do
                refused 'is no address of a host' netwire wire br0 eth0@web $wrong
            done
            refused 'lo cannot be deleted' netwire del lo";
        assert_eq!(who.lab(script).out(), "");
    });
}
