//! What one consumer group was given. 5 bytes an offset.

use super::GroupCounts;
use crate::record::RecordId;

/// Offsets further than this beyond the last one known are not kept: a broker that names absurd offsets must not take our
/// memory. They count as vanished.
const LEAP: usize = 1 << 26;

/// What one group was given, by partition and offset.
#[derive(Debug)]
pub struct Deliveries {
    run: u64,
    /// The first offset of the load and what was given from there on, by partition.
    partitions: Vec<(i64, Vec<Given>)>,
    counts: GroupCounts,
    matched: u64,
}

/// A fingerprint of the record given at an offset; 0 where none was.
type Given = u32;

impl Deliveries {
    /// `bases`: the end of each partition before the load began.
    #[must_use]
    pub fn new(group: String, run: u64, bases: &[i64]) -> Self {
        Self {
            run,
            partitions: bases.iter().map(|base| (*base, Vec::new())).collect(),
            counts: GroupCounts { group, ..GroupCounts::default() },
            matched: 0,
        }
    }

    /// A consumer of the group was given a record. Whether this offset is new to the group.
    pub fn given(&mut self, partition: i32, offset: i64, id: RecordId) -> bool {
        if id.run != self.run {
            return false;
        }
        let fingerprint = fingerprint(id);
        let Some(slot) = self.slot(partition, offset) else {
            self.counts.delivered += 1; // never matched: vanished
            return true;
        };
        let before = std::mem::replace(slot, fingerprint);
        if before == 0 {
            self.counts.delivered += 1;
        } else {
            self.counts.redelivered += 1;
            self.counts.changed += u64::from(before != fingerprint);
        }
        before == 0
    }

    /// Distinct offsets given so far.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.counts.delivered
    }

    /// The log has this record there, or one of somebody else.
    pub(super) fn found(&mut self, partition: i32, offset: i64, id: Option<RecordId>) {
        let given = self.slot(partition, offset).map_or(0, |slot| *slot);
        match (given, id.map(fingerprint)) {
            (0, None) => {}
            (0, Some(_)) => self.counts.missed += 1,
            (given, found) => {
                self.matched += 1;
                self.counts.changed += u64::from(found != Some(given));
            }
        }
    }

    pub(super) fn counts(mut self) -> GroupCounts {
        self.counts.vanished = self.counts.delivered.saturating_sub(self.matched);
        self.counts
    }

    fn slot(&mut self, partition: i32, offset: i64) -> Option<&mut Given> {
        let (base, given) = self.partitions.get_mut(usize::try_from(partition).ok()?)?;
        let at = usize::try_from(offset.checked_sub(*base)?).ok()?;
        if at > given.len() + LEAP {
            return None;
        }
        if at >= given.len() {
            given.resize(at + 1, 0);
        }
        given.get_mut(at)
    }
}

fn fingerprint(id: RecordId) -> Given {
    let mixed = (id.number ^ u64::from(id.producer).rotate_left(40)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    u32::try_from(mixed >> 32).unwrap_or(0) | 1
}
