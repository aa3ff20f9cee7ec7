//! Reads a metadata log as it lies on disk, without changing a byte: newest snapshot, then the segments from there.
//!
//! This comes before anything is written, so that a directory which this broker cannot serve is left as it is.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use ottla_log::disk::{Disk, DiskFile, OpenMode};
use ottla_wire::Str;
use ottla_wire::batch::{Batch, LOG_OVERHEAD};

use crate::history::VoterHistory;
use crate::image::MetadataImage;
use crate::replay::{Replay, ReplayError};
use crate::snapshot::{self, SnapshotError, SnapshotId};

/// Bytes that are read at once.
const CHUNK: usize = 1 << 20;

/// Why a metadata log cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The system refuses.
    #[error("cannot read {path}: {cause}")]
    Io {
        /// File or directory.
        path: PathBuf,
        /// What went wrong.
        cause: io::Error,
    },
    /// The newest snapshot is damaged.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// A whole batch cannot be applied.
    #[error("metadata log {path}: {cause}")]
    Replay {
        /// The segment.
        path: PathBuf,
        /// What is wrong.
        cause: ReplayError,
    },
    /// Records are missing.
    #[error("metadata log {path}: begins at offset {begins}, but records from {expected} on are needed")]
    Gap {
        /// The segment.
        path: PathBuf,
        /// First offset that is there.
        begins: i64,
        /// First offset that is needed.
        expected: i64,
    },
}

/// What the directory holds.
#[derive(Debug)]
pub struct Loaded {
    /// The image of the newest snapshot: what is committed in any case.
    pub base: Replay,
    /// The image at the end of the log.
    pub replay: Replay,
    /// The voters along the log.
    pub history: VoterHistory,
    /// The log is of an older epoch than the newest snapshot: nothing of it counts any more.
    pub is_superseded: bool,
    /// Snapshots that are there.
    pub snapshots: BTreeSet<SnapshotId>,
    /// Offset after the last whole batch, 0 if there is none.
    pub log_end: i64,
    /// Epoch of the last whole batch, 0 if there is none.
    pub last_epoch: i32,
    /// Bytes of the log after the newest snapshot.
    pub bytes_after_snapshot: u64,
    /// More than 0 if the log ends in what is no whole batch, or does not follow: what a crash left.
    pub torn_bytes: u64,
}

/// Reads the directory of a metadata log; one that does not exist is empty.
///
/// # Errors
/// See [`LoadError`].
pub fn load(disk: &dyn Disk, dir: &Path, cluster_id: &Str) -> Result<Loaded, LoadError> {
    let names = list(disk, dir)?;
    let snapshots: BTreeSet<SnapshotId> =
        names.iter().filter_map(|name| SnapshotId::from_file_name(name)).collect();
    let replay = match snapshots.last() {
        Some(id) => {
            let snapshot = snapshot::read(disk, &dir.join(id.file_name()), *id, cluster_id)?;
            Replay::new(snapshot.image, snapshot.voters)
        }
        None => Replay::new(MetadataImage::empty(cluster_id.clone()), None),
    };
    let version = replay.image().features.kraft_version;
    let mut loaded = Loaded {
        base: replay.clone(),
        history: VoterHistory::new(replay.voters().cloned(), version),
        replay,
        is_superseded: false,
        log_end: 0,
        last_epoch: snapshots.last().map_or(0, |id| id.epoch),
        snapshots,
        bytes_after_snapshot: 0,
        torn_bytes: 0,
    };
    loaded.read_segments(disk, dir, &names)?;
    Ok(loaded)
}

impl Loaded {
    fn read_segments(&mut self, disk: &dyn Disk, dir: &Path, names: &[String]) -> Result<(), LoadError> {
        let mut bases: Vec<i64> = names.iter().filter_map(|name| segment_base(name)).collect();
        bases.sort_unstable();
        let needed = self.replay.last().offset + 1;
        let first = bases.iter().rposition(|base| *base <= needed).unwrap_or(0);
        for (index, base) in bases.into_iter().skip(first).enumerate() {
            // The end of a segment is lost and the next is there: neither was synced. Recovery cuts here, too.
            if index > 0 && base != self.log_end {
                self.torn_bytes += 1;
                break;
            }
            if !self.read_segment(disk, &dir.join(format!("{base:020}.log")), base)? {
                break;
            }
        }
        Ok(())
    }

