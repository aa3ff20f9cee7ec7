//! Committed offsets of all groups of a partition, those of open transactions apart (KIP-98).

use std::collections::{BTreeMap, BTreeSet};

use ottla_wire::Uuid;

use super::Str;

/// Topic and partition.
pub type TopicIndex = (Str, i32);

/// How far a group has come in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next offset to consume.
    pub offset: i64,
    /// The epoch of the last consumed record; −1 unknown.
    pub leader_epoch: i32,
    /// Whatever the client wants to keep.
    pub metadata: Str,
    /// Milliseconds since the epoch.
    pub commit_timestamp_ms: i64,
    /// When it expires, where the client of old said so.
    pub expire_timestamp_ms: Option<i64>,
    /// The topic's id; zero when the client did not know it.
    pub topic_id: Uuid,
    /// Where the commit lies in `__consumer_offsets`.
    pub log_offset: i64,
}

impl CommittedOffset {
    /// Whether it was committed for another topic of the same name.
    pub fn is_of_another_topic(&self, topic_id: Uuid) -> bool {
        self.topic_id != Uuid::ZERO && topic_id != Uuid::ZERO && self.topic_id != topic_id
    }
}

type TopicOffsets = BTreeMap<Str, BTreeMap<i32, CommittedOffset>>;

/// Offsets by group, topic and partition.
#[derive(Debug, Clone, Default)]
pub struct OffsetStore {
    committed: BTreeMap<Str, TopicOffsets>,
    /// By producer id: what becomes visible when its transaction commits.
    pending: BTreeMap<i64, BTreeMap<(Str, TopicIndex), CommittedOffset>>,
}

impl OffsetStore {
    /// The offset that a group has committed.
    pub fn get(&self, group: &Str, topic: &Str, partition: i32) -> Option<&CommittedOffset> {
        self.committed.get(group)?.get(topic)?.get(&partition)
    }

    /// All offsets of a group.
    pub fn of_group(&self, group: &Str) -> impl Iterator<Item = (&Str, &BTreeMap<i32, CommittedOffset>)> {
        self.committed.get(group).into_iter().flatten()
    }

    /// Topics and partitions that a group has committed offsets for, in open transactions too.
    pub fn indexes_of(&self, group: &Str) -> BTreeSet<TopicIndex> {
        let committed = self.of_group(group).flat_map(|(topic, partitions)| {
            partitions.keys().map(move |partition| (topic.clone(), *partition))
        });
        let pending = self.pending.values().flat_map(BTreeMap::keys);
        committed.chain(pending.filter(|(owner, _)| owner == group).map(|(_, index)| index.clone())).collect()
    }

    /// Whether a group has committed anything, in open transactions too.
    pub fn has_any(&self, group: &Str) -> bool {
        self.committed.contains_key(group)
            || self.pending.values().any(|offsets| offsets.keys().any(|(owner, _)| owner == group))
    }

    /// The groups that have committed offsets.
    pub fn groups(&self) -> impl Iterator<Item = &Str> {
        self.committed.keys()
    }

    /// Whether an open transaction has an offset for this partition.
    pub fn is_unstable(&self, group: &Str, topic: &Str, partition: i32) -> bool {
        !self.pending.is_empty() && {
            let key = (group.clone(), (topic.clone(), partition));
            self.pending.values().any(|offsets| offsets.contains_key(&key))
        }
    }

    /// Takes a commit from the log; with a producer id it is part of a transaction.
    pub fn put(&mut self, group: &Str, index: TopicIndex, offset: CommittedOffset, producer_id: Option<i64>) {
        match producer_id {
            Some(producer_id) => {
                self.pending.entry(producer_id).or_default().insert((group.clone(), index), offset);
            }
            None => {
                let (topic, partition) = index;
                let topics = self.committed.entry(group.clone()).or_default();
                topics.entry(topic).or_default().insert(partition, offset);
            }
        }
    }

