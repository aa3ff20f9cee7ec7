//! Batches of idempotent producers that were refused for a reason that passes: too few replicas in sync, or a full disk.
//!
//! A producer has several batches on their way. Where the first is refused and the reason is over before the next arrives, that one
//! is out of order by no fault of its producer; or it is taken for the first ever, and the refused one can never follow.
//! Clients recover from OUT_OF_ORDER_SEQUENCE_NUMBER with a new epoch. librdkafka then also sends anew, under new sequences, what it
//! has under way to other partitions: if these had written it already, it is there twice. So what comes after a refused
//! batch is refused for the same reason until that one comes again.

use std::collections::HashMap;

use ottla_log::TimestampMs;
use ottla_wire::batch::BatchHeader;

use super::ProduceError;

/// A producer that does not come back with the batch for so long does not want it written any more.
const PATIENCE_MS: i64 = 30_000;
/// Producers remembered at most; any further have Kafka's answer.
const MOST: usize = 1000;

/// What was refused, by producer id: the first of each.
#[derive(Debug, Default)]
pub(super) struct Refusals(HashMap<i64, Refused>);

#[derive(Debug, Clone, Copy)]
struct Refused {
    epoch: i16,
    sequence: i32,
    leader_epoch: i32,
    why: Why,
    at: TimestampMs,
}

#[derive(Debug, Clone, Copy)]
enum Why {
    NotEnoughReplicas { isr: usize, min: usize },
    NoSpace { reserve: i64 },
}

impl Why {
    fn of(error: &ProduceError) -> Option<Self> {
        match error {
            ProduceError::NotEnoughReplicas { isr, min } => {
                Some(Self::NotEnoughReplicas { isr: *isr, min: *min })
            }
            ProduceError::NoSpace { reserve } => Some(Self::NoSpace { reserve: *reserve }),
            error if error.is_no_space() => Some(Self::NoSpace { reserve: 0 }),
            _ => None,
        }
    }

    fn error(self) -> ProduceError {
        match self {
            Self::NotEnoughReplicas { isr, min } => ProduceError::NotEnoughReplicas { isr, min },
            Self::NoSpace { reserve } => ProduceError::NoSpace { reserve },
        }
    }
}

impl Refusals {
    /// # Errors
    /// An earlier batch of the producer was refused under this leader epoch, for this reason, and has not come again.
    pub(super) fn check(
        &self,
        batch: &BatchHeader,
        leader_epoch: i32,
        now: TimestampMs,
    ) -> Result<(), ProduceError> {
        let Some(refused) = self.0.get(&batch.producer_id) else { return Ok(()) };
        let counts = refused.leader_epoch == leader_epoch && !refused.is_over(now);
        if counts && refused.comes_before(batch) { Err(refused.why.error()) } else { Ok(()) }
    }

    /// Takes note of what became of a batch.
    pub(super) fn note<T>(
        &mut self,
        batch: &BatchHeader,
        outcome: &Result<T, ProduceError>,
        leader_epoch: i32,
        now: TimestampMs,
    ) {
        let producer = batch.producer_id;
        match outcome {
            _ if producer < 0 => {}
            Ok(_) => self.0.retain(|id, refused| *id != producer || !refused.is_done_with(batch)),
            Err(error) => {
                let Some(why) = Why::of(error) else { return };
                let (epoch, sequence) = (batch.producer_epoch, batch.base_sequence);
                self.remember(batch, Refused { epoch, sequence, leader_epoch, why, at: now });
            }
        }
    }

    fn remember(&mut self, batch: &BatchHeader, refused: Refused) {
        if self.0.len() >= MOST {
            self.0.retain(|_, other| !other.is_over(refused.at));
        }
        let has_room = self.0.len() < MOST;
        match self.0.get_mut(&batch.producer_id) {
            Some(first) if first.leader_epoch == refused.leader_epoch && first.comes_before(batch) => {
                first.at = refused.at;
            }
            Some(other) => *other = refused,
            None if has_room => drop(self.0.insert(batch.producer_id, refused)),
            None => {}
        }
    }

