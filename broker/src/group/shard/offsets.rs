//! OffsetCommit and OffsetFetch.

use super::{
    Commands, Commit, CommitPartition, Effect, Fetch, FetchedOffset, FetchedTopic, Removal, Shard,
    ShardAnswer, WantedTopic,
};
use crate::group::classic::{ClassicGroup, Identity, Now};
use crate::group::offsets::{CommittedOffset, TopicIndex};
use crate::group::record::GroupRecord;
use crate::group::{GroupError, Str};

impl Shard {
    pub(super) fn commit(&mut self, commit: Commit, now: Now, out: &mut Commands) {
        if let Err(error) = self.check_commit(&commit, now) {
            out.answers.push((commit.token, ShardAnswer::Commit(Err(error))));
            return;
        }
        let max = self.config.offset_metadata_max_bytes;
        let fate = |partition: &CommitPartition| {
            // Kafka counts characters of UTF-16.
            if partition.metadata.encode_utf16().count() > max {
                Err(GroupError::OffsetMetadataTooLarge)
            } else {
                Ok(())
            }
        };
        let fates: Vec<Result<(), GroupError>> = commit.partitions.iter().map(fate).collect();
        let accepted = commit.partitions.into_iter().zip(&fates).filter(|(_, fate)| fate.is_ok());
        let offsets: Vec<_> =
            accepted.map(|(partition, _)| committed(partition, commit.retention_ms, now)).collect();
        let answer = ShardAnswer::Commit(Ok(fates));
        if offsets.is_empty() {
            out.answers.push((commit.token, answer));
            return;
        }
        let record = |(index, offset): &(TopicIndex, CommittedOffset)| GroupRecord::Offset {
            group: commit.group.clone(),
            index: index.clone(),
            offset: Some(offset.clone()),
        };
        let records = offsets.iter().map(record).collect();
        let effect = Effect::Commit { token: commit.token, group: commit.group, offsets, answer };
        self.append(records, effect, now, out);
    }

    /// Offsets whose records are safe become visible.
    pub(super) fn take_commit(
        &mut self,
        group: &Str,
        offsets: Vec<(TopicIndex, CommittedOffset)>,
        last_offset: i64,
        now: Now,
    ) {
        self.groups.entry(group.clone()).or_insert_with(|| ClassicGroup::new(group.clone(), now));
        let first_offset = last_offset - i64::try_from(offsets.len()).unwrap_or(0) + 1;
        for ((index, mut offset), log_offset) in offsets.into_iter().zip(first_offset..) {
            offset.log_offset = log_offset;
            self.offsets.put(group, index, offset, None);
        }
    }

    pub(super) fn fetch(&mut self, fetch: Fetch, now: Now, out: &mut Commands) {
        let concerns = |effect: &Effect| match effect {
            Effect::Commit { group, .. } | Effect::Remove(Removal { group, .. }) => *group == fetch.group,
            Effect::Group { .. } | Effect::Read(_) => false,
        };
        if fetch.require_stable && self.in_flight.iter().any(|write| concerns(&write.effect)) {
            // Done as soon as the writes before it are.
            self.enqueue(Some(i64::MIN), Effect::Read(fetch), now);
        } else {
            self.read(&fetch, out);
        }
    }

    pub(super) fn read(&mut self, fetch: &Fetch, out: &mut Commands) {
        let topics = match &fetch.topics {
            Some(topics) => topics.iter().map(|topic| self.read_topic(fetch, topic)).collect(),
            None => self.read_all(fetch),
        };
        out.answers.push((fetch.token, ShardAnswer::Fetch(Ok(topics))));
    }

    fn read_topic(&self, fetch: &Fetch, topic: &WantedTopic) -> FetchedTopic {
        let fetched = |partition: &i32| {
            let offset = self.offsets.get(&fetch.group, &topic.name, *partition);
            let offset =
                if fetch.require_stable && self.offsets.is_unstable(&fetch.group, &topic.name, *partition) {
                    FetchedOffset::Unstable
                } else {
                    match offset {
                        Some(offset) if !offset.is_of_another_topic(topic.topic_id) => {
                            FetchedOffset::Committed(offset.clone())
                        }
                        Some(_) | None => FetchedOffset::Absent,
                    }
                };
            (*partition, offset)
        };
        let partitions = topic.partitions.iter().map(fetched).collect();
        FetchedTopic { name: topic.name.clone(), topic_id: topic.topic_id, partitions }
    }

    fn read_all(&self, fetch: &Fetch) -> Vec<FetchedTopic> {
        let topic =
            |(name, partitions): (&Str, &std::collections::BTreeMap<i32, CommittedOffset>)| WantedTopic {
                name: name.clone(),
                topic_id: ottla_wire::Uuid::ZERO,
                partitions: partitions.keys().copied().collect(),
            };
        self.offsets.of_group(&fetch.group).map(topic).map(|topic| self.read_topic(fetch, &topic)).collect()
    }

    fn check_commit(&mut self, commit: &Commit, now: Now) -> Result<(), GroupError> {
        if !self.groups.contains_key(&commit.group) {
            if commit.generation >= 0 {
                let told = commit.knows_group_id_not_found;
                return Err(if told { GroupError::GroupIdNotFound } else { GroupError::IllegalGeneration });
            }
            // It comes into being with its first offset.
            return Ok(());
        }
        let from = Identity { member_id: &commit.member_id, instance_id: commit.instance_id.as_ref() };
        let check = |group: &mut ClassicGroup| group.check_commit(from, commit.generation, now);
        let checked = self.with_group(&commit.group, now, &mut Commands::default(), |group, _| check(group));
        checked.unwrap_or(Err(GroupError::UnknownMemberId))
    }
}

fn committed(
    partition: CommitPartition,
    retention_ms: Option<i64>,
    now: Now,
) -> (TopicIndex, CommittedOffset) {
    let offset = CommittedOffset {
        offset: partition.offset,
        leader_epoch: partition.leader_epoch,
        metadata: partition.metadata,
        commit_timestamp_ms: now.wall_ms,
        expire_timestamp_ms: retention_ms.map(|retention| now.wall_ms.saturating_add(retention)),
        topic_id: partition.topic_id,
        log_offset: -1,
    };
    ((partition.topic, partition.partition), offset)
}
