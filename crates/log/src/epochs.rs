//! Where each leader epoch begins (KIP-101), kept in `leader-epoch-checkpoint`.
//!
//! Epochs and start offsets both rise strictly. The file has every epoch that begins below the active segment, durably;
//! of those that begin in it the batches there tell, which a recovery reads.

use crate::checkpoint;
use crate::disk::Disk;
use crate::error::LogError;
use crate::types::{LeaderEpoch, Offset};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An epoch and the offset of its first batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EpochStart {
    pub epoch: LeaderEpoch,
    pub start: Offset,
}

/// The epochs of one log.
#[derive(Debug)]
pub(crate) struct Epochs {
    path: PathBuf,
    disk: Arc<dyn Disk>,
    entries: Vec<EpochStart>,
    written: Vec<EpochStart>,
    staged: bool,
}

impl Epochs {
    /// From the directory's file; empty if there is none.
    pub(crate) fn open(disk: Arc<dyn Disk>, dir: &Path) -> Result<Self, LogError> {
        let path = dir.join(checkpoint::LEADER_EPOCH);
        let read = match checkpoint::read_entries(&*disk, &path, parse) {
            Err(LogError::Corrupt { reason, .. }) => {
                // Every batch carries its epoch, so the file can be had again; damage must not stop a broker.
                tracing::warn!(path = %path.display(), %reason, "ignoring a damaged leader epoch checkpoint");
                None
            }
            other => other?,
        };
        let written = read.unwrap_or_default();
        let mut epochs = Self { path, disk, entries: Vec::new(), written: written.clone(), staged: false };
        written.into_iter().for_each(|entry| epochs.note(entry.epoch, entry.start));
        Ok(epochs)
    }

    pub(crate) fn set_dir(&mut self, dir: &Path) {
        self.path = dir.join(checkpoint::LEADER_EPOCH);
    }

    /// Notes that `epoch` begins at `start` unless that is known; entries in conflict with it are dropped.
    pub(crate) fn note(&mut self, epoch: LeaderEpoch, start: Offset) {
        if epoch < LeaderEpoch(0) {
            return;
        }
        let conflicts = |last: EpochStart| {
            last.epoch > epoch || last.start > start || (last.start == start && last.epoch != epoch)
        };
        while self.last().is_some_and(conflicts) {
            self.entries.pop();
        }
        if self.last().is_some_and(|last| last.epoch == epoch) {
            return;
        }
        self.entries.push(EpochStart { epoch, start });
    }

    /// Makes the file say what memory says, durably, if it does not.
    pub(crate) fn save(&mut self) -> Result<(), LogError> {
        if self.entries == self.written && !self.staged {
            return Ok(());
        }
        let text = self.render();
        checkpoint::replace(&*self.disk, &self.path, text.as_bytes())?;
        self.written.clone_from(&self.entries);
        self.staged = false;
        Ok(())
    }

    /// The same only if they differ in an epoch that begins below `active`, the base of the active segment.
    pub(crate) fn save_below(&mut self, active: Offset) -> Result<(), LogError> {
        let below = |entries: &[EpochStart]| entries.iter().take_while(|entry| entry.start < active).count();
        let same = self.entries.get(..below(&self.entries)) == self.written.get(..below(&self.written));
        if same { Ok(()) } else { self.save() }
    }

    /// Writes the new content beside the file if it differs, without making it durable; [`Epochs::publish`] follows when
    /// it is.
    pub(crate) fn stage(&mut self) -> Result<(), LogError> {
        if self.entries == self.written {
            return Ok(());
        }
        checkpoint::stage(&*self.disk, &self.path, self.render().as_bytes())?;
        self.written.clone_from(&self.entries);
        self.staged = true;
        Ok(())
    }

    /// Puts what was staged in place; whether there was anything. The name is not durable yet.
    pub(crate) fn publish(&mut self) -> Result<bool, LogError> {
        let staged = std::mem::take(&mut self.staged);
        if staged {
            checkpoint::publish(&*self.disk, &self.path)?;
        }
        Ok(staged)
    }

    fn render(&self) -> String {
        checkpoint::render(self.entries.iter().map(|entry| format!("{} {}", entry.epoch, entry.start)))
    }

    /// Newest epoch.
    pub(crate) fn last(&self) -> Option<EpochStart> {
        self.entries.last().copied()
    }

    /// First offset of exactly this epoch.
    pub(crate) fn start_of(&self, epoch: LeaderEpoch) -> Option<Offset> {
        self.entries.iter().find(|entry| entry.epoch == epoch).map(|entry| entry.start)
    }

