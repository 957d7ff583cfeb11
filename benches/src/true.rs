//! `true-static`: the least that can be started.
// Not even std's own start-up runs: it would be measured with all the rest.
#![allow(unsafe_code)]
#![no_main]

/// Ends.
// SAFETY: the one main of this program, with a signature that C allows.
#[unsafe(no_mangle)]
extern "C" fn main() -> libc::c_int {
    0
}
