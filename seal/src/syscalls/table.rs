//! Architectures and the names of their system calls.

use super::{aarch64, x86_64};
use crate::nearest::nearest;

/// One system call of an architecture.
#[derive(Debug)]
pub struct Call {
    /// Its number.
    pub number: u32,
    /// Its name in user space, that of <asm/unistd.h> and of the manual.
    pub name: &'static str,
    /// Its name in the kernel, which Kafel's own policies use.
    pub entry: &'static str,
    args: &'static str,
}

/// An argument of a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arg<'a> {
    /// What the kernel calls it.
    pub name: &'a str,
    /// Whether the kernel looks at 8 bytes of it, else at the low 4 or fewer.
    pub wide: bool,
}

pub(super) const fn call(number: u32, name: &'static str, entry: &'static str, args: &'static str) -> Call {
    Call { number, name, entry, args }
}

impl Call {
    /// Its arguments, at most six.
    pub fn args(&self) -> impl Iterator<Item = Arg<'static>> {
        self.args.split_whitespace().map(|text| match text.split_once('/') {
            // Of 2 bytes (umode_t) too, 4 are looked at: the kernel cuts them off itself.
            Some((name, _)) => Arg { name, wide: false },
            None => Arg { name: text, wide: true },
        })
    }
}

/// An architecture that filters are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arch {
    /// x86-64, without x32.
    X86_64,
    /// 64-bit ARM, little endian.
    Aarch64,
}

impl Arch {
    /// The one that this program runs on.
    pub const NATIVE: Self = if cfg!(target_arch = "aarch64") { Self::Aarch64 } else { Self::X86_64 };

    /// What the kernel calls it in `seccomp_data` (linux/audit.h).
    pub fn audit(self) -> u32 {
        match self {
            Self::X86_64 => 0xc000_003e,
            Self::Aarch64 => 0xc000_00b7,
        }
    }

    /// Its name in messages, and in Kafel's `ON`.
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// What Docker's and Podman's profiles call it: in `archMap` and in `includes`.
    pub(super) fn names_in_profiles(self) -> [&'static str; 2] {
        match self {
            Self::X86_64 => ["SCMP_ARCH_X86_64", "amd64"],
            Self::Aarch64 => ["SCMP_ARCH_AARCH64", "arm64"],
        }
    }

    /// Its system calls in the order of their names.
    pub fn calls(self) -> &'static [Call] {
        match self {
            Self::X86_64 => x86_64::CALLS,
            Self::Aarch64 => aarch64::CALLS,
        }
    }

    /// The system call with this name in user space.
    pub fn by_user_name(self, name: &str) -> Option<&'static Call> {
        let calls = self.calls();
        calls.binary_search_by_key(&name, |call| call.name).ok().map(|at| &calls[at])
    }

    /// The system call with this name in user space or in the kernel: where one
    /// call's entry is another's name, the name counts.
    pub fn by_name(self, name: &str) -> Option<&'static Call> {
        self.by_user_name(name).or_else(|| self.calls().iter().find(|call| call.entry == name))
    }

    /// The system call with this number.
    pub fn by_number(self, number: u32) -> Option<&'static Call> {
        self.calls().iter().find(|call| call.number == number)
    }

    /// The name of a system call that may have been meant.
    pub fn nearest(self, name: &str) -> Option<&'static str> {
        nearest(name, self.calls().iter().map(|call| call.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_names_and_the_order() {
        for arch in [Arch::X86_64, Arch::Aarch64] {
            assert!(arch.calls().is_sorted_by_key(|call| call.name));
            for call in arch.calls() {
                assert_eq!(arch.by_name(call.name).unwrap().number, call.number);
                assert!(call.args().count() <= 6);
            }
            assert_eq!(arch.by_name("newuname").unwrap().name, "uname");
        }
        assert_eq!(Arch::X86_64.by_name("openat").unwrap().number, 257);
        assert_eq!(Arch::Aarch64.by_name("openat").unwrap().number, 56);
        assert!(Arch::Aarch64.by_name("open").is_none());
    }

    #[test]
    fn the_numbers_are_those_of_this_machine() {
        for (name, number) in [("read", libc::SYS_read), ("clone3", libc::SYS_clone3), ("memfd_secret", 447)] {
            assert_eq!(i64::from(Arch::NATIVE.by_name(name).unwrap().number), number);
        }
    }
}
