//! Rebuilding a shard from its log.

use super::{Commands, Shard};
use crate::group::classic::{ClassicGroup, Now};
use crate::group::record::GroupRecord;

impl Shard {
    /// Takes a record from the log. A record may refer to what was compacted away.
    pub fn replay(&mut self, record: GroupRecord, log_offset: i64, producer_id: Option<i64>, now: Now) {
        match record {
            GroupRecord::Offset { group, index, offset: Some(mut offset) } => {
                offset.log_offset = log_offset;
                // A group that never had members has no record of its own.
                self.groups.entry(group.clone()).or_insert_with(|| ClassicGroup::new(group.clone(), now));
                self.offsets.put(&group, index, offset, producer_id);
            }
            GroupRecord::Offset { group, index, offset: None } => self.offsets.remove(&group, &index),
            GroupRecord::Group { group, snapshot: Some(snapshot) } => {
                let loaded = ClassicGroup::from_snapshot(group.clone(), snapshot);
                self.groups.insert(group, loaded);
            }
            GroupRecord::Group { group, snapshot: None } => {
                self.groups.remove(&group);
            }
            GroupRecord::Other => {}
        }
    }

    /// Takes a transaction marker from the log.
    pub fn replay_marker(&mut self, producer_id: i64, commit: bool, now: Now) {
        for group in self.offsets.end_transaction(producer_id, commit) {
            self.groups.entry(group.clone()).or_insert_with(|| ClassicGroup::new(group, now));
        }
    }

    /// The whole log has been replayed: sessions begin.
    pub fn on_loaded(&mut self, now: Now, out: &mut Commands) {
        // Offsets may have outlived the record of their group.
        for id in self.offsets.groups().cloned().collect::<Vec<_>>() {
            self.groups.entry(id.clone()).or_insert_with(|| ClassicGroup::new(id, now));
        }
        // A group without a record was there for its offsets alone.
        let offsets = &self.offsets;
        self.groups.retain(|id, group| group.is_persisted() || offsets.has_any(id));
        let limits = self.config.limits;
        for id in self.groups.keys().cloned().collect::<Vec<_>>() {
            self.with_group(&id, now, out, |group, effects| group.on_loaded(&limits, now, effects));
        }
    }
}
