//! Restart permits: whether a node may stop now.
//!
//! The active controller grants a permit if, with the node away, no partition falls below `min.insync.replicas` and the
//! quorum keeps its majority. Permits are short-lived and, unless told otherwise, one at a time: while a node that had
//! one is away, lapsed or not, nobody else gets one, and a controller that has just become active grants none as long as
//! one of its predecessor could still be used. Nothing is written down: what a node that left in order looks like is in
//! the image. So a broker that left for good is away until it is unregistered.
//!
//! Where waiting would not help (as many replicas needed as there are, a quorum of one or two) a stop is granted while
//! everything is whole, and the answer says what it costs.

use std::collections::{BTreeMap, BTreeSet};

use ottla_quorum::image::PartitionImage;
use ottla_wire::{Str, Uuid};

use super::view::View;

/// How long a permit may be used, in milliseconds.
pub(crate) const LEASE_MS: i64 = 30_000;

/// How far a voter of the metadata quorum is, as its leader knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoterState {
    /// Node id.
    pub id: i32,
    /// Whether it fetches and has what is committed.
    pub caught_up: bool,
}

/// Why a node may not stop now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocker {
    /// The partition would have fewer replicas in sync than it needs.
    BelowMinIsr {
        /// Topic.
        topic: Str,
        /// Index of the partition.
        partition: i32,
        /// Who would be left.
        in_sync: Vec<i32>,
        /// How many have to be.
        min_isr: usize,
    },
    /// The quorum would lose its majority: these voters would be left.
    Majority {
        /// Voters that are caught up, without the node.
        voters: Vec<i32>,
    },
    /// Another node may stop, or has stopped and is not back.
    Away {
        /// That node.
        node: i32,
    },
    /// This controller became active a moment ago and does not know what its predecessor granted.
    NewController {
        /// Until then, in the controller's milliseconds.
        until_ms: i64,
    },
}

/// What the stop of a node costs although nothing could be won by waiting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Partitions that will have too few replicas in sync meanwhile.
    pub partitions: Vec<(Str, i32)>,
    /// The quorum will have no majority meanwhile.
    pub majority: bool,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may stop, if it begins in time.
    Granted {
        /// Until then, in the controller's milliseconds.
        until_ms: i64,
        /// What cannot be had without cost.
        cost: Cost,
    },
    /// It does not run, as far as the cluster goes: its stop changes nothing.
    NotNeeded,
    /// Not now, and why.
    Refused(Vec<Blocker>),
}

/// The permits that a controller has granted.
#[derive(Debug)]
pub(crate) struct Permits {
    lease_ms: i64,
    at_a_time: usize,
    silent_until_ms: i64,
    granted: BTreeMap<i32, Permit>,
}

#[derive(Debug)]
struct Permit {
    until_ms: i64,
    /// The run of the node that it was granted to.
    run: Run,
    /// The node has gone, by this permit.
    left: bool,
}

/// One run of a node, from start to stop, as the metadata knows it.
#[derive(Debug, PartialEq, Eq)]
struct Run {
    /// The broker's epoch; `None` if the node is no broker.
    epoch: Option<i64>,
    /// The incarnation of its controller; `None` if it has none that is registered.
    controller: Option<Uuid>,
}

impl Permits {
    /// None is granted, nor will be before what another controller may have granted has lapsed.
    pub(crate) fn new(lease_ms: i64, at_a_time: usize, active_since_ms: i64) -> Self {
        let silent_until_ms = active_since_ms.saturating_add(lease_ms);
        Self { lease_ms, at_a_time, silent_until_ms, granted: BTreeMap::new() }
    }

    /// Whether the node may stop now. Asked again, it gets its permit anew.
    pub(crate) fn ask(&mut self, view: &View<'_>, voters: &[VoterState], node: i32, now: i64) -> Verdict {
        self.observe(view, voters, now);
        let world = World { view, voters };
        if !world.runs(node) {
            return Verdict::NotNeeded;
        }
        let mut away = world.left_in_order();
        away.extend(self.granted.keys());
        away.remove(&node);
        let mut blockers = self.turn(&world, &away, node, now);
        let (found, cost) = world.without(&away, node);
        blockers.extend(found);
        if !blockers.is_empty() {
            return Verdict::Refused(blockers);
        }
        let until_ms = now.saturating_add(self.lease_ms);
        self.granted.insert(node, Permit { until_ms, run: world.run_of(node), left: false });
        Verdict::Granted { until_ms, cost }
    }

    /// The node does not stop after all.
    pub(crate) fn give_back(&mut self, node: i32) {
        if self.granted.get(&node).is_some_and(|permit| !permit.left) {
            self.granted.remove(&node);
        }
    }

