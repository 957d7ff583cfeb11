//! Attempts to be heard over a bridge where all is denied, by raw frames.
#![forbid(unsafe_code)]

mod netwire_frames;

use std::collections::HashSet;

use netwire_frames::*;
use tests::{both, mark};

const A: Station = Station::of(1);
const B: Station = Station::of(2);
const C: Station = Station::of(3);
const BRIDGE: Station = Station::of(254);
/// Who a is to whom in most tests.
const CAST: Cast = Cast { me: A, friend: B, third: C, bridge: BRIDGE };
/// a reaches b, and b reaches c.
const CHAIN: &str = "quiet netwire deny-all br@sw
    quiet netwire allow br@sw a b
    quiet netwire allow br@sw b c\n";

/// Sends them all; the friend's port must get what is honest and for it, and no lie, the third's nothing.
#[track_caller]
fn shout_of(cast: &Cast, [me, friend, third]: [&mut Port; 3]) {
    let all = shouts(cast);
    let (mut taken, mut by_friend, mut by_third) = (Vec::new(), Vec::new(), Vec::new());
    // No more than a socket has room for.
    for some in all.chunks(50) {
        taken.extend(some.iter().filter(|shout| me.send(&shout.frame).is_ok()));
        let [one, other] = cast.me.heard_by(me, (&cast.friend, friend), (&cast.third, third));
        by_friend.extend(one);
        by_third.extend(other);
    }
    assert!(taken.len() > all.len() / 2);
    let heard = which(&all, &by_third);
    assert!(heard.is_empty(), "the third hears {heard:#?}");
    // Nothing but what the friend says on its own.
    let strange: Vec<_> = by_third.iter().filter(|frame| !cast.friend.seems_to_send(frame)).collect();
    assert!(strange.is_empty(), "the third hears {strange:?}");
    let heard = which(&all, &by_friend);
    let lies: Vec<_> = heard.iter().filter(|(shout, _)| shout.truth == Truth::Lie).collect();
    assert!(lies.is_empty(), "the friend hears {lies:#?}");
    let heard: HashSet<&[u8]> = heard.iter().map(|(shout, _)| shout.bytes()).collect();
    let for_friend = |shout: &&&Shout| shout.frame.0[..6] == cast.friend.mac.0 || shout.frame.0[0] & 1 == 1;
    let honest = taken.iter().filter(|shout| shout.truth == Truth::Honest).filter(for_friend);
    let missed: Vec<_> = honest.filter(|shout| !heard.contains(shout.bytes())).collect();
    assert!(missed.is_empty(), "the friend does not hear {missed:#?}");
}

#[test]
fn only_who_is_allowed_hears_and_only_the_truth() {
    both(|who| {
        for call in [0, 1] {
            let mut lab = Lab::star(who, &[], CHAIN);
            lab.sh(&br_netfilter(call));
            let [mut a, mut b, mut c] = ["a", "b", "c"].map(|host| lab.port(host, "eth0"));
            shout_of(&CAST, [&mut a, &mut b, &mut c]);
            let other = Cast { me: C, third: A, ..CAST };
            shout_of(&other, [&mut c, &mut b, &mut a]);
        }
    });
}

/// The kernel's bridge asks no filter about these, and could learn from them whose MAC is where.
#[test]
fn what_bridges_say_teaches_nothing() {
    both(|who| {
        let lab = Lab::star(who, &[], CHAIN);
        let [mut a, mut b, mut c] = ["a", "b", "c"].map(|host| lab.port(host, "eth0"));
        // The bridge knows who is where.
        for (port, station) in [(&mut a, A), (&mut c, C)] {
            port.say(&station.says_to(&B, b"I am here"));
            b.until(b"I am here");
        }
        let list = [[1, 0x80, 0xc2, 0, 0, LLDP], [1, 0x80, 0xc2, 0, 0, 0], [1, 0x80, 0xc2, 0, 0, 3]];
        for to in list.map(Mac) {
            for kind in [0x88cc, IPV4, 0x88f7] {
                // As c it would hear from now on what is for c.
                a.say(&Frame::new(to, C.mac, kind, &[2, 7, 4, 0, 0, 0, 0, 0, 0]));
                // What no one is known to be is told to all, so each word is another.
                let words = [mark(), mark(), mark()];
                let [secret, first, second] = words.each_ref().map(|word| word.as_bytes());
                b.say(&B.says_to(&C, secret));
                b.say(&B.says_to(&A, first));
                let heard = a.until(first);
                assert!(!heard.iter().any(|frame| frame.holds(secret)), "{to}, {kind:#x}: {heard:?}");
                b.say(&B.says_to(&C, second));
                assert!(c.until(second).iter().any(|frame| frame.holds(secret)), "{to}, {kind:#x}");
            }
        }
    });
}

