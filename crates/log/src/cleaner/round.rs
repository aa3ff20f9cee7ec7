//! One cleaning of one log: from a note of what there is to new segments in place of old ones.

use super::filter::Filter;
use super::group::group;
use super::{Aborted, Buffers, CleanError, LogAccess, OffsetMap, Pace, Source};
use crate::config::LogConfig;
use crate::disk::Disk;
use crate::error::LogError;
use crate::log::Log;
use crate::segment::{self, BatchInfo, Segment};
use crate::types::{Offset, TimestampMs};
use ottla_wire::batch::{Batch, BatchHeader};
use std::collections::HashMap;
use std::io::IoSlice;
use std::path::PathBuf;
use std::sync::Arc;

/// A log as it was when its cleaning began. See [`Log::cleaning`].
#[derive(Debug)]
#[must_use = "run it"]
pub struct Cleaning {
    pub(crate) dir: PathBuf,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) config: LogConfig,
    /// All segments below `upper`.
    pub(crate) sources: Vec<Source>,
    pub(crate) aborted: Aborted,
    /// Last data offset of each producer.
    pub(crate) producers: HashMap<i64, Offset>,
    pub(crate) first_dirty: Offset,
    /// Where `first_dirty` lies in its segment.
    pub(crate) dirty_position: u64,
    /// Base of the first segment that stays as it is.
    pub(crate) upper: Offset,
    /// [`Log`]'s count of truncations.
    pub(crate) truncations: u64,
}

/// What a cleaning did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cleaned {
    /// Everything below is clean now: the first dirty offset of the next cleaning.
    pub end: Offset,
    /// Bytes read, those of the dirty part twice.
    pub bytes_read: u64,
    /// Bytes of the segments that were cleaned, before.
    pub bytes_before: u64,
    /// Bytes of the segments in their place.
    pub bytes_after: u64,
    /// Records that were looked at.
    pub records_before: u64,
    /// Records that stayed.
    pub records_after: u64,
    /// Records without a key that were dropped.
    pub keyless: u64,
    /// Used part of the offset map, 0 to 1.
    pub map_utilisation: f64,
    /// Bytes of the offset map.
    pub map_bytes: usize,
}

/// A cleaned segment that is to take the place of others.
#[derive(Debug)]
pub(crate) struct Replacement {
    pub segment: Segment,
    /// Base and size of each segment that it is made from.
    pub sources: Vec<(Offset, u64)>,
    pub truncations: u64,
}

/// Counts what is read, and lets others wait or end it.
#[derive(Debug, Default)]
pub(super) struct Progress {
    bytes_read: u64,
}

impl Progress {
    pub(super) fn read(&mut self, batch: &Batch, pace: &mut dyn Pace) -> Result<(), CleanError> {
        self.bytes_read += u64::try_from(batch.bytes.len()).unwrap_or_default();
        if pace.spend(batch.bytes.len()) { Ok(()) } else { Err(CleanError::Interrupted) }
    }
}

impl Cleaning {
    /// Cleans. `now` decides about tombstones. Reads and writes without the lock; `access` is asked for it to put each
    /// written segment in place.
    ///
    /// # Errors
    /// See [`CleanError`]. Half-written files are removed; what was put in place stays.
    pub fn run(
        &self,
        buffers: &Buffers,
        pace: &mut dyn Pace,
        access: &impl LogAccess,
        now: TimestampMs,
    ) -> Result<Cleaned, CleanError> {
        let cleaned = self.try_run(buffers, pace, access, now);
        // Files that are gone together with the log, or that retention took, are not the disk's fault.
        match cleaned {
            Err(CleanError::Log(error)) if !self.still_there(access) => {
                tracing::debug!(dir = %self.dir.display(), %error, "log changed while it was being cleaned");
                Err(CleanError::Changed)
            }
            other => other,
        }
    }

    fn try_run(
        &self,
        buffers: &Buffers,
        pace: &mut dyn Pace,
        access: &impl LogAccess,
        now: TimestampMs,
    ) -> Result<Cleaned, CleanError> {
        let mut progress = Progress::default();
        let map = self.build_map(buffers, pace, &mut progress)?;
        let end = map.latest().plus(1);
        let mut cleaned =
            Cleaned { end, map_utilisation: map.utilisation(), map_bytes: map.bytes(), ..Cleaned::default() };
        let below = self.sources.partition_point(|source| source.base < end);
        let sources = self.sources.get(..below).unwrap_or_default();
        for group in group(sources, &self.config, self.upper) {
            let mut writer = Writer::new(self, group, buffers.io_bytes, now)?;
            match self.clean_group(group, &map, &mut writer, pace, &mut progress, &mut cleaned) {
                Ok(()) => writer.put_in_place(access, now, &mut cleaned)?,
                Err(error) => {
                    writer.discard();
                    return Err(error);
                }
            }
        }
        cleaned.bytes_read = progress.bytes_read;
        Ok(cleaned)
    }

