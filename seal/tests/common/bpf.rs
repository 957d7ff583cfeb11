//! What the kernel does with a filter (bpf(4), linux/filter.h), for the
//! instructions that a compiled policy may have.

use libc::sock_filter;

/// A system call as a filter sees it.
#[derive(Clone, Debug)]
pub struct Call {
    pub number: u32,
    pub audit: u32,
    pub pointer: u64,
    pub args: [u64; 6],
}

impl Call {
    /// `struct seccomp_data` by words of 4 bytes.
    fn words(&self) -> Vec<u32> {
        let mut words = vec![self.number, self.audit];
        for long in [self.pointer].iter().chain(&self.args) {
            words.extend([*long as u32, (*long >> 32) as u32]);
        }
        words
    }
}

/// What `program` returns; it panics where the kernel would refuse it.
pub fn run(program: &[sock_filter], call: &Call) -> u32 {
    let data = call.words();
    let (mut a, mut x, mut at) = (0u32, 0u32, 0usize);
    let mut memory = [None; 16];
    loop {
        let sock_filter { code, jt, jf, k } = program[at];
        at += 1;
        let jump = |holds: bool| usize::from(if holds { jt } else { jf });
        match code {
            0x20 => {
                assert_eq!(k % 4, 0, "only whole words are read");
                a = data[k as usize / 4];
            }
            0x00 => a = k,
            0x60 => a = memory[k as usize].expect("a word is written before it is read"),
            0x61 => x = memory[k as usize].expect("a word is written before it is read"),
            0x02 => memory[k as usize] = Some(a),
            0x54 => a &= k,
            0x5c => a &= x,
            0x44 => a |= k,
            0x4c => a |= x,
            0x05 => at += k as usize,
            0x15 => at += jump(a == k),
            0x1d => at += jump(a == x),
            0x25 => at += jump(a > k),
            0x2d => at += jump(a > x),
            0x35 => at += jump(a >= k),
            0x3d => at += jump(a >= x),
            0x06 => return k,
            _ => panic!("instruction {} is of no known kind: {code:#x}", at - 1),
        }
    }
}
