//! One partition of `__consumer_offsets`: its groups and their offsets, as a pure state machine.
//!
//! Requests, log progress and time go in; answers and appends come out. Whatever is to survive is state only when the
//! high watermark has passed its record, in log order: a failed or lost write leaves no trace but its error.
//! The rim must append what it is given in order and report each append once.

mod admin;
mod expiry;
mod offsets;
#[cfg(test)]
mod properties;
mod replay;
mod requests;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use super::classic::{Answer, ClassicGroup, Effects, Intent, Limits, Now, Token};
use admin::{Asked, Removal};

use super::offsets::{CommittedOffset, OffsetStore, TopicIndex};
use super::record::GroupRecord;
use super::timers::Timers;
use super::{GroupError, Str, WriteResult};

pub use admin::{DescribedGroup, DescribedMember, ListFilter, ListedGroup};
pub use requests::{
    Commit, CommitPartition, Fetch, FetchedOffset, FetchedTopic, Request, ShardAnswer, WantedTopic,
};

/// The settings that a shard needs.
#[derive(Debug, Clone, Copy)]
pub struct ShardConfig {
    /// Bounds of groups.
    pub limits: Limits,
    /// `offset.metadata.max.bytes`.
    pub offset_metadata_max_bytes: usize,
    /// `offsets.retention.minutes`, in milliseconds.
    pub offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`.
    pub retention_check_interval_ms: i64,
    /// `offsets.commit.timeout.ms`: how long a write may wait for the high watermark.
    pub commit_timeout_ms: i64,
}

/// Names an append until its fate is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AppendId(u64);

/// Records that must come into the log together, in order.
#[derive(Debug)]
pub struct Append {
    /// To be reported with [`Shard::on_append`].
    pub id: AppendId,
    /// At least one.
    pub records: Vec<GroupRecord>,
}

/// What the rim has to do.
#[derive(Debug, Default)]
pub struct Commands {
    /// Requests to answer.
    pub answers: Vec<(Token, ShardAnswer)>,
    /// Records to append, in order.
    pub appends: Vec<Append>,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Shard {
    config: ShardConfig,
    groups: BTreeMap<Str, ClassicGroup>,
    offsets: OffsetStore,
    deadlines: Timers<Str>,
    next_sweep: i64,
    appends: u64,
    /// In log order.
    in_flight: VecDeque<InFlight>,
}

/// A write whose fate is not known, or a read that waits for those before it.
#[derive(Debug)]
struct InFlight {
    id: AppendId,
    /// The offset of its last record; none until appended.
    last_offset: Option<i64>,
    deadline: i64,
    /// It was answered as timed out, but may still come true.
    timed_out: bool,
    effect: Effect,
}

#[derive(Debug)]
enum Effect {
    Group { group: Str, intent: Intent },
    Commit { token: Token, group: Str, offsets: Vec<(TopicIndex, CommittedOffset)>, answer: ShardAnswer },
    Remove(Removal),
    Read(Fetch),
}

impl Effect {
    fn group(&self) -> &Str {
        match self {
            Self::Group { group, .. } | Self::Commit { group, .. } => group,
            Self::Remove(removal) => &removal.group,
            Self::Read(fetch) => &fetch.group,
        }
    }
}

impl Shard {
    /// A shard whose log is empty; fill it with [`Shard::replay`].
    pub fn new(config: ShardConfig, now: Now) -> Self {
        Self {
            config,
            groups: BTreeMap::new(),
            offsets: OffsetStore::default(),
            deadlines: Timers::default(),
            next_sweep: now.monotonic_ms + config.retention_check_interval_ms,
            appends: 0,
            in_flight: VecDeque::new(),
        }
    }

    /// The groups, by id.
    pub fn groups(&self) -> impl Iterator<Item = &ClassicGroup> {
        self.groups.values()
    }

    /// What a group has committed for a partition.
    pub fn committed(&self, group: &Str, topic: &Str, partition: i32) -> Option<&CommittedOffset> {
        self.offsets.get(group, topic, partition)
    }

    /// Handles a request; the answer may come with a later event.
    pub fn handle(&mut self, request: Request, now: Now, out: &mut Commands) {
        match request {
            Request::Join { group, join } => self.join(&group, join, now, out),
            Request::Sync { group, sync } => self.sync(&group, sync, now, out),
            Request::Heartbeat { token, group, member_id, instance_id, generation } => {
                let answer = self.heartbeat(&group, &member_id, instance_id.as_ref(), generation, now);
                out.answers.push((token, ShardAnswer::Heartbeat(answer)));
            }
            Request::Leave { token, group, leaving } => self.leave(token, &group, &leaving, now, out),
            Request::Commit(commit) => self.commit(commit, now, out),
            Request::Fetch(fetch) => self.fetch(fetch, now, out),
            Request::List { token, filter } => {
                out.answers.push((token, ShardAnswer::List(self.list(&filter))));
            }
            Request::Describe { token, group } => {
                out.answers.push((token, ShardAnswer::Describe(self.describe(&group))));
            }
            Request::Delete { token, group } => self.delete(token, &group, now, out),
            Request::DeleteOffsets { token, group, partitions } => {
                self.delete_offsets(token, &group, partitions, now, out);
            }
        }
    }

    /// An append's fate: the offset of its last record, or why it was not made.
    pub fn on_append(&mut self, id: AppendId, result: Result<i64, GroupError>, now: Now, out: &mut Commands) {
        let Some(index) = self.in_flight.iter().position(|write| write.id == id) else {
            return;
        };
        match result {
            Ok(last_offset) => {
                if let Some(write) = self.in_flight.get_mut(index) {
                    write.last_offset = Some(last_offset);
                }
            }
            Err(error) => {
                if let Some(write) = self.in_flight.remove(index) {
                    self.finish(write, Err(error), now, out);
                }
            }
        }
    }

    /// The log is safe up to, not including, `high_watermark`.
    pub fn on_high_watermark(&mut self, high_watermark: i64, now: Now, out: &mut Commands) {
        while self
            .in_flight
            .front()
            .is_some_and(|write| write.last_offset.is_some_and(|last| last < high_watermark))
        {
            if let Some(write) = self.in_flight.pop_front() {
                self.finish(write, Ok(()), now, out);
            }
        }
    }

    /// The offset that the high watermark must pass for the next write to be finished.
    pub fn awaited_offset(&self) -> Option<i64> {
        self.in_flight.front().and_then(|write| write.last_offset)
    }

    /// When [`Shard::on_deadline`] must be called, on the monotonic clock.
    pub fn next_deadline(&self) -> i64 {
        // Writes are in flight in the order of their deadlines.
        let write = self.in_flight.iter().find(|write| !write.timed_out).map(|write| write.deadline);
        let group = self.deadlines.next();
        [write, group].into_iter().flatten().fold(self.next_sweep, i64::min)
    }

    /// Time has passed: sessions, phases, writes and offsets may have expired.
    pub fn on_deadline(&mut self, now: Now, out: &mut Commands) {
        self.expire_writes(now, out);
        while let Some(id) = self.deadlines.pop_due(now.monotonic_ms) {
            let limits = self.config.limits;
            self.with_group(&id, now, out, |group, effects| group.on_deadline(&limits, now, effects));
        }
        if now.monotonic_ms >= self.next_sweep {
            self.next_sweep = now.monotonic_ms + self.config.retention_check_interval_ms;
            self.sweep(now, out);
        }
    }

    /// The partition has moved away: all that wait are told so.
    pub fn close(mut self, error: GroupError, now: Now, out: &mut Commands) {
        while let Some(write) = self.in_flight.pop_front() {
            if !write.timed_out {
                self.fail(write.effect, error, now, out);
            }
        }
        let mut effects = Effects::default();
        for group in self.groups.values_mut() {
            group.abandon(error, &mut effects);
        }
        out.answers
            .extend(effects.answers.into_iter().map(|(token, answer)| (token, ShardAnswer::from(answer))));
    }

    /// Lets an event happen to a group, takes over its effects and its next deadline.
    fn with_group<R>(
        &mut self,
        id: &Str,
        now: Now,
        out: &mut Commands,
        event: impl FnOnce(&mut ClassicGroup, &mut Effects) -> R,
    ) -> Option<R> {
        let mut effects = Effects::default();
        let group = self.groups.get_mut(id)?;
        let before = group.next_deadline();
        let result = event(group, &mut effects);
        let after = group.next_deadline();
        match after {
            Some(deadline) if before != after => self.deadlines.schedule(id.clone(), deadline),
            Some(deadline) if !self.deadlines.contains(id) => self.deadlines.schedule(id.clone(), deadline),
            Some(_) => {}
            None => self.deadlines.cancel(id),
        }
        out.answers
            .extend(effects.answers.into_iter().map(|(token, answer)| (token, ShardAnswer::from(answer))));
        for write in effects.writes {
            let record = GroupRecord::Group { group: id.clone(), snapshot: Some(write.snapshot) };
            let effect = Effect::Group { group: id.clone(), intent: write.intent };
            self.append(vec![record], effect, now, out);
        }
        Some(result)
    }

    fn append(&mut self, records: Vec<GroupRecord>, effect: Effect, now: Now, out: &mut Commands) {
        let id = self.enqueue(None, effect, now);
        out.appends.push(Append { id, records });
    }

    fn enqueue(&mut self, last_offset: Option<i64>, effect: Effect, now: Now) -> AppendId {
        self.appends += 1;
        let id = AppendId(self.appends);
        let deadline = now.monotonic_ms + self.config.commit_timeout_ms;
        self.in_flight.push_back(InFlight { id, last_offset, deadline, timed_out: false, effect });
        id
    }

    fn expire_writes(&mut self, now: Now, out: &mut Commands) {
        let overdue = |write: &InFlight| !write.timed_out && write.deadline <= now.monotonic_ms;
        let ids: Vec<AppendId> =
            self.in_flight.iter().filter(|write| overdue(write)).map(|write| write.id).collect();
        for id in ids {
            let Some(write) = self.in_flight.iter_mut().find(|write| write.id == id) else {
                continue;
            };
            write.timed_out = true;
            match &write.effect {
                Effect::Group { group, intent } => {
                    let (group, intent) = (group.clone(), intent.clone());
                    self.written(&group, intent, Err(GroupError::CoordinatorNotAvailable), now, out);
                }
                Effect::Commit { token, .. } => {
                    out.answers.push((*token, ShardAnswer::Commit(Err(GroupError::CoordinatorNotAvailable))));
                }
                Effect::Read(fetch) => {
                    let answer = ShardAnswer::Fetch(Err(GroupError::CoordinatorNotAvailable));
                    out.answers.push((fetch.token, answer));
                }
                Effect::Remove(removal) => {
                    // Should it be written after all, it is nobody's business any more.
                    out.answers.extend(removal.asked.clone().failure(GroupError::CoordinatorNotAvailable));
                }
            }
        }
    }

    fn finish(&mut self, write: InFlight, result: WriteResult, now: Now, out: &mut Commands) {
        if let Err(error) = result {
            if !write.timed_out {
                self.fail(write.effect, error, now, out);
            }
            return;
        }
        match write.effect {
            Effect::Group { group, intent } if !write.timed_out => {
                self.written(&group, intent, Ok(()), now, out);
            }
            Effect::Group { group, .. } => {
                self.with_group(&group, now, out, |group, _| group.set_persisted(true));
            }
            Effect::Commit { token, group, offsets, answer } => {
                let last_offset = write.last_offset.unwrap_or_default();
                self.take_commit(&group, offsets, last_offset, now);
                if !write.timed_out {
                    out.answers.push((token, answer));
                }
            }
            Effect::Remove(mut removal) => {
                if write.timed_out {
                    removal.asked = Asked::Nobody;
                }
                let last_offset = write.last_offset.unwrap_or_default();
                out.answers.extend(self.on_removed(removal, last_offset));
            }
            Effect::Read(fetch) if !write.timed_out => self.read(&fetch, out),
            Effect::Read(_) => {}
        }
    }

    fn fail(&mut self, effect: Effect, error: GroupError, now: Now, out: &mut Commands) {
        match effect {
            Effect::Group { group, intent } => self.written(&group, intent, Err(error), now, out),
            Effect::Commit { token, .. } => out.answers.push((token, ShardAnswer::Commit(Err(error)))),
            Effect::Read(fetch) => out.answers.push((fetch.token, ShardAnswer::Fetch(Err(error)))),
            Effect::Remove(Removal { group, asked, .. }) => {
                // What has expired is tried again by the next sweep.
                tracing::warn!(%group, %error, "state was not removed");
                out.answers.extend(asked.failure(error));
            }
        }
    }

    fn written(&mut self, id: &Str, intent: Intent, result: WriteResult, now: Now, out: &mut Commands) {
        let limits = self.config.limits;
        self.with_group(id, now, out, |group, effects| {
            group.on_written(intent, result, &limits, now, effects);
        });
    }
}

impl From<Answer> for ShardAnswer {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Join(answer) => Self::Join(answer),
            Answer::Sync(answer) => Self::Sync(answer),
        }
    }
}