    fn still_there(&self, access: &impl LogAccess) -> bool {
        let first = self.sources.first().map(|source| source.base);
        let there = |log: &mut Log| *log.dir() == self.dir && log.has_segment_since(self.truncations, first);
        access.with_log(there).unwrap_or(false)
    }

    fn clean_group(
        &self,
        group: &[Source],
        map: &OffsetMap,
        writer: &mut Writer<'_>,
        pace: &mut dyn Pace,
        progress: &mut Progress,
        cleaned: &mut Cleaned,
    ) -> Result<(), CleanError> {
        let filter = Filter {
            map,
            aborted: &self.aborted,
            producers: &self.producers,
            now: writer.now,
            delete_retention_ms: self.config.delete_retention_ms,
            max_decompressed_bytes: self.config.max_decompressed_bytes,
            levels: self.config.compression_levels,
        };
        for (at, source) in group.iter().enumerate() {
            let mut reader = source.read(&*self.disk, 0, writer.io_bytes)?;
            while let Some(batch) = reader.next()? {
                progress.read(&batch, pace)?;
                let is_last = at + 1 == group.len() && reader.at_end();
                let left = filter.apply(&batch, is_last).map_err(|reason| self.corrupt(&batch, &reason))?;
                cleaned.records_before += left.records;
                cleaned.records_after += left.kept;
                cleaned.keyless += left.keyless;
                match &left.batch {
                    Some((header, bytes)) => writer.push(header, bytes, &batch, pace)?,
                    None => writer.changed = true,
                }
            }
            source.aborted.iter().try_for_each(|txn| writer.segment.txn_index_mut().push(txn))?;
        }
        writer.finish(pace)
    }
}

/// Writes one cleaned segment.
struct Writer<'a> {
    cleaning: &'a Cleaning,
    group: &'a [Source],
    segment: Segment,
    now: TimestampMs,
    io_bytes: usize,
    buffer: Vec<u8>,
    infos: Vec<BatchInfo>,
    /// Whether it differs from its sources.
    changed: bool,
}

impl<'a> Writer<'a> {
    fn new(
        cleaning: &'a Cleaning,
        group: &'a [Source],
        io_bytes: usize,
        now: TimestampMs,
    ) -> Result<Self, LogError> {
        let base = group.first().map_or(Offset::ZERO, |source| source.base);
        Ok(Self {
            segment: Segment::create_cleaned(&cleaning.disk, &cleaning.dir, base, now)?,
            cleaning,
            group,
            now,
            io_bytes,
            buffer: Vec::new(),
            infos: Vec::new(),
            changed: group.len() > 1,
        })
    }

    fn push(
        &mut self,
        header: &BatchHeader,
        bytes: &[u8],
        before: &Batch,
        pace: &mut dyn Pace,
    ) -> Result<(), CleanError> {
        self.changed |= *header != before.header;
        self.buffer.extend_from_slice(bytes);
        self.infos.push(segment::info(header));
        if self.buffer.len() >= self.io_bytes { self.write(pace) } else { Ok(()) }
    }

    fn write(&mut self, pace: &mut dyn Pace) -> Result<(), CleanError> {
        if !pace.spend(self.buffer.len()) {
            return Err(CleanError::Interrupted);
        }
        self.segment.append(&[IoSlice::new(&self.buffer)], &self.infos, &self.cleaning.config)?;
        // A batch larger than the buffer does not keep its memory.
        self.buffer.clear();
        self.buffer.shrink_to(self.io_bytes * 2);
        self.infos.clear();
        Ok(())
    }

    /// The rest, the indexes, and all of it durable.
    fn finish(&mut self, pace: &mut dyn Pace) -> Result<(), CleanError> {
        if !self.infos.is_empty() {
            self.write(pace)?;
        }
        self.segment.finish()?;
        if !self.changed {
            return Ok(());
        }
        self.segment.sync()?;
        let (disk, [path, ..]) = (&self.cleaning.disk, self.segment.paths());
        let modified = self.group.last().map_or(self.now, |source| source.modified);
        Ok(disk.set_modified_ms(&path, modified.0).map_err(|e| LogError::io("set the time of", &path, e))?)
    }

    fn put_in_place(
        mut self,
        access: &impl LogAccess,
        now: TimestampMs,
        cleaned: &mut Cleaned,
    ) -> Result<(), CleanError> {
        cleaned.bytes_before += self.group.iter().map(|source| source.size).sum::<u64>();
        cleaned.bytes_after += self.segment.size();
        if !self.changed {
            return Ok(self.segment.remove()?);
        }
        let replacement = Replacement {
            segment: self.segment,
            sources: self.group.iter().map(|source| (source.base, source.size)).collect(),
            truncations: self.cleaning.truncations,
        };
        crate::log::swap(access, &*self.cleaning.disk, &self.cleaning.dir, replacement, now)
    }

    /// What cannot be removed now goes when the log is opened next.
    fn discard(mut self) {
        if let Err(error) = self.segment.remove() {
            tracing::warn!(%error, "half-written cleaned segment stays");
        }
    }
}
