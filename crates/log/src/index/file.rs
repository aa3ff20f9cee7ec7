//! A sorted file of fixed-size entries with its newest entries in memory.
//!
//! The file is open only while something is done with it: a node may have tens of thousands of indexes, and looks into
//! few of them.

use super::Entry;
use crate::disk::{Disk, DiskFile, OpenMode};
use crate::error::LogError;
use parking_lot::Mutex;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Entries that gather in memory before they are written together.
const SPILL_AT: usize = 256;

/// Entries that one read of a search takes in: about a page.
const CHUNK: usize = 340;

/// An index; opens its file when it is needed.
#[derive(Debug)]
pub(crate) struct IndexFile<E> {
    path: PathBuf,
    disk: Arc<dyn Disk>,
    state: Mutex<State<E>>,
}

#[derive(Debug)]
struct State<E> {
    /// Open during an operation.
    file: Option<Arc<dyn DiskFile>>,
    /// Entries in the file; `None` until it was looked at.
    stored: Option<usize>,
    last: Option<E>,
    tail: Vec<E>,
    synced: bool,
}

/// What an index held at one moment.
#[derive(Debug)]
pub(crate) struct IndexView<E> {
    path: PathBuf,
    file: Option<Arc<dyn DiskFile>>,
    stored: usize,
    last: Option<E>,
    tail: Vec<E>,
}

impl<E: Entry> IndexView<E> {
    /// The newest entry.
    pub(crate) fn last(&self) -> Option<E> {
        self.last
    }

    /// The last entry for which `before` holds; it must hold for a prefix of the entries. The search begins at `part` of
    /// `whole`, where the entry is if they are spread evenly.
    pub(crate) fn last_where(
        &self,
        (part, whole): (u64, u64),
        before: impl Fn(&E) -> bool,
    ) -> Result<Option<E>, LogError> {
        let entries = u128::try_from(self.stored + self.tail.len()).unwrap_or_default();
        let near = u128::from(part) * entries / u128::from(whole.max(1));
        Ok(self.search(usize::try_from(near).unwrap_or(usize::MAX), &before)?.1)
    }

    /// For how many entries from the front `holds` does, and the last of them.
    fn search(&self, near: usize, holds: &impl Fn(&E) -> bool) -> Result<(usize, Option<E>), LogError> {
        let in_tail = self.tail.partition_point(holds);
        if let Some(last) = in_tail.checked_sub(1) {
            return Ok((self.stored + in_tail, self.tail.get(last).copied()));
        }
        // It holds for all below `low`, of which `known` is the last, and for none from `high` on.
        let (mut low, mut high, mut known) = (0, self.stored, None);
        let mut near = near;
        while low < high {
            let from = near.saturating_sub(CHUNK / 2).min(high.saturating_sub(CHUNK)).max(low);
            let entries = self.read(from, CHUNK.min(high - from))?;
            match entries.partition_point(holds) {
                0 if from > low => high = from,
                0 => break,
                count => {
                    known = entries.get(count - 1).copied();
                    low = from + count;
                    if count < entries.len() {
                        break;
                    }
                }
            }
            near = low + (high - low) / 2;
        }
        Ok((low, known))
    }

    fn read(&self, at: usize, count: usize) -> Result<Vec<E>, LogError> {
        let entries = match &self.file {
            Some(file) => read_entries(&**file, &self.path, at, count)?,
            None => Vec::new(),
        };
        if entries.len() < count {
            let reason = format!("no entry {}", at + entries.len());
            return Err(LogError::Corrupt { path: self.path.clone(), reason });
        }
        Ok(entries)
    }
}

fn read_entries<E: Entry>(
    file: &dyn DiskFile,
    path: &Path,
    at: usize,
    count: usize,
) -> Result<Vec<E>, LogError> {
    let mut raw = vec![0; count * E::SIZE];
    let offset = u64::try_from(at * E::SIZE).unwrap_or(u64::MAX);
    let read = file.read_at(&mut raw, offset).map_err(|e| LogError::io("read", path, e))?;
    Ok(raw.get(..read).unwrap_or_default().chunks_exact(E::SIZE).filter_map(E::read).collect())
}

impl<E: Entry> IndexFile<E> {
    /// An index whose file is there already; it is not opened yet.
    pub(crate) fn existing(disk: Arc<dyn Disk>, path: PathBuf) -> Self {
        let state = State { file: None, stored: None, last: None, tail: Vec::new(), synced: true };
        Self { path, disk, state: Mutex::new(state) }
    }

