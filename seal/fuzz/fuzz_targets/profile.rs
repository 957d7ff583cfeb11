//! Any text as a profile in JSON.
#![no_main]

#[allow(dead_code, reason = "the other target uses the rest")]
#[path = "../../tests/common/accept.rs"]
mod accept;

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    let mut accepted = accept::Accepted::default();
    accept::profile(text, &mut accepted);
    if accepted.count > 0 {
        accepted.show();
    }
});
