//! Appending: as the leader, who decides what is written, and as a follower, who writes what the leader decided.

use super::{Appended, Log, Origin, no_segment};
use crate::error::{AppendError, LogError};
use crate::producer::{BatchMeta, Checked, Marker};
use crate::segment::BatchInfo;
use crate::types::{LeaderEpoch, Offset, TimestampMs};
use crate::validate::{self, Terms, Valid};
use bytes::Bytes;
use ottla_wire::batch::{Batch, BatchError, BatchHeader, HEADER_LEN, TimestampType, batches};
use std::io::IoSlice;

impl Log {
    /// Validates one batch, gives it the next offsets and `epoch`, and writes it.
    ///
    /// A batch that was appended before (same producer, epoch and sequences) is answered with its first appearance
    /// and not written again.
    ///
    /// # Errors
    /// See [`AppendError`]; nothing was written then. After [`LogError::NoSpace`] later appends may succeed, after
    /// any other [`LogError`] the log is poisoned.
    #[expect(clippy::needless_pass_by_value, reason = "callers give away their slice of a frame")]
    pub fn append_as_leader(
        &mut self,
        records: Bytes,
        epoch: LeaderEpoch,
        origin: Origin,
        now: TimestampMs,
    ) -> Result<Appended, AppendError> {
        self.check_usable()?;
        let terms = Terms { config: &self.config, base_offset: self.end, leader_epoch: epoch, origin, now };
        let valid = validate::validate(&records, &terms)?;
        self.check_segment_size(valid.header.size_in_bytes())?;
        let marker = marker_of(&valid.header, || valid.body.clone());
        if let Checked::Duplicate(first) = self.producers.check(&valid.header, marker, origin)? {
            return Ok(self.repeated(&valid.header, first));
        }
        let info = info(&valid.header);
        self.prepare_for(&info, info.last_offset, info.max_timestamp, valid.header.size_in_bytes(), now)?;
        self.write(&valid, &info)?;
        self.note_epoch(&valid.header);
        self.take_in(&valid.header, marker)?;
        Ok(self.appended(&valid.header))
    }

    /// Writes batches as the leader sent them. An incomplete batch at the end is left out; `None` if nothing remains.
    ///
    /// # Errors
    /// As for a leader, but only for damage and for offsets that do not follow the log's end.
    #[expect(clippy::needless_pass_by_value, reason = "callers give away their slice of a frame")]
    pub fn append_as_follower(
        &mut self,
        records: Bytes,
        now: TimestampMs,
    ) -> Result<Option<Appended>, AppendError> {
        self.check_usable()?;
        let whole = self.check_replicated(&records)?;
        let mut appended: Option<Appended> = None;
        let mut rest = &whole[..];
        while let Some(first) = rest.first() {
            let count = self.prepare_for_some(first, rest, now)?;
            let (now_written, later) = rest.split_at_checked(count).unwrap_or((rest, &[]));
            self.write_replicated(now_written)?;
            rest = later;
        }
        for batch in &whole {
            let one = self.appended(&batch.header);
            appended = Some(match appended {
                None => one,
                Some(so_far) => Appended {
                    last_offset: one.last_offset,
                    max_timestamp: so_far.max_timestamp.max(one.max_timestamp),
                    size: so_far.size + one.size,
                    record_count: so_far.record_count.saturating_add(one.record_count),
                    leader_epoch: one.leader_epoch,
                    ..so_far
                },
            });
        }
        Ok(appended)
    }

    fn check_segment_size(&self, size: usize) -> Result<(), AppendError> {
        let max = usize::try_from(self.config.segment_bytes).unwrap_or(usize::MAX);
        if size > max { Err(AppendError::LargerThanSegment { size, max }) } else { Ok(()) }
    }

    /// In memory: a recovery has it from the batch until the segment is finished, and then the checkpoint is written.
    fn note_epoch(&mut self, header: &BatchHeader) {
        self.epochs.note(LeaderEpoch(header.partition_leader_epoch), Offset(header.base_offset));
    }

    fn write(&mut self, valid: &Valid, info: &BatchInfo) -> Result<(), LogError> {
        let head: [u8; HEADER_LEN] = valid.header.to_bytes();
        self.write_parts(&[IoSlice::new(&head), IoSlice::new(&valid.body)], std::slice::from_ref(info))
    }