/// What c gets while a and c do what a script does, after which a and b must be as they were.
#[track_caller]
fn heard_while(lab: &mut Lab, script: &str) -> Vec<Frame> {
    let [mut a, mut b, mut c] = ["a", "b", "c"].map(|host| lab.port(host, "eth0"));
    lab.sh(script);
    let [_, heard] = A.heard_by(&mut a, (&B, &mut b), (&C, &mut c));
    heard
}

#[track_caller]
fn nothing_of(stations: &[Station], heard: &[Frame]) {
    let of = |frame: &&Frame| stations.iter().any(|station| station.seems_to_send(frame));
    let heard: Vec<_> = heard.iter().filter(of).collect();
    assert!(heard.is_empty(), "{heard:?}");
}

#[test]
fn a_host_that_changes_its_addresses_is_not_heard() {
    both(|who| {
        let mut lab = Lab::star(who, &[], CHAIN);
        let heard = heard_while(
            &mut lab,
            "reaches a 10.0.0.2 fd00::2
            # The other's addresses, without its own.
            on a ip addr del 10.0.0.1/24 dev eth0; on a ip addr add 10.0.0.3/24 dev eth0
            on a ip addr del fd00::1/64 dev eth0; on a ip addr add fd00::3/64 dev eth0 nodad
            deaf a 10.0.0.2 fd00::2
            reaches c 10.0.0.2 fd00::2
            on a ip addr del 10.0.0.3/24 dev eth0; on a ip addr add 10.0.0.1/24 dev eth0
            on a ip addr del fd00::3/64 dev eth0; on a ip addr add fd00::1/64 dev eth0 nodad
            reaches a 10.0.0.2 fd00::2
            for mac in 02:00:00:00:00:03 02:00:00:00:00:02 02:00:00:00:00:fe 02:77:00:00:00:01; do
                on a ip link set eth0 address $mac
                on a ip neigh flush dev eth0
                deaf a 10.0.0.2 fd00::2
                reaches c 10.0.0.2 fd00::2
            done
            on a ip link set eth0 address 02:00:00:00:00:01
            reaches a 10.0.0.2 fd00::2",
        );
        nothing_of(&[A], &heard);
    });
}

#[test]
fn the_one_in_the_middle_passes_nothing_on() {
    both(|who| {
        let mut lab = Lab::star(who, &[], CHAIN);
        let heard = heard_while(
            &mut lab,
            "on b sh -c 'cd /proc/sys/net
                echo 1 >ipv4/ip_forward; echo 1 >ipv6/conf/all/forwarding
                echo 1 >ipv4/conf/eth0/proxy_arp; echo 1 >ipv4/conf/eth0/proxy_arp_pvlan
                echo 1 >ipv6/conf/eth0/proxy_ndp; echo 0 >ipv4/conf/all/rp_filter'
            for n in 1 3; do on b ip neigh add proxy fd00::$n dev eth0; done
            deaf a 10.0.0.3 fd00::3
            deaf c 10.0.0.1 fd00::1
            # Even to who asks it to.
            on a ip route add 10.0.0.3/32 via 10.0.0.2; on a ip route add fd00::3/128 via fd00::2
            on c ip route add 10.0.0.1/32 via 10.0.0.2; on c ip route add fd00::1/128 via fd00::2
            deaf a 10.0.0.3 fd00::3
            deaf c 10.0.0.1 fd00::1",
        );
        nothing_of(&[A], &heard);
    });
}

#[test]
fn the_bridge_passes_nothing_on() {
    both(|who| {
        for call in [0, 1] {
            let mut lab = Lab::star(who, &[], CHAIN);
            lab.sh(&br_netfilter(call));
            let heard = heard_while(
                &mut lab,
                "quiet netwire allow br@sw a .
                quiet netwire allow br@sw . c
                on sw sh -c 'cd /proc/sys/net
                    echo 1 >ipv4/ip_forward; echo 1 >ipv6/conf/all/forwarding
                    echo 1 >ipv4/conf/br/proxy_arp; echo 1 >ipv4/conf/br/proxy_arp_pvlan; echo 1 >ipv6/conf/br/proxy_ndp'
                for n in 1 3; do on sw ip neigh add proxy fd00::$n dev br; done
                deaf a 10.0.0.3 fd00::3
                on a ip route add 10.0.0.3/32 via 10.0.0.254; on a ip route add fd00::3/128 via fd00::fe
                on c ip route add 10.0.0.1/32 via 10.0.0.254; on c ip route add fd00::1/128 via fd00::fe
                reaches a 10.0.0.254 fd00::fe
                reaches c 10.0.0.254 fd00::fe
                deaf a 10.0.0.3 fd00::3
                deaf c 10.0.0.1 fd00::1",
            );
            // That it stands in for a, if it is told to, is its own word.
            let of_a: Vec<_> = heard.into_iter().filter(|frame| frame.kind() != Some(ARP)).collect();
            nothing_of(&[A], &of_a);
        }
    });
}

