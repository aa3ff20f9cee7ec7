//! Reading whole batches as regions of segment files, and finding offsets by time.

use super::tail::Place;
use super::{AbortedTxn, Log, Slice, TimestampOffset};
use crate::compression;
use crate::error::{LogError, ReadError};
use crate::segment::{BatchAt, Segment};
use crate::types::{LeaderEpoch, Offset, TimestampMs};
use bytes::Bytes;
use ottla_wire::Records;
use ottla_wire::batch::{Batch, RecordIter};

impl Log {
    /// Whole batches from the one that contains `offset`, all of them below `up_to`, at most `max_bytes`.
    ///
    /// With `min_one` the first batch is returned however large it is. Nothing to read is an empty slice, not an
    /// error; that includes `offset` = log end. A slice never spans segments.
    ///
    /// # Errors
    /// [`ReadError::OffsetOutOfRange`] below the log's start and above its end.
    pub fn read(
        &self,
        offset: Offset,
        max_bytes: usize,
        up_to: Offset,
        min_one: bool,
    ) -> Result<Slice, ReadError> {
        if offset < self.start || offset > self.end {
            return Err(ReadError::OffsetOutOfRange { offset, start: self.start, end: self.end });
        }
        let up_to = up_to.min(self.end);
        if offset >= up_to {
            return Ok(nothing(offset));
        }
        let Some((segment, first)) = self.locate(offset)? else { return Ok(nothing(offset)) };
        if first.last_offset >= up_to {
            return Ok(nothing(offset));
        }
        let (end, next_offset) = self.extent(segment, &first, max_bytes, up_to, min_one)?;
        if end == first.position {
            return Ok(nothing(offset));
        }
        let len = usize::try_from(end - first.position).unwrap_or(usize::MAX);
        let records = segment.records(first.position, len)?;
        Ok(Slice { records, first_offset: first.base_offset, next_offset })
    }

    /// The batch that holds `offset` or the first one above it, and its segment.
    fn locate(&self, offset: Offset) -> Result<Option<(&Segment, Place)>, LogError> {
        if let Some(place) = self.tail.find(offset) {
            return Ok(Some((self.active()?, place)));
        }
        let Some(floor) = self.floor(offset) else { return Ok(None) };
        for (base, segment) in self.segments.range(floor..) {
            if let Some(place) = self.places.holding(*base, offset) {
                return Ok(Some((segment, place)));
            }
            if let Some(batch) = segment.find(offset)? {
                return Ok(Some((segment, Place::from(&batch))));
            }
        }
        Ok(None)
    }

    /// Position and offset after the last batch to be read.
    fn extent(
        &self,
        segment: &Segment,
        first: &Place,
        max_bytes: usize,
        up_to: Offset,
        min_one: bool,
    ) -> Result<(u64, Offset), LogError> {
        let (bound, next_offset) = self.bound(segment, up_to)?;
        let limit = first.position.saturating_add(u64::try_from(max_bytes).unwrap_or(u64::MAX));
        if bound <= limit {
            return Ok((bound, next_offset));
        }
        if limit < first.end {
            let end = if min_one { first.end } else { first.position };
            return Ok((end, first.last_offset.plus(1)));
        }
        self.last_whole(segment, limit)
    }

    /// Where the batches below `up_to` end in this segment.
    fn bound(&self, segment: &Segment, up_to: Offset) -> Result<(u64, Offset), LogError> {
        let next_base = self.end_of(segment);
        if up_to >= next_base {
            return Ok((segment.size(), next_base));
        }
        if let Some(batch) = self.tail.find(up_to).filter(|_| next_base == self.end) {
            return Ok((batch.position, batch.base_offset));
        }
        let beyond = segment.find(up_to)?;
        Ok(beyond
            .map_or((segment.size(), next_base), |batch| (batch.position, Offset(batch.header.base_offset))))
    }

    /// Base offset of what follows the segment.
    fn end_of(&self, segment: &Segment) -> Offset {
        self.segments.range(segment.base().plus(1)..).next().map_or(self.end, |(base, _)| *base)
    }

