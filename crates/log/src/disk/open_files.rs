//! Which log files stay open: as many as there are descriptors for. The others are opened again when they are used.
//!
//! A file with writes that are not durable is not closed as it is, because an error of writing them back might be told
//! to nobody then. It is synced first, and only if there is no other to close; where that fails, the slot keeps the
//! error, and whoever uses it next learns of it.

use super::{Disk, DiskFile, OpenMode};
use crate::error::LogError;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

/// Files that are looked at, at most, for one to close: files in use must not make every opening slow.
const LOOKS: usize = 32;

/// The open files of all logs of a process, in the order in which they were opened.
#[derive(Debug)]
pub struct OpenFiles {
    limit: usize,
    open: Mutex<VecDeque<Weak<FileSlot>>>,
}

impl OpenFiles {
    /// Keeps about `limit` files open; more only while all of them are in use at once.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, open: Mutex::default() }
    }

    /// Number of files that are counted as open.
    #[must_use]
    pub fn count(&self) -> usize {
        self.open.lock().len()
    }

    fn add(&self, slot: &Arc<FileSlot>) {
        self.open.lock().push_back(Arc::downgrade(slot));
        if !self.close_one_of_many() {
            self.sync_and_close_one();
        }
    }

    /// Closes files, those first that were opened first and not used since they were last looked at; whether that was
    /// enough.
    fn close_one_of_many(&self) -> bool {
        let mut open = self.open.lock();
        let mut looks = LOOKS.min(open.len());
        while open.len() > self.limit {
            let Some(weak) = open.pop_front() else { break };
            let Some(slot) = weak.upgrade() else { continue };
            if slot.close_if_idle() {
                continue;
            }
            open.push_back(weak);
            looks -= 1;
            if looks == 0 {
                return open.len() <= self.limit;
            }
        }
        true
    }

    /// The slow way: everything that was looked at has writes that are not durable.
    fn sync_and_close_one(&self) {
        for _ in 0..LOOKS {
            let Some(weak) = self.open.lock().pop_front() else { return };
            let Some(slot) = weak.upgrade() else { return };
            if slot.sync_and_close() {
                return;
            }
            self.open.lock().push_back(weak);
        }
    }
}

/// The file of a segment, open or not.
#[derive(Debug, Default)]
pub(crate) struct FileSlot {
    state: Mutex<State>,
    used: AtomicBool,
    /// It holds something that is not durable.
    unsynced: AtomicBool,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Closed,
    Open(Arc<dyn DiskFile>),
    /// It could not be synced before it was to be closed: what was written may be lost.
    Failed(String),
}

impl FileSlot {
    /// A slot with a file that was just made.
    pub(crate) fn made(disk: &dyn Disk, file: Arc<dyn DiskFile>) -> Arc<Self> {
        let slot = Arc::new(Self {
            state: Mutex::new(State::Open(file)),
            used: AtomicBool::new(true),
            unsynced: AtomicBool::new(true),
        });
        slot.count(disk);
        slot
    }

    /// The file, opened if it is not.
    pub(crate) fn get(self: &Arc<Self>, disk: &dyn Disk, path: &Path) -> Result<Arc<dyn DiskFile>, LogError> {
        self.used.store(true, Ordering::Relaxed);
        let mut state = self.state.lock();
        match &*state {
            State::Open(file) => return Ok(Arc::clone(file)),
            State::Failed(reason) => return Err(LogError::Poisoned(reason.clone())),
            State::Closed => {}
        }
        let file = disk.open(path, OpenMode::Write).map_err(|e| LogError::io("open", path, e))?;
        *state = State::Open(Arc::clone(&file));
        drop(state);
        self.count(disk);
        Ok(file)
    }

    fn count(self: &Arc<Self>, disk: &dyn Disk) {
        if let Some(open) = disk.open_files() {
            open.add(self);
        }
    }

    /// Notes a write. The writer still holds the file that it got.
    pub(crate) fn set_unsynced(&self) {
        self.unsynced.store(true, Ordering::Release);
    }

    /// Whether something was written since the last time; the caller makes it durable, and holds the file until then.
    pub(crate) fn take_unsynced(&self) -> bool {
        self.unsynced.swap(false, Ordering::AcqRel)
    }

    /// Whether something was written that is not durable.
    pub(crate) fn is_unsynced(&self) -> bool {
        self.unsynced.load(Ordering::Acquire)
    }

