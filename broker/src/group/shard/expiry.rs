//! Offsets that nobody has used for long, and groups that have nothing left.

use std::collections::{BTreeMap, BTreeSet};

use ottla_wire::Uuid;

use super::{Asked, Commands, Effect, Shard};
use crate::group::Str;
use crate::group::classic::{ClassicGroup, Now};
use crate::group::offsets::{CommittedOffset, TopicIndex};

impl Shard {
    /// Removes what has expired.
    pub(super) fn sweep(&mut self, now: Now, out: &mut Commands) {
        for id in self.groups.keys().cloned().collect::<Vec<_>>() {
            let expired = self.expired_offsets(&id, now);
            self.remove(&id, expired, false, Asked::Nobody, now, out);
            // A group goes in the sweep after its last offset: the tombstones must be safe first.
            let in_use = self.offsets.has_any(&id)
                || self.has_in_flight(&id, |effect| !matches!(effect, Effect::Read(_)));
            if !in_use && self.groups.get(&id).is_some_and(ClassicGroup::is_vacant) {
                self.remove_group(&id, now, out);
            }
        }
    }

    /// Topics are gone, and with them what was committed for them.
    pub fn on_topics_deleted(&mut self, topics: &[(Str, Uuid)], now: Now, out: &mut Commands) {
        for (topic, topic_id) in topics {
            let mut of_groups: BTreeMap<Str, Vec<TopicIndex>> = BTreeMap::new();
            let mut found = self.offsets.of_topic(topic, *topic_id);
            found.append(&mut self.in_flight_of_topic(topic, *topic_id));
            for (group, partition) in found {
                of_groups.entry(group).or_default().push((topic.clone(), partition));
            }
            for (group, indexes) in of_groups {
                self.remove(&group, indexes, false, Asked::Nobody, now, out);
            }
        }
    }

    fn in_flight_of_topic(&self, topic: &Str, topic_id: Uuid) -> BTreeSet<(Str, i32)> {
        let mut found = BTreeSet::new();
        for write in &self.in_flight {
            if let Effect::Commit { group, offsets, .. } = &write.effect {
                let concerned = offsets
                    .iter()
                    .filter(|((name, _), offset)| name == topic && !offset.is_of_another_topic(topic_id));
                found.extend(concerned.map(|((_, partition), _)| (group.clone(), *partition)));
            }
        }
        found
    }

    fn expired_offsets(&self, id: &Str, now: Now) -> Vec<TopicIndex> {
        let Some(group) = self.groups.get(id) else {
            return Vec::new();
        };
        let mut expired = Vec::new();
        let renewed = self.in_flight_commits(id);
        for (topic, partitions) in self.offsets.of_group(id) {
            if group.may_consume(topic) {
                continue;
            }
            for (partition, offset) in partitions {
                let index = (topic.clone(), *partition);
                let pending = renewed.contains(&index) || self.offsets.is_unstable(id, topic, *partition);
                if self.is_expired(group, offset, now) && !pending {
                    expired.push(index);
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

    fn remove_group(&mut self, id: &Str, now: Now, out: &mut Commands) {
        if self.groups.get(id).is_some_and(ClassicGroup::is_persisted) {
            self.remove(id, Vec::new(), true, Asked::Nobody, now, out);
        } else {
            self.groups.remove(id);
            self.deadlines.cancel(id);
        }
    }

    /// Whether a write about the group, of those that `concern`, is on its way.
    pub(super) fn has_in_flight(&self, id: &Str, concern: impl Fn(&Effect) -> bool) -> bool {
        self.in_flight.iter().any(|write| write.effect.group() == id && concern(&write.effect))
    }
}
