//! What was seen so far, and what must be true of whatever is seen next.
//!
//! **When an acknowledgement still binds.** With page caches a record that was acknowledged must be there while one of the
//! replicas that are in sync or eligible (ISR, ELR) has kept its unsynced writes and its disk since the acknowledgement, or
//! since it joined; with durable acknowledgements while one of them has kept its disk. Once none has, nothing more is said
//! of the partition's records.

use std::collections::{BTreeMap, BTreeSet};

use ottla_log::Offset;
use ottla_quorum::image::PartitionImage;
use ottla_quorum::{MetadataImage, Quorum, ReplicaKey};
use ottla_wire::Str;
use ottla_wire::batch::BatchHeader;

use super::Counters;
use super::members::Generations;
use crate::group::placement::OFFSETS_TOPIC;
use crate::partition::{Partition, TopicPartition};
use crate::replication::answers::content;

/// Why a run is wrong.
pub(super) type Violation = String;

/// An error unless it holds.
pub(super) fn ensure(holds: bool, otherwise: impl FnOnce() -> Violation) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

pub(super) type PartitionId = (Str, i32);

/// A batch: the offset after it, the leader epoch, and what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Batch {
    next: i64,
    epoch: i32,
    content: u64,
}

/// One partition's records.
#[derive(Default)]
pub(super) struct Part {
    /// What was below a high watermark, by base offset.
    committed: BTreeMap<i64, Batch>,
    end: i64,
    /// What was acknowledged to clients: offset after the batch, content.
    acked: BTreeMap<i64, (i64, u64)>,
    /// ISR and ELR, as committed; who led last where both are empty.
    keep: BTreeSet<i32>,
    /// Those of them that have kept what they had.
    intact: BTreeSet<i32>,
    pub(super) is_void: bool,
    /// Who led last, while nobody is in sync.
    led_last: BTreeSet<i32>,
    /// Up to where a leader has deleted records. Below nothing is promised: replicas whose log start is not on disk have them
    /// again after a crash, or what they had there under an epoch that the leader cannot tell of any more.
    deleted: i64,
    /// Up to where each node's log was compared.
    compared: BTreeMap<i32, i64>,
    /// The last epoch whose leader was looked at.
    led: i32,
}

/// A node that was permitted to stop.
pub(super) struct Plan {
    pub(super) node: i32,
    /// Nothing unplanned happens.
    pub(super) calm: bool,
}

#[derive(Default)]
pub(super) struct Books {
    pub(super) durable: bool,
    /// Old records are deleted.
    retains: bool,
    pub(super) counters: Counters,
    quorum_leaders: BTreeMap<i32, i32>,
    votes: BTreeMap<(ReplicaKey, i32), ReplicaKey>,
    images: BTreeMap<i64, MetadataImage>,
    /// The newest committed metadata that anybody has.
    pub(super) truth: MetadataImage,
    leaders: BTreeMap<(Str, i32, i32), i32>,
    pub(super) parts: BTreeMap<PartitionId, Part>,
    /// What each group has committed for partition 0 of `t`, as it was told.
    pub(super) groups: BTreeMap<Str, i64>,
    pub(super) generations: Generations,
    pub(super) plan: Option<Plan>,
    /// Who lost what it had, and under which broker epoch it was registered then. Until it registers again, whoever takes it
    /// in has not heard of that.
    lost: BTreeMap<i32, i64>,
}

fn digest(batch: &[u8]) -> u64 {
    // Base offset, length and leader epoch are the log's, not the record's.
    let mut digest = 0xcbf2_9ce4_8422_2325_u64;
    for chunk in batch.get(16..).unwrap_or_default().chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        digest = (digest ^ u64::from_be_bytes(word)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
    }
    digest
}

impl Books {
    pub(super) fn new(durable: bool, retains: bool) -> Self {
        Self { durable, retains, ..Self::default() }
    }