    /// Where the batches end that end by `limit`, which is within the segment.
    fn last_whole(&self, segment: &Segment, limit: u64) -> Result<(u64, Offset), LogError> {
        let base = segment.base();
        let active = self.segments.last_key_value().is_some_and(|(active, _)| *active == base);
        let in_tail = if active { self.tail.across(limit) } else { None };
        let next = match in_tail.or_else(|| self.places.across(base, limit)) {
            Some(known) => Some(known),
            None => segment.view()?.across(limit)?.as_ref().map(Place::from),
        };
        Ok(next.map_or((segment.size(), self.end_of(segment)), |next| (next.position, next.base_offset)))
    }

    /// First record with this timestamp or a later one, at or above the log's start.
    ///
    /// # Errors
    /// When files cannot be read.
    pub fn offset_for_timestamp(&self, at: TimestampMs) -> Result<Option<TimestampOffset>, LogError> {
        for segment in self.segments.values() {
            if segment.max_timestamp()?.timestamp < at {
                continue;
            }
            let mut from = self.start;
            while let Some(batch) = segment.find_time(at, from)? {
                if let Some(found) = self.find_record(segment, &batch, |timestamp| timestamp >= at)? {
                    return Ok(Some(found));
                }
                from = Offset(batch.header.next_offset());
            }
        }
        Ok(None)
    }

    /// The first record that has the largest timestamp of the log, be it none; `None` if the log is empty.
    ///
    /// # Errors
    /// When files cannot be read.
    pub fn offset_of_max_timestamp(&self) -> Result<Option<TimestampOffset>, LogError> {
        let mut best: Option<(TimestampMs, &Segment)> = None;
        for segment in self.segments.values() {
            let max = segment.max_timestamp()?.timestamp;
            if segment.size() > 0 && best.is_none_or(|(so_far, _)| max > so_far) {
                best = Some((max, segment));
            }
        }
        let Some((max, segment)) = best else { return Ok(None) };
        let Some(batch) = segment.find_time(max, self.start)? else { return Ok(None) };
        self.find_record(segment, &batch, |timestamp| timestamp >= max)
    }

    /// The first record of a batch, not below the log's start, whose timestamp fits.
    fn find_record(
        &self,
        segment: &Segment,
        batch: &BatchAt,
        fits: impl Fn(TimestampMs) -> bool,
    ) -> Result<Option<TimestampOffset>, LogError> {
        let raw = segment.read_batch(batch)?;
        let corrupt = |reason: String| LogError::Corrupt { path: self.dir.clone(), reason };
        for record in records(&raw, self.config.max_decompressed_bytes).map_err(corrupt)? {
            let record = record.map_err(|reason| corrupt(reason.to_string()))?;
            let timestamp = TimestampMs(record.timestamp);
            if fits(timestamp) && record.offset >= self.start.0 {
                let leader_epoch = LeaderEpoch(batch.header.partition_leader_epoch);
                return Ok(Some(TimestampOffset { timestamp, offset: Offset(record.offset), leader_epoch }));
            }
        }
        Ok(None)
    }

    /// Aborted transactions with records in `[from, up_to)`.
    ///
    /// # Errors
    /// When files cannot be read.
    pub fn aborted_transactions(&self, from: Offset, up_to: Offset) -> Result<Vec<AbortedTxn>, LogError> {
        let mut found = Vec::new();
        let Some(floor) = self.floor(from) else { return Ok(found) };
        // A transaction is listed where its marker is, which may be in a later segment.
        for segment in self.segments.range(floor..).map(|(_, segment)| segment) {
            for txn in segment.txn_index().read()? {
                if txn.last_offset >= from && txn.first_offset < up_to {
                    found.push(txn);
                }
                if txn.last_stable_offset >= up_to {
                    return Ok(found);
                }
            }
        }
        Ok(found)
    }
}

fn nothing(offset: Offset) -> Slice {
    Slice { records: Records::Bytes(Bytes::new()), first_offset: offset, next_offset: offset }
}

/// The records of one whole batch, decompressed.
fn records(raw: &Bytes, max: usize) -> Result<RecordIter, String> {
    let batch = Batch::parse(raw).map_err(|reason| reason.to_string())?;
    let codec = batch.header.compression().map_err(|reason| reason.to_string())?;
    let body =
        compression::decompress_bounded(codec, &batch.body(), max).map_err(|reason| reason.to_string())?;
    Ok(RecordIter::new(&batch.header, body))
}
