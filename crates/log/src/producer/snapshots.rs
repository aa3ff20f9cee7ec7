//! The snapshot files of a log: `<20 digits>.snapshot`, the state below that offset.

use super::{ProducerStates, snapshot};
use crate::disk::{Disk, OpenMode};
use crate::error::LogError;
use crate::names;
use crate::types::{Offset, TimestampMs};
use std::collections::BTreeSet;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Which snapshots there are. Those in `unsynced` are not durable yet.
#[derive(Debug)]
pub(crate) struct Snapshots {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    offsets: BTreeSet<Offset>,
    unsynced: BTreeSet<Offset>,
}

impl Snapshots {
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: PathBuf, offsets: BTreeSet<Offset>) -> Self {
        Self { dir, disk, offsets, unsynced: BTreeSet::new() }
    }

    pub(crate) fn set_dir(&mut self, dir: &Path) {
        self.dir = dir.to_path_buf();
    }

    /// Number of snapshots.
    pub(crate) fn len(&self) -> usize {
        self.offsets.len()
    }

    fn path(&self, offset: Offset) -> PathBuf {
        self.dir.join(names::file_name(offset, names::SNAPSHOT))
    }

    /// Writes the state as of its end, unless that snapshot is there or there is nothing to say.
    pub(crate) fn take(&mut self, states: &ProducerStates) -> Result<(), LogError> {
        let offset = states.end();
        if self.offsets.contains(&offset) || offset == Offset::ZERO {
            return Ok(());
        }
        let path = self.path(offset);
        let raw = snapshot::encode(&states.entries());
        let file = self.disk.open(&path, OpenMode::Truncate).map_err(|e| LogError::io("create", &path, e))?;
        file.write_at(&[IoSlice::new(&raw)], 0).map_err(|e| LogError::io("write", &path, e))?;
        self.offsets.insert(offset);
        self.unsynced.insert(offset);
        Ok(())
    }

    /// The newest usable snapshot at or below `offset`; damaged ones are deleted. Empty at `start` if there is none.
    pub(crate) fn load(
        &mut self,
        start: Offset,
        offset: Offset,
        now: TimestampMs,
        expiration_ms: i64,
    ) -> Result<ProducerStates, LogError> {
        while let Some(newest) = self.offsets.range(..=offset).next_back().copied() {
            if newest < start {
                break;
            }
            let path = self.path(newest);
            let raw = self.disk.read(&path).map_err(|e| LogError::io("read", &path, e))?;
            match snapshot::decode(&raw) {
                Ok(entries) => return Ok(ProducerStates::from_entries(entries, newest, now, expiration_ms)),
                Err(reason) => {
                    tracing::warn!(path = %path.display(), %reason, "deleting a damaged producer snapshot");
                    self.remove(newest)?;
                }
            }
        }
        Ok(ProducerStates::empty(start))
    }

    /// Deletes the snapshots above `offset`.
    pub(crate) fn remove_above(&mut self, offset: Offset) -> Result<(), LogError> {
        let above: Vec<_> = self.offsets.range(offset.plus(1)..).copied().collect();
        above.into_iter().try_for_each(|offset| self.remove(offset))
    }

    /// Deletes all snapshots that belong to no segment, except the newest.
    pub(crate) fn remove_stray(&mut self, segments: &BTreeSet<Offset>) -> Result<(), LogError> {
        let newest = self.offsets.last().copied();
        let stray: Vec<_> =
            self.offsets.iter().filter(|o| !segments.contains(o) && Some(**o) != newest).copied().collect();
        stray.into_iter().try_for_each(|offset| self.remove(offset))
    }

    /// Deletes one if it is there.
    pub(crate) fn remove(&mut self, offset: Offset) -> Result<(), LogError> {
        self.unsynced.remove(&offset);
        if self.offsets.remove(&offset) {
            let path = self.path(offset);
            self.disk.remove_file(&path).map_err(|e| LogError::io("remove", &path, e))?;
        }
        Ok(())
    }

    /// Takes one out, to be renamed by the caller; its path if it was there.
    pub(crate) fn forget(&mut self, offset: Offset) -> Option<PathBuf> {
        self.unsynced.remove(&offset);
        self.offsets.remove(&offset).then(|| self.path(offset))
    }

    /// Paths of the snapshots that are not durable yet; they count as durable from now on.
    pub(crate) fn take_unsynced(&mut self) -> Vec<PathBuf> {
        std::mem::take(&mut self.unsynced).into_iter().map(|offset| self.path(offset)).collect()
    }
}
