//! Who may reach whom over a bridge: what `deny-all`, `allow`, `deny`, `bind`
//! and `allow-all` do, by what reaches whom and by what nft lists.
#![forbid(unsafe_code)]

mod netwire_frames;

use netwire_frames::*;
use tests::both;

const A: Station = Station::of(1);
const B: Station = Station::of(2);
const C: Station = Station::of(3);
const BRIDGE: Station = Station::of(254);

/// What no pair of hosts can do.
const ALL_DEAF: &str = "deaf a 10.0.0.2 fd00::2 10.0.0.3 fd00::3 10.0.0.254 fd00::fe
    deaf b 10.0.0.1 10.0.0.3 fd00::3 10.0.0.254
    deaf sw 10.0.0.1 fd00::1\n";

/// Runs a script in a star of hosts, as both callers.
#[track_caller]
fn in_star(script: &str) {
    both(|who| drop(Lab::star(who, &[], script)));
}

#[test]
fn denied_is_everything_to_everyone() {
    both(|who| {
        let mut lab =
            Lab::star(who, &[], "reaches a 10.0.0.3 fd00::3 10.0.0.254 fd00::fe; quiet netwire deny-all br@sw");
        let [mut a, mut b, mut c] = ["a", "b", "c"].map(|host| lab.port(host, "eth0"));
        lab.sh(ALL_DEAF);
        let all = shouts(&Cast { me: A, friend: B, third: C, bridge: BRIDGE });
        let taken = all.iter().filter(|shout| a.send(&shout.frame).is_ok()).count();
        assert!(taken > all.len() / 2);
        // Now that they hear one another, they would hear what was said before first.
        lab.sh("quiet netwire allow br@sw a b; quiet netwire allow br@sw b c");
        let [by_b, by_c] = A.heard_by(&mut a, (&B, &mut b), (&C, &mut c));
        assert!(which(&all, &by_b).is_empty() && which(&all, &by_c).is_empty());
    });
}

#[test]
fn pairs_are_as_they_are_declared() {
    in_star(
        "quiet netwire deny-all br@sw
        quiet netwire allow br@sw a b
        quiet netwire allow br@sw c b
        reaches a 10.0.0.2 fd00::2; reaches b 10.0.0.1 fd00::1 10.0.0.3 fd00::3; reaches c 10.0.0.2 fd00::2
        talks a b 10.0.0.2 fd00::2
        talks b c 10.0.0.3 fd00::3
        deaf a 10.0.0.3 fd00::3 10.0.0.254; deaf c 10.0.0.1 fd00::1 fd00::fe
        # What was allowed is taken back, whoever is named first.
        quiet netwire deny br@sw b a
        deaf a 10.0.0.2 fd00::2; deaf b 10.0.0.1
        reaches b 10.0.0.3 fd00::3
        quiet netwire deny br@sw b a",
    );
}

