//! Leading: records are appended, flushed together, and count when the quorum has them.

use bytes::Bytes;
use ottla_log::{AppendError, LeaderEpoch, LogError, Origin, TimestampMs};

use super::{MAX_BATCH_BYTES, MAX_RECORDS_PER_BATCH, Now, Quorum, QuorumError, RECORDS_AT_ONCE};
use crate::control::{ControlRecord, control_batch};
use crate::features::KRaftVersion;
use crate::image::Provenance;
use crate::raft::Event;
use crate::record::VersionedRecord;
use crate::replay::Replay;
use crate::snapshot;
use crate::voters::VoterSet;

impl Quorum {
    /// Appends the records as one batch: they count all together or not at all. Returns the offset of the first. They
    /// are in [`Quorum::image`] at once. [`Quorum::commit`] makes them durable here; they are committed when
    /// [`Quorum::high_watermark`] has passed them, and nobody may be told before.
    ///
    /// # Errors
    /// See [`QuorumError`]. After `Log` and `Failed` nothing can be written any more; the node must stop.
    pub fn append(&mut self, records: &[VersionedRecord], now: i64) -> Result<i64, QuorumError> {
        self.check_leader()?;
        let first = self.next_offset();
        if records.is_empty() {
            return Ok(first);
        }
        if records.len() > MAX_RECORDS_PER_BATCH {
            return Err(QuorumError::TooLarge { records: records.len(), bytes: 0 });
        }
        let (replay, batch) = self.prepare(records, now)?;
        self.append_batch(batch, now)?;
        self.decided(replay);
        Ok(first)
    }

    /// Appends the records in as many batches as it takes: after a failure or crash only the first of them may be there.
    ///
    /// # Errors
    /// As [`Quorum::append`].
    pub fn append_all(&mut self, records: &[VersionedRecord], now: i64) -> Result<i64, QuorumError> {
        let first = self.next_offset();
        for chunk in records.chunks(RECORDS_AT_ONCE) {
            self.append(chunk, now)?;
        }
        Ok(first)
    }

    /// Makes everything appended durable here, with one sync. A lone voter commits it with that; otherwise it is
    /// committed when a majority has fetched it. Nothing to do if this node does not lead.
    ///
    /// # Errors
    /// The log failed; the node must stop.
    pub fn commit(&mut self, now: i64) -> Result<(), QuorumError> {
        if self.raft.high_watermark() == Some(self.next_offset()) {
            return Ok(());
        }
        self.check_usable()?;
        if !self.raft.is_leader() {
            return Ok(());
        }
        self.flush(now)?;
        self.drive(Event::Flushed, Now { wall: now, ..self.now })
    }

    /// Tries the records on a copy of the image and encodes them; nothing is written yet.
    fn prepare(&self, records: &[VersionedRecord], now: i64) -> Result<(Replay, Bytes), QuorumError> {
        let epoch = self.raft.epoch();
        let mut offset = self.next_offset();
        let batch = snapshot::data_batch(records, offset, epoch, now)?;
        if batch.len() > MAX_BATCH_BYTES {
            return Err(QuorumError::TooLarge { records: records.len(), bytes: batch.len() });
        }
        let mut replay = self.tip.clone().ok_or(QuorumError::NotLeader)?;
        for record in records {
            replay.record(offset, &record.record)?;
            offset += 1;
        }
        replay.advance(Provenance { offset: offset - 1, epoch, timestamp: now });
        Ok((replay, batch))
    }

    /// The image after the batch that was just appended.
    fn decided(&mut self, replay: Replay) {
        self.undecided.push_back((self.next_offset(), replay.clone()));
        self.tip = Some(replay);
    }