#[test]
fn an_answer_to_a_lie_reaches_no_one() {
    both(|who| {
        let lab = Lab::star(who, &[], CHAIN);
        let [mut a, mut b, mut c] = ["a", "b", "c"].map(|host| lab.port(host, "eth0"));
        for mac in [A.mac, C.mac] {
            a.say(&Frame::new(B.mac, mac, IPV4, &ipv4(C.ipv4, B.ipv4, 1, &echo4())));
            let ask = icmp6(C.ipv6, B.ipv6, 128, &[0, 1, 0, 1]);
            a.say(&Frame::new(B.mac, mac, IPV6, &ipv6(C.ipv6, B.ipv6, ICMPV6, &ask)));
            let who_has = arp(1, (C.mac, C.ipv4), (Mac([0; 6]), B.ipv4));
            a.say(&Frame::new(ALL, mac, ARP, &who_has));
        }
        let [by_b, by_c] = A.heard_by(&mut a, (&B, &mut b), (&C, &mut c));
        nothing_of(&[C], &by_b);
        let is_answer = |frame: &&Frame| match frame.kind() {
            Some(ARP) => frame.0[20..22] == [0, 2],
            Some(IPV6) => frame.0[20] == ICMPV6 && frame.0[54] == 129,
            _ => true,
        };
        let answers: Vec<_> = by_c.iter().filter(is_answer).collect();
        assert!(answers.is_empty(), "{answers:?}");
    });
}

/// What a host that is in the bridge's own namespace marks is not what netwire marks.
#[test]
fn a_mark_opens_nothing() {
    both(|who| {
        let here = Station::of(9);
        let script = format!("{CHAIN}\n{}\nquiet netwire allow br@sw eth0@sw b", wire("br", "sw", 9));
        let mut lab = Lab::star(who, &[], &script);
        let [mut b, mut c] = ["b", "c"].map(|host| lab.port(host, "eth0"));
        for mark in marks(&mut lab) {
            let mut port = lab.marking("sw", "eth0", Some(mark));
            for to in [ALL, C.mac, MULTICAST, STRANGER, BRIDGE.mac] {
                port.say(&Frame::new(to, here.mac, IPV4, &ipv4(here.ipv4, C.ipv4, UDP, &datagram(b"marked"))));
            }
            let [by_b, by_c] = here.heard_by(&mut port, (&B, &mut b), (&C, &mut c));
            assert!(by_b.iter().any(|frame| frame.holds(b"marked")), "{mark:#x}");
            nothing_of(&[here], &by_c);
        }
    });
}

/// Those that could mean something: none, all bits, each link's number, with each of the highest bits.
fn marks(lab: &mut Lab) -> Vec<u32> {
    let numbers = lab.sh("on sw ip -o link | cut -d: -f1");
    let numbers = numbers.lines().map(|number| number.parse::<u32>().unwrap()).filter(|number| *number < 20);
    let near: Vec<u32> = [0].into_iter().chain(numbers).collect();
    near.iter().flat_map(|mark| [*mark, mark | 1 << 31, mark | 1 << 30, !mark]).collect()
}

#[test]
fn frames_that_are_too_long() {
    both(|who| {
        let mut lab = Lab::star(who, &[], CHAIN);
        lab.sh("for port in a b c; do on sw ip link set $port-eth0 mtu 9000; on $port ip link set eth0 mtu 9000; done");
        let [mut a, mut b, mut c] = ["a", "b", "c"].map(|host| lab.port(host, "eth0"));
        let mut honest = 0;
        for length in [1400, 1472, 1473, 4000, 8972, 8973] {
            for from in [A, C, B, BRIDGE] {
                let packet = ipv4(from.ipv4, C.ipv4, UDP, &datagram(&vec![b'x'; length]));
                honest += usize::from(a.send(&Frame::new(ALL, A.mac, IPV4, &packet)).is_ok() && from == A);
                let _ = a.send(&Frame::new(ALL, from.mac, length as u16, &vec![b'x'; length]));
                let _ = a.send(&Frame::new(C.mac, from.mac, 0x8870, &vec![b'x'; length]));
            }
        }
        let [by_b, by_c] = A.heard_by(&mut a, (&B, &mut b), (&C, &mut c));
        assert_eq!(by_b.iter().filter(|frame| frame.holds(b"xxxx")).count(), honest);
        assert!(honest > 0 && !by_c.iter().any(|frame| frame.holds(b"xxxx")));
    });
}

