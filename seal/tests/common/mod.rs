//! What the tests of policies share.

#[allow(dead_code, reason = "what takes any text is for others")]
pub mod accept;
pub mod bpf;
pub mod model;
pub mod profiles;
pub mod random;