    /// The largest epoch at or below `epoch`, and the offset where it ends; `None` for epochs not heard of yet.
    ///
    /// An epoch older than all is answered with itself and the oldest start.
    pub(crate) fn end_of(&self, epoch: LeaderEpoch, log_end: Offset) -> Option<(LeaderEpoch, Offset)> {
        if self.last()?.epoch == epoch {
            return Some((epoch, log_end));
        }
        let after = self.entries.iter().position(|entry| entry.epoch > epoch)?;
        let end = self.entries.get(after)?.start;
        let floor = after.checked_sub(1).and_then(|at| self.entries.get(at));
        Some((floor.map_or(epoch, |entry| entry.epoch), end))
    }

    /// Epoch of the batch at `offset`.
    pub(crate) fn at(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.entries.iter().rev().find(|entry| entry.start <= offset).map(|entry| entry.epoch)
    }

    /// Drops what begins at or after `end`.
    pub(crate) fn truncate_from_end(&mut self, end: Offset) {
        self.entries.retain(|entry| entry.start < end);
    }

    /// Lets the oldest remaining epoch begin at `start`.
    pub(crate) fn truncate_from_start(&mut self, start: Offset) {
        let below = self.entries.iter().take_while(|entry| entry.start <= start).count();
        if let Some(floor) = below.checked_sub(1) {
            self.entries.drain(..floor);
            if let Some(first) = self.entries.first_mut() {
                first.start = start;
            }
        }
    }

    /// Takes over those of another log. In memory: of what is not in the batches nothing is lost with it.
    pub(crate) fn succeed(&mut self, other: &Self) {
        self.entries.clone_from(&other.entries);
    }

    /// All of them, oldest first.
    pub(crate) fn entries(&self) -> &[EpochStart] {
        &self.entries
    }
}

fn parse(fields: &[&str]) -> Option<EpochStart> {
    let [epoch, start] = fields else { return None };
    Some(EpochStart { epoch: LeaderEpoch(epoch.parse().ok()?), start: Offset(start.parse().ok()?) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::StdDisk;

    fn epochs(dir: &Path, starts: &[(i32, i64)]) -> Epochs {
        let mut epochs = Epochs::open(Arc::new(StdDisk), dir).unwrap();
        starts.iter().for_each(|(epoch, start)| epochs.note(LeaderEpoch(*epoch), Offset(*start)));
        epochs
    }

    #[test]
    fn end_of_an_epoch_is_where_the_next_begins() {
        let dir = tempfile::tempdir().unwrap();
        let epochs = epochs(dir.path(), &[(2, 10), (4, 20), (4, 25), (7, 30)]);
        let end = |epoch| epochs.end_of(LeaderEpoch(epoch), Offset(99)).map(|(e, o)| (e.0, o.0));
        assert_eq!(end(1), Some((1, 10)));
        assert_eq!(end(2), Some((2, 20)));
        assert_eq!(end(3), Some((2, 20)));
        assert_eq!(end(6), Some((4, 30)));
        assert_eq!(end(7), Some((7, 99)));
        assert_eq!(end(8), None);
        assert_eq!(epochs.at(Offset(29)), Some(LeaderEpoch(4)));
        assert_eq!(epochs.at(Offset(9)), None);
    }

    #[test]
    fn conflicting_entries_give_way() {
        let dir = tempfile::tempdir().unwrap();
        let mut epochs = epochs(dir.path(), &[(1, 0), (3, 10), (5, 20)]);
        epochs.note(LeaderEpoch(4), Offset(15));
        assert_eq!(epochs.entries().iter().map(|e| e.epoch.0).collect::<Vec<_>>(), [1, 3, 4]);
        epochs.note(LeaderEpoch(3), Offset(12));
        assert_eq!(epochs.last(), Some(EpochStart { epoch: LeaderEpoch(3), start: Offset(10) }));
        epochs.note(LeaderEpoch(6), Offset(10));
        assert_eq!(
            epochs.entries().iter().map(|e| (e.epoch.0, e.start.0)).collect::<Vec<_>>(),
            [(1, 0), (6, 10)]
        );
    }

    #[test]
    fn the_file_is_kafkas_and_truncation_cuts_both_ends() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = epochs(dir.path(), &[(0, 0), (1, 10), (2, 20)]);
        first.truncate_from_start(Offset(15));
        first.truncate_from_end(Offset(20));
        first.save().unwrap();
        let text = std::fs::read_to_string(dir.path().join(checkpoint::LEADER_EPOCH)).unwrap();
        assert_eq!(text, "0\n1\n1 15\n");
        assert_eq!(epochs(dir.path(), &[]).entries(), first.entries());
    }
}