    /// Returns whether the segment is whole to its end.
    fn read_segment(&mut self, disk: &dyn Disk, path: &Path, base: i64) -> Result<bool, LoadError> {
        let io = |cause| LoadError::Io { path: path.to_owned(), cause };
        let file = disk.open(path, OpenMode::Read).map_err(io)?;
        let mut reader = BatchReader::new(file).map_err(io)?;
        self.log_end = self.log_end.max(base);
        while let Some(batch) = reader.next().map_err(io)? {
            let header = &batch.header;
            if header.base_offset < self.log_end || batch.verify_crc().is_err() {
                self.torn_bytes = reader.remaining() + size_of(&batch);
                return Ok(false);
            }
            let expected = self.replay.last().offset + 1;
            if header.base_offset > expected {
                let begins = header.base_offset;
                return Err(LoadError::Gap { path: path.to_owned(), begins, expected });
            }
            self.log_end = header.next_offset();
            if header.last_offset() >= expected {
                if header.partition_leader_epoch < self.base.last().epoch {
                    self.is_superseded = true;
                    return Ok(false);
                }
                self.history
                    .batch(&batch)
                    .map_err(|cause| LoadError::Replay { path: path.to_owned(), cause })?;
                self.replay
                    .batch(&batch)
                    .map_err(|cause| LoadError::Replay { path: path.to_owned(), cause })?;
                self.last_epoch = header.partition_leader_epoch;
                self.bytes_after_snapshot += size_of(&batch);
            }
        }
        self.torn_bytes = reader.remaining();
        Ok(self.torn_bytes == 0)
    }
}

fn list(disk: &dyn Disk, dir: &Path) -> Result<Vec<String>, LoadError> {
    match disk.list(dir) {
        Ok(names) => Ok(names),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(cause) => Err(LoadError::Io { path: dir.to_owned(), cause }),
    }
}

fn segment_base(name: &str) -> Option<i64> {
    let digits = name.strip_suffix(".log")?;
    (digits.len() == 20).then(|| digits.parse().ok()).flatten()
}

fn size_of(batch: &Batch) -> u64 {
    batch.bytes.len() as u64
}

/// Reads a segment batch by batch, without holding more of it than a chunk.
struct BatchReader {
    file: Arc<dyn DiskFile>,
    len: u64,
    position: u64,
    buffer: Bytes,
}

impl BatchReader {
    fn new(file: Arc<dyn DiskFile>) -> io::Result<Self> {
        let len = file.len()?;
        Ok(Self { file, len, position: 0, buffer: Bytes::new() })
    }

    /// Bytes that were not handed out as batches.
    fn remaining(&self) -> u64 {
        self.len - self.position
    }

    /// The next batch; `None` at the end, or where no batch can be read.
    fn next(&mut self) -> io::Result<Option<Batch>> {
        if !self.fill(LOG_OVERHEAD)? {
            return Ok(None);
        }
        let length = self.buffer.get(8..LOG_OVERHEAD).and_then(|bytes| bytes.try_into().ok());
        let length = length.map_or(-1, i32::from_be_bytes);
        let Ok(length) = usize::try_from(length) else { return Ok(None) };
        if !self.fill(LOG_OVERHEAD.saturating_add(length))? {
            return Ok(None);
        }
        let Ok(batch) = Batch::parse(&self.buffer) else { return Ok(None) };
        let size = batch.bytes.len();
        self.buffer = self.buffer.slice(size..);
        self.position += size as u64;
        Ok(Some(batch))
    }

    /// Has at least this much in the buffer, if the file goes that far.
    fn fill(&mut self, size: usize) -> io::Result<bool> {
        if self.buffer.len() >= size {
            return Ok(true);
        }
        if size as u64 > self.remaining() {
            return Ok(false);
        }
        let rest = usize::try_from(self.remaining()).unwrap_or(usize::MAX);
        let mut chunk = BytesMut::zeroed(size.max(CHUNK).min(rest));
        let read = self.file.read_at(&mut chunk, self.position)?;
        chunk.truncate(read);
        self.buffer = chunk.freeze();
        Ok(self.buffer.len() >= size)
    }
}
