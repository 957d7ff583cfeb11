//! Wire network namespaces together.
//!
pub mod filter;
pub mod link;
pub mod socket;
