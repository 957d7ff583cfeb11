//! Root over your own ids: what a user namespace maps, who may write it, and
//! how to move into one.
//!
//! ```no_run
//! // Become root of a new user namespace with the default maps.
//! let caller = pseudo::Caller::current().unwrap();
//! let maps = pseudo::Maps::default_for(&caller).unwrap();
//! pseudo::enter(&caller, &maps).unwrap();
//! ```

mod caller;
mod enter;
mod hint;
mod idmap;
mod maps;
mod subid;
mod sys;
pub mod wanted;

pub use caller::Caller;
pub use enter::{become_root, enter};
pub use hint::userns_hint;
pub use idmap::{Extent, IdMap};
pub use maps::Maps;