    /// A replica grants a vote.
    pub(super) fn voted(
        &mut self,
        voter: ReplicaKey,
        epoch: i32,
        candidate: ReplicaKey,
    ) -> Result<(), Violation> {
        let known = *self.votes.entry((voter, epoch)).or_insert(candidate);
        ensure(known == candidate, || {
            format!("{} votes in epoch {epoch} for {} and {}", voter.id, known.id, candidate.id)
        })
    }

    /// A node's part in the quorum; returns its committed offset.
    pub(super) fn check_quorum(&mut self, id: i32, quorum: &Quorum, before: i64) -> Result<i64, Violation> {
        if quorum.is_leader() {
            let epoch = quorum.epoch();
            let counters = &mut self.counters;
            let known = *self.quorum_leaders.entry(epoch).or_insert_with(|| {
                counters.elections += 1;
                id
            });
            ensure(known == id, || format!("epoch {epoch} of the quorum is led by {known} and {id}"))?;
        }
        let image = quorum.committed_image();
        let offset = image.offset();
        ensure(offset >= before, || format!("node {id} went back from metadata {before} to {offset}"))?;
        if offset > before {
            let same = self.images.entry(offset).or_insert_with(|| image.clone());
            ensure(same == image, || format!("node {id} has other metadata at {offset}"))?;
            if offset > self.truth.offset() {
                self.learn(image.clone())?;
            }
        }
        Ok(offset)
    }

    /// Newer metadata is committed.
    fn learn(&mut self, image: MetadataImage) -> Result<(), Violation> {
        for topic in image.topics.iter() {
            for (index, state) in &topic.partitions {
                let id = (topic.name.clone(), *index);
                let before = self.truth.partition(&topic.name, *index);
                let led = state.leader < 0
                    || image.cluster.brokers.get(&state.leader).is_some_and(|broker| !broker.fenced);
                ensure(led, || format!("{}-{index} is led by {}, who is fenced", topic.name, state.leader))?;
                if let Some(before) = before {
                    self.counters.shrinks += u64::from(state.isr.len() < before.isr.len());
                    self.counters.growths += u64::from(state.isr.len() > before.isr.len());
                    let moved = state.leader >= 0 && state.leader != before.leader;
                    self.counters.moved_leaders += u64::from(moved);
                }
                if state.leader >= 0 {
                    let key = (topic.name.clone(), *index, state.leader_epoch);
                    let known = *self.leaders.entry(key).or_insert(state.leader);
                    ensure(known == state.leader, || {
                        format!("{id:?}: epoch {} is of {known} and {}", state.leader_epoch, state.leader)
                    })?;
                }
                let min = state.replicas.len().min(2);
                if let Some(plan) = self.plan.as_ref().filter(|plan| plan.calm) {
                    ensure(state.isr.len() >= min, || {
                        format!("{id:?} is under its minimum while only {} is away", plan.node)
                    })?;
                }
                let has_lost = |node: i32| {
                    let registered = image.cluster.brokers.get(&node).map(|broker| broker.epoch);
                    registered.is_some() && registered == self.lost.get(&node).copied()
                };
                self.parts.entry(id).or_default().keep(state, has_lost);
            }
        }
        self.truth = image;
        self.count_voids();
        Ok(())
    }

    fn count_voids(&mut self) {
        for (id, part) in &mut self.parts {
            if !part.is_void && part.intact.is_empty() {
                part.is_void = true;
                self.counters.voids += 1;
                if &*id.0 == OFFSETS_TOPIC {
                    self.groups.clear();
                }
            }
        }
    }

    /// Whether some acknowledgement would bind no more if the node lost what it has.
    pub(super) fn would_void(&self, node: i32, affected: impl Fn(&PartitionId) -> bool) -> bool {
        let would = |part: &Part| !part.is_void && part.intact.iter().all(|id| *id == node);
        self.parts.iter().any(|(id, part)| affected(id) && would(part))
    }

    /// The node has lost what was not synced.
    pub(super) fn lost_power(&mut self, node: i32) {
        if !self.durable {
            self.lost(node, |_| true);
        }
    }