    /// Takes a tombstone from the log.
    pub fn remove(&mut self, group: &Str, index: &TopicIndex) {
        if let Some(topics) = self.committed.get_mut(group) {
            if let Some(partitions) = topics.get_mut(&index.0) {
                partitions.remove(&index.1);
                if partitions.is_empty() {
                    topics.remove(&index.0);
                }
            }
            if topics.is_empty() {
                self.committed.remove(group);
            }
        }
        let key = (group.clone(), index.clone());
        self.pending.retain(|_, offsets| {
            offsets.remove(&key);
            !offsets.is_empty()
        });
    }

    /// Takes a transaction marker from the log; returns the groups whose offsets it made visible.
    pub fn end_transaction(&mut self, producer_id: i64, commit: bool) -> BTreeSet<Str> {
        let mut groups = BTreeSet::new();
        let offsets = self.pending.remove(&producer_id).unwrap_or_default();
        if !commit {
            return groups;
        }
        for ((group, (topic, partition)), offset) in offsets {
            let newest = self.get(&group, &topic, partition).map(|present| present.log_offset);
            if newest.is_none_or(|newest| newest < offset.log_offset) {
                self.put(&group, (topic, partition), offset, None);
                groups.insert(group);
            }
        }
        groups
    }

    /// The commits that belong to a topic, in open transactions too.
    pub fn of_topic(&self, topic: &Str, topic_id: Uuid) -> BTreeSet<(Str, i32)> {
        let mut found = BTreeSet::new();
        for (group, topics) in &self.committed {
            for (partition, offset) in topics.get(topic).into_iter().flatten() {
                if !offset.is_of_another_topic(topic_id) {
                    found.insert((group.clone(), *partition));
                }
            }
        }
        for ((group, (name, partition)), offset) in self.pending.values().flatten() {
            if name == topic && !offset.is_of_another_topic(topic_id) {
                found.insert((group.clone(), *partition));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offset(offset: i64, log_offset: i64) -> CommittedOffset {
        CommittedOffset {
            offset,
            leader_epoch: -1,
            metadata: Str::default(),
            commit_timestamp_ms: 0,
            expire_timestamp_ms: None,
            topic_id: Uuid::ZERO,
            log_offset,
        }
    }

    fn index(partition: i32) -> TopicIndex {
        ("t".into(), partition)
    }

    #[test]
    fn transactional_offsets_are_seen_after_commit_alone_and_the_newest_wins() {
        let (mut store, group, topic) = (OffsetStore::default(), Str::from("g"), Str::from("t"));
        store.put(&group, index(0), offset(1, 10), Some(7));
        store.put(&group, index(1), offset(1, 11), Some(7));
        store.put(&group, index(2), offset(5, 12), Some(8));
        assert!(store.is_unstable(&group, &topic, 0) && store.get(&group, &topic, 0).is_none());
        store.put(&group, index(1), offset(9, 13), None);
        assert_eq!(store.end_transaction(7, true), BTreeSet::from([group.clone()]));
        assert_eq!(store.get(&group, &topic, 0).map(|offset| offset.offset), Some(1));
        assert_eq!(store.get(&group, &topic, 1).map(|offset| offset.offset), Some(9), "committed later");
        assert!(store.end_transaction(8, false).is_empty());
        assert!(store.get(&group, &topic, 2).is_none() && !store.is_unstable(&group, &topic, 2));
    }

    #[test]
    fn a_tombstone_removes_pending_offsets_too() {
        let (mut store, group, topic) = (OffsetStore::default(), Str::from("g"), Str::from("t"));
        store.put(&group, index(0), offset(1, 1), None);
        store.put(&group, index(0), offset(2, 2), Some(3));
        store.remove(&group, &index(0));
        assert!(store.groups().next().is_none() && !store.is_unstable(&group, &topic, 0));
        store.end_transaction(3, true);
        assert!(store.groups().next().is_none());
    }
}
