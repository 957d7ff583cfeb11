//! What must be true of any text at all: it is refused, or it becomes a program
//! that the kernel takes. Tests and fuzz targets share it.

use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::AsFd;

use libc::sock_filter;
use rustix::fs::MemfdFlags;
use seal::syscalls::filters::Filters;
use seal::syscalls::policy::Policy;
use seal::syscalls::program::{MAX_INSTRUCTIONS, Program, compile};
use seal::syscalls::source::Source;
use seal::syscalls::table::Arch;
use seal::syscalls::{kafel, profile};

/// What the filters of one thread are given together. The kernel's limit is 32768
/// (MAX_INSNS_PER_PATH in kernel/seccomp.c), of what it makes of them: one
/// instruction may become four.
const MAX_OF_THREAD: usize = 32768 / 4;

/// Programs that the kernel is to be shown.
#[derive(Default)]
pub struct Accepted {
    programs: Vec<Program>,
    instructions: usize,
    /// How many there were in all.
    pub count: usize,
}

impl Accepted {
    /// Notes one, and shows them once there are as many as fit.
    pub fn add(&mut self, mut program: Program) {
        let allow = sock_filter { code: 6, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW };
        // It is checked whole, and does nothing.
        if program.len() == MAX_INSTRUCTIONS {
            program[0] = allow;
        } else {
            program.insert(0, allow);
        }
        if self.instructions + program.len() + 4 > MAX_OF_THREAD {
            self.show();
        }
        self.instructions += program.len() + 4;
        self.programs.push(program);
        self.count += 1;
    }

    /// Loads them in a thread, with which they go.
    pub fn show(&mut self) {
        self.instructions = 0;
        let programs = std::mem::take(&mut self.programs);
        let load = move || {
            rustix::thread::set_no_new_privs(true).unwrap();
            for program in programs {
                load(&program);
            }
        };
        std::thread::spawn(load).join().expect("the kernel takes what was compiled");
    }
}

fn load(program: &[sock_filter]) {
    let mut bytes = Vec::new();
    for one in program {
        bytes.extend(one.code.to_ne_bytes());
        bytes.extend([one.jt, one.jf]);
        bytes.extend(one.k.to_ne_bytes());
    }
    let mut file = File::from(rustix::fs::memfd_create("program", MemfdFlags::CLOEXEC).unwrap());
    file.write_all(&bytes).unwrap();
    file.rewind().unwrap();
    let mut filters = Filters::default();
    filters.add_program(file.as_fd()).unwrap();
    if let Err(error) = filters.compile(0, None).and_then(|compiled| compiled.load()) {
        panic!("the kernel refuses a program: {error}\n{program:?}");
    }
}

const ARCHES: [Arch; 2] = [Arch::X86_64, Arch::Aarch64];

/// Takes the text for a policy in Kafel.
pub fn kafel(text: &[u8], accepted: &mut Accepted) {
    for arch in ARCHES {
        if let Ok(policy) = kafel::parse(Source::of_option("policy", text.to_vec()), arch) {
            compiled(arch, policy, accepted);
        }
    }
}

/// Takes the text for a profile in JSON.
pub fn profile(text: &[u8], accepted: &mut Accepted) {
    let source = Source::of_option("profile", text.to_vec());
    for arch in ARCHES {
        if let Ok((policy, _)) = profile::parse(&source, arch, |name| name.len() % 2 == 0) {
            compiled(arch, policy, accepted);
        }
    }
}

fn compiled(arch: Arch, policy: Policy, accepted: &mut Accepted) {
    if let Ok(program) = compile(arch, &[policy]) {
        accepted.add(program);
    }
}
