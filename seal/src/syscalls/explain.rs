//! `--explain`: what the programs decide for each system call, as a table.

use std::fmt::Write;

use super::decide::{Decisions, Id, Node};
use super::explore::outcomes;
use super::policy::{Action, Condition, Value};
use super::program::{Program, X32};
use super::table::{Arch, Call};

/// The table: number, name, and what the `programs` together do. Where that
/// depends on the arguments, the `decisions` that the last one was compiled from
/// say how, if it is the only one.
pub fn table(arch: Arch, programs: &[Program], decisions: &Decisions) -> String {
    let mut text = String::new();
    let width = arch.calls().iter().map(|call| call.name.len()).max().unwrap_or(0);
    let mut row = |number: &str, name: &str, decided: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{number:>5}  {name:width$}  {decided}");
    };
    let mut calls: Vec<_> = arch.calls().iter().collect();
    calls.sort_by_key(|call| call.number);
    for call in calls {
        row(&call.number.to_string(), call.name, &decided(arch, programs, decisions, call.number, Some(call)));
    }
    let named = decisions.calls.keys().copied();
    for number in named.filter(|&number| arch.by_number(number).is_none() && number < u32::MAX) {
        row(&number.to_string(), "", &decided(arch, programs, decisions, number, None));
    }
    // A number that no kernel has yet.
    row("", "others", &all(programs, arch.audit(), X32 - 1));
    if arch == Arch::X86_64 {
        row("", "x32", &all(programs, arch.audit(), X32));
    }
    row("", "32-bit", &all(programs, 0, 0));
    text
}

fn decided(
    arch: Arch,
    programs: &[Program],
    decisions: &Decisions,
    number: u32,
    call: Option<&'static Call>,
) -> String {
    let found = all(programs, arch.audit(), number);
    match (decisions.calls.get(&number), programs) {
        (Some(&id), [_]) if matches!(decisions.node(id), Node::If(..)) => said(decisions, id, call),
        _ => found,
    }
}

/// What may come out of all the programs together.
fn all(programs: &[Program], audit: u32, number: u32) -> String {
    let mut actions = vec![Action::Allow];
    let mut others = false;
    for program in programs {
        let found = outcomes(program, audit, number);
        others |= found.others;
        let mut both = Vec::new();
        for before in &actions {
            for later in &found.actions {
                let action = before.and(*later);
                if !both.contains(&action) {
                    both.push(action);
                }
            }
        }
        actions = both;
    }
    let mut names: Vec<_> = actions.iter().map(Action::to_string).collect();
    if others {
        names.push("something that is computed".into());
    }
    match names.as_slice() {
        [one] => one.clone(),
        _ => format!("by its arguments {}", names.join(" or ")),
    }
}

fn said(decisions: &Decisions, mut id: Id, call: Option<&'static Call>) -> String {
    let mut text = String::new();
    while let Node::If(condition, then, otherwise) = *decisions.node(id) {
        let condition = condition_said(decisions.condition(condition), call, 0);
        let then = match decisions.node(then) {
            Node::Do(action) => action.to_string(),
            Node::If(..) => format!("({})", said(decisions, then, call)),
        };
        text += &format!("{then} if {condition}; ");
        id = otherwise;
    }
    let Node::Do(action) = decisions.node(id) else { unreachable!("the loop ends there") };
    if text.is_empty() { action.to_string() } else { format!("{text}else {action}") }
}

/// With parentheses where `within` binds closer: 0 for `||`, 1 for `&&`, 2 for `!`.
fn condition_said(condition: &Condition, call: Option<&'static Call>, within: u8) -> String {
    let join = |list: &[Condition], sign: &str, own: u8| {
        let text = list.iter().map(|one| condition_said(one, call, own + 1)).collect::<Vec<_>>().join(sign);
        if own < within { format!("({text})") } else { text }
    };
    match condition {
        Condition::Compare(test, left, right) => {
            let text = format!("{} {} {}", value_said(left, call), test.symbol(), value_said(right, call));
            if within > 1 { format!("({text})") } else { text }
        }
        Condition::Not(other) => format!("!{}", condition_said(other, call, 2)),
        Condition::All(all) => join(all, " && ", 1),
        Condition::Any(any) => join(any, " || ", 0),
    }
}

fn value_said(value: &Value, call: Option<&'static Call>) -> String {
    match value {
        Value::Number(number) if *number < 10 => number.to_string(),
        Value::Number(number) => format!("{number:#x}"),
        Value::Arg { index, .. } => {
            let name = call.and_then(|call| call.args().nth((*index).into()));
            name.map_or_else(|| format!("arg{index}"), |arg| arg.name.to_owned())
        }
        Value::And(one, other) => format!("({} & {})", value_said(one, call), value_said(other, call)),
        Value::Or(one, other) => format!("({} | {})", value_said(one, call), value_said(other, call)),
    }
}