#[test]
fn who_is_meant_is_said_in_every_way() {
    in_star(
        "quiet netwire deny-all br@sw
        no() { deaf a 10.0.0.2 fd00::2; }
        yes() { reaches a 10.0.0.2 fd00::2; }
        nsenter --net=/run/netns/b sleep 1000 & pid=$!
        until [ \"$(cat /proc/$pid/comm)\" = sleep ]; do sleep 0.01; done
        for pair in 'a b' 'eth0@a eth0@b' 'a-eth0 b-eth0' 'a eth0@b' 'b-eth0 a' '/run/netns/a b' \"a $pid\" \"eth0@$pid a-eth0\"; do
            quiet netwire allow br@sw $pair; yes
            quiet netwire deny br@sw $pair; no
        done
        # Hosts of a topology.
        quiet netwire apply - <<-EOF
			host web a
			host db /run/netns/b
			allow br@sw web db
		EOF
        yes
        kill $pid
        refused 'b is not wired' netwire allow br@sw a eth1@b
        refused 'no' netwire allow br@sw a nobody
        refused '' netwire allow br@sw . .",
    );
}

#[test]
fn the_bridge_itself_is_one_of_them() {
    in_star(
        "quiet netwire deny-all br@sw
        deaf a 10.0.0.254 fd00::fe; deaf sw 10.0.0.1 fd00::1
        quiet netwire allow br@sw a .
        reaches a 10.0.0.254 fd00::fe; reaches sw 10.0.0.1 fd00::1
        talks a sw 10.0.0.254 fd00::fe
        deaf b 10.0.0.254 fd00::fe; deaf a 10.0.0.2
        quiet netwire deny br@sw . a
        deaf a 10.0.0.254 fd00::fe
        quiet netwire deny-all br@sw --except-bridge
        reaches a 10.0.0.254 fd00::fe; reaches b 10.0.0.254 fd00::fe; reaches sw 10.0.0.3 fd00::3
        deaf a 10.0.0.2 fd00::2
        quiet netwire deny-all br@sw
        deaf a 10.0.0.254 fd00::fe; deaf b 10.0.0.254",
    );
}

#[test]
fn nothing_is_left_of_what_is_taken_back() {
    in_star(
        "quiet netwire deny-all br@sw
        quiet netwire allow br@sw a b
        quiet netwire allow-all br@sw
        [ -z \"$(on sw nft list ruleset)\" ] || fail \"$(on sw nft list ruleset)\"
        reaches a 10.0.0.2 fd00::2 10.0.0.3 fd00::3 10.0.0.254 fd00::fe
        quiet netwire allow-all br@sw
        # Nor is what was allowed before.
        quiet netwire deny-all br@sw
        deaf a 10.0.0.2 fd00::2
        quiet netwire del br@sw
        [ -z \"$(on sw nft list ruleset)\" ] || fail \"$(on sw nft list ruleset)\"",
    );
}

#[test]
fn what_is_open_cannot_be_allowed() {
    in_star(
        "for command in allow deny; do refused 'br is open' netwire $command br@sw a b; done
        refused 'br is open' netwire bind br@sw a --any
        refused 'br is open' netwire allow br@sw a .
        [ -z \"$(on sw nft list ruleset)\" ] || fail 'it filters'
        refused 'there is no br1@sw' netwire deny-all br1@sw
        refused 'a-eth0@sw is no bridge' netwire deny-all a-eth0@sw",
    );
}

#[test]
fn a_wire_that_comes_later_is_denied_and_bound() {
    both(|who| {
        let mut lab = Lab::star(who, &[], "quiet netwire deny-all br@sw; quiet netwire allow br@sw a b; host d");
        lab.sh(&wire("br", "d", 4));
        lab.sh("deaf d 10.0.0.2 fd00::2 10.0.0.254; deaf b 10.0.0.4 fd00::4
            quiet netwire allow br@sw d b
            reaches d 10.0.0.2 fd00::2
            on d ip addr add 10.0.0.77/24 dev eth0; on b ip addr add 10.0.0.88/24 dev eth0
            ! on d ping -c 1 -W 0.5 -I 10.0.0.77 10.0.0.2 >/dev/null
            deaf d 10.0.0.88");
    });
}

#[test]
fn set_binds_anew() {
    // Seen from the bridge's namespace, which need not be said then.
    in_star(
        "quiet netwire deny-all br@sw
        quiet netwire allow br@sw a b
        change() { quiet nsenter --net=/run/netns/sw netwire set eth0@a \"$@\"; }
        on a ip addr add 10.0.0.55/24 dev eth0
        on a ip link set eth0 address 02:55:00:00:00:01
        deaf a 10.0.0.2 fd00::2; deaf b 10.0.0.55
        change --addr 10.0.0.66/24 --addr fd00::66/64
        # It is bound to what it was given, not to what it made of that.
        deaf a 10.0.0.2; deaf b 10.0.0.66
        change --mac 02:66:00:00:00:01
        reaches a 10.0.0.2 fd00::2; reaches b 10.0.0.66 fd00::66
        on a ip link set eth0 address 02:77:00:00:00:01
        deaf a 10.0.0.2
        quiet netwire bind br@sw a
        reaches a 10.0.0.2 fd00::2
        deaf a 10.0.0.3 fd00::3
        # What is another's stays that.
        on a ip link set eth0 address 02:00:00:00:00:03
        refused '02:00:00:00:00:03' netwire bind br@sw a
        on a ip link set eth0 address 02:77:00:00:00:01
        refused '02:00:00:00:00:03' nsenter --net=/run/netns/sw netwire set eth0@a --mac 02:00:00:00:00:03
        on a ip link show eth0 | grep -q 02:77:00:00:00:01 || fail 'half of it is done'",
    );
}

#[test]
fn set_binds_anew_wherever_the_bridge_is() {
    in_star(
        "quiet netwire deny-all br@sw
        quiet netwire allow br@sw a b
        quiet netwire set eth0@a --addr 10.0.0.66/24 --addr fd00::66/64
        reaches b 10.0.0.66 fd00::66",
    );
}

/// Rules that are made anew have other numbers.
#[test]
fn what_is_so_is_not_changed() {
    in_star(
        "cat >topology <<-EOF
			deny-all br@sw
			allow br@sw a b
			allow br@sw c .
			bind br@sw c --any
		EOF
        quiet netwire apply topology
        on sw nft -a list ruleset >before
        on sw nft monitor >changes &
        for n in 1 2; do
            quiet netwire apply topology
            [ -z \"$(netwire apply --dry-run topology)\" ] || fail \"$(netwire apply --dry-run topology)\"
            quiet netwire deny-all br@sw
            quiet netwire allow br@sw b a
            quiet netwire bind br@sw b
            quiet netwire deny br@sw a c
        done
        on sw nft -a list ruleset >after
        diff before after
        # The first change that is seen is this one.
        until [ -s changes ]; do on sw nft add table inet mine; on sw nft delete table inet mine; sleep 0.01; done
        ! grep netwire changes
        on sw nft -a list ruleset | diff before -",
    );
}

/// One command is one transaction: an error in its last line leaves what was there.
#[test]
fn it_is_all_or_nothing() {
    in_star(
        "quiet netwire deny-all br@sw
        quiet netwire allow br@sw a b
        on sw nft -a list ruleset >before
        printf '%s\\n' 'allow br@sw b c' 'allow br@sw a c' 'deny br@sw a b' 'allow br@sw a t0' >topology
        on sw ip link add t0 type vxlan id 7 dstport 4789; on sw ip link set t0 master br
        refused 'topology:4: ' netwire apply topology
        on sw nft -a list ruleset | diff before -
        reaches a 10.0.0.2 fd00::2; deaf b 10.0.0.3",
    );
}

/// x and y are ports that `ip` made, the one before and the other after deny-all.
#[test]
fn ports_of_others_are_denied() {
    let make = |host: &str, number: u8| {
        let Station { mac, .. } = Station::of(number);
        format!(
            "host {host}; on sw ip link add {host}0 type veth peer name eth0 address {mac} netns {host}
            on {host} ip addr add 10.0.0.{number}/24 dev eth0; on {host} ip addr add fd00::{number}/64 dev eth0 nodad
            on {host} ip link set eth0 up; on sw ip link set {host}0 master br up\n"
        )
    };
    in_star(&format!(
        "{}\nquiet netwire deny-all br@sw\n{}
        deaf x 10.0.0.5 fd00::5 10.0.0.1 fd00::1 10.0.0.254; deaf y 10.0.0.4 fd00::4 10.0.0.1 fd00::fe; deaf a 10.0.0.4 10.0.0.5
        quiet netwire allow br@sw x0 eth0@y
        reaches x 10.0.0.5 fd00::5; reaches y 10.0.0.4 fd00::4
        deaf x 10.0.0.1 fd00::1; deaf y 10.0.0.1 fd00::1
        on y ip addr add 10.0.0.99/24 dev eth0
        ! on y ping -c 1 -W 0.5 -I 10.0.0.99 10.0.0.4 >/dev/null
        # This has no other end that could be looked at.
        quiet netwire vxlan br@sw --id 7 --local 10.0.0.254
        refused 'vxlan7 ' netwire allow br@sw vxlan7 a
        refused 'vxlan7 ' netwire bind br@sw vxlan7
        quiet netwire bind br@sw vxlan7 --any
        quiet netwire allow br@sw vxlan7 a",
        make("x", 4),
        make("y", 5)
    ));
}

#[test]
fn entries_of_ports_that_are_gone_are_swept() {
    in_star(
        "quiet netwire deny-all br@sw
        quiet netwire allow br@sw a b; quiet netwire allow br@sw b c; quiet netwire bind br@sw c --any
        index=$(on sw cat /sys/class/net/c-eth0/ifindex 2>/dev/null || on sw ip -o link show c-eth0 | cut -d: -f1)
        on sw ip link del c-eth0
        quiet netwire allow br@sw a b
        ! on sw nft list ruleset | grep -E \"c-eth0|02:00:00:00:00:03|10.0.0.3|fd00::3|[ \\\"]$index[ \\\"]\"
        # One of the same name, or even number, inherits nothing.
        on sw ip link add c-eth0 index $index type veth peer name eth0 address 02:00:00:00:00:03 netns c
        on c ip addr add 10.0.0.3/24 dev eth0; on c ip addr add fd00::3/64 dev eth0 nodad
        on c ip link set eth0 up; on sw ip link set c-eth0 master br up
        deaf c 10.0.0.2 fd00::2 10.0.0.1; deaf b 10.0.0.3 fd00::3
        reaches a 10.0.0.2 fd00::2",
    );
}

/// This kernel may lack what tells a frame's bridge in a rule.
#[test]
fn one_of_several_bridges() {
    in_star(
        "quiet netwire bridge other@sw
        if netwire deny-all br@sw 2>said; then
            deaf a 10.0.0.2 fd00::2
        else
            refused 'this kernel cannot deny all on one of several bridges' netwire deny-all br@sw
            grep -q CONFIG_NFT_BRIDGE_META said
            [ -z \"$(on sw nft list ruleset)\" ] || fail 'it filters'
            reaches a 10.0.0.2 fd00::2
            # Nor can one come later.
            quiet netwire del other@sw
            quiet netwire deny-all br@sw
            deaf a 10.0.0.2 fd00::2
        fi",
    );
}
