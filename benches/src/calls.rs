//! `calls [COUNT]`: what a system call costs here, in ns, of three that a filter
//! treats differently. Each is made COUNT times in batches, by turns, and the
//! fastest batch counts: what else runs on the machine only ever adds.
#![allow(unsafe_code)]

use std::time::Instant;

const BATCHES: u32 = 50;

/// What is called, with what, and what a container's filter makes of it.
const CALLS: [(&str, libc::c_long, libc::c_long); 3] = [
    // Allowed whatever the arguments are: the kernel need not run the filter.
    ("getppid", libc::SYS_getppid, 0),
    // Allowed with this argument, which asks: the filter is run each time.
    ("personality", libc::SYS_personality, 0xffff_ffff),
    // Refused; and no command, so that nothing is done where it is not.
    ("bpf", libc::SYS_bpf, -1),
];

fn main() {
    let count = std::env::args().nth(1).map_or(1_000_000, |count| count.parse().expect("COUNT is a number"));
    let batch = count / BATCHES;
    let mut best = [f64::INFINITY; CALLS.len()];
    for _ in 0..BATCHES {
        for ((_, number, argument), best) in CALLS.iter().zip(&mut best) {
            let start = Instant::now();
            for _ in 0..batch {
                // SAFETY: none of them takes a pointer, or looks at one here.
                unsafe { libc::syscall(*number, *argument, 0, 0) };
            }
            *best = best.min(start.elapsed().as_secs_f64() * 1e9 / f64::from(batch));
        }
    }
    for ((name, ..), best) in CALLS.iter().zip(best) {
        println!("{name}|{best:.2}");
    }
    // SAFETY: it takes numbers. 2 where there is a filter.
    println!("filtered|{}", unsafe { libc::prctl(libc::PR_GET_SECCOMP) });
}