    /// A new, empty file.
    pub(crate) fn create(disk: Arc<dyn Disk>, path: PathBuf) -> Result<Self, LogError> {
        open(&*disk, &path, OpenMode::Truncate)?;
        let state = State { file: None, stored: Some(0), last: None, tail: Vec::new(), synced: false };
        Ok(Self { path, disk, state: Mutex::new(state) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// After the file was renamed.
    pub(crate) fn set_path(&mut self, path: PathBuf) {
        self.path = path;
    }

    /// Number of entries.
    pub(crate) fn len(&self) -> Result<usize, LogError> {
        self.with(|state| Ok(self.load(state)? + state.tail.len()))
    }

    /// The newest entry.
    pub(crate) fn last(&self) -> Result<Option<E>, LogError> {
        self.with(|state| self.load(state).map(|_| state.last))
    }

    /// Adds an entry behind all others. Entries that cannot be written now (full disk) wait in memory.
    pub(crate) fn push(&mut self, entry: E) -> Result<(), LogError> {
        self.with(|state| {
            self.load(state)?;
            state.tail.push(entry);
            state.last = Some(entry);
            state.synced = false;
            if !state.tail.len().is_multiple_of(SPILL_AT) {
                return Ok(());
            }
            match self.spill(state) {
                Err(LogError::NoSpace { .. }) => Ok(()),
                other => other,
            }
        })
    }

    /// The entries as they are now, to be searched without a lock.
    pub(crate) fn view(&self) -> Result<IndexView<E>, LogError> {
        self.with(|state| self.viewed(state))
    }

    /// Keeps the entries for which `keep` holds; it must hold for a prefix of them.
    pub(crate) fn truncate_where(&mut self, keep: impl Fn(&E) -> bool) -> Result<(), LogError> {
        self.with(|state| {
            let view = self.viewed(state)?;
            let (count, _) = view.search(view.stored, &keep)?;
            self.truncate_to(state, count)
        })
    }

    /// Removes all entries, whatever the file holds.
    pub(crate) fn clear(&mut self) -> Result<(), LogError> {
        self.with(|state| {
            // Whatever is there is cut off, also what is no whole entry.
            state.stored = Some(usize::MAX);
            self.truncate_to(state, 0)
        })
    }

    /// Writes what waits in memory, without making it durable.
    pub(crate) fn write_out(&self) -> Result<(), LogError> {
        self.with(|state| if state.tail.is_empty() { Ok(()) } else { self.spill(state) })
    }

    /// The file if it must be synced, by the caller; it counts as durable from now on. Not while the disk is too full for
    /// what waits in memory: that can be had again from the log.
    pub(crate) fn dirty_file(&self) -> Result<Option<Arc<dyn DiskFile>>, LogError> {
        match self.write_out() {
            Err(LogError::NoSpace { .. }) => return Ok(None),
            other => other?,
        }
        self.with(|state| {
            if state.synced {
                return Ok(None);
            }
            state.synced = true;
            self.file(state).map(Some)
        })
    }

    /// All entries.
    #[cfg(test)]
    pub(crate) fn all(&self) -> Vec<E> {
        let mut state = self.state.lock();
        let stored = self.load(&mut state).unwrap();
        let mut all = self.entries(&mut state, 0, stored).unwrap();
        all.extend_from_slice(&state.tail);
        all
    }

    /// Does something with the file, and closes it.
    fn with<R>(&self, work: impl FnOnce(&mut State<E>) -> Result<R, LogError>) -> Result<R, LogError> {
        let mut state = self.state.lock();
        let result = work(&mut state);
        state.file = None;
        result
    }

    fn file(&self, state: &mut State<E>) -> Result<Arc<dyn DiskFile>, LogError> {
        if let Some(file) = &state.file {
            return Ok(file.clone());
        }
        let file = open(&*self.disk, &self.path, OpenMode::Create)?;
        state.file = Some(file.clone());
        Ok(file)
    }

    /// Number of entries in the file, after the first look at it.
    fn load(&self, state: &mut State<E>) -> Result<usize, LogError> {
        if let Some(stored) = state.stored {
            return Ok(stored);
        }
        let len = self.file(state)?.len().map_err(|e| LogError::io("stat", &self.path, e))?;
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if len % E::SIZE != 0 {
            return Err(self.corrupt(format!("size {len} is no multiple of {}", E::SIZE)));
        }
        let stored = len / E::SIZE;
        state.stored = Some(stored);
        if let Some(at) = stored.checked_sub(1) {
            let last = self.entry(state, at)?;
            let first = self.entry(state, 0)?;
            if last.relative_offset() < 0
                || last.relative_offset() < first.relative_offset()
                || last.key() < first.key()
            {
                state.stored = None;
                return Err(self.corrupt(format!("last entry {last:?} is below the first, {first:?}")));
            }
            state.last = Some(last);
        }
        Ok(stored)
    }

    fn corrupt(&self, reason: String) -> LogError {
        LogError::Corrupt { path: self.path.clone(), reason }
    }

    fn entry(&self, state: &mut State<E>, at: usize) -> Result<E, LogError> {
        let stored = state.stored.unwrap_or_default();
        if let Some(in_tail) = at.checked_sub(stored) {
            let entry = state.tail.get(in_tail).copied();
            return entry.ok_or_else(|| self.corrupt(format!("no entry {at}")));
        }
        let entries = self.entries(state, at, 1)?;
        entries.first().copied().ok_or_else(|| self.corrupt(format!("no entry {at}")))
    }

    fn viewed(&self, state: &mut State<E>) -> Result<IndexView<E>, LogError> {
        let stored = self.load(state)?;
        let file = if stored > 0 { Some(self.file(state)?) } else { None };
        Ok(IndexView { path: self.path.clone(), file, stored, last: state.last, tail: state.tail.clone() })
    }

    fn entries(&self, state: &mut State<E>, at: usize, count: usize) -> Result<Vec<E>, LogError> {
        read_entries(&*self.file(state)?, &self.path, at, count)
    }

    fn truncate_to(&self, state: &mut State<E>, count: usize) -> Result<(), LogError> {
        let stored = state.stored.unwrap_or_default();
        if count < stored {
            state.tail.clear();
            let len = u64::try_from(count * E::SIZE).unwrap_or(u64::MAX);
            self.file(state)?.set_len(len).map_err(|e| LogError::io("truncate", &self.path, e))?;
            state.stored = Some(count);
        } else {
            state.tail.truncate(count - stored);
        }
        state.synced = false;
        state.last = match count.checked_sub(1) {
            Some(at) => Some(self.entry(state, at)?),
            None => None,
        };
        Ok(())
    }

    fn spill(&self, state: &mut State<E>) -> Result<(), LogError> {
        let stored = self.load(state)?;
        let mut raw = Vec::with_capacity(state.tail.len() * E::SIZE);
        for entry in &state.tail {
            entry.write(&mut raw);
        }
        let offset = u64::try_from(stored * E::SIZE).unwrap_or(u64::MAX);
        let written = self.file(state)?.write_at(&[IoSlice::new(&raw)], offset);
        written.map_err(|e| LogError::io("write", &self.path, e))?;
        state.stored = Some(stored + state.tail.len());
        state.tail.clear();
        Ok(())
    }
}

fn open(disk: &dyn Disk, path: &Path, mode: OpenMode) -> Result<Arc<dyn DiskFile>, LogError> {
    disk.open(path, mode).map_err(|e| LogError::io("open", path, e))
}

#[cfg(test)]
mod tests {
    use super::super::OffsetEntry;
    use super::*;
    use crate::disk::StdDisk;

    fn entry(i: i32) -> OffsetEntry {
        OffsetEntry { relative_offset: i * 10, position: i * 100 }
    }

    #[test]
    fn finds_entries_in_file_and_memory_and_after_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("i.index");
        let mut index = IndexFile::create(Arc::new(StdDisk), path.clone()).unwrap();
        for i in 0..1000 {
            index.push(entry(i)).unwrap();
        }
        let find = |index: &IndexFile<OffsetEntry>, offset| {
            let near = |part| index.view().unwrap().last_where((part, 4), |e| e.relative_offset <= offset);
            // Wherever the search begins, it finds the same.
            let found: Vec<_> = (0..=4).map(|part| near(part).unwrap()).collect();
            assert!(found.iter().all(|entry| *entry == found[0]), "{found:?}");
            found[0].map(|e| e.position / 100)
        };
        for probe in [
            (-1, None),
            (0, Some(0)),
            (9, Some(0)),
            (4567, Some(456)),
            (9985, Some(998)),
            (99_999, Some(999)),
        ] {
            assert_eq!(find(&index, probe.0), probe.1);
        }
        index.write_out().unwrap();
        assert_eq!(StdDisk.len(&path).unwrap(), Some(8000));
        let mut index = IndexFile::<OffsetEntry>::existing(Arc::new(StdDisk), path);
        assert_eq!(
            (find(&index, 4567), index.last().unwrap(), index.len().unwrap()),
            (Some(456), Some(entry(999)), 1000)
        );
        index.truncate_where(|e| e.relative_offset < 500).unwrap();
        index.push(entry(77)).unwrap();
        assert_eq!((index.len().unwrap(), find(&index, 600)), (51, Some(49)));
        index.clear().unwrap();
        assert_eq!((index.len().unwrap(), index.last().unwrap()), (0, None));
    }

    #[test]
    fn a_damaged_file_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("i.index");
        for content in [&[1u8; 7][..], &[0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 9], &[0xff; 8]] {
            std::fs::write(&path, content).unwrap();
            let index = IndexFile::<OffsetEntry>::existing(Arc::new(StdDisk), path.clone());
            assert!(matches!(index.last(), Err(LogError::Corrupt { .. })));
        }
    }
}
