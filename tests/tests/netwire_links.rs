//! Every kind of link that `netwire` makes, by the packets that go through it.
#![forbid(unsafe_code)]

use tests::{Run, both};

/// Runs a lab script as both callers; it must succeed and say nothing.
#[track_caller]
fn lab(script: &str) {
    both(|who| assert_eq!(who.lab(script).out(), ""));
}

#[test]
fn veth() {
    lab("host a b
        quiet netwire veth x@a y@b --addr 10.0.0.1/24 --addr fd00::1/64 --peer-addr 10.0.0.2/24 --peer-addr fd00::2/64
        # At once: no duplicate address detection keeps an address back.
        talks a b 10.0.0.2 fd00::2
        pings a 10.0.0.2 fd00::2
        pings b 10.0.0.1 fd00::1
        talks b a 10.0.0.1 fd00::1");
}

#[test]
fn veth_with_both_ends_in_one_namespace_and_what_is_said_of_them() {
    lab("quiet netwire veth x y --mac 02:00:00:00:00:01 --peer-mac 02:00:00:00:00:02 --mtu 1400
        ip link show x up | grep -q 02:00:00:00:00:01 || fail MAC of x
        ip link show y up | grep -q 02:00:00:00:00:02 || fail MAC of y
        for end in x y; do ip link show $end | grep -q 'mtu 1400' || fail MTU of $end; done");
}

#[test]
fn veth_is_in_place_at_once() {
    lab("host a b
        watch . a b
        quiet netwire veth x@a y@b --addr 10.0.0.1/24 --peer-addr 10.0.0.2/24
        # Neither made here and moved, nor made there and renamed.
        seen=$(watched .); [ -z \"$seen\" ] || fail \"here: $seen\"
        for pair in a:x b:y; do
            seen=$(watched ${pair%:*})
            names=$(echo \"$seen\" | sed -nE 's/^[0-9]+: ([^@:]*)[@:].*/\\1/p' | sort -u)
            [ \"$names\" = ${pair#*:} ] || fail \"names: $names in $seen\"
            case $seen in *Deleted*) fail \"$seen\" ;; esac
        done");
}

#[test]
fn wires_of_a_bridge() {
    lab("host a b
        ip addr add 192.0.2.1/32 dev lo; ip addr add 2001:db8::1/128 dev lo
        quiet netwire bridge br0 10.0.0.254/24 fd00::ff/64
        quiet netwire wire br0 eth0@a 10.0.0.1/24 fd00::1/64 --via 10.0.0.254 --via fd00::ff
        # The prefix is that of the subnet; --addr is the same as an operand.
        quiet netwire wire br0 eth0@b 10.0.0.2 --addr fd00::2 --mac 02:00:00:00:00:02 --mtu 1400
        talks a b 10.0.0.2 fd00::2
        talks a . 10.0.0.254 fd00::ff
        pings b 10.0.0.1 fd00::1 10.0.0.254 fd00::ff
        pings . 10.0.0.1 fd00::2
        # Addresses of this namespace, in none of the subnets: by the gateway.
        pings a 192.0.2.1 2001:db8::1
        deaf b 192.0.2.1 2001:db8::1
        for port in a-eth0 b-eth0; do ip link show $port master br0 | grep -q 'state UP' || fail $port; done
        ip -n b link show eth0 | grep -q 'mtu 1400' || fail MTU
        ip -n b link show eth0 | grep -q 02:00:00:00:00:02 || fail MAC");
}

#[test]
fn names_of_the_near_ends() {
    lab(
        "host web averyverylongname 77
        netwire bridge br0
        process
        quiet netwire wire br0 eth0@web
        quiet netwire wire br0 eth0@averyverylongname
        quiet netwire wire br0 eth0@/run/netns/77
        quiet netwire wire br0 eth0@$process
        quiet netwire wire br0 eth1@/proc/$process/ns/net
        quiet netwire wire br0 far@.
        ports=$(ip -j link show master br0 | python3 -c 'import json, sys
print(*sorted(link[\"ifname\"] for link in json.load(sys.stdin)))')
        long=$(echo \"$ports\" | tr ' ' '\\n' | grep -E '^avery[a-z]+[0-9a-f]{4}-eth0$') || fail \"$ports\"
        [ ${#long} = 15 ] || fail $long
        expected=$(printf '%s\\n' web-eth0 $long 77-eth0 $process-eth0 net-eth1 here-far | LC_ALL=C sort | xargs)
        [ \"$ports\" = \"$expected\" ] || fail \"$ports, not $expected\"
        for far in web:eth0 77:eth0 averyverylongname:eth0; do ip -n ${far%:*} link show ${far#*:} up >/dev/null; done",
    );
}

#[test]
fn a_bridge_elsewhere() {
    lab("host switch a b
        quiet netwire bridge br0@switch 10.0.0.254/24 --mac 02:00:00:00:00:fe --mtu 1400
        quiet netwire wire br0@switch eth0@a 10.0.0.1
        quiet netwire wire br0@switch eth0@b auto
        talks a b 10.0.0.2
        pings b 10.0.0.254
        ip -n switch link show br0 | grep -q 02:00:00:00:00:fe || fail MAC
        ip -n switch link show br0 | grep -q 'mtu 1400' || fail MTU
        [ \"$(ip -o link | wc -l)\" = 1 ] || fail \"$(ip link)\"");
}

/// A parent with a peer in `out`, and hosts on it by this mode.
const MACVLANS: &str = "host out a b
    netwire veth p q@out --peer-addr 10.0.0.9/24 --peer-addr fd00::9/64
    macvlan() { quiet netwire macvlan p m0@$1 10.0.0.$2/24 fd00::$2/64 --mode \"$3\"; }";

#[test]
fn macvlans_reach_one_another() {
    lab(&format!(
        "{MACVLANS}
        macvlan a 1 bridge
        quiet netwire macvlan p m0@b 10.0.0.2/24 fd00::2/64 --via 10.0.0.9 --mac 02:00:00:00:00:02 --mtu 1400
        ip -n b -d link show m0 | grep -q 'macvlan mode bridge' || fail the mode
        ip -o -n b link show m0 | grep -q 'mtu 1400.*02:00:00:00:00:02' || fail MTU, MAC
        ip -n out addr add 192.0.2.1/32 dev lo
        pings b 192.0.2.1
        talks a b 10.0.0.2 fd00::2
        talks a out 10.0.0.9 fd00::9
        pings out 10.0.0.1 fd00::2"
    ));
}

#[test]
fn macvlans_that_do_not() {
    for mode in ["private", "vepa"] {
        lab(&format!(
            "{MACVLANS}
            macvlan a 1 {mode}; macvlan b 2 {mode}
            ip -n a -d link show m0 | grep -q 'macvlan mode {mode}' || fail the mode
            talks a out 10.0.0.9 fd00::9
            talks b out 10.0.0.9 fd00::9
            deaf a 10.0.0.2 fd00::2"
        ));
    }
}

#[test]
fn a_macvlan_that_is_its_parent() {
    lab(&format!(
        "{MACVLANS}
        macvlan a 1 passthru
        ip -n a -d link show m0 | grep -q 'macvlan mode passthru' || fail the mode
        mac() {{ ip \"$@\" | grep -o 'ether [0-9a-f:]*'; }}
        [ \"$(mac link show p)\" = \"$(mac -n a link show m0)\" ] || fail the MAC
        talks a out 10.0.0.9 fd00::9
        pings out 10.0.0.1 fd00::1
        # Nothing else may be beside it.
        state >before
        refused 'm0@b' netwire macvlan p m0@b 10.0.0.2/24 --mode bridge
        same before"
    ));
}

/// Machines `m1` … with hosts `h1` … `h6` on a bridge in each, three a machine.
const MACHINES: &str = "host m1 m2 h1 h2 h3 h4 h5 h6
    netwire veth u@m1 u@m2 --addr 192.168.0.1/30 --addr fd99::1/64 --peer-addr 192.168.0.2/30 --peer-addr fd99::2/64
    wire() { for host; do
        netwire wire br0@m$(((host + 2) / 3)) eth0@h$host 10.0.0.$host/24 fd00::$host/64 --mtu 1400
    done; }";

#[test]
fn vxlan_spans_machines() {
    lab(&format!(
        "{MACHINES}
        # The bridge is made if it is not there.
        quiet netwire bridge br0@m1
        quiet netwire vxlan br0@m1 --id 42 --local 192.168.0.1 --remote 192.168.0.2
        quiet netwire vxlan br0@m2 --id 42 --local 192.168.0.2 --remote 192.168.0.1
        wire 1 2 3 4 5 6
        talks h1 h4 10.0.0.4 fd00::4
        talks h6 h3 10.0.0.3 fd00::3
        for from in 1 2 3 4 5 6; do for to in 1 2 3 4 5 6; do pings h$from 10.0.0.$to fd00::$to; done; done
        # Through the underlay, not beside it.
        ip -n m1 link set u down
        deaf h1 10.0.0.4
        pings h1 10.0.0.2
        ip -n m2 -d link show vxlan42 | grep -q 'vxlan.*dstport 4789' || fail the port"
    ));
}

#[test]
fn vxlan_over_ipv6_between_three() {
    lab(&format!(
        "{MACHINES}
        host m3 h7; netwire bridge under@m1
        for n in 1 2 3; do netwire wire under@m1 v@m$n fd98::$n/64; done
        for n in 1 2 3; do
            others=$(for other in 1 2 3; do [ $other = $n ] || echo --remote fd98::$other; done)
            quiet netwire vxlan br0@m$n --id 7 --local fd98::$n $others --port 5000
        done
        wire 1 4 7
        for from in 1 4 7; do for to in 1 4 7; do pings h$from 10.0.0.$to fd00::$to; done; done
        talks h1 h7 10.0.0.7 fd00::7
        talks h4 h7 10.0.0.7 fd00::7
        ip -n m3 -d link show vxlan7 | grep -q 'vxlan.*dstport 5000' || fail the port"
    ));
}

#[test]
fn what_goes_through_vxlan_by_default_fits_it() {
    lab(&format!(
        "{MACHINES}
        netwire vxlan br0@m1 --id 42 --local 192.168.0.1 --remote 192.168.0.2
        netwire vxlan br0@m2 --id 42 --local 192.168.0.2 --remote 192.168.0.1
        netwire wire br0@m1 eth0@h1 10.0.0.1/24
        netwire wire br0@m2 eth0@h4 10.0.0.4/24
        talks h1 h4 10.0.0.4"
    ));
}

/// Taps here and on a bridge elsewhere, behind which a program answers.
const TAPS: &str = "netwire tap t0 10.0.0.1/24 fd00::1/64 --owner 1234 --mac 02:00:00:00:00:01 --mtu 1400
    ip -d link show t0 | grep -q 'tun type tap' || fail the kind
    ip -d link show t0 | grep -q 'user 1234' || fail the owner
    ip -o link show t0 | grep -q 'mtu 1400.*02:00:00:00:00:01' || fail MTU, MAC
    answer() { rm -f answers; on $1 python3 -c \"$ANSWER\" $2 $3 >answers & until [ -s answers ]; do sleep 0.01; done; }
    answer . t0 10.0.0.2
    pings . 10.0.0.2
    host switch a
    netwire bridge br0@switch 10.0.1.254/24
    quiet netwire tap t1@switch --bridge br0
    quiet netwire wire br0@switch eth0@a 10.0.1.1
    answer switch t1 10.0.1.2
    pings a 10.0.1.2
    pings switch 10.0.1.2";

#[test]
fn tap() {
    both(|who| {
        // Who may open it is the machine's matter; root may.
        let may = who.command("sh").args(["-c", ": <>/dev/net/tun"]).ran().status.success();
        assert!(may || !who.is_root(), "/dev/net/tun cannot be opened");
        let refused = "state >before; refused /dev/net/tun netwire tap t0 10.0.0.1/24; same before";
        let mut command = who.lab_command(if may { TAPS } else { refused });
        assert_eq!(command.env("ANSWER", include_str!("netwire/answer.py")).ran().out(), "");
    });
}

#[test]
fn kinds_that_a_kernel_may_lack() {
    // Either it is made or the error is clear: `ip` knows which.
    lab("host a out
        netwire veth p q@out
        for kind in ipvlan vlan dummy; do
            args=\"p x@a 10.0.0.1/24\"
            case $kind in
            vlan) args=\"$args --id 7\" more='id 7' ;;
            dummy) args='x@a 10.0.0.1/24' more= ;;
            ipvlan) more= ;;
            esac
            state >before
            link=p; [ $kind != dummy ] || link=
            if ip link add ${link:+link $link} name probe type $kind $more 2>/dev/null; then
                ip link del probe
                quiet netwire $kind $args
                ip -n a -d link show x up | grep -q $kind || fail $kind
                netwire del x@a
            else
                refused \"this kernel cannot make $kind links\" netwire $kind $args
                grep -q 'hint: modprobe .*, or a kernel that has CONFIG_' refused.err || fail \"$(cat refused.err)\"
            fi
            same before
        done");
}
