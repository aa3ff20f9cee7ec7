//! Room on the file systems that log directories lie on: `ottla.disk.reserve.bytes`.
//!
//! Clients may write while more than the reserve is free. The first half of the reserve is for coordinators (offsets,
//! groups) and the cleaner, the second for what makes room and must never fail for want of it: the metadata log,
//! checkpoints, deletions. What other programs fill does not keep to that, so a file without content,
//! `.ottla-reserve`, holds some blocks that are let go when nothing else is left.
//!
//! What is free is asked for every second; in between every append is counted.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use ottla_log::disk::{Disk, OpenMode, Space};
use parking_lot::Mutex;
use tracing::{error, info, warn};

/// Holds the last blocks.
const LAST_BLOCKS: &str = ".ottla-reserve";
/// The reserve where none is set: this part of the file system, ...
const PART: u64 = 20;
/// ... but at most so many bytes.
const MOST: u64 = 1 << 30;
/// Bytes that [`LAST_BLOCKS`] holds at most.
const HELD: u64 = 16 << 20;

/// Bytes left where nothing is known, or nothing is kept back.
const PLENTY: i64 = i64::MAX / 2;

/// Who wants to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// A producer.
    Client,
    /// A coordinator of this broker, or the cleaner.
    Coordinator,
}

/// A file system with log directories on it.
#[derive(Debug)]
pub struct FileSystem {
    disk: Arc<dyn Disk>,
    /// A directory on it.
    dir: PathBuf,
    /// Bytes kept back, if that is set; 0 switches everything off.
    configured: Option<u64>,
    /// Bytes above the reserve; negative when it is being used.
    left: AtomicI64,
    available: AtomicI64,
    reserve: AtomicI64,
    low: AtomicBool,
    refused: AtomicBool,
    held: Mutex<Held>,
}

/// What is known of [`LAST_BLOCKS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    Unknown,
    Yes,
    No,
}

impl FileSystem {
    /// The file system of `dir`, not looked at yet: everybody may write.
    pub fn new(disk: Arc<dyn Disk>, dir: &Path, configured: Option<u64>) -> Arc<Self> {
        Arc::new(Self {
            disk,
            dir: dir.to_owned(),
            configured,
            left: AtomicI64::new(PLENTY),
            available: AtomicI64::new(0),
            reserve: AtomicI64::new(0),
            low: AtomicBool::new(false),
            refused: AtomicBool::new(false),
            held: Mutex::new(Held::Unknown),
        })
    }

    /// One for each file system below `dirs`, in their order: directories on the same one share it.
    pub fn below(disk: &Arc<dyn Disk>, dirs: &[PathBuf], configured: Option<u64>) -> Vec<Arc<Self>> {
        let mut known: Vec<(Option<u64>, Arc<Self>)> = Vec::new();
        for dir in dirs {
            let device = disk.space(dir).ok().map(|space| space.device);
            let same = known.iter().find(|(other, _)| device.is_some() && *other == device);
            let file_system = match same {
                Some((_, file_system)) => Arc::clone(file_system),
                None => Self::new(Arc::clone(disk), dir, configured),
            };
            known.push((device, file_system));
        }
        known.into_iter().map(|(_, file_system)| file_system).collect()
    }

    /// Counts bytes that are about to be written; false if they may not be.
    pub fn take(&self, bytes: usize, writer: Writer) -> bool {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        if writer == Writer::Client && self.is_low() {
            return false;
        }
        let floor = match writer {
            Writer::Client => 0,
            Writer::Coordinator => -(self.reserve.load(Ordering::Relaxed) / 2),
        };
        let fits = |left: i64| left.checked_sub(bytes).filter(|then| *then >= floor);
        let taken = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok();
        if !taken && writer == Writer::Client {
            self.refused.store(true, Ordering::Relaxed);
        }
        taken
    }

    /// Whether so many bytes may be written besides; they are not counted.
    pub fn has_room_for(&self, bytes: u64) -> bool {
        let half = self.reserve() / 2;
        self.left.load(Ordering::Relaxed).saturating_sub(signed(bytes)) >= -half
    }

    /// Whether clients are refused.
    pub fn is_low(&self) -> bool {
        self.low.load(Ordering::Relaxed)
    }

    /// Bytes kept back.
    pub fn reserve(&self) -> i64 {
        self.reserve.load(Ordering::Relaxed)
    }

    /// Bytes that can be written in all, as of the last look.
    pub fn available(&self) -> i64 {
        self.available.load(Ordering::Relaxed)
    }

    /// Before anything is written: where nothing is left, lets go of the last blocks.
    pub fn look_at_start(&self) {
        match self.space() {
            Ok(space) => self.let_go_if_full(space),
            Err(error) => {
                warn!(directory = %self.dir.display(), %error, "file system cannot be asked for its space");
            }
        }
    }

    /// Finds out what is free. Not on a task of the runtime.
    pub fn look(&self) {
        let space = match self.space() {
            Ok(space) => space,
            // A disk that has died is found out by those who read and write.
            Err(error) => {
                warn!(directory = %self.dir.display(), %error, "file system cannot be asked for its space");
                return;
            }
        };
        let reserve = self.reserve_of(space);
        let left =
            if reserve == 0 { PLENTY } else { signed(space.available).saturating_sub(signed(reserve)) };
        self.available.store(signed(space.available), Ordering::Relaxed);
        self.reserve.store(signed(reserve), Ordering::Relaxed);
        self.left.store(left, Ordering::Relaxed);
        let refused = self.refused.swap(false, Ordering::Relaxed);
        let was_low = self.is_low();
        // A little more than the reserve, so that the answer does not change every second.
        let low = if was_low { left < signed(reserve / 16) } else { reserve > 0 && (left < 0 || refused) };
        self.low.store(low, Ordering::Relaxed);
        let (available, directory) = (space.available, self.dir.display());
        if low && !was_low {
            error!(%directory, available, reserve, "disk is full: what producers send is refused (ottla.disk.reserve.bytes)");
        } else if was_low && !low {
            info!(%directory, available, reserve, "disk has space again: produce goes on");
        }
        self.let_go_if_full(space);
        if !low && space.available > reserve.saturating_add(held(reserve)) {
            self.hold(held(reserve));
        }
    }