    /// The node has lost what it had of some partitions.
    pub(super) fn lost(&mut self, node: i32, affected: impl Fn(&PartitionId) -> bool) {
        if let Some(broker) = self.truth.cluster.brokers.get(&node) {
            self.lost.insert(node, broker.epoch);
        }
        for (_, part) in self.parts.iter_mut().filter(|(id, _)| affected(id)) {
            part.intact.remove(&node);
        }
        self.count_voids();
    }

    /// What a node has of a partition lies elsewhere now.
    pub(super) fn looks_anew(&mut self, node: i32, name: &TopicPartition) {
        if let Some(part) = self.parts.get_mut(&(name.topic.clone(), name.partition)) {
            part.compared.remove(&node);
        }
    }

    /// The node starts anew: all that it has is looked at again.
    pub(super) fn started(&mut self, node: i32) {
        for part in self.parts.values_mut() {
            part.compared.remove(&node);
        }
    }

    /// A client was told that its batch is safe.
    pub(super) fn acked(&mut self, id: &PartitionId, base: i64, next: i64, batch: &[u8]) {
        let Some(part) = self.parts.get_mut(id) else { return };
        self.counters.acked += 1;
        part.acked.insert(base, (next, digest(batch)));
    }

    /// Whoever leads has deleted the records before an offset.
    pub(super) fn deleted(&mut self, id: &PartitionId, before: i64) {
        let Some(part) = self.parts.get_mut(id) else { return };
        self.counters.deletions += 1;
        part.deleted = part.deleted.max(before);
    }

    /// A group was told that its commit is safe.
    pub(super) fn committed(&mut self, group: Str, offset: i64) {
        self.counters.commits += 1;
        if !self.is_void(OFFSETS_TOPIC) {
            let known = self.groups.entry(group).or_insert(offset);
            *known = (*known).max(offset);
        }
    }

    /// Whether newer metadata than this image has no other leader of the groups, of which something is promised.
    pub(super) fn leads_offsets(&self, image: &MetadataImage) -> bool {
        let leads = |image: &MetadataImage| {
            image.partition(OFFSETS_TOPIC, 0).map(|state| (state.leader, state.leader_epoch))
        };
        leads(image) == leads(&self.truth) && !self.is_void(OFFSETS_TOPIC)
    }

    /// Whether nothing is said any more of partition 0 of the topic.
    pub(super) fn is_void(&self, topic: &str) -> bool {
        self.is_part_void(topic, 0)
    }

    /// The same of any partition.
    pub(super) fn is_part_void(&self, topic: &str, index: i32) -> bool {
        self.parts.get(&(Str::from(topic), index)).is_some_and(|part| part.is_void)
    }

    /// A node's replica of a partition.
    pub(super) fn check_partition(&mut self, node: i32, partition: &Partition) -> Result<(), Violation> {
        let id = (partition.name().topic.clone(), partition.name().partition);
        let leadership = partition.leadership();
        let key = (id.0.clone(), id.1, leadership.epoch);
        if leadership.here {
            let known = *self.leaders.entry(key).or_insert(node);
            let epoch = leadership.epoch;
            ensure(known == node, || format!("{id:?}: epoch {epoch} is led by {known} and {node}"))?;
        }
        let newest = self.truth.partition(&id.0, id.1).map(|state| (state.leader, state.leader_epoch));
        let Some(part) = self.parts.get_mut(&id).filter(|part| !part.is_void) else { return Ok(()) };
        if partition.directory().is_offline() {
            return Ok(());
        }
        let (start, high_watermark) = (partition.log_start_offset().0, partition.high_watermark().0);
        let may_start = if self.retains && &*id.0 != OFFSETS_TOPIC { part.end } else { part.deleted };
        ensure(start <= may_start, || {
            format!("{id:?} on {node} begins at {start}, it may up to {may_start}")
        })?;
        if leadership.here {
            part.deleted = part.deleted.max(start);
        }
        let from = part.compared.get(&node).copied().unwrap_or(0).min(high_watermark);
        let from = from.max(start).max(part.deleted);
        let mut to = from;
        if from < high_watermark {
            let found = batches(partition, from, high_watermark);
            to = part.compare(from, &found, true).map_err(|why| format!("{id:?} on {node}: {why}"))?;
        }
        part.compared.insert(node, to);
        let leads = leadership.here && newest == Some((node, leadership.epoch));
        if leads && part.led < leadership.epoch {
            part.led = leadership.epoch;
            part.check_leader(partition).map_err(|why| format!("{id:?}: leader {node} {why}"))?;
        }
        Ok(())
    }
}

