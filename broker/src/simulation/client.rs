//! Clients: they make topics, produce, commit offsets, make replaced disks voters again, and stop nodes that are permitted
//! to stop.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use ottla_log::{Offset, Origin};
use ottla_quorum::testing::next_change_of_voters;
use ottla_quorum::{MetadataImage, QuorumResponse};
use ottla_wire::batch::{BatchBuilder, Record};
use ottla_wire::{Str, Uuid};
use tokio::sync::oneshot;

use super::Broken;
use super::books::{PartitionId, Plan, Violation, ensure};
use super::members::Members;
use super::node::{Node, endpoint};
use super::world::{World, below};
use crate::clock;
use crate::controller::permits::Verdict;
use crate::controller::simulated::{ask_permit, create_topic};
use crate::group::GroupError;
use crate::group::placement::OFFSETS_TOPIC;
use crate::group::shard::{Commit, CommitPartition, Request, ShardAnswer};
use crate::partition::{ProduceError, RequiredAcks};

pub(super) const TOPIC: &str = "t";
const PARTITIONS: i32 = 3;
const GROUPS: usize = 3;
/// How long a producer waits, in ms.
const PATIENCE_MS: i64 = 6_000;
/// Where records are too old after a while.
const RETENTION_MS: &str = "20000";
const COMPACTED: &[(&str, &str)] = &[("cleanup.policy", "compact")];

#[derive(Default)]
pub(super) struct Client {
    pub(super) next_at: i64,
    pending: Vec<Pending>,
    commits: Vec<Committing>,
    admin: Vec<Admin>,
    values: u64,
    roll: Roll,
    /// Partitions that took a record after the faults.
    pub(super) written: BTreeSet<i32>,
    pub(super) offsets: BTreeMap<Str, i64>,
    pub(super) members: Members,
}

struct Pending {
    node: i32,
    life: u64,
    id: PartitionId,
    base: i64,
    next: i64,
    batch: Bytes,
    until: i64,
    healed: bool,
    future: Pin<Box<dyn Future<Output = Result<(), ProduceError>> + Send>>,
}

struct Committing {
    node: i32,
    life: u64,
    group: Str,
    offset: i64,
    answer: oneshot::Receiver<ShardAnswer>,
}

struct Admin {
    node: i32,
    life: u64,
    future: Pin<Box<dyn Future<Output = Outcome> + Send>>,
}

enum Outcome {
    Nothing,
    Voters(bool),
    Permit(i32, Option<Box<(Verdict, MetadataImage)>>),
}

/// Stops of one node after the other.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Roll {
    #[default]
    Idle,
    Asking,
    Leaving(i32),
    Returning(i32),
}

impl World {
    /// A client does something.
    pub(super) fn client(&mut self) -> Result<(), Violation> {
        self.client.next_at = self.now + 10 + below(&mut self.rng, 150);
        if self.faulty {
            self.mend_disks();
        }
        self.roll();
        if self.books.truth.topics.by_name(TOPIC).is_none()
            || self.books.truth.topics.by_name(OFFSETS_TOPIC).is_none()
        {
            return self.create();
        }
        self.members_act()?;
        if !self.faulty {
            return if self.rng.one_in(4) { self.administer() } else { self.produce() };
        }
        match self.rng.below(66) {
            0..=38 => self.produce(),
            39..=50 => self.commit(),
            51..=53 => self.administer(),
            54..=58 => self.ask_permit(),
            59 => self.delete_records(),
            _ => self.move_replica(),
        }
    }

    fn active(&self) -> Option<usize> {
        self.nodes.iter().position(|node| node.up.as_ref().is_some_and(|up| up.controller.is_active()))
    }

