//! Following: what the leader sends goes into the log, what is committed into the image, a snapshot into its file.
//! And what the others fetch here.

use std::io::IoSlice;

use bytes::{Bytes, BytesMut};
use ottla_log::disk::OpenMode;
use ottla_log::{AppendError, Offset, ReadError, TimestampMs};
use ottla_wire::batch::batches;

use super::{Part, Quorum, QuorumError};
use crate::file;
use crate::history::VoterHistory;
use crate::messages::Payload;
use crate::raft::Event;
use crate::raft::message::{FetchReply, Reply, ReplyBody};
use crate::replay::Replay;
use crate::snapshot::{self, PART_SUFFIX, SnapshotId, check_batch};
use crate::testing::{Rule, keeps};

/// What is read of log or snapshot at once at most.
const MAX_READ_BYTES: usize = 8 << 20;

impl Quorum {
    /// Appends and flushes what the leader sent.
    pub(super) fn append_fetched(
        &mut self,
        records: &Bytes,
        high_watermark: i64,
        now: i64,
    ) -> Result<Vec<Event>, QuorumError> {
        let before = self.next_offset();
        self.tip = None;
        let done = match self.log.append_as_follower(records.clone(), TimestampMs(now)) {
            Ok(Some(appended)) => {
                self.bytes_since_snapshot = self.bytes_since_snapshot.saturating_add(appended.size as u64);
                if std::mem::take(&mut self.refuses) {
                    tracing::info!("what the leader of the metadata log sends is appended again");
                }
                Event::LogChanged { high_watermark }
            }
            Ok(None) => Event::Refused,
            Err(AppendError::Log(cause)) if !cause.is_no_space() => {
                self.failed = Some(cause.to_string());
                return Err(cause.into());
            }
            Err(error) => {
                if !std::mem::replace(&mut self.refuses, true) {
                    tracing::warn!(%error, "what the leader of the metadata log sends is not appended: tried again and again");
                }
                Event::Refused
            }
        };
        // Where it was refused, some of the batches may be there all the same.
        self.flush(now)?;
        let mut events = Vec::new();
        if self.note_voters(records, before)? {
            events.push(self.voters_changed());
        }
        events.push(done);
        Ok(events)
    }

    /// Notes voters and levels in those of the batches that are in the log, and were not there before.
    pub(super) fn note_voters(&mut self, records: &Bytes, before: i64) -> Result<bool, QuorumError> {
        let end = self.next_offset();
        let mut changed = false;
        for batch in batches(records) {
            // An incomplete batch at the end was left out of the log, too.
            let Ok(batch) = batch else { break };
            if batch.header.base_offset >= before && batch.header.next_offset() <= end {
                changed |= self.history.batch(&batch)?;
            }
        }
        Ok(changed)
    }

    pub(super) fn voters_changed(&self) -> Event {
        let (voters, version) = super::open::effective_voters(&self.config, &self.history);
        Event::VotersChanged { voters, version }
    }

    pub(super) fn truncate_to(&mut self, offset: i64, now: i64) -> Result<Vec<Event>, QuorumError> {
        if !keeps(Rule::Truncate) {
            return Ok(vec![Event::LogChanged { high_watermark: -1 }]);
        }
        tracing::info!(from = self.next_offset(), to = offset, "metadata log truncated to the leader's");
        if let Err(error) = self.log.truncate_to(Offset(offset), TimestampMs(now)) {
            self.failed = Some(error.to_string());
            return Err(error.into());
        }
        self.tip = None;
        let mut events = Vec::new();
        if self.history.truncate(self.next_offset()) {
            events.push(self.voters_changed());
        }
        events.push(Event::LogChanged { high_watermark: -1 });
        Ok(events)
    }

    /// The image at the log's end. It stays the tip: what is to follow it may find no space.
    pub(super) fn tip_at_end(&mut self) -> Result<Replay, QuorumError> {
        let end = self.next_offset();
        let tip = match self.tip.take().filter(|tip| tip.last().offset + 1 == end) {
            Some(tip) => tip,
            None => self.replay_to(self.committed.clone(), end)?,
        };
        self.tip = Some(tip.clone());
        Ok(tip)
    }

