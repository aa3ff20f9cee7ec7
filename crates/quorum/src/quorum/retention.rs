//! Snapshots in time, and the removal of what they make superfluous.

use ottla_log::{Offset, TimestampMs};

use super::{Quorum, QuorumError};
use crate::file;
use crate::snapshot::{self, SnapshotId};

impl Quorum {
    /// Writes a snapshot if the log has grown enough since the last, or it is long ago; returns its id.
    ///
    /// # Errors
    /// The snapshot cannot be written; the log is unharmed and the next call tries again.
    pub fn maybe_snapshot(&mut self, now: i64) -> Result<Option<SnapshotId>, QuorumError> {
        let grown = self.bytes_since_snapshot >= self.config.snapshot_bytes;
        let interval = self.config.snapshot_interval_ms;
        let long_ago = interval > 0 && now.saturating_sub(self.last_snapshot_ms) >= interval;
        if self.bytes_since_snapshot == 0 || !(grown || long_ago) {
            return Ok(None);
        }
        self.snapshot(now)
    }

    /// Writes a snapshot of the committed image, if there is not one already.
    ///
    /// # Errors
    /// As [`Quorum::maybe_snapshot`].
    pub fn snapshot(&mut self, now: i64) -> Result<Option<SnapshotId>, QuorumError> {
        let image = self.committed.image();
        let end_offset = image.offset() + 1;
        if self.snapshots.last().is_some_and(|newest| newest.end_offset >= end_offset) {
            return Ok(None);
        }
        let id = snapshot::write(&*self.disk, &self.dir, image, self.committed.voters(), now)?;
        self.snapshots.insert(id);
        self.bytes_since_snapshot = 0;
        self.last_snapshot_ms = now;
        Ok(Some(id))
    }

    /// Removes snapshots, oldest first, and the log below the next one, while together they are larger or older than
    /// they may be. The newest snapshot always stays. Returns how many went.
    ///
    /// # Errors
    /// The system's; what was removed stays removed.
    pub fn clean(&mut self, now: i64) -> Result<usize, QuorumError> {
        let mut removed = 0;
        while let Some((oldest, next)) = self.oldest_two() {
            if !self.is_superfluous(oldest, now)? {
                break;
            }
            self.remove_before(oldest, next, now)?;
            removed += 1;
        }
        self.log.purge(TimestampMs(now))?;
        Ok(removed)
    }

    fn oldest_two(&self) -> Option<(SnapshotId, SnapshotId)> {
        let mut ids = self.snapshots.iter().copied();
        ids.next().zip(ids.next())
    }

    fn is_superfluous(&self, oldest: SnapshotId, now: i64) -> Result<bool, QuorumError> {
        let io = |cause| QuorumError::Io { path: self.path_of(oldest), cause };
        let retention_ms = self.config.retention_ms;
        if retention_ms >= 0 {
            let written = self.disk.modified_ms(&self.path_of(oldest)).map_err(io)?;
            if now.saturating_sub(written) > retention_ms {
                return Ok(true);
            }
        }
        let Ok(limit) = u64::try_from(self.config.retention_bytes) else { return Ok(false) };
        let mut size = self.log.size();
        for id in &self.snapshots {
            size += self.disk.len(&self.path_of(*id)).map_err(io)?.unwrap_or(0);
        }
        Ok(size > limit)
    }

    /// The log goes first: a snapshot without log is of use, a gap between them is not.
    fn remove_before(&mut self, oldest: SnapshotId, next: SnapshotId, now: i64) -> Result<(), QuorumError> {
        let path = self.path_of(oldest);
        self.log.advance_start_offset(Offset(next.end_offset))?;
        self.log.retain(TimestampMs(now), Offset(next.end_offset))?;
        let io = |cause| QuorumError::Io { path: path.clone(), cause };
        self.disk.remove_file(&path).map_err(io)?;
        file::sync_parent(&*self.disk, &path).map_err(io)?;
        self.snapshots.remove(&oldest);
        Ok(())
    }
}
