//! The system calls that neither nix nor rustix wraps, each wrapped once.
#![allow(unsafe_code)]

use nix::errno::Errno;

/// ioprio_set(2) of this process: a class and a level in it.
pub fn ioprio_set(class: u8, level: u8) -> Result<(), Errno> {
    const IOPRIO_WHO_PROCESS: libc::c_int = 1;
    const IOPRIO_CLASS_SHIFT: libc::c_int = 13;
    let priority = (libc::c_int::from(class) << IOPRIO_CLASS_SHIFT) | libc::c_int::from(level);
    // SAFETY: it takes numbers.
    Errno::result(unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, priority) }).map(drop)
}

/// What sched_setattr(2) takes, as of its first version; times in nanoseconds.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SchedAttr {
    /// For [`sched_setattr`] to fill in.
    pub size: u32,
    /// SCHED_OTHER and so on.
    pub policy: u32,
    /// SCHED_FLAG_*.
    pub flags: u64,
    /// Of SCHED_OTHER and SCHED_BATCH.
    pub nice: i32,
    /// Of SCHED_FIFO and SCHED_RR.
    pub priority: u32,
    /// Of SCHED_DEADLINE, as what follows.
    pub runtime: u64,
    /// Since the start of a period.
    pub deadline: u64,
    /// How often it starts anew.
    pub period: u64,
}

/// sched_setattr(2) of this thread.
pub fn sched_setattr(attr: &SchedAttr) -> Result<(), Errno> {
    let attr = SchedAttr { size: size_of::<SchedAttr>() as u32, ..*attr };
    // SAFETY: the kernel reads a structure of the size that it says.
    Errno::result(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) }).map(drop)
}

/// prctl(PR_SCHED_CORE, PR_SCHED_CORE_CREATE): a core scheduling cookie of this
/// process' own.
pub fn create_core_scheduling_cookie() -> Result<(), Errno> {
    const PR_SCHED_CORE: libc::c_int = 62;
    const PR_SCHED_CORE_CREATE: libc::c_ulong = 1;
    const PR_SCHED_CORE_SCOPE_THREAD_GROUP: libc::c_ulong = 1;
    let (own, none) = (0 as libc::c_ulong, 0 as libc::c_ulong);
    // SAFETY: it takes numbers; the last is an address that this command does not use.
    let result =
        unsafe { libc::prctl(PR_SCHED_CORE, PR_SCHED_CORE_CREATE, own, PR_SCHED_CORE_SCOPE_THREAD_GROUP, none) };
    Errno::result(result).map(drop)
}

/// prctl(PR_SET_TSC): whether this process may read the time-stamp counter, on
/// x86 alone. Without it the clock of the vDSO is a SIGSEGV, too.
pub fn set_tsc(may_read: bool) -> Result<(), Errno> {
    let mode = if may_read { libc::PR_TSC_ENABLE } else { libc::PR_TSC_SIGSEGV };
    // SAFETY: it takes a number.
    Errno::result(unsafe { libc::prctl(libc::PR_SET_TSC, mode) }).map(drop)
}
