//! Wire network namespaces together.
//!
pub mod filter;
pub mod link;
pub mod net;
pub mod socket;
