//! `netwire nat`: hosts of a bridge that reach the world beyond, which does not reach them.
#![forbid(unsafe_code)]

mod netwire_frames;

use netwire_frames::*;
use tests::both;

/// The star, whose namespace has the link `out` to a server in the namespace
/// `far`, which knows the way back.
const WORLD: &str = "host far
    quiet netwire veth out@sw eth0@far --addr 192.0.2.1/24 --addr 2001:db8::1/64 \\
        --peer-addr 192.0.2.2/24 --peer-addr 2001:db8::2/64
    quiet netwire route far 10.0.0.0/24 --via 192.0.2.1
    quiet netwire route far fd00::/64 --via 2001:db8::1
    for host in a b c; do
        quiet netwire route $host default --via 10.0.0.254
        quiet netwire route $host default --via fd00::fe
    done
    # Whom a connection is from, as the server sees it: the first argument is where it is.
    cat >serve.py <<-EOF
		import socket, sys
		family = socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET
		server = socket.create_server((sys.argv[1], 80), family=family)
		print('ready', flush=True)
		print(server.accept()[1][0], flush=True)
	EOF
    # seen CLIENT ADDRESS SOURCE
    seen() {
        rm -f from
        nsenter --net=/run/netns/far python3 serve.py $2 >from & server=$!
        until grep -q ready from 2>/dev/null; do sleep 0.01; done
        on $1 python3 -c 'import socket, sys; socket.create_connection((sys.argv[1], 80), 5).close()' $2
        wait $server
        [ \"$(tail -n 1 from)\" = $3 ] || fail \"the server sees $(tail -n 1 from)\"
    }\n";

/// Runs a script in that world, as both callers, whatever br_netfilter does.
#[track_caller]
fn in_world(script: &str) {
    both(|who| {
        for call in [0, 1] {
            let mut lab = Lab::star(who, &[], WORLD);
            // The functions are those of one script.
            let functions = &WORLD[WORLD.find("    # seen").unwrap()..];
            lab.sh(&br_netfilter(call));
            lab.sh(&format!("{functions}{script}"));
        }
    });
}

#[test]
fn the_server_sees_the_address_of_the_link() {
    in_world(
        "deaf a 192.0.2.2 2001:db8::2
        quiet netwire nat br@sw --out out
        reaches a 192.0.2.2 2001:db8::2
        talks a far 192.0.2.2 2001:db8::2
        seen a 192.0.2.2 192.0.2.1
        seen b 2001:db8::2 2001:db8::1
        # What does not leave by it keeps its address.
        reaches a 10.0.0.2 fd00::2 10.0.0.254 fd00::fe",
    );
}

#[test]
fn the_server_begins_nothing() {
    in_world(
        "quiet netwire nat br@sw --out out
        reaches a 192.0.2.2 2001:db8::2
        deaf far 10.0.0.1 fd00::1
        reaches far 192.0.2.1 2001:db8::1
        # Nor by what needs no answer: the bridge's own, which comes later, is the first that arrives.
        nsenter --net=/run/netns/a python3 -c \"
import socket
sockets = [socket.socket(family, socket.SOCK_DGRAM) for family in (socket.AF_INET, socket.AF_INET6)]
for s, address in zip(sockets, ('10.0.0.1', 'fd00::1')):
    s.bind((address, 4000))
print('ready', flush=True)
print([s.recv(100) for s in sockets])\" >got 2>&1 & receiver=$!
        until grep -q ready got; do sleep 0.01; done
        for from in far sw; do
            on $from taskset -c 0 python3 -c \"
import socket
for family, to in (socket.AF_INET, '10.0.0.1'), (socket.AF_INET6, 'fd00::1'):
    socket.socket(family, socket.SOCK_DGRAM).sendto(b'$from', (to, 4000))\"
        done
        wait $receiver
        grep -qF \"[b'sw', b'sw']\" got || fail \"$(cat got)\"",
    );
}

#[test]
fn forwarding_of_others_is_as_it_was() {
    in_world(
        "host p q
        quiet netwire veth p0@sw eth0@p --addr 10.1.0.254/24 --peer-addr 10.1.0.1/24 --addr fd01::fe/64 --peer-addr fd01::1/64
        quiet netwire veth q0@sw eth0@q --addr 10.2.0.254/24 --peer-addr 10.2.0.1/24 --addr fd02::fe/64 --peer-addr fd02::1/64
        for host in p q; do n=$([ $host = p ] && echo 1 || echo 2)
            quiet netwire route $host default --via 10.$n.0.254; quiet netwire route $host default --via fd0$n::fe
        done
        # They are forwarded for neither before nor after.
        deaf p 10.2.0.1 fd02::1
        quiet netwire nat br@sw --out out
        deaf p 10.2.0.1; deaf q 10.1.0.1
        deaf far 10.1.0.1
        [ $(on sw cat /proc/sys/net/ipv4/ip_forward) = 0 ]
        for link in p0 q0; do [ $(on sw cat /proc/sys/net/ipv4/conf/$link/forwarding) = 0 ]; done
        # And where it was on, still.
        for link in p0 q0; do on sw sh -c \"echo 1 >/proc/sys/net/ipv4/conf/$link/forwarding\"; done
        reaches p 10.2.0.1; reaches q 10.1.0.1
        seen a 192.0.2.2 192.0.2.1",
    );
}

#[test]
fn it_goes_with_what_is_denied() {
    in_world(
        "quiet netwire deny-all br@sw
        quiet netwire nat br@sw --out out
        deaf a 192.0.2.2 2001:db8::2 10.0.0.2
        quiet netwire allow br@sw a .
        reaches a 192.0.2.2 2001:db8::2
        seen a 192.0.2.2 192.0.2.1
        deaf b 192.0.2.2 2001:db8::2; deaf a 10.0.0.2 fd00::2; deaf far 10.0.0.1
        # Who takes another's address gets out no more.
        on a ip addr add 10.0.0.2/24 dev eth0; on a ip route replace default via 10.0.0.254 src 10.0.0.2
        deaf a 192.0.2.2
        on a ip route replace default via 10.0.0.254 src 10.0.0.1
        reaches a 192.0.2.2
        on sw nft -a list ruleset >before
        quiet netwire nat br@sw --out out
        on sw nft -a list ruleset | diff before -
        quiet netwire allow-all br@sw
        reaches a 192.0.2.2 10.0.0.2; deaf far 10.0.0.1",
    );
}

#[test]
fn nothing_is_there_to_leave_by() {
    in_world(
        "refused 'there is no wan@sw' netwire nat br@sw --out wan
        refused 'out@sw is no bridge' netwire nat out@sw --out br
        [ -z \"$(on sw nft list ruleset)\" ] || fail 'it filters'
        quiet netwire nat br@sw --out out
        quiet netwire del out@sw
        # What was about it goes with the next change.
        quiet netwire deny-all br@sw
        ! on sw nft list ruleset | grep -E 'masquerade|\"out\"'",
    );
}

#[test]
fn it_is_taken_back() {
    in_world(
        "quiet netwire nat br@sw --out out
        on sw nft list ruleset | grep -q masquerade || fail 'it masquerades nothing'
        reaches a 192.0.2.2
        quiet netwire nat br@sw --out out --off
        ! on sw nft list ruleset | grep masquerade
        deaf a 192.0.2.2
        reaches a 10.0.0.254
        refused 'br@sw cannot be its own way out' netwire nat br@sw --out br
        refused 'is a port of br' netwire nat br@sw --out a-eth0",
    );
}
