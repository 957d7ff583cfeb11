//! What several policies together do with each system call.
//!
//! Filters that are loaded one after another would need seccomp(2) to be
//! allowed by those before; and the kernel runs all of them for each system
//! call. Policies are put together here instead, by the kernel's own rule for
//! several filters ([`Action::and`]), and become one program.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use super::policy::{Action, Condition, Policy};
use crate::Error;

/// Which node; the same one for what is decided in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Id(u32);

/// Which condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConditionId(u32);

/// One step of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Node {
    /// This, whatever its arguments are.
    Do(Action),
    /// The first or the second, as the condition holds or not.
    If(ConditionId, Id, Id),
}

/// What is decided for each system call that any policy names, and for all others.
#[derive(Default)]
pub struct Decisions {
    nodes: Vec<Node>,
    ids: HashMap<Node, Id>,
    conditions: Vec<Rc<Condition>>,
    condition_ids: HashMap<Rc<Condition>, ConditionId>,
    /// Rules with the same action stand together.
    last_action: Option<(Action, Id)>,
    /// By number.
    pub calls: BTreeMap<u32, Id>,
}

/// Far more than fit in a program.
const MAX_NODES: usize = 1 << 16;

impl Decisions {
    /// Puts policies together, which would be loaded in this order; the result
    /// and what is decided for all calls that it does not name.
    ///
    /// Fails if there are more conditions than could be compiled.
    pub fn new(policies: &[Policy]) -> Result<(Self, Action), Error> {
        let mut all = Self::default();
        let Some((first, others)) = policies.split_first() else { return Ok((all, Action::Allow)) };
        all.calls = all.of(first)?;
        let mut default = first.default;
        for policy in others {
            let later = all.of(policy)?;
            let numbers: BTreeSet<u32> = all.calls.keys().chain(later.keys()).copied().collect();
            let (before_default, later_default) = (all.action(default)?, all.action(policy.default)?);
            let mut memo = HashMap::new();
            for number in numbers {
                let one = all.calls.get(&number).copied().unwrap_or(before_default);
                let other = later.get(&number).copied().unwrap_or(later_default);
                let both = all.combine(one, other, &mut memo)?;
                all.calls.insert(number, both);
            }
            default = default.and(policy.default);
        }
        Ok((all, default))
    }

    /// The step that an id means.
    pub fn node(&self, id: Id) -> &Node {
        &self.nodes[id.0 as usize]
    }

    /// The id of a decision that does not ask.
    pub fn action(&mut self, action: Action) -> Result<Id, Error> {
        match self.last_action {
            Some((last, id)) if last == action => Ok(id),
            _ => {
                let id = self.id(Node::Do(action))?;
                self.last_action = Some((action, id));
                Ok(id)
            }
        }
    }

    /// The condition that an id means.
    pub fn condition(&self, id: ConditionId) -> &Condition {
        &self.conditions[id.0 as usize]
    }

    fn condition_id(&mut self, condition: &Rc<Condition>) -> ConditionId {
        if let Some(id) = self.condition_ids.get(condition) {
            return *id;
        }
        let id = ConditionId(self.conditions.len() as u32);
        self.conditions.push(condition.clone());
        self.condition_ids.insert(condition.clone(), id);
        id
    }

    fn choice(&mut self, condition: ConditionId, then: Id, otherwise: Id) -> Result<Id, Error> {
        if then == otherwise {
            return Ok(then);
        }
        self.id(Node::If(condition, then, otherwise))
    }

    fn id(&mut self, node: Node) -> Result<Id, Error> {
        if let Some(id) = self.ids.get(&node) {
            return Ok(*id);
        }
        if self.nodes.len() == MAX_NODES {
            return Err(too_large());
        }
        let id = Id(self.nodes.len() as u32);
        self.nodes.push(node);
        self.ids.insert(node, id);
        Ok(id)
    }

    fn of(&mut self, policy: &Policy) -> Result<BTreeMap<u32, Id>, Error> {
        let mut calls = BTreeMap::new();
        let mut shared = HashMap::new();
        for rule in policy.rules.iter().rev() {
            let then = self.action(rule.action)?;
            let decision = match &rule.condition {
                None => then,
                Some(condition) => {
                    // Policies that use others repeat what they have.
                    let id = *shared.entry(Rc::as_ptr(condition)).or_insert_with(|| self.condition_id(condition));
                    let otherwise = calls.get(&rule.number).copied();
                    let otherwise = otherwise.map_or_else(|| self.action(policy.default), Ok)?;
                    self.choice(id, then, otherwise)?
                }
            };
            calls.insert(rule.number, decision);
        }
        Ok(calls)
    }

    /// Both at once: the `later` one is asked wherever the other ends.
    fn combine(&mut self, one: Id, later: Id, memo: &mut HashMap<(Id, Id), Id>) -> Result<Id, Error> {
        // Along the chain of what is asked where a condition does not hold: a
        // recursion would be as deep as that is long.
        let mut chain = Vec::new();
        let (mut first, mut second) = (one, later);
        let mut both = loop {
            if let Some(both) = memo.get(&(first, second)) {
                break *both;
            }
            if memo.len() + chain.len() > 4 * MAX_NODES {
                return Err(too_large());
            }
            match (*self.node(first), *self.node(second)) {
                (Node::If(condition, then, otherwise), _) => {
                    chain.push(((first, second), condition, (then, second)));
                    first = otherwise;
                }
                (Node::Do(_), Node::If(condition, then, otherwise)) => {
                    chain.push(((first, second), condition, (first, then)));
                    second = otherwise;
                }
                (Node::Do(before), Node::Do(action)) => break self.action(before.and(action))?,
            }
        };
        for (pair, condition, (first, second)) in chain.into_iter().rev() {
            let then = self.combine(first, second, memo)?;
            both = self.choice(condition, then, both)?;
            memo.insert(pair, both);
        }
        Ok(both)
    }
}

fn too_large() -> Error {
    Error::new(format!("the policy has more than {MAX_NODES} conditions"))
}