    /// Brings the committed image to the high watermark.
    pub(super) fn take_committed(&mut self, high_watermark: i64) -> Result<(), QuorumError> {
        while self.undecided.front().is_some_and(|(end, _)| *end <= high_watermark) {
            if let Some((_, replay)) = self.undecided.pop_front()
                && replay.last().offset > self.committed.last().offset
            {
                self.committed = replay;
            }
        }
        if self.raft.is_leader() || self.committed.last().offset + 1 >= high_watermark {
            return Ok(());
        }
        let at_end = self.tip.as_ref().filter(|tip| tip.last().offset + 1 == high_watermark);
        self.committed = match at_end {
            Some(tip) => tip.clone(),
            None => self.replay_to(self.committed.clone(), high_watermark)?,
        };
        Ok(())
    }

    /// Reads the log from where the replay stands.
    fn replay_to(&self, mut replay: Replay, end: i64) -> Result<Replay, QuorumError> {
        loop {
            let from = replay.last().offset + 1;
            let (bytes, next) = self.read_log(from, MAX_READ_BYTES, end)?;
            if next <= from {
                return Ok(replay);
            }
            for batch in batches(&bytes) {
                let batch = check_batch(batch)?;
                if batch.header.last_offset() >= from {
                    replay.batch(&batch)?;
                }
            }
        }
    }

    /// Whole batches from the offset on, and the offset behind.
    fn read_log(&self, from: i64, max_bytes: usize, up_to: i64) -> Result<(Bytes, i64), QuorumError> {
        let slice = match self.log.read(Offset(from), max_bytes, Offset(up_to), true) {
            Ok(slice) => slice,
            Err(ReadError::Log(error)) => return Err(error.into()),
            // Between what was asked and now the log was cut, or nothing is there yet.
            Err(_) => return Ok((Bytes::new(), from)),
        };
        let next = slice.next_offset.0;
        let bytes = slice.records.read();
        Ok((bytes.map_err(|cause| QuorumError::Io { path: self.dir.clone(), cause })?, next))
    }

    /// What a reply needs of log or snapshot; the reply itself may become an error.
    pub(super) fn payload(&self, reply: &mut Reply) -> Result<Payload, QuorumError> {
        let mut payload = Payload {
            high_watermark: self.raft.high_watermark().unwrap_or(-1),
            log_start: self.log.start_offset().0,
            ..Payload::default()
        };
        match reply.body {
            ReplyBody::Fetch(FetchReply::Read { offset, max_bytes }) if !reply.error.is_error() => {
                let max_bytes = usize::try_from(max_bytes).unwrap_or(0).min(MAX_READ_BYTES);
                payload.bytes = self.read_log(offset, max_bytes, self.next_offset())?.0;
            }
            ReplyBody::FetchSnapshot(asked) if !reply.error.is_error() => {
                match self.read_snapshot(asked.id, asked.position, asked.max_bytes) {
                    Ok((bytes, size)) => (payload.bytes, payload.size) = (bytes, size),
                    Err(error) => reply.error = error,
                }
            }
            _ => {}
        }
        Ok(payload)
    }

    fn read_snapshot(
        &self,
        id: SnapshotId,
        position: i64,
        max_bytes: i32,
    ) -> Result<(Bytes, i64), ottla_wire::ErrorCode> {
        use ottla_wire::ErrorCode;
        if !self.snapshots.contains(&id) {
            return Err(ErrorCode::SnapshotNotFound);
        }
        let failed = |_| ErrorCode::KafkaStorageError;
        let file = self.disk.open(&self.path_of(id), OpenMode::Read).map_err(failed)?;
        let size = file.len().map_err(failed)?;
        let position = u64::try_from(position).map_err(|_| ErrorCode::PositionOutOfRange)?;
        let left =
            size.checked_sub(position).filter(|left| *left > 0).ok_or(ErrorCode::PositionOutOfRange)?;
        let wanted = usize::try_from(max_bytes).unwrap_or(0).clamp(1, MAX_READ_BYTES);
        let mut bytes = BytesMut::zeroed(wanted.min(usize::try_from(left).unwrap_or(usize::MAX)));
        let read = file.read_at(&mut bytes, position).map_err(failed)?;
        bytes.truncate(read);
        Ok((bytes.freeze(), i64::try_from(size).unwrap_or(i64::MAX)))
    }