    /// Who left, who is back, and which permits have lapsed unused.
    fn observe(&mut self, view: &View<'_>, voters: &[VoterState], now: i64) {
        let world = World { view, voters };
        self.granted.retain(|node, permit| {
            permit.left |= !world.runs(*node) || world.run_of(*node) != permit.run;
            if permit.left { !world.is_back(*node) } else { now < permit.until_ms }
        });
    }

    /// What stands in the way besides the state of the cluster.
    fn turn(&self, world: &World<'_>, away: &BTreeSet<i32>, node: i32, now: i64) -> Vec<Blocker> {
        let mut blockers = Vec::new();
        if away.len() >= self.at_a_time {
            blockers.extend(away.iter().map(|node| Blocker::Away { node: *node }));
        }
        if now < self.silent_until_ms && !world.is_alone(node) {
            blockers.push(Blocker::NewController { until_ms: self.silent_until_ms });
        }
        blockers
    }
}

struct World<'a> {
    view: &'a View<'a>,
    voters: &'a [VoterState],
}

impl World<'_> {
    /// Whether the node does anything that could be missed.
    fn runs(&self, node: i32) -> bool {
        self.view.image.active_broker(node).is_some() || self.votes(node)
    }

    fn run_of(&self, node: i32) -> Run {
        Run {
            epoch: self.view.image.broker(node).map(|broker| broker.epoch),
            controller: self.view.image.cluster.controllers.get(&node).map(|it| it.incarnation_id),
        }
    }

    fn votes(&self, node: i32) -> bool {
        self.voters.iter().any(|voter| voter.id == node && voter.caught_up)
    }

    /// Whether there is no other node.
    fn is_alone(&self, node: i32) -> bool {
        let brokers = self.view.image.cluster.brokers.keys().copied();
        brokers.chain(self.voters.iter().map(|voter| voter.id)).all(|id| id == node)
    }

    /// Brokers that gave their leadership away and have not registered since: whoever permitted it, they are away.
    fn left_in_order(&self) -> BTreeSet<i32> {
        let brokers = self.view.image.cluster.brokers.values();
        brokers.filter(|broker| broker.in_controlled_shutdown).map(|broker| broker.id).collect()
    }

    /// Whether everything is as if the node had never been away.
    fn is_back(&self, node: i32) -> bool {
        let in_sync = |partition: &PartitionImage| {
            !partition.replicas.contains(&node) || partition.leader < 0 || partition.isr.contains(&node)
        };
        let topics = self.view.image.topics.iter();
        let broker = self.view.image.broker(node).is_none_or(|broker| broker.is_active());
        let voter = self.voters.iter().all(|voter| voter.id != node || voter.caught_up);
        broker && voter && topics.flat_map(|topic| topic.partitions.values()).all(|it| in_sync(it))
    }

    /// What would be wrong without the node, where those that are away are missing already.
    fn without(&self, away: &BTreeSet<i32>, node: i32) -> (Vec<Blocker>, Cost) {
        let mut blockers = Vec::new();
        let mut cost = Cost::default();
        for topic in self.view.image.topics.iter() {
            let mut min_isr = None;
            for (index, partition) in &topic.partitions {
                if !partition.isr.contains(&node) {
                    continue;
                }
                let wanted = *min_isr.get_or_insert_with(|| self.view.rules(topic).configured_min_isr);
                let min_isr = wanted.min(partition.replicas.len());
                let stays = |id: &&i32| **id != node && !away.contains(*id);
                let in_sync: Vec<i32> = partition.isr.iter().filter(stays).copied().collect();
                if in_sync.len() >= min_isr {
                    continue;
                }
                let whole = partition.isr.len() == partition.replicas.len()
                    && !partition.isr.iter().any(|id| away.contains(id));
                if whole && min_isr == partition.replicas.len() {
                    cost.partitions.push((topic.name.clone(), *index));
                } else {
                    let (topic, partition) = (topic.name.clone(), *index);
                    blockers.push(Blocker::BelowMinIsr { topic, partition, in_sync, min_isr });
                }
            }
        }
        if self.votes(node) {
            let majority = self.voters.len() / 2 + 1;
            let stays =
                |voter: &&VoterState| voter.caught_up && voter.id != node && !away.contains(&voter.id);
            let voters: Vec<i32> = self.voters.iter().filter(stays).map(|voter| voter.id).collect();
            let whole = voters.len() + 1 == self.voters.len();
            if voters.len() < majority {
                if whole && majority == self.voters.len() {
                    cost.majority = true;
                } else {
                    blockers.push(Blocker::Majority { voters });
                }
            }
        }
        (blockers, cost)
    }
}