    /// Whether nothing is remembered, which is nearly always so.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Refused {
    /// Sequences begin anew after the largest.
    fn comes_before(&self, batch: &BatchHeader) -> bool {
        let ahead = batch.base_sequence.wrapping_sub(self.sequence) & i32::MAX;
        self.epoch == batch.producer_epoch && (1..=i32::MAX / 2).contains(&ahead)
    }

    /// It was in the batch, or its producer has begun anew.
    fn is_done_with(&self, written: &BatchHeader) -> bool {
        let at = self.sequence.wrapping_sub(written.base_sequence) & i32::MAX;
        self.epoch != written.producer_epoch || at <= written.last_offset_delta
    }

    fn is_over(&self, now: TimestampMs) -> bool {
        now.0.saturating_sub(self.at.0) >= PATIENCE_MS
    }
}

#[cfg(test)]
mod tests {
    use ottla_wire::ErrorCode;
    use ottla_wire::batch::{BatchBuilder, Record};

    use super::*;

    const NOW: TimestampMs = TimestampMs(1_000);
    const LED: i32 = 3;

    fn batch(epoch: i16, sequence: i32) -> BatchHeader {
        let mut batch = BatchBuilder::new(0).producer(7, epoch, sequence);
        batch.push(Record::default());
        BatchHeader::parse(&batch.build()).expect("it was just built")
    }

    fn refused(sequence: i32) -> Refusals {
        let mut refusals = Refusals::default();
        let few: Result<(), _> = Err(ProduceError::NotEnoughReplicas { isr: 1, min: 2 });
        refusals.note(&batch(0, sequence), &few, LED, NOW);
        refusals
    }

    #[test]
    fn what_follows_a_refused_batch_is_refused_until_that_one_is_written() {
        let mut refusals = refused(10);
        let refusal = refusals.check(&batch(0, 15), LED, NOW).expect_err("10 is missing");
        assert_eq!(refusal.code(), ErrorCode::NotEnoughReplicas);
        for at_most in [5, 10] {
            assert!(refusals.check(&batch(0, at_most), LED, NOW).is_ok());
        }
        refusals.note(&batch(0, 15), &Err::<(), _>(refusal), LED, NOW);
        refusals.note(&batch(0, 5), &Ok(()), LED, NOW);
        assert!(refusals.check(&batch(0, 11), LED, NOW).is_err(), "10 has still not come again");
        refusals.note(&batch(0, 10), &Ok(()), LED, NOW);
        assert!(refusals.is_empty());
    }

    #[test]
    fn a_new_epoch_of_either_or_patience_ends_it() {
        let mut refusals = refused(10);
        assert!(refusals.check(&batch(0, 15), LED, TimestampMs(NOW.0 + PATIENCE_MS)).is_ok());
        assert!(refusals.check(&batch(0, 15), LED + 2, NOW).is_ok(), "another leader may have written it");
        assert!(refusals.check(&batch(1, 0), LED, NOW).is_ok());
        refusals.note(&batch(1, 0), &Ok(()), LED, NOW);
        assert!(refusals.is_empty());
    }

    #[test]
    fn after_the_largest_sequence_comes_the_first() {
        assert!(refused(i32::MAX - 1).check(&batch(0, 3), LED, NOW).is_err());
        assert!(refused(3).check(&batch(0, i32::MAX - 1), LED, NOW).is_ok());
    }

    #[test]
    fn other_refusals_and_other_producers_are_not_remembered() {
        let mut refusals = Refusals::default();
        refusals.note(&batch(0, 1), &Err::<(), _>(ProduceError::NotLeader), LED, NOW);
        let nobody = BatchHeader { producer_id: -1, ..batch(-1, -1) };
        refusals.note(&nobody, &Err::<(), _>(ProduceError::NoSpace { reserve: 1 }), LED, NOW);
        assert!(refusals.is_empty());
        assert!(refused(1).check(&BatchHeader { producer_id: 8, ..batch(0, 9) }, LED, NOW).is_ok());
    }
}
