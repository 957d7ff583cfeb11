//! Attempts to be heard over a bridge where all is denied, by raw frames.
#![forbid(unsafe_code)]

mod netwire_frames;

use std::collections::HashSet;

use netwire_frames::{Cast, Lab, Port, Shout, Station, Truth, br_netfilter, shouts, which};
use tests::both;

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
        taken.extend(some.iter().filter(|shout| me.send(&shout.frame)));
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
    let lies: Vec<_> = heard.iter().filter(|shout| shout.truth == Truth::Lie).collect();
    assert!(lies.is_empty(), "the friend hears {lies:#?}");
    let heard: HashSet<&[u8]> = heard.iter().map(|shout| shout.bytes()).collect();
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
