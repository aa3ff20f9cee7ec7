//! Offsets that nobody has used for long, and groups that have nothing left.

use ottla_wire::Uuid;

use super::{Commands, Effect, Shard};
use crate::group::Str;
use crate::group::classic::{ClassicGroup, Now};
use crate::group::offsets::{CommittedOffset, TopicIndex};
use crate::group::record::GroupRecord;

/// Tombstones in one append: well under any `max.message.bytes`.
const TOMBSTONES_PER_APPEND: usize = 500;

impl Shard {
    /// Removes what has expired.
    pub(super) fn sweep(&mut self, now: Now, out: &mut Commands) {
        for id in self.groups.keys().cloned().collect::<Vec<_>>() {
            let expired = self.expired_offsets(&id, now);
            self.remove_offsets(&id, &expired, now, out);
            // A group goes in the sweep after its last offset: the tombstones must be safe first.
            let in_use = self.offsets.has_any(&id) || self.has_commit_in_flight(&id);
            if !in_use && self.groups.get(&id).is_some_and(ClassicGroup::is_vacant) {
                self.remove_group(&id, now, out);
            }
        }
    }

    /// Topics are gone, and with them what was committed for them.
    pub fn on_topics_deleted(&mut self, topics: &[(Str, Uuid)], now: Now, out: &mut Commands) {
        for (topic, topic_id) in topics {
            for (group, partition) in self.offsets.of_topic(topic, *topic_id) {
                self.remove_offsets(&group, &[(topic.clone(), partition)], now, out);
            }
        }
    }

    fn expired_offsets(&self, id: &Str, now: Now) -> Vec<TopicIndex> {
        let Some(group) = self.groups.get(id) else {
            return Vec::new();
        };
        let mut expired = Vec::new();
        for (topic, partitions) in self.offsets.of_group(id) {
            if group.may_consume(topic) {
                continue;
            }
            for (partition, offset) in partitions {
                if self.is_expired(group, offset, now) && !self.offsets.is_unstable(id, topic, *partition) {
                    expired.push((topic.clone(), *partition));
                }
            }
        }
        expired
    }

    fn is_expired(&self, group: &ClassicGroup, offset: &CommittedOffset, now: Now) -> bool {
        let Some(start) = group.retention_start(offset.commit_timestamp_ms) else {
            return false;
        };
        match offset.expire_timestamp_ms {
            Some(expires) => now.wall_ms >= expires,
            None => now.wall_ms.saturating_sub(start) >= self.config.offsets_retention_ms,
        }
    }

    fn remove_offsets(&mut self, id: &Str, indexes: &[TopicIndex], now: Now, out: &mut Commands) {
        for chunk in indexes.chunks(TOMBSTONES_PER_APPEND) {
            tracing::info!(group = %id, offsets = chunk.len(), "offsets are removed");
            let tombstone = |index: &TopicIndex| GroupRecord::Offset {
                group: id.clone(),
                index: index.clone(),
                offset: None,
            };
            let records = chunk.iter().map(tombstone).collect();
            let effect = Effect::Remove { group: id.clone(), offsets: chunk.to_vec(), removed: None };
            self.append(records, effect, now, out);
        }
    }

    fn remove_group(&mut self, id: &Str, now: Now, out: &mut Commands) {
        let Some(group) = self.groups.remove(id) else {
            return;
        };
        self.deadlines.cancel(id);
        if group.is_persisted() {
            tracing::info!(group = %id, "the empty group is removed");
            let record = GroupRecord::Group { group: id.clone(), snapshot: None };
            let effect =
                Effect::Remove { group: id.clone(), offsets: Vec::new(), removed: Some(Box::new(group)) };
            self.append(vec![record], effect, now, out);
        }
    }

    fn has_commit_in_flight(&self, id: &Str) -> bool {
        self.in_flight.iter().any(|write| match &write.effect {
            Effect::Commit { group, .. } | Effect::Group { group, .. } => group == id,
            Effect::Remove { .. } | Effect::Read(_) => false,
        })
    }
}