    /// Writes a piece of a snapshot that is fetched; a full disk or damage means that it is fetched anew.
    pub(super) fn write_snapshot(
        &mut self,
        id: SnapshotId,
        position: i64,
        bytes: &Bytes,
        is_last: bool,
        now: i64,
    ) -> Result<Vec<Event>, QuorumError> {
        if let Err(cause) = self.write_part(id, position, bytes) {
            tracing::warn!(%cause, "a piece of a metadata snapshot is not written");
            self.part = None;
            return Ok(vec![Event::Refused]);
        }
        if !is_last {
            return Ok(vec![Event::SnapshotGrown]);
        }
        let Some(part) = self.part.take() else { return Ok(vec![Event::Refused]) };
        if self.install(&part, now)? {
            Ok(vec![self.voters_changed(), Event::SnapshotInstalled(id)])
        } else {
            Ok(vec![Event::Refused])
        }
    }

    fn write_part(&mut self, id: SnapshotId, position: i64, bytes: &Bytes) -> std::io::Result<()> {
        if position == 0 {
            let path = self.dir.join(format!("{}{PART_SUFFIX}", id.file_name()));
            let file = self.disk.open(&path, OpenMode::Truncate)?;
            self.part = Some(Part { id, path, file });
        }
        let part = self.part.as_ref().filter(|part| part.id == id);
        let part = part.ok_or_else(|| std::io::Error::other("the pieces before are not there"))?;
        let position = u64::try_from(position).map_err(std::io::Error::other)?;
        part.file.write_at(&[IoSlice::new(bytes)], position)
    }

    /// Checks a whole snapshot and begins the log at its end. The snapshot is in place, durably, before the log goes: a
    /// crash in between leaves a log that the next start drops, as it is older than the snapshot.
    fn install(&mut self, part: &Part, now: i64) -> Result<bool, QuorumError> {
        let id = part.id;
        let read = snapshot::read(&*self.disk, &part.path, id, &self.config.cluster_id);
        let checked = match read {
            Ok(snapshot) if snapshot.image.features.check_supported().is_ok() => snapshot,
            Ok(_) => return self.refuse_snapshot(part, &"it finalises features that are not served"),
            Err(error) => return self.refuse_snapshot(part, &error),
        };
        let path = self.path_of(id);
        let io = |cause| QuorumError::Io { path: path.clone(), cause };
        let placed = part.file.sync().and_then(|()| {
            self.disk.rename(&part.path, &path)?;
            file::sync_parent(&*self.disk, &path)
        });
        let cut = placed.map_err(io).and_then(|()| {
            Ok(self.log.truncate_fully_and_start_at(Offset(id.end_offset), TimestampMs(now))?)
        });
        if let Err(error) = cut {
            self.failed = Some(error.to_string());
            return Err(error);
        }
        tracing::info!(
            end_offset = id.end_offset,
            epoch = id.epoch,
            "metadata snapshot fetched from the leader"
        );
        self.history = VoterHistory::new(checked.voters.clone(), checked.image.features.kraft_version);
        self.committed = Replay::new(checked.image, checked.voters);
        self.tip = None;
        self.snapshots.insert(id);
        (self.bytes_since_snapshot, self.last_snapshot_ms) = (0, now);
        // What is older has no log to be read on with.
        let older: Vec<SnapshotId> = self.snapshots.range(..id).copied().collect();
        for id in older {
            let path = self.path_of(id);
            self.disk.remove_file(&path).map_err(|cause| QuorumError::Io { path: path.clone(), cause })?;
            self.snapshots.remove(&id);
        }
        Ok(true)
    }

    fn refuse_snapshot(&self, part: &Part, reason: &dyn std::fmt::Display) -> Result<bool, QuorumError> {
        tracing::error!(%reason, snapshot = %part.path.display(), "a fetched metadata snapshot cannot be used");
        let path = part.path.clone();
        self.disk.remove_file(&path).map_err(|cause| QuorumError::Io { path, cause })?;
        Ok(false)
    }
}
