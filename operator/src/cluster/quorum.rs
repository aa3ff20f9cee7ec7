//! Which voter is added or removed now: a function of who shall vote and of the quorum as its leader describes it, at most one
//! step at a time (KIP-853).
//!
//! A step is taken only where a majority of the voters *after* it has kept up with the leader, so that the change can be committed and
//! nothing stands still. Additions come before removals, but for a voter whose disk was replaced: its id votes again only after its old
//! directory is out.

use crate::kafka::quorum::{Quorum, Replica};
use ottla_wire::Uuid;
use std::{cmp::Reverse, collections::BTreeSet};

/// A copy that had everything within this time, in ms, has caught up. An idle quorum commits twice a second.
const CAUGHT_UP_MS: i64 = 10_000;

/// What to do about the voters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Those that shall vote do, and no others.
    Settled,
    /// One step.
    Step(Step),
    /// A step is due, and not yet possible, for this reason.
    Waits(String),
}

/// A change of one voter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The node votes from now on.
    Add {
        /// Its id.
        id: i32,
        /// The directory of its metadata log.
        directory: Uuid,
    },
    /// The directory of the node votes no more.
    Remove {
        /// Its id.
        id: i32,
        /// The directory of its metadata log.
        directory: Uuid,
    },
}

/// The next step towards `wanted`.
pub fn plan(wanted: &BTreeSet<i32>, quorum: &Quorum) -> Plan {
    let view = View::new(quorum);
    let to_add: Vec<i32> = wanted.iter().copied().filter(|id| view.voter(*id).is_none()).collect();
    let replaced = wanted.iter().find_map(|id| view.replaced(*id));
    let to_remove: Vec<&Replica> = quorum.voters.iter().filter(|v| !wanted.contains(&v.id)).collect();
    if to_add.is_empty() && to_remove.is_empty() && replaced.is_none() {
        return Plan::Settled;
    }
    if quorum.leader.is_none() {
        return Plan::Waits("there is no active controller at the moment".to_owned());
    }
    if quorum.voters.iter().any(|v| v.directory.is_zero()) {
        return Plan::Waits("the voters are static (kraft.version 0) and cannot be changed".to_owned());
    }
    if let Some(old) = replaced {
        return view.remove(old);
    }
    if let Some(candidate) = to_add.iter().find_map(|id| view.candidate(*id)) {
        return view.add(candidate);
    }
    if let Some(id) = to_add.first() {
        return Plan::Waits(format!("controller {id} has not caught up with the metadata yet"));
    }
    match view.first_to_go(to_remove) {
        Some(voter) => view.remove(voter),
        None => Plan::Settled,
    }
}

/// How many of the voters other than `without` have kept up, and how many a majority of all are.
pub fn majority_without(quorum: &Quorum, without: i32) -> (usize, usize) {
    let view = View::new(quorum);
    let others = quorum.voters.iter().filter(|v| v.id != without);
    (others.filter(|v| view.has_caught_up(v)).count(), quorum.voters.len() / 2 + 1)
}

struct View<'a> {
    quorum: &'a Quorum,
    /// The leader's clock: it describes itself as up to date.
    now_ms: i64,
}

impl<'a> View<'a> {
    fn new(quorum: &'a Quorum) -> Self {
        let all = quorum.voters.iter().chain(&quorum.observers);
        let now_ms = all.map(|r| r.caught_up_ms.max(r.fetched_ms)).max().unwrap_or(-1);
        Self { quorum, now_ms }
    }

    fn voter(&self, id: i32) -> Option<&'a Replica> {
        self.quorum.voters.iter().find(|v| v.id == id)
    }

    fn has_caught_up(&self, replica: &Replica) -> bool {
        Some(replica.id) == self.quorum.leader
            || (replica.caught_up_ms >= 0 && self.now_ms.saturating_sub(replica.caught_up_ms) <= CAUGHT_UP_MS)
    }

    /// A voter's old directory, where the node is there again with another one.
    fn replaced(&self, id: i32) -> Option<&'a Replica> {
        let voter = self.voter(id).filter(|v| !self.has_caught_up(v))?;
        let is_back = |o: &&Replica| o.id == id && o.directory != voter.directory && self.has_caught_up(o);
        self.quorum.observers.iter().find(is_back).map(|_| voter)
    }

    fn candidate(&self, id: i32) -> Option<&'a Replica> {
        let is_ready = |o: &&Replica| o.id == id && !o.directory.is_zero() && self.has_caught_up(o);
        self.quorum.observers.iter().find(is_ready)
    }

    /// Those that are gone anyway, then the highest id; the active controller, which hands over, last.
    fn first_to_go(&self, mut voters: Vec<&'a Replica>) -> Option<&'a Replica> {
        voters.sort_by_key(|v| (Some(v.id) == self.quorum.leader, self.has_caught_up(v), Reverse(v.id)));
        voters.first().copied()
    }

    fn add(&self, candidate: &Replica) -> Plan {
        let up = self.quorum.voters.iter().filter(|v| self.has_caught_up(v)).count() + 1;
        let step = Step::Add { id: candidate.id, directory: candidate.directory };
        let voters = self.quorum.voters.len() + 1;
        self.if_majority(step, up, voters, || format!("controller {} is added once", candidate.id))
    }

    fn remove(&self, voter: &Replica) -> Plan {
        let is_it = |v: &&Replica| v.id == voter.id && v.directory == voter.directory;
        let others = self.quorum.voters.iter().filter(|v| !is_it(v));
        let up = others.filter(|v| self.has_caught_up(v)).count();
        let step = Step::Remove { id: voter.id, directory: voter.directory };
        let voters = self.quorum.voters.len() - 1;
        self.if_majority(step, up, voters, || format!("controller {} is removed once", voter.id))
    }

    fn if_majority(&self, step: Step, up: usize, voters: usize, what: impl Fn() -> String) -> Plan {
        if voters > 0 && up > voters / 2 {
            return Plan::Step(step);
        }
        Plan::Waits(format!("{} a majority of the other controllers keeps up", what()))
    }
}

#[cfg(test)]
#[path = "quorum_tests.rs"]
mod tests;