    fn space(&self) -> io::Result<Space> {
        self.disk.space(&self.dir)
    }

    /// File systems that do not say how large they are get none by default.
    fn reserve_of(&self, space: Space) -> u64 {
        self.configured.unwrap_or_else(|| (space.total / PART).min(MOST))
    }

    /// Gives the last blocks to those that must be able to write.
    fn let_go_if_full(&self, space: Space) {
        let path = self.dir.join(LAST_BLOCKS);
        let mut held_now = self.held.lock();
        let reserve = self.reserve_of(space);
        let full = space.available < held(reserve) || reserve == 0;
        if !full || *held_now == Held::No {
            return;
        }
        let there = self.disk.len(&path).map(|len| len.is_some());
        match there.and_then(|there| self.disk.remove_file(&path).map(|()| there)) {
            Ok(there) => {
                *held_now = Held::No;
                if there && reserve > 0 {
                    error!(file = %path.display(), available = space.available, "disk is wholly full: the last blocks are used");
                }
            }
            Err(error) => warn!(file = %path.display(), %error, "the last blocks cannot be let go"),
        }
    }

    fn hold(&self, bytes: u64) {
        let mut held = self.held.lock();
        if *held == Held::Yes || bytes == 0 {
            return;
        }
        let path = self.dir.join(LAST_BLOCKS);
        let file = self.disk.open(&path, OpenMode::Create);
        match file.and_then(|file| file.reserve(bytes)) {
            Ok(()) => *held = Held::Yes,
            Err(error) => {
                warn!(file = %path.display(), %error, "no blocks can be held back");
                // Not there or without blocks: either is as good as none, and the next look tries again.
                drop(self.disk.remove_file(&path));
            }
        }
    }
}

/// How much of a reserve lies in [`LAST_BLOCKS`].
fn held(reserve: u64) -> u64 {
    (reserve / 8).min(HELD)
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use ottla_log::testing::FaultyDisk;

    use super::*;

    const MB: usize = 1 << 20;

    fn file_system(configured: Option<u64>) -> (tempfile::TempDir, FaultyDisk, Arc<FileSystem>) {
        let dir = tempfile::tempdir().expect("a directory");
        let disk = FaultyDisk::new(dir.path()).expect("a disk");
        let file_system = FileSystem::new(Arc::new(disk.clone()), dir.path(), configured);
        (dir, disk, file_system)
    }

    #[test]
    fn clients_stop_at_the_reserve_and_coordinators_at_half_of_it() {
        let (_dir, disk, file_system) = file_system(Some(8 << 20));
        assert!(file_system.take(100 * MB, Writer::Client), "not looked at yet");
        disk.set_space_left(Some(11 * MB));
        file_system.look();
        let left = 11 * MB - MB - 8 * MB;
        assert!(disk.root().join(LAST_BLOCKS).exists(), "an eighth of it is held");
        file_system.look();
        assert!(file_system.take(left - 1, Writer::Client));
        assert!(!file_system.take(2, Writer::Client), "counted without another look");
        assert!(file_system.take(4 * MB, Writer::Coordinator));
        assert!(!file_system.take(2, Writer::Coordinator));
        disk.set_space_left(Some(7 * MB));
        file_system.look();
        assert!(file_system.is_low() && !file_system.take(0, Writer::Client));
        disk.set_space_left(Some(8 * MB + 10));
        file_system.look();
        assert!(file_system.is_low(), "not yet: the answer would change with every batch");
        disk.set_space_left(Some(9 * MB));
        file_system.look();
        assert!(!file_system.is_low() && file_system.take(100, Writer::Client));
    }

    #[test]
    fn the_last_blocks_are_let_go_when_nothing_is_left_and_held_again_later() {
        let (dir, disk, file_system) = file_system(Some(8 << 20));
        let held = || dir.path().join(LAST_BLOCKS).exists();
        disk.set_space_left(Some(20 * MB));
        file_system.look();
        assert!(held());
        disk.set_space_left(Some(2 * MB));
        file_system.look();
        assert!(held() && file_system.is_low(), "there is some left for those who make room");
        disk.set_space_left(Some(MB - 1));
        file_system.look();
        assert!(!held());
        disk.set_space_left(Some(8 * MB));
        file_system.look();
        assert!(!held(), "the reserve comes first");
        disk.set_space_left(Some(20 * MB));
        file_system.look();
        assert!(held());
        let next = FileSystem::new(Arc::new(disk.clone()), dir.path(), Some(8 << 20));
        disk.set_space_left(Some(0));
        next.look_at_start();
        assert!(!held(), "a node that starts on a full disk has room to start");
    }

    #[test]
    fn the_default_is_a_twentieth_and_zero_is_off() {
        let (_dir, disk, off) = file_system(Some(0));
        disk.set_space_left(Some(10));
        off.look();
        assert!(!off.is_low() && off.take(10, Writer::Client));
        let (_dir, _disk, default) = file_system(None);
        default.look();
        let total = ottla_log::disk::StdDisk.space(default.dir.as_path()).expect("a file system").total;
        assert_eq!(default.reserve(), signed((total / 20).min(1 << 30)));
    }
}
