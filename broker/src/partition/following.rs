//! A partition that another broker leads: taking over its log as it is.
//!
//! A follower goes on where its log ends, or with durable acknowledgements where what is on disk ends, and says under which
//! epoch its last record was written. Where the leader's history differs it tells, and the follower cuts back to what both
//! have (KIP-101, KIP-279), as often as it takes. What was cut is noted on disk before anything is appended again.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use ottla_log::{AppendError, LeaderEpoch, Log, LogError, Offset, TimestampMs};
use ottla_wire::batch::BatchHeader;
use tracing::{info, warn};

use super::{Leadership, Partition, PartitionError};
use crate::storage::Writer;

/// Where a follower's log goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FollowerPosition {
    /// The next offset that it needs.
    pub offset: Offset,
    /// The epoch of the record before; -1 if there is none.
    pub last_epoch: LeaderEpoch,
    /// Where its log starts.
    pub log_start: Offset,
}

/// What a leader says about its log beside the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaderBounds {
    /// Its high watermark.
    pub high_watermark: Offset,
    /// Where its log starts.
    pub log_start: Offset,
}

/// Why a follower did not take what the leader sent.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The partition is led by this broker, or under another epoch, or gone.
    #[error("not a follower under leader epoch {0}")]
    NotFollower(i32),
    /// The log does not end any more where the records begin that were asked for.
    #[error("asked from {asked} on, the log ends at {end}")]
    Moved {
        /// Where they begin.
        asked: Offset,
        /// Where the log ends.
        end: Offset,
    },
    /// The leader's first batch begins before the log ends: its log start lies within the batch, and the log is empty, or has
    /// other batches below, which the leader cannot tell of any more.
    #[error("the leader's first batch begins at {0}, before the log's end")]
    BeginsBefore(Offset),
    /// An earlier truncation is not noted on disk.
    #[error("a truncation is not noted yet")]
    NotNoted,
    /// The disk is full up to what is kept back.
    #[error("disk is full")]
    NoSpace,
    /// The batches are damaged or do not fit.
    #[error(transparent)]
    Append(AppendError),
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl Partition {
    /// Where to go on. Where only what is on disk counts, and not everything is, that comes first: waits for the disk then.
    ///
    /// # Errors
    /// The directory failed, or the partition is closed.
    pub fn follower_position(&self, now: TimestampMs) -> Result<FollowerPosition, PartitionError> {
        if self.has_to_flush() {
            self.flush(now)?;
        }
        let guard = self.log.read();
        let log = self.open(&guard)?;
        let end = if self.leadership().flushed { log.recovery_point() } else { log.end_offset() };
        Ok(position(log, end))
    }

    /// Whether only what is on disk counts, and there is more.
    pub(super) fn has_to_flush(&self) -> bool {
        self.leadership.load().flushed
            && self.look(|log| log.recovery_point() < log.end_offset()).unwrap_or(false)
    }

    /// Appends what the leader sent for a fetch from `from` on, and takes over its bounds.
    ///
    /// # Errors
    /// Nothing was written then, except for whole batches before one that does not fit.
    pub fn append_as_follower(
        self: &Arc<Self>,
        leader_epoch: i32,
        from: Offset,
        records: Bytes,
        leader: LeaderBounds,
        now: TimestampMs,
    ) -> Result<(), FollowError> {
        let mut guard = self.log.write();
        let leadership = self.leadership();
        let log = self.followed(&mut guard, &leadership, leader_epoch)?;
        if log.end_offset() != from {
            return Err(FollowError::Moved { asked: from, end: log.end_offset() });
        }
        let mut due = false;
        if !records.is_empty() {
            if let Some(base) = begins_before(log, &records) {
                return Err(FollowError::BeginsBefore(base));
            }
            if self.is_cut_unnoted() {
                return Err(FollowError::NotNoted);
            }
            let writer =
                if super::is_internal(&self.name().topic) { Writer::Coordinator } else { Writer::Client };
            if !self.directory().file_system().take(records.len(), writer) {
                return Err(FollowError::NoSpace);
            }
            let appended = log.append_as_follower(records, now);
            let appended = appended.inspect_err(|error| self.judge_append(error));
            let size = appended.map_err(FollowError::Append)?.map_or(0, |appended| appended.size);
            self.advance(log, size);
            due = !leadership.flushed && log.should_flush(now);
        }
        self.follow_high_watermark(leader.high_watermark, log);
        let start = leader.log_start.min(self.high_watermark());
        if start > log.start_offset() {
            log.advance_start_offset(start).inspect_err(|error| self.judge(error))?;
            self.advance(log, 0);
        }
        drop(guard);
        if due {
            self.flush_soon();
        }
        Ok(())
    }

    /// The leader says that the follower's history leaves its own: of the largest epoch that it knows up to the follower's
    /// last one, `epoch`, its records end at `end`. Cuts back to what both can have; the next fetch tells whether that was
    /// far enough.
    ///
    /// # Errors
    /// Another leader epoch, or the storage failed.
    pub fn truncate_to_leader(
        &self,
        leader_epoch: i32,
        (epoch, end): (LeaderEpoch, Offset),
        now: TimestampMs,
    ) -> Result<Offset, FollowError> {
        self.cut(leader_epoch, |log| {
            let to = match log.end_offset_for_epoch(epoch) {
                Some((known, ours)) if known == epoch => ours.min(end),
                // The leader's epoch is not known here: back to before it, and ask again.
                Some((_, ours)) => ours,
                None => end,
            };
            info!(partition = %self.name(), from = %log.end_offset(), %to, leader_epoch, "truncated");
            log.truncate_to(to.min(log.end_offset()), now)
        })
    }

    /// What the follower asked for is outside of the leader's log, which goes from `start` to `end`. A log that goes beyond is
    /// cut: there was an unclean election. One that ends before begins anew.
    ///
    /// # Errors
    /// Another leader epoch, or the storage failed.
    pub fn fit_into_leader(
        &self,
        leader_epoch: i32,
        start: Offset,
        end: Offset,
        now: TimestampMs,
    ) -> Result<Offset, FollowError> {
        self.cut(leader_epoch, |log| {
            let ours = log.end_offset();
            warn!(partition = %self.name(), ours = %ours, %start, %end, "outside of the leader's log");
            if end < ours {
                log.truncate_to(end, now)
            } else if start > ours {
                log.truncate_fully_and_start_at(start, now)
            } else {
                Ok(())
            }
        })
    }

    /// Goes back to `base`, where the batch begins that holds the leader's log start; an empty log begins there anew.
    ///
    /// # Errors
    /// Another leader epoch, or the storage failed.
    pub fn begin_at(&self, leader_epoch: i32, base: Offset, now: TimestampMs) -> Result<Offset, FollowError> {
        self.cut(leader_epoch, |log| {
            let is_empty = log.start_offset() >= log.end_offset();
            if is_empty { log.truncate_fully_and_start_at(base, now) } else { log.truncate_to(base, now) }
        })
    }

    fn cut(
        &self,
        leader_epoch: i32,
        work: impl FnOnce(&mut Log) -> Result<(), LogError>,
    ) -> Result<Offset, FollowError> {
        let mut guard = self.log.write();
        let leadership = self.leadership();
        let log = self.followed(&mut guard, &leadership, leader_epoch)?;
        self.unnoted_cut.store(true, Ordering::Release);
        work(log).inspect_err(|error| self.judge(error))?;
        self.cut_to.fetch_min(log.end_offset().0, Ordering::AcqRel);
        self.cut_high_watermark(log);
        self.advance(log, 0);
        Ok(log.end_offset())
    }

    /// Whether the log was cut since the recovery points were last written down.
    pub(super) fn is_cut_unnoted(&self) -> bool {
        self.unnoted_cut.load(Ordering::Acquire)
    }

    /// The recovery point that is now on disk is not above where the log was cut.
    pub(super) fn cut_is_noted(&self) {
        self.unnoted_cut.store(false, Ordering::Release);
    }

    fn followed<'a>(
        &self,
        log: &'a mut Option<Log>,
        leadership: &Leadership,
        leader_epoch: i32,
    ) -> Result<&'a mut Log, FollowError> {
        let follows = !leadership.here && leadership.epoch == leader_epoch && !self.directory().is_offline();
        log.as_mut().filter(|_| follows).ok_or(FollowError::NotFollower(leader_epoch))
    }
}

/// Where the first of the batches begins, if the log ends within it.
fn begins_before(log: &Log, records: &Bytes) -> Option<Offset> {
    let first = BatchHeader::parse(records).ok()?;
    let around = first.base_offset < log.end_offset().0 && log.end_offset().0 <= first.last_offset();
    around.then_some(Offset(first.base_offset))
}

fn position(log: &Log, end: Offset) -> FollowerPosition {
    let last = (end > log.start_offset()).then(|| log.epoch_at(Offset(end.0 - 1))).flatten();
    FollowerPosition {
        offset: end,
        last_epoch: last.unwrap_or(LeaderEpoch::NONE),
        log_start: log.start_offset(),
    }
}