    /// Whether it is closed now.
    fn close_if_idle(&self) -> bool {
        let Some(mut state) = self.state.try_lock() else { return false };
        let State::Open(file) = &*state else { return true };
        if self.used.swap(false, Ordering::Relaxed) || self.is_unsynced() || Arc::strong_count(file) > 1 {
            return false;
        }
        *state = State::Closed;
        true
    }

    /// Whether it needs no descriptor any more. Nobody else has the file meanwhile, so that nothing is written to it.
    fn sync_and_close(&self) -> bool {
        let Some(mut state) = self.state.try_lock() else { return false };
        let State::Open(file) = &*state else { return true };
        if Arc::strong_count(file) > 1 {
            return false;
        }
        *state = match file.sync() {
            Ok(()) => {
                self.unsynced.store(false, Ordering::Release);
                State::Closed
            }
            Err(error) => State::Failed(format!("sync: {error}")),
        };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{BoundedDisk, StdDisk};
    use crate::testing::FaultyDisk;
    use std::io::IoSlice;

    struct Fixture<D> {
        dir: tempfile::TempDir,
        disk: BoundedDisk<D>,
    }

    impl<D: Disk> Fixture<D> {
        fn new(limit: usize, inner: impl FnOnce(&Path) -> D) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let disk = BoundedDisk::new(Arc::new(inner(dir.path())), limit);
            Self { dir, disk }
        }

        fn path(&self, number: usize) -> std::path::PathBuf {
            self.dir.path().join(number.to_string())
        }

        fn slot(&self, number: usize) -> Arc<FileSlot> {
            let file = self.disk.open(&self.path(number), OpenMode::Truncate).unwrap();
            FileSlot::made(&self.disk, file)
        }

        fn write(&self, number: usize, slot: &Arc<FileSlot>) {
            let file = slot.get(&self.disk, &self.path(number)).unwrap();
            file.write_at(&[IoSlice::new(b"x")], 0).unwrap();
            slot.set_unsynced();
        }

        fn open(&self) -> usize {
            self.disk.open_files().unwrap().count()
        }
    }

    fn is_open(slot: &FileSlot) -> bool {
        matches!(&*slot.state.lock(), State::Open(_))
    }

    #[test]
    fn the_files_that_were_not_used_are_closed_and_opened_again() {
        let fixture = Fixture::new(4, |_| StdDisk);
        let slots: Vec<_> = (0..20)
            .map(|number| {
                let slot = fixture.slot(number);
                slot.take_unsynced();
                slot
            })
            .collect();
        assert!(fixture.open() <= 5, "{} are open", fixture.open());
        for (number, slot) in slots.iter().enumerate() {
            fixture.write(number, slot);
            slot.take_unsynced();
        }
        assert!(slots.iter().filter(|slot| is_open(slot)).count() <= 5);
        drop(slots);
        let last = fixture.slot(99);
        assert_eq!((fixture.open(), is_open(&last)), (4, true), "those that are gone make room");
    }

    #[test]
    fn what_is_not_durable_is_synced_before_it_is_closed() {
        for seed in 0..20 {
            let fixture = Fixture::new(2, |dir| FaultyDisk::new(dir).unwrap());
            let slots: Vec<_> = (0..40).map(|number| fixture.slot(number)).collect();
            slots.iter().enumerate().for_each(|(number, slot)| fixture.write(number, slot));
            fixture.disk.sync_dir(fixture.dir.path()).unwrap();
            let closed: Vec<usize> = (0..40).filter(|number| !is_open(&slots[*number])).collect();
            assert!(closed.len() >= 37, "{} are closed", closed.len());
            drop(slots);
            fixture.disk.inner().cut_power(seed).unwrap();
            for number in closed {
                assert_eq!(std::fs::read(fixture.path(number)).unwrap(), b"x", "file {number}, seed {seed}");
            }
        }
    }

    #[test]
    fn a_sync_that_fails_is_told_to_the_next_user_and_files_in_use_stay() {
        let fixture = Fixture::new(1, |dir| FaultyDisk::new(dir).unwrap());
        let (first, second) = (fixture.slot(0), fixture.slot(1));
        let held = second.get(&fixture.disk, &fixture.path(1)).unwrap();
        fixture.write(0, &first);
        fixture.disk.inner().set_sync_fails(true);
        let _third = fixture.slot(2);
        assert!(is_open(&second));
        assert!(matches!(first.get(&fixture.disk, &fixture.path(0)), Err(LogError::Poisoned(_))));
        drop(held);
    }
}