    fn write_parts(&mut self, parts: &[IoSlice<'_>], infos: &[BatchInfo]) -> Result<(), LogError> {
        let dir = &self.dir;
        let active = self.segments.values_mut().next_back().ok_or_else(|| no_segment(dir))?;
        let mut position = active.size();
        let written = active.append(parts, infos, &self.config);
        self.poison_on_error(written)?;
        for info in infos {
            self.tail.push(info, position);
            position += u64::try_from(info.size).unwrap_or_default();
            self.end = info.last_offset.plus(1);
        }
        Ok(())
    }

    /// Reflects a written batch in the producers' state and the index of aborted transactions.
    fn take_in(&mut self, header: &BatchHeader, marker: Option<Marker>) -> Result<(), LogError> {
        let completed = self.producers.apply(header, marker);
        let Some(txn) = completed.filter(|txn| txn.aborted) else { return Ok(()) };
        let entry = self.producers.aborted(&txn);
        let indexed = self.active_mut()?.txn_index_mut().push(&entry);
        // The marker is in the log: an index that lacks it would show aborted records as committed.
        if let Err(error) = &indexed {
            self.poisoned = Some(error.to_string());
        }
        indexed
    }

    fn appended(&self, header: &BatchHeader) -> Appended {
        let append_time = header.timestamp_type() == TimestampType::LogAppendTime;
        Appended {
            base_offset: Offset(header.base_offset),
            last_offset: Offset(header.last_offset()),
            max_timestamp: TimestampMs(header.max_timestamp),
            log_append_time: if append_time { TimestampMs(header.max_timestamp) } else { TimestampMs::NONE },
            log_start_offset: self.start,
            leader_epoch: LeaderEpoch(header.partition_leader_epoch),
            duplicate: false,
            size: header.size_in_bytes(),
            record_count: header.record_count,
        }
    }

    /// The answer to a batch that is in the log already.
    fn repeated(&self, header: &BatchHeader, first: BatchMeta) -> Appended {
        let base_offset = Offset(first.first_offset());
        Appended {
            base_offset,
            last_offset: Offset(first.last_offset),
            max_timestamp: TimestampMs(first.timestamp),
            // Whatever the type of its timestamps, as Kafka says it.
            log_append_time: TimestampMs(first.timestamp),
            log_start_offset: self.start,
            leader_epoch: self.epochs.at(base_offset).unwrap_or(LeaderEpoch(header.partition_leader_epoch)),
            duplicate: true,
            size: 0,
            record_count: header.record_count,
        }
    }

    /// Whole, undamaged batches whose offsets follow the log's end and each other.
    fn check_replicated(&self, records: &Bytes) -> Result<Vec<Batch>, AppendError> {
        let mut whole = Vec::new();
        let mut end = self.end;
        for batch in batches(records) {
            let batch = match batch {
                Ok(batch) => batch,
                Err(BatchError::Truncated { .. }) => break,
                Err(BatchError::UnsupportedMagic(magic)) => {
                    return Err(AppendError::UnsupportedFormat(magic));
                }
                Err(reason) => return Err(AppendError::Corrupt(reason.to_string())),
            };
            batch.verify_crc().map_err(|reason| AppendError::Corrupt(reason.to_string()))?;
            let offset = Offset(batch.header.base_offset);
            if offset < end || batch.header.last_offset_delta < 0 {
                return Err(AppendError::OffsetsOutOfOrder { offset, log_end: end });
            }
            end = Offset(batch.header.next_offset());
            whole.push(batch);
        }
        Ok(whole)
    }

    /// Rolls if need be; returns how many of the batches go into the active segment together.
    fn prepare_for_some(
        &mut self,
        first: &Batch,
        rest: &[Batch],
        now: TimestampMs,
    ) -> Result<usize, AppendError> {
        let size: usize = rest.iter().map(|batch| batch.bytes.len()).sum();
        let last = rest.last().unwrap_or(first);
        let newest = rest.iter().map(|batch| batch.header.max_timestamp).max().unwrap_or_default();
        let limit = usize::try_from(self.config.segment_bytes).unwrap_or(usize::MAX);
        let together =
            size <= limit && last.header.last_offset() - first.header.base_offset <= i64::from(i32::MAX);
        let info = info(&first.header);
        if together {
            self.prepare_for(&info, Offset(last.header.last_offset()), TimestampMs(newest), size, now)?;
            return Ok(rest.len());
        }
        self.prepare_for(&info, info.last_offset, info.max_timestamp, info.size, now)?;
        Ok(1)
    }

    fn write_replicated(&mut self, written: &[Batch]) -> Result<(), LogError> {
        // The system takes at most 1024 parts at once; a fetch rarely brings more batches.
        for written in written.chunks(1024) {
            let infos: Vec<_> = written.iter().map(|batch| info(&batch.header)).collect();
            let parts: Vec<_> = written.iter().map(|batch| IoSlice::new(&batch.bytes)).collect();
            self.write_parts(&parts, &infos)?;
            for batch in written {
                self.note_epoch(&batch.header);
                self.take_in(&batch.header, marker_of(&batch.header, || batch.body()))?;
            }
        }
        Ok(())
    }
}

fn info(header: &BatchHeader) -> BatchInfo {
    BatchInfo {
        base_offset: Offset(header.base_offset),
        last_offset: Offset(header.last_offset()),
        max_timestamp: TimestampMs(header.max_timestamp),
        size: header.size_in_bytes(),
    }
}

/// The transaction marker in a control batch; `None` for data and for other control records.
pub(super) fn marker_of(header: &BatchHeader, body: impl FnOnce() -> Bytes) -> Option<Marker> {
    if !header.is_control() || !header.has_producer_id() {
        return None;
    }
    Marker::parse(header, body())
}