    fn create(&mut self) -> Result<(), Violation> {
        let serving = self.books.truth.cluster.brokers.values().filter(|broker| broker.is_active()).count();
        let Some(at) = self.active().filter(|_| serving >= 3) else { return Ok(()) };
        let Some(up) = &self.nodes[at].up else { return Ok(()) };
        let image = up.controller.decided();
        let retention: &[_] = if self.settings.retains { &[("retention.ms", RETENTION_MS)] } else { &[] };
        let (name, partitions, configs, id) = match image.topics.by_name(TOPIC) {
            None => (TOPIC, PARTITIONS, retention, [7; 16]),
            Some(_) => (OFFSETS_TOPIC, 1, COMPACTED, [8; 16]),
        };
        let handle = up.controller.handle().clone();
        let created = create_topic(handle, name, partitions, configs, Uuid::from_bytes(id));
        let future = async move {
            created.await;
            Outcome::Nothing
        };
        self.ask_controller(at, Box::pin(future))
    }

    fn ask_controller(
        &mut self,
        at: usize,
        future: Pin<Box<dyn Future<Output = Outcome> + Send>>,
    ) -> Result<(), Violation> {
        let (node, life) = (self.nodes[at].id, self.nodes[at].life);
        self.nodes[at].set_clock(self.now);
        let mut admin = Admin { node, life, future };
        // Sent before the node is looked at.
        if let Poll::Ready(outcome) = admin.future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return self.outcome(outcome);
        }
        self.client.admin.push(admin);
        self.touch(at)
    }

    pub(super) fn up_and_running(&mut self) -> Option<usize> {
        let now = self.now;
        let running =
            |node: &Node| node.paused_until <= now && node.up.as_ref().is_some_and(|up| up.broker.is_some());
        let all: Vec<usize> =
            (0..self.nodes.len()).filter(|at| self.nodes.get(*at).is_some_and(running)).collect();
        all.get(self.rng.below(all.len())).copied()
    }

    fn produce(&mut self) -> Result<(), Violation> {
        let index = i32::try_from(self.rng.below(usize::try_from(PARTITIONS).unwrap())).unwrap();
        if !self.faulty && self.client.written.contains(&index) {
            return Ok(());
        }
        // Mostly whoever leads, now and then whoever believes that it does.
        let leader = self.books.truth.partition(TOPIC, index).map_or(-1, |state| state.leader);
        let any = self.up_and_running();
        let chosen = self.nodes.iter().position(|node| node.id == leader).filter(|_| !self.rng.one_in(4));
        let Some(at) = chosen.or(any) else { return Ok(()) };
        let node = &self.nodes[at];
        if node.paused_until > self.now {
            return Ok(());
        }
        node.set_clock(self.now);
        let (id, life) = (node.id, node.life);
        let broker = node.up.as_ref().and_then(|up| up.broker.as_ref());
        let Some(partition) = broker.and_then(|broker| broker.partitions.find(TOPIC, index)) else {
            return Ok(());
        };
        self.client.values += 1;
        let value = format!("{}-{}", self.client.values, "x".repeat(self.rng.below(120)));
        let mut batch = BatchBuilder::new(0);
        for _ in 0..=self.rng.below(2) {
            let value = Some(Bytes::from(value.clone()));
            batch.push(Record { timestamp: clock::now().0, value, ..Record::default() });
        }
        let batch = batch.build();
        let appended = partition.append(batch.clone(), Origin::Client, RequiredAcks::All, clock::now());
        self.trace.note(self.now, &[6, id.into(), index.into()], || {
            format!("produce to {TOPIC}-{index} on {id}: {appended:?}")
        });
        let Ok(appended) = appended else { return Ok(()) };
        let (base, next) = (appended.base_offset.0, appended.last_offset.0 + 1);
        let name = (Str::from(TOPIC), index);
        if self.settings.broken == Broken::AckAtOwnEnd {
            self.books.acked(&name, base, next, &batch);
            self.client.written.extend((!self.faulty).then_some(index));
        } else {
            let epoch = appended.leader_epoch;
            let future = async move { partition.wait_committed_under(epoch, Offset(next)).await };
            self.client.pending.push(Pending {
                node: id,
                life,
                id: name,
                base,
                next,
                batch,
                until: self.now + PATIENCE_MS,
                healed: !self.faulty,
                future: Box::pin(future),
            });
        }
        self.touch(at)
    }

    /// Deletes some of the oldest records; the leader answers when its new log start is on disk.
    fn delete_records(&mut self) -> Result<(), Violation> {
        let index = i32::try_from(self.rng.below(usize::try_from(PARTITIONS).unwrap())).unwrap();
        let leader = self.books.truth.partition(TOPIC, index).map_or(-1, |state| state.leader);
        let is_there = |node: &Node| node.id == leader && node.paused_until <= self.now;
        let Some(at) = self.nodes.iter().position(is_there) else { return Ok(()) };
        let node = &self.nodes[at];
        node.set_clock(self.now);
        let Some(broker) = node.up.as_ref().and_then(|up| up.broker.as_ref()) else { return Ok(()) };
        let Some(partition) = broker.partitions.find(TOPIC, index) else { return Ok(()) };
        let start = partition.log_start_offset().0;
        let some = usize::try_from(partition.high_watermark().0 - start).unwrap_or(0);
        let before = start + below(&mut self.rng, some + 1);
        let deleted = partition.delete_records(Some(Offset(before)));
        self.trace.note(self.now, &[13, leader.into(), before], || {
            format!("{TOPIC}-{index} is deleted up to {before} on {leader}: {deleted:?}")
        });
        if deleted.is_ok() {
            drop(broker.partitions.checkpoint_all());
            self.books.deleted(&(Str::from(TOPIC), index), before);
        }
        self.touch(at)
    }

    /// Has a replica moved to some directory of its node, which may be where it is.
    fn move_replica(&mut self) -> Result<(), Violation> {
        let Some(at) = self.up_and_running() else { return Ok(()) };
        let node = &mut self.nodes[at];
        node.set_clock(self.now);
        let path = node.disks[self.rng.below(node.disks.len())].path.clone();
        let Some(broker) = node.up.as_mut().and_then(|up| up.broker.as_mut()) else { return Ok(()) };
        let all = broker.partitions.all();
        if all.is_empty() {
            return Ok(());
        }
        let name = all[self.rng.below(all.len())].name().clone();
        let moves = broker.move_to(&name, &path);
        self.trace.note(self.now, &[15, node.id.into()], || {
            format!("{name} is to lie in {}: {moves:?}", path.display())
        });
        self.books.counters.ended_moves += u64::from(matches!(moves, Ok(true)));
        self.touch(at)
    }

    fn commit(&mut self) -> Result<(), Violation> {
        let Some(at) = self.up_and_running() else { return Ok(()) };
        let group = Str::from(format!("g{}", self.rng.below(GROUPS)));
        let node = &mut self.nodes[at];
        node.set_clock(self.now);
        let (id, life) = (node.id, node.life);
        let Some(broker) = node.up.as_mut().and_then(|up| up.broker.as_mut()) else { return Ok(()) };
        let next = self.client.offsets.entry(group.clone()).or_insert(0);
        *next += 1;
        let offset = *next;
        let wanted = CommitPartition {
            topic: TOPIC.into(),
            topic_id: Uuid::from_bytes([7; 16]),
            partition: 0,
            offset,
            leader_epoch: -1,
            metadata: Str::default(),
        };
        let asked = broker.groups.ask(&group, |token| {
            Request::Commit(Commit {
                token,
                group: group.clone(),
                member_id: Str::default(),
                instance_id: None,
                generation: -1,
                retention_ms: None,
                knows_group_id_not_found: true,
                partitions: vec![wanted],
            })
        });
        let told = asked.as_ref().err().copied();
        self.trace.note(self.now, &[7, id.into()], || format!("{group} commits {offset} on {id}: {told:?}"));
        match asked {
            Ok(answer) => {
                self.client.commits.push(Committing { node: id, life, group, offset, answer });
                self.touch(at)
            }
            Err(GroupError::LoadInProgress | GroupError::NotCoordinator) => Ok(()),
            Err(error) => Err(format!("a commit on {id} is refused: {error}")),
        }
    }

    /// Looks what became of what was asked of a node.
    pub(super) fn hear_back(&mut self, at: usize) -> Result<(), Violation> {
        let (id, life, now) = (self.nodes[at].id, self.nodes[at].life, self.now);
        let is_up = self.nodes[at].up.is_some();
        let mut next = 0;
        while let Some(pending) = self.client.pending.get_mut(next) {
            let lost = pending.until < now || (pending.node == id && (pending.life != life || !is_up));
            if !lost && pending.node != id {
                next += 1;
                continue;
            }
            let polled = match lost {
                true => Poll::Ready(Err(ProduceError::NotLeader)),
                false => pending.future.as_mut().poll(&mut Context::from_waker(Waker::noop())),
            };
            let Poll::Ready(outcome) = polled else {
                next += 1;
                continue;
            };
            let done = self.client.pending.swap_remove(next);
            if outcome.is_ok() {
                self.trace
                    .note(now, &[8, id.into(), done.base], || format!("{:?} acked {}", done.id, done.base));
                self.books.acked(&done.id, done.base, done.next, &done.batch);
                self.client.written.extend(done.healed.then_some(done.id.1));
            }
        }
        let mut next = 0;
        while let Some(commit) = self.client.commits.get_mut(next) {
            if commit.node != id {
                next += 1;
                continue;
            }
            let answer = match commit.life != life || !is_up {
                true => Err(oneshot::error::TryRecvError::Closed),
                false => commit.answer.try_recv(),
            };
            if answer == Err(oneshot::error::TryRecvError::Empty) {
                next += 1;
                continue;
            }
            let done = self.client.commits.swap_remove(next);
            if let Ok(ShardAnswer::Commit(Ok(fates))) = answer
                && fates.iter().all(Result::is_ok)
            {
                self.books.committed(done.group, done.offset);
            }
        }
        self.members_hear(at)?;
        self.hear_admin(at, is_up)
    }

    fn hear_admin(&mut self, at: usize, is_up: bool) -> Result<(), Violation> {
        let (id, life) = (self.nodes[at].id, self.nodes[at].life);
        let mut next = 0;
        while let Some(admin) = self.client.admin.get_mut(next) {
            if admin.node != id {
                next += 1;
                continue;
            }
            if admin.life != life || !is_up {
                self.client.admin.swap_remove(next);
                if self.client.roll == Roll::Asking {
                    self.client.roll = Roll::Idle;
                }
                continue;
            }
            match admin.future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Pending => next += 1,
                Poll::Ready(outcome) => {
                    self.client.admin.swap_remove(next);
                    self.outcome(outcome)?;
                }
            }
        }
        Ok(())
    }

    fn outcome(&mut self, outcome: Outcome) -> Result<(), Violation> {
        match outcome {
            Outcome::Nothing => Ok(()),
            Outcome::Voters(changed) => {
                self.books.counters.voter_changes += u64::from(changed);
                Ok(())
            }
            Outcome::Permit(node, answer) => self.permitted(node, answer.as_deref()),
        }
    }

    /// Makes the replicas with a new disk voters again: the old one goes, the new one comes.
    fn administer(&mut self) -> Result<(), Violation> {
        let Some(at) = self.active() else { return Ok(()) };
        let Some(up) = &self.nodes[at].up else { return Ok(()) };
        let voters = up.controller.quorum().status().voters;
        let count = self.settings.voters;
        let mut outside = self.nodes.iter().filter(|node| node.id <= count && node.up.is_some());
        let change = |node: &Node| next_change_of_voters(&voters, node.key(), endpoint(node.id));
        let Some(request) = outside.find_map(change) else { return Ok(()) };
        let handle = up.controller.handle().clone();
        let future = async move {
            Outcome::Voters(match handle.quorum_request(request).await {
                Ok(QuorumResponse::AddRaftVoter(response)) => response.error_code == 0,
                Ok(QuorumResponse::RemoveRaftVoter(response)) => response.error_code == 0,
                _ => false,
            })
        };
        self.ask_controller(at, Box::pin(future))
    }

    fn ask_permit(&mut self) -> Result<(), Violation> {
        if self.client.roll != Roll::Idle {
            return Ok(());
        }
        let Some(at) = self.active() else { return Ok(()) };
        let id = self.nodes[self.rng.below(self.nodes.len())].id;
        let Some(up) = &self.nodes[at].up else { return Ok(()) };
        let handle = up.controller.handle().clone();
        self.client.roll = Roll::Asking;
        let asked = ask_permit(handle, id);
        let future = async move { Outcome::Permit(id, asked.await.map(Box::new)) };
        self.ask_controller(at, Box::pin(future))
    }

    fn permitted(&mut self, node: i32, answer: Option<&(Verdict, MetadataImage)>) -> Result<(), Violation> {
        self.client.roll = Roll::Idle;
        let verdict = answer.map(|(verdict, _)| verdict);
        self.trace.note(self.now, &[9, node.into()], || format!("may {node} stop: {verdict:?}"));
        let Some((Verdict::Granted { cost, .. }, decided)) = answer else { return Ok(()) };
        self.books.counters.permits += 1;
        if cost.partitions.is_empty() {
            may_stop(decided, node)?;
        }
        let fine = self.now - self.last_fault > 20_000 && !self.network.has_cuts() && self.is_calm;
        let all = self.nodes.iter().all(|node| node.up.as_ref().is_some_and(super::node::Up::serves));
        let calm = fine && all && cost.partitions.is_empty() && !cost.majority;
        let Some(up) = self.nodes.iter_mut().find(|other| other.id == node).and_then(|it| it.up.as_mut())
        else {
            return Ok(());
        };
        (up.wanted.stop, up.beat_at) = (true, 0);
        self.client.roll = Roll::Leaving(node);
        self.books.plan = Some(Plan { node, calm });
        Ok(())
    }

    /// Follows a node that was permitted to stop.
    fn roll(&mut self) {
        let by_id = |id: i32| self.nodes.iter().find(|node| node.id == id);
        match self.client.roll {
            Roll::Leaving(id) if by_id(id).is_some_and(|node| node.up.is_none()) => {
                self.client.roll = Roll::Returning(id);
            }
            Roll::Returning(id) => {
                let serves = by_id(id).and_then(|node| node.up.as_ref()).is_some_and(super::node::Up::serves);
                let topics = self.books.truth.topics.iter();
                let mut partitions = topics.flat_map(|topic| topic.partitions.values());
                let back = partitions.all(|it| !it.replicas.contains(&id) || it.isr.contains(&id));
                if serves && back {
                    self.books.counters.planned_stops += 1;
                    self.books.plan = None;
                    self.client.roll = Roll::Idle;
                }
            }
            _ => {}
        }
    }

    /// A coordinator that begins to serve knows every commit that was acknowledged.
    pub(super) fn check_groups(&mut self, at: usize) -> Result<(), Violation> {
        let id = self.nodes[at].id;
        let Some(broker) = self.nodes[at].up.as_mut().and_then(|up| up.broker.as_mut()) else {
            return Ok(());
        };
        if broker.loaded.is_empty() {
            return Ok(());
        }
        broker.loaded.clear();
        self.books.counters.loads += 1;
        if !self.books.leads_offsets(&broker.image) {
            return Ok(());
        }
        for (group, offset) in &self.books.groups {
            let known = broker.groups.committed(group, &TOPIC.into(), 0);
            ensure(known.is_none_or(|known| known.is_some_and(|known| known >= *offset)), || {
                format!("node {id} coordinates {group} and has {known:?}, {offset} was acknowledged")
            })?;
        }
        Ok(())
    }

    pub(super) fn is_all_written(&self) -> bool {
        let voids = (0..PARTITIONS).filter(|index| self.books.is_part_void(TOPIC, *index)).count();
        self.client.written.len() + voids >= usize::try_from(PARTITIONS).unwrap()
            && self.client.pending.is_empty()
    }
}

/// Whether a permit for the node is right by what its controller knows.
fn may_stop(image: &MetadataImage, node: i32) -> Result<(), Violation> {
    for topic in image.topics.iter() {
        for (index, state) in topic.partitions.iter().filter(|(_, state)| state.isr.contains(&node)) {
            let stays = |id: &&i32| **id != node && image.active_broker(**id).is_some();
            let left = state.isr.iter().filter(stays).count();
            ensure(left >= state.replicas.len().min(2), || {
                format!("{node} may stop, and {}-{index} has {left} left in sync", topic.name)
            })?;
        }
    }
    Ok(())
}
