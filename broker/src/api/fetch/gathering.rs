//! Fewer and fuller answers to followers under load.
//!
//! A follower that has just taken what one partition had, and would be sent the little that another one has meanwhile, is
//! answered a moment later, with what comes until then. Who produces to one partition alone does not wait for that, nor does
//! anybody when it is quiet; and what the follower has taken counts when it asks, not when it is answered.

use std::time::Duration;

use ottla_wire::messages::fetch_response::PartitionData;
use tokio::time::Instant;

use super::reading::Reading;
use super::replica::has_records;
use crate::fetch_session::{PartitionKey, Wanted};

/// From a follower's question to its answer, more or less: timers have ticks of a millisecond.
const MOMENT: Duration = Duration::from_millis(1);
/// With so much an answer is full enough, in bytes.
const FULL: usize = 64 * 1024;

/// A follower's fetch that may be answered a moment later.
#[derive(Debug)]
pub(super) struct Gathering {
    until: Instant,
    /// The partitions of which it tells positions: it has taken what it was sent of them.
    taken: Vec<PartitionKey>,
}

impl Gathering {
    /// For a fetch that comes now and names these; its session asks for others, too.
    pub(super) fn after(named: &[Wanted], now: Instant) -> Option<Self> {
        let taken: Vec<_> = named.iter().map(|wanted| wanted.key.clone()).collect();
        (!taken.is_empty()).then(|| Self { until: now + MOMENT, taken })
    }

    /// Until when this answer had better wait, if at all.
    pub(super) fn until(&self, reading: &Reading, now: Instant) -> Option<Instant> {
        let is_of_another =
            |(key, data): &(PartitionKey, PartitionData)| has_records(data) && !self.taken.contains(key);
        let waits = now < self.until && !reading.urgent && reading.bytes < FULL;
        (waits && reading.answers.iter().any(is_of_another)).then_some(self.until)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ottla_wire::{Records, Str, Uuid};

    use super::*;

    fn key(partition: i32) -> PartitionKey {
        PartitionKey { topic: Str::default(), topic_id: Uuid::from_bytes([7; 16]), partition }
    }

    fn names(partition: i32) -> Wanted {
        let (offset, log_start, max_bytes) = (0, 0, 1 << 20);
        Wanted { key: key(partition), leader_epoch: 0, offset, last_fetched_epoch: 0, log_start, max_bytes }
    }

    /// So many bytes of each of these partitions.
    fn found(rows: &[(i32, usize)]) -> Reading {
        let answer = |&(partition, bytes): &(i32, usize)| {
            let records = Some(Records::Bytes(Bytes::from(vec![0; bytes])));
            (key(partition), PartitionData { partition_index: partition, records, ..Default::default() })
        };
        let mut reading = Reading::default();
        reading.answers.extend(rows.iter().map(answer));
        reading.bytes = rows.iter().map(|(_, bytes)| bytes).sum();
        reading
    }

    #[test]
    fn what_another_partition_has_waits_a_moment() {
        let now = Instant::now();
        let gathering = Gathering::after(&[names(1)], now).unwrap();
        assert_eq!(gathering.until(&found(&[(1, 0), (2, 100)]), now), Some(now + MOMENT));
        assert_eq!(gathering.until(&found(&[(1, 100), (2, 100)]), now), Some(now + MOMENT));
        assert_eq!(gathering.until(&found(&[(2, 100)]), now + MOMENT), None, "not for longer");
    }

    #[test]
    fn more_of_the_same_partition_goes_at_once() {
        let now = Instant::now();
        let gathering = Gathering::after(&[names(1), names(3)], now).unwrap();
        assert_eq!(gathering.until(&found(&[(1, 100), (2, 0), (3, 100)]), now), None);
    }

    #[test]
    fn a_follower_that_has_taken_nothing_does_not_wait() {
        assert!(Gathering::after(&[], Instant::now()).is_none());
    }

    #[test]
    fn full_answers_and_those_that_must_be_known_go_at_once() {
        let now = Instant::now();
        let gathering = Gathering::after(&[names(1)], now).unwrap();
        assert_eq!(gathering.until(&found(&[(2, FULL)]), now), None);
        let mut refused = found(&[(2, 100)]);
        refused.urgent = true;
        assert_eq!(gathering.until(&refused, now), None);
    }
}