/// Base offsets and batches of a log.
fn batches(partition: &Partition, from: i64, to: i64) -> Vec<(i64, Batch)> {
    let batch = |bytes: &bytes::Bytes| {
        let header = BatchHeader::parse(bytes).unwrap();
        let (epoch, content) = (header.partition_leader_epoch, digest(bytes));
        (header.base_offset, Batch { next: header.next_offset(), epoch, content })
    };
    content(partition, Offset(from), Offset(to)).iter().map(batch).collect()
}

impl Part {
    fn keep(&mut self, state: &PartitionImage, has_lost: impl Fn(i32) -> bool) {
        let mut keep: BTreeSet<i32> = state.isr.iter().chain(&state.elr).copied().collect();
        if keep.is_empty() {
            keep.extend(&state.last_known_elr);
        }
        if keep == self.keep {
            self.led_last = state.last_known_elr.iter().copied().collect();
            return;
        }
        let is_new = self.keep.is_empty();
        if is_new || !self.intact.is_empty() {
            // Who only led last has not caught up with anybody: it leads again because all others that were eligible came
            // back without having been stopped (KIP-966).
            let caught_up =
                |id: &i32| !self.keep.contains(id) && !self.led_last.contains(id) && !has_lost(*id);
            let joined: Vec<i32> = state.isr.iter().chain(&state.elr).copied().filter(caught_up).collect();
            self.intact.extend(joined);
        }
        self.intact.retain(|id| keep.contains(id));
        self.keep = keep;
        self.led_last = state.last_known_elr.iter().copied().collect();
    }

    /// Compares a stretch of a log with what is known; returns where it ends. With `committed`, what is beyond is known from now
    /// on.
    fn compare(&mut self, from: i64, found: &[(i64, Batch)], committed: bool) -> Result<i64, Violation> {
        let mut at = from;
        for (base, batch) in found {
            if *base < self.deleted {
                at = batch.next;
                continue;
            }
            match self.committed.get(base) {
                Some(known) => {
                    ensure(known == batch, || format!("has {batch:?} at {base}, elsewhere it is {known:?}"))?;
                }
                None if *base < self.end => return Err(format!("has a batch of its own at {base}")),
                None if committed => {
                    ensure(*base == self.end, || format!("commits {base}, others end at {}", self.end))?;
                    self.check_acked(*base, batch)?;
                    self.committed.insert(*base, *batch);
                    self.end = batch.next;
                }
                None => self.check_acked(*base, batch)?,
            }
            at = batch.next;
        }
        Ok(at)
    }

    fn check_acked(&self, base: i64, batch: &Batch) -> Result<(), Violation> {
        let mut acked = self.acked.range(base..batch.next);
        let same =
            acked.all(|(at, (next, content))| (*at, *next, *content) == (base, batch.next, batch.content));
        ensure(same, || format!("has {batch:?} at {base}, something else was acknowledged there"))
    }

    /// A new leader has all that was committed, and all that was acknowledged.
    fn check_leader(&mut self, partition: &Partition) -> Result<(), Violation> {
        let end = partition.log_end_offset().0;
        ensure(end >= self.end, || format!("ends at {end}, {} was committed", self.end))?;
        let found = batches(partition, partition.log_start_offset().0.max(self.deleted), end);
        self.compare(0, &found, false)?;
        let last = self.acked.last_key_value().map_or(0, |(_, (next, _))| *next);
        ensure(end >= last, || format!("ends at {end}, {last} was acknowledged"))
    }
}
