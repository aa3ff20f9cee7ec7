//! Reads the log of the load, from where it began to its end, by hand and not through a group.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;

use super::Load;
use crate::client::{Complaints, assign, watermarks};
use crate::judge::Found;
use crate::record;

/// What is to be read.
pub(super) struct Audit {
    reader: BaseConsumer<Complaints>,
    /// For each partition, the next offset to read and the end.
    left: Vec<(i64, i64)>,
    /// Offsets of the load that the log began after.
    expired: u64,
}

impl Audit {
    /// All that lies between `bases` and the present ends.
    pub(super) fn of(load: &Load, reader: BaseConsumer<Complaints>, bases: &[i64]) -> anyhow::Result<Self> {
        let end = Instant::now() + load.patience();
        let marks = watermarks(&reader, &load.topic, load.partitions, end)?;
        let expired = marks
            .iter()
            .zip(bases)
            .map(|((start, _), base)| start.saturating_sub(*base).max(0).unsigned_abs())
            .sum();
        let left =
            marks.into_iter().zip(bases).map(|((start, next), base)| (start.max(*base), next)).collect();
        Ok(Self { reader, left, expired })
    }

    /// Reads it all; how many offsets of the load the log has no more.
    ///
    /// # Errors
    ///
    /// Where the end is not reached within the load's patience.
    pub(super) fn read(mut self, load: &Load, mut found: impl FnMut(Found)) -> anyhow::Result<u64> {
        let from = (0..).zip(&self.left).map(|(partition, (next, _))| (partition, *next));
        assign(&self.reader, &load.topic, from)?;
        let end = Instant::now() + load.patience();
        while self.left.iter().any(|(next, end)| next < end) {
            if Instant::now() > end {
                anyhow::bail!("the log could not be read to its end: {}", self.rest());
            }
            match self.reader.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    let (partition, offset) = (message.partition(), message.offset());
                    let read = message.payload().and_then(record::read);
                    if self.advance(partition, offset + 1) {
                        let whole = read.is_some_and(|(_, whole)| whole);
                        found(Found { partition, offset, id: read.map(|(id, _)| id), whole });
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    // The last offsets may be records that clients are not shown.
                    let end = self.left.get(usize::try_from(partition)?).map_or(0, |(_, end)| *end);
                    if self.reader.position()?.find_partition(&load.topic, partition).is_some() {
                        self.advance(partition, end);
                    }
                }
                Some(Err(_)) | None => {}
            }
        }
        Ok(self.expired)
    }

    /// Whether the partition had not come so far yet, and the offset lies within what is to be read.
    fn advance(&mut self, partition: i32, next: i64) -> bool {
        let slot = usize::try_from(partition).ok().and_then(|partition| self.left.get_mut(partition));
        match slot {
            Some((at, end)) if *at < next && next <= *end => {
                *at = next;
                true
            }
            _ => false,
        }
    }

    fn rest(&self) -> String {
        let rest = (0..).zip(&self.left).filter(|(_, (next, end))| next < end);
        let rest = rest
            .map(|(partition, (next, end)): (i32, _)| format!("partition {partition} at {next} of {end}"));
        rest.collect::<Vec<_>>().join(", ")
    }
}
