//! Where the ends of links are, which addresses they get, and what is changed afterwards.
#![forbid(unsafe_code)]

use tests::both;

/// Runs a lab script as both callers; it must succeed and say nothing.
#[track_caller]
fn lab(script: &str) {
    both(|who| assert_eq!(who.lab(script).out(), ""));
}

/// The inode of a process's pidfd, as in PID:INODE.
const INODE: &str = r#"inode() { python3 -c 'import os, sys
print(os.fstat(os.pidfd_open(int(sys.argv[1]))).st_ino)' "$1"; }"#;

#[test]
fn a_process() {
    lab(&format!(
        "{INODE}
        process
        netwire bridge br0 10.0.0.254/24
        quiet netwire wire br0 eth0@$process 10.0.0.1
        pings . 10.0.0.1
        quiet netwire wire br0 eth1@$process:$(inode $process) 10.0.0.2
        nsenter -n -t $process ip addr show eth1 | grep -q 10.0.0.2/24 || fail eth1
        # One that shares the namespace of another.
        nsenter -n -t $process sleep 1000 &
        until [ \"$(cat /proc/$!/comm)\" = sleep ]; do sleep 0.01; done
        refused \"eth0@$! exists\" netwire wire br0 eth0@$! 10.0.0.3"
    ));
}

#[test]
fn a_container_by_its_supervisor() {
    lab(&format!(
        "{INODE}
        container
        netwire bridge br0 10.0.0.254/24 fd00::ff/64
        quiet netwire wire br0 eth0@$container 10.0.0.1 fd00::1 --via 10.0.0.254
        pings . 10.0.0.1 fd00::1
        quiet netwire wire br0 eth1@$container:$(inode $container) 10.0.0.2
        # The supervisor's PID names the port, whose namespace is not the supervisor's.
        ip link show $container-eth0 master br0 >/dev/null
        ip link show $container-eth1 master br0 >/dev/null
        inject $container busybox ping -c1 -W5 10.0.0.254 >/dev/null
        inject $container busybox ip addr show eth1 | grep -q 10.0.0.2/24 || fail eth1
        quiet netwire del eth1@$container
        kill $container; wait $container || :
        # Its links went with it.
        until ! ip link show $container-eth0 2>/dev/null >&2; do sleep 0.01; done
        refused \"there is no process $container\" netwire wire br0 eth0@$container 10.0.0.1"
    ));
}

#[test]
fn a_path_a_name_and_here() {
    lab("host web 42
        touch file; unshare --net=file ip link set lo up
        netwire bridge br0 10.0.0.254/24
        quiet netwire wire br0 eth0@web 10.0.0.1
        quiet netwire wire br0@. eth0@/run/netns/42 10.0.0.2
        quiet netwire wire br0 eth0@./file 10.0.0.3
        quiet netwire wire br0 eth3@$PWD/file 10.0.0.4
        quiet netwire wire br0@/proc/self/ns/net other@. 10.0.0.5
        pings . 10.0.0.1 10.0.0.2 10.0.0.3
        ip -n 42 addr show eth0 | grep -q 10.0.0.2/24 || fail 42
        nsenter --net=file ip addr show eth3 | grep -q 10.0.0.4/24 || fail file
        quiet netwire veth x y@web
        ip link show x up >/dev/null; ip -n web link show y up >/dev/null");
}

#[test]
fn automatic_addresses() {
    lab("host a b c d
        netwire bridge br0 10.0.0.2/29 fd00::1/125
        has() { ip -n $1 addr show eth0 | grep -q \" $2 \" || fail \"$1 has not $2: $(ip -n $1 addr show eth0)\"; }
        quiet netwire wire br0 eth0@a auto
        has a 10.0.0.1/29; has a fd00::2/125
        quiet netwire wire br0 eth0@b --addr auto
        has b 10.0.0.3/29; has b fd00::3/125
        quiet netwire wire br0 eth0@c 10.0.0.4
        quiet netwire wire br0 eth0@d auto
        has d 10.0.0.5/29; has d fd00::4/125
        pings a 10.0.0.3 fd00::4
        # What becomes free is used again, the lowest first.
        quiet netwire del eth0@b
        quiet netwire wire br0 eth0@b auto
        has b 10.0.0.3/29; has b fd00::3/125
        # An address that was given later is taken, too.
        netwire del eth0@b
        netwire set eth0@a --addr 10.0.0.3/29
        quiet netwire wire br0 eth0@b auto
        has b 10.0.0.6/29
        state >before
        host e
        state >before
        refused '10.0.0.0/29 has no free address' netwire wire br0 eth0@e auto
        same before
        refused '10.0.0.1 is taken by ' netwire wire br0 eth0@e 10.0.0.1
        same before
        refused '10.0.0.2 is taken by br0' netwire wire br0 eth0@e 10.0.0.2
        same before");
}

#[test]
fn automatic_addresses_of_the_smallest_subnets() {
    lab("host a b c
        has() { ip -n $1 addr show $2 | grep -q \" $3 \" || fail \"$1 has not $3: $(ip -n $1 addr show)\"; }
        # RFC 3021: neither of two is the network or the broadcast address.
        netwire bridge br0 10.0.0.1/31
        quiet netwire wire br0 eth0@a auto
        has a eth0 10.0.0.0/31
        pings . 10.0.0.0
        refused '10.0.0.0/31 has no free address' netwire wire br0 eth0@b auto
        netwire bridge br1 10.1.0.1/30
        quiet netwire wire br1 eth1@a auto
        has a eth1 10.1.0.2/30
        refused '10.1.0.0/30 has no free address' netwire wire br1 eth0@b auto
        netwire bridge br2 fd00::/127
        quiet netwire wire br2 eth2@a auto
        has a eth2 fd00::1/127
        refused 'fd00::/127 has no free address' netwire wire br2 eth0@b auto
        netwire bridge br3 10.3.0.1/32
        refused '10.3.0.1/32 has no free address' netwire wire br3 eth0@b auto
        # Two subnets, an address of each.
        netwire bridge br4 10.4.0.1/24 10.5.0.1/24 fd04::1/64 fd05::1/64
        quiet netwire wire br4 eth4@c auto
        for address in 10.4.0.2/24 10.5.0.2/24 fd04::2/64 fd05::2/64; do has c eth4 $address; done
        netwire bridge br5
        refused br5 netwire wire br5 eth0@b auto
        [ \"$(ip -n b -o link | wc -l)\" = 1 ] || fail \"$(ip -n b link)\"");
}

#[test]
fn set() {
    lab("host a b
        netwire veth x@a y@b --addr 10.0.0.1/24 --peer-addr 10.0.0.2/24
        pings a 10.0.0.2
        quiet netwire set y@b --addr 10.0.0.3/24 --addr fd00::3/64 --mac 02:00:00:00:00:03 --mtu 1300
        netwire set x@a --addr fd00::1/64
        # Neighbours learn of another MAC by and by.
        ip -n a neigh flush dev x
        pings a 10.0.0.2 10.0.0.3 fd00::3
        ip -o -n b link show y | grep -q 'mtu 1300.*02:00:00:00:00:03' || fail MAC, MTU
        quiet netwire set y@b --down
        deaf a 10.0.0.3
        [ -z \"$(ip -n b link show y up)\" ] || fail up
        quiet netwire set y@b --up
        pings a 10.0.0.3
        # Again: an identical address is there.
        state >before
        quiet netwire set y@b --addr 10.0.0.3/24
        quiet netwire set y@b --mtu 1300
        same before");
}

/// What a qdisc counted: `counted HOST IF KEY`.
const COUNTED: &str = r#"counted() { tc -s -j -n "$1" qdisc show dev "$2" | python3 -c 'import json, sys
for qdisc in json.load(sys.stdin):
    if qdisc["kind"] == "tbf":
        print(qdisc["options"]["rate"] if sys.argv[1] == "rate" else qdisc[sys.argv[1]])' "$3"; }"#;

#[test]
fn rates() {
    lab(&format!(
        "{COUNTED}
        host a b
        netwire bridge br0 10.0.0.254/24
        quiet netwire wire br0 eth0@a 10.0.0.1 --rate 10mbit
        quiet netwire wire br0 eth0@b 10.0.0.2
        # In bytes a second.
        [ \"$(counted a eth0 rate)\" = 1250000 ] || fail \"$(tc -n a qdisc)\"
        pings a 10.0.0.2
        [ \"$(counted a eth0 bytes)\" -gt 50 ] || fail counters
        # What is sent faster waits there.
        talks a b 10.0.0.2
        [ \"$(counted a eth0 bytes)\" -gt 100000 ] || fail counters
        [ \"$(counted a eth0 overlimits)\" -gt 0 ] || fail it never waited
        [ -z \"$(counted b eth0 rate)\" ] || fail b
        for rate in 500kbit:62500 1gbit:125000000 8000bit:1000 100mbit:12500000; do
            quiet netwire set eth0@b --rate ${{rate%:*}}
            [ \"$(counted b eth0 rate)\" = ${{rate#*:}} ] || fail \"$rate: $(tc -n b qdisc)\"
        done
        # Large packets are not lost in it.
        pings b 10.0.0.1
        on b ping -q -c 3 -i 0.2 -s 1400 -W 5 10.0.0.1 >/dev/null || fail large packets
        quiet netwire set eth0@b --rate none
        [ -z \"$(counted b eth0 rate)\" ] || fail none
        quiet netwire set eth0@b --rate none
        talks b a 10.0.0.1"
    ));
}

#[test]
fn routes() {
    lab("host a r b
        netwire veth x@a x@r --addr 10.0.0.1/24 --addr fd00::1/64 --peer-addr 10.0.0.2/24 --peer-addr fd00::2/64
        netwire veth y@r y@b --addr 10.1.0.2/24 --addr fd01::2/64 --peer-addr 10.1.0.1/24 --peer-addr fd01::1/64
        on r sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'
        deaf a 10.1.0.1 fd01::1
        quiet netwire route a 10.1.0.0/24 --via 10.0.0.2
        quiet netwire route a fd01::/64 --via fd00::2 --dev x
        quiet netwire route b default --via 10.1.0.2
        quiet netwire route b default --via fd01::2 --metric 50
        pings a 10.1.0.1 fd01::1
        talks a b 10.1.0.1 fd01::1
        ip -n b -6 route show default | grep -q 'via fd01::2 dev y .*metric 50' || fail \"$(ip -n b -6 route)\"
        quiet netwire route a 192.0.2.7/32 --dev x --metric 7
        ip -n a route show 192.0.2.7 | grep -q 'dev x .*metric 7' || fail \"$(ip -n a route)\"
        # An identical one is there.
        state >before
        quiet netwire route a 10.1.0.0/24 --via 10.0.0.2
        quiet netwire route b default --via fd01::2 --metric 50
        same before
        refused route netwire route a 10.9.0.0/24 --via 10.8.0.1
        refused 'there is no nope' netwire route a 10.9.0.0/24 --dev nope
        same before");
}

#[test]
fn names_of_namespaces() {
    lab(
        "quiet netwire netns web
        [ \"$(ip netns list)\" = web ] || fail \"$(ip netns list)\"
        quiet netwire lo web
        on web ping -c1 127.0.0.1 >/dev/null
        on web ping -c1 ::1 >/dev/null
        quiet netwire lo web
        quiet netwire veth x@web y --addr 10.0.0.1/24 --peer-addr 10.0.0.2/24
        pings web 10.0.0.2
        refused '\"web\" exists' netwire netns web
        pings web 10.0.0.2
        # As ip has made it and would delete it.
        host other
        quiet netwire del /run/netns/other
        ip netns del web
        [ -z \"$(ls /run/netns)\" ] || fail left
        until ! ip link show y 2>/dev/null >&2; do sleep 0.01; done
        umount /run/netns; rmdir /run/netns; quiet netwire netns first; [ \"$(ip netns list)\" = first ] || fail first",
    );
}

#[test]
fn deleted() {
    lab("host a b
        state >before
        netwire veth x@a y@b
        quiet netwire del x@a
        same before
        netwire bridge br0 10.0.0.254/24
        netwire wire br0 eth0@a 10.0.0.1
        # The near end goes with the far one.
        quiet netwire del eth0@a
        [ -z \"$(ip link show master br0)\" ] || fail \"$(ip link)\"
        netwire wire br0 eth0@a 10.0.0.1
        quiet netwire del br0
        refused 'there is no br0' netwire del br0
        refused 'there is no x@a' netwire del x@a
        refused 'there is no network namespace \"c\"' netwire del /run/netns/c
        refused lo netwire del lo
        ! ip link show br0 2>/dev/null || fail br0");
}