    pub(super) fn append_batch(&mut self, batch: Bytes, now: i64) -> Result<i64, QuorumError> {
        let size = batch.len() as u64;
        let epoch = LeaderEpoch(self.raft.epoch());
        let appended = match self.log.append_as_leader(batch, epoch, Origin::Raft, TimestampMs(now)) {
            Ok(appended) => appended,
            Err(error) => {
                if let AppendError::Log(cause) = &error
                    && !matches!(cause, LogError::NoSpace { .. })
                {
                    self.failed = Some(cause.to_string());
                }
                return Err(error.into());
            }
        };
        self.bytes_since_snapshot = self.bytes_since_snapshot.saturating_add(size);
        Ok(appended.base_offset.0)
    }

    pub(super) fn check_usable(&self) -> Result<(), QuorumError> {
        match &self.failed {
            Some(reason) => Err(QuorumError::Failed(reason.clone())),
            None => Ok(()),
        }
    }

    fn check_leader(&self) -> Result<(), QuorumError> {
        self.check_usable()?;
        if self.is_active() { Ok(()) } else { Err(QuorumError::NotLeader) }
    }

    /// The first record of an epoch, and the voters where the log does not have them as they are.
    pub(super) fn append_leader_change(
        &mut self,
        epoch: i32,
        granting: &[i32],
        now: i64,
    ) -> Result<i64, QuorumError> {
        let mut tip = self.tip_at_end()?;
        self.undecided.clear();
        self.undecided.push_back((self.next_offset(), tip.clone()));
        let ids: Vec<i32> = self.raft.voters().ids().collect();
        let mut records = vec![ControlRecord::leader_change(self.config.node_id, &ids, granting)];
        let announced = self.voters_to_announce();
        if let Some(voters) = &announced {
            if !self.history.is_in_log() && self.is_without_snapshot() {
                records.push(ControlRecord::kraft_version(KRaftVersion::Dynamic.level()));
            }
            records.push(ControlRecord::Voters(voters.to_record()));
        }
        let offset = self.append_control(&records, now)?;
        if let Some(voters) = announced {
            tip.set_voters(voters);
        }
        self.advance_tip(tip, epoch, now);
        Ok(offset)
    }

    pub(super) fn append_voters(&mut self, voters: VoterSet, now: i64) -> Result<i64, QuorumError> {
        let mut tip = self.tip_at_end()?;
        let offset = self.append_control(&[ControlRecord::Voters(voters.to_record())], now)?;
        tip.set_voters(voters);
        self.advance_tip(tip, self.raft.epoch(), now);
        Ok(offset)
    }

    fn append_control(&mut self, records: &[ControlRecord], now: i64) -> Result<i64, QuorumError> {
        let batch = control_batch(records, self.next_offset(), self.raft.epoch(), now)?;
        let before = self.next_offset();
        let room = self.config.last_room.clone();
        let offset = room.try_twice(QuorumError::is_no_space, || self.append_batch(batch.clone(), now))?;
        self.note_voters(&batch, before)?;
        Ok(offset)
    }

    fn advance_tip(&mut self, mut tip: Replay, epoch: i32, now: i64) {
        tip.advance(Provenance { offset: self.next_offset() - 1, epoch, timestamp: now });
        self.decided(tip);
    }

    /// The voters, if the log lacks them or has this node's own addresses otherwise.
    fn voters_to_announce(&self) -> Option<VoterSet> {
        if self.history.version() == KRaftVersion::Static {
            return None;
        }
        let voters = self.raft.voters().clone();
        let own = voters.get(self.config.node_id);
        let renewed = own.filter(|_| self.raft.is_voter()).map(|own| self.raft.renewed(own));
        let changed = renewed.as_ref() != own;
        let is_new = !self.history.is_in_log() && self.is_without_snapshot();
        (changed || is_new).then(|| match renewed {
            Some(renewed) => voters.with(renewed),
            None => voters,
        })
    }

    /// No snapshot but the one of the formatting, which every first voter has.
    fn is_without_snapshot(&self) -> bool {
        self.snapshots.last().is_none_or(|id| id.end_offset == 0)
    }
}