/// A port that may send from many addresses may not from those that are others'.
#[test]
fn a_port_that_is_bound_to_nothing_takes_nothing_of_others() {
    both(|who| {
        let script = format!("{CHAIN}\nquiet netwire bind br@sw r --any\nquiet netwire allow br@sw r b");
        let lab = Lab::star(who, &[("r", 4)], &script);
        let router = Station::of(4);
        let cast = Cast { me: router, ..CAST };
        let [mut r, mut b, mut c] = ["r", "b", "c"].map(|host| lab.port(host, "eth0"));
        let all = shouts(&cast);
        let mut by_friend = Vec::new();
        for some in all.chunks(50) {
            some.iter().for_each(|shout| drop(r.send(&shout.frame)));
            let [by_b, by_c] = router.heard_by(&mut r, (&B, &mut b), (&C, &mut c));
            assert!(which(&all, &by_c).is_empty(), "{by_c:?}");
            by_friend.extend(by_b);
        }
        let heard = which(&all, &by_friend);
        nothing_of(&[A, B, C, BRIDGE], &heard.iter().map(|(_, frame)| (*frame).clone()).collect::<Vec<_>>());
        let heard: HashSet<&str> = heard.iter().map(|(shout, _)| shout.name.as_str()).collect();
        let lies: Vec<_> = heard.iter().filter(|name| name.contains("answer") && name.contains(" for ")).collect();
        assert!(lies.is_empty(), "{lies:?}");
        for other in [
            "UDP",
            "17 from 192.0.2.1",
            "UDP tagged [8100, 1]",
            "protocol 0x88b5",
            "STP",
            "ARP 1 of STRANGER at 10.0.0.99 to 10.0.0.99",
        ] {
            let name = format!("{}, from me to all", other.replace("STRANGER", &STRANGER.to_string()));
            assert!(heard.contains(&*name), "{name}");
        }
        assert!(heard.contains("UDP, from stranger to all"));
    });
}

/// Over the links between the parts of a bridge that has more ports than the
/// kernel's can have, and on the second part itself.
#[test]
fn parts_of_a_large_bridge_are_no_way_around() {
    both(|who| {
        // Those that fill the first part are all in one namespace.
        let crowd = "host crowd
            # They would all speak of themselves.
            on crowd sh -c 'echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6'
            n=0
            while [ $((n += 1)) -le 960 ]; do echo \"wire br@sw e$n@crowd\"; done | quiet netwire apply -
            on sw ip link show br.1 >/dev/null";
        let [here, d, e] = [9, 4, 5].map(Station::of);
        let mut lab = Lab::star(who, &[], crowd);
        lab.sh(&(wire("br", "sw", 9) + "\nquiet netwire deny-all br@sw"));
        for (name, number) in [("d", 4), ("e", 5)] {
            lab.sh(&format!("host {name}\n{}\n", wire("br", name, number)));
        }
        lab.sh("on sw ip link show d-eth0 | grep -q ' master br.1 '
            for pair in 'a b' 'b d' 'e b' 'eth0@sw b'; do quiet netwire allow br@sw $pair; done
            reaches a 10.0.0.2 fd00::2
            reaches d 10.0.0.2 fd00::2");
        lab.sh("deaf d 10.0.0.5 fd00::5 10.0.0.1 fd00::1 10.0.0.254 fd00::fe; deaf b 10.0.0.3 fd00::3");
        let marks = marks(&mut lab);
        let [mut a, mut b, mut at_d, mut at_e] = ["a", "b", "d", "e"].map(|host| lab.port(host, "eth0"));
        // To the other part, from there, and within it.
        shout_of(&Cast { third: d, ..CAST }, [&mut a, &mut b, &mut at_d]);
        shout_of(&Cast { me: d, third: A, ..CAST }, [&mut at_d, &mut b, &mut a]);
        shout_of(&Cast { me: d, third: e, ..CAST }, [&mut at_d, &mut b, &mut at_e]);
        for mark in marks {
            let mut port = lab.marking("sw", "eth0", Some(mark));
            for to in [ALL, d.mac, MULTICAST, STRANGER] {
                port.say(&Frame::new(to, here.mac, IPV4, &ipv4(here.ipv4, d.ipv4, UDP, &datagram(b"marked"))));
            }
            let [by_b, by_d] = here.heard_by(&mut port, (&B, &mut b), (&d, &mut at_d));
            assert!(by_b.iter().any(|frame| frame.holds(b"marked")), "{mark:#x}");
            nothing_of(&[here], &by_d);
        }
    });
}
