//! Bring `lo` up, which a new network namespace has but down.

use crate::sys;
use seal::{Context, Error};

/// Sets IFF_UP on `lo` of this network namespace (netdevice(7)); the kernel
/// then gives it 127.0.0.1/8 and ::1/128.
pub fn up() -> Result<(), Error> {
    sys::set_interface_up(c"lo").tried(|| "cannot bring lo up")
}
