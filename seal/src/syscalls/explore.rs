//! What a program may return for a system call, whatever its arguments are:
//! every way through it, without running it. A ready program is judged so, too.

use std::collections::HashSet;

use libc::{
    BPF_ABS, BPF_ADD, BPF_ALU, BPF_AND, BPF_DIV, BPF_IMM, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JGT, BPF_JMP, BPF_JSET, BPF_LD,
    BPF_LDX, BPF_LSH, BPF_MEM, BPF_MISC, BPF_MUL, BPF_NEG, BPF_OR, BPF_RET, BPF_RSH, BPF_ST, BPF_STX, BPF_SUB, BPF_TAX,
    BPF_W, BPF_X, BPF_XOR, sock_filter,
};

use super::policy::Action;

/// What may come out of a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// In the order in which they were found.
    pub actions: Vec<Action>,
    /// Whether there may be others: it computes what it returns, or is too large
    /// to be gone through.
    pub others: bool,
}

/// Where a way through a program has come to; `None` is what is not known.
#[derive(Clone, PartialEq, Eq, Hash)]
struct State {
    at: usize,
    a: Option<u32>,
    x: Option<u32>,
    memory: [Option<u32>; 16],
}

const MAX_STATES: usize = 1 << 17;

/// Goes through `program` for the system call `number` of the architecture `audit`.
pub fn outcomes(program: &[sock_filter], audit: u32, number: u32) -> Outcomes {
    let mut found = Outcomes::default();
    let mut seen = HashSet::new();
    let start = State { at: 0, a: Some(0), x: Some(0), memory: [Some(0); 16] };
    let mut ways = vec![start];
    while let Some(state) = ways.pop() {
        if seen.len() == MAX_STATES {
            found.others = true;
            break;
        }
        if !seen.insert(state.clone()) {
            continue;
        }
        match step(program, audit, number, state) {
            Step::Next(state) => ways.push(state),
            Step::Either(one, other) => ways.extend([other, one]),
            Step::Return(Some(code)) => {
                let action = Action::from_code(code);
                if !found.actions.contains(&action) {
                    found.actions.push(action);
                }
            }
            Step::Return(None) => found.others = true,
            Step::Unsure(state) => {
                found.others = true;
                ways.push(state);
            }
        }
    }
    found
}

enum Step {
    Next(State),
    Either(State, State),
    Return(Option<u32>),
    /// On, if it does not return 0 here.
    Unsure(State),
}

fn step(program: &[sock_filter], audit: u32, number: u32, mut state: State) -> Step {
    // The kernel takes no program that runs off its end.
    let Some(&sock_filter { code, jt, jf, k }) = program.get(state.at) else { return Step::Return(None) };
    let code = u32::from(code);
    state.at += 1;
    let operand = if code & BPF_X != 0 { state.x } else { Some(k) };
    let slot = (k & 15) as usize;
    match code & 7 {
        BPF_LD if code == BPF_LD | BPF_W | BPF_ABS => {
            state.a = match k {
                0 => Some(number),
                4 => Some(audit),
                _ => None,
            }
        }
        BPF_LD if code & 0xe0 == BPF_IMM => state.a = Some(k),
        BPF_LD if code & 0xe0 == BPF_MEM => state.a = state.memory[slot],
        // The only length there is, that of seccomp_data.
        BPF_LD => state.a = Some(64),
        BPF_LDX if code & 0xe0 == BPF_IMM => state.x = Some(k),
        BPF_LDX if code & 0xe0 == BPF_MEM => state.x = state.memory[slot],
        BPF_LDX => state.x = Some(64),
        BPF_ST => state.memory[slot] = state.a,
        BPF_STX => state.memory[slot] = state.x,
        // A division by zero ends a program, and what it returns is 0.
        BPF_ALU if code & 0xf0 == BPF_DIV && operand == Some(0) => return Step::Return(Some(0)),
        BPF_ALU if code & 0xf0 == BPF_DIV && operand.is_none() => {
            state.a = None;
            return Step::Unsure(state);
        }
        BPF_ALU => state.a = compute(code & 0xf0, state.a, operand),
        BPF_JMP if code & 0xf0 == BPF_JA => state.at += k as usize,
        BPF_JMP => {
            let to = |state: &State, by: u8| State { at: state.at + usize::from(by), ..state.clone() };
            return match state.a.zip(operand).map(|(a, k)| holds(code & 0xf0, a, k)) {
                Some(holds) => Step::Next(to(&state, if holds { jt } else { jf })),
                None => Step::Either(to(&state, jt), to(&state, jf)),
            };
        }
        BPF_RET => return Step::Return(if code & 0x18 == 0x10 { state.a } else { Some(k) }),
        BPF_MISC if code & 0xf8 == BPF_TAX => state.x = state.a,
        _ => state.a = state.x,
    }
    Step::Next(state)
}

fn holds(jump: u32, a: u32, k: u32) -> bool {
    match jump {
        BPF_JEQ => a == k,
        BPF_JGT => a > k,
        BPF_JGE => a >= k,
        BPF_JSET => a & k != 0,
        _ => false,
    }
}

fn compute(operator: u32, a: Option<u32>, k: Option<u32>) -> Option<u32> {
    if operator == BPF_NEG {
        return a.map(u32::wrapping_neg);
    }
    let (a, k) = a.zip(k)?;
    match operator {
        BPF_ADD => Some(a.wrapping_add(k)),
        BPF_SUB => Some(a.wrapping_sub(k)),
        BPF_MUL => Some(a.wrapping_mul(k)),
        BPF_DIV => a.checked_div(k),
        BPF_OR => Some(a | k),
        BPF_AND => Some(a & k),
        BPF_LSH => Some(a.wrapping_shl(k)),
        BPF_RSH => Some(a.wrapping_shr(k)),
        BPF_XOR => Some(a ^ k),
        _ => None,
    }
}
