//! Reading a whole segment after an unclean stop: every batch is checked, the indexes are built anew.

use super::scan::BatchAt;
use super::{BatchInfo, MaxTimestamp, Segment};
use crate::config::LogConfig;
use crate::error::LogError;
use crate::types::{Offset, TimestampMs};
use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest};
use ottla_wire::batch::{BatchHeader, HEADER_LEN};

/// Bytes read at once; larger batches are checked piece by piece.
const CHUNK: usize = 256 * 1024;

/// Where the checksum begins.
const CRC_START: u64 = 21;

/// Control batches larger than this are not read: markers are tiny.
const MAX_CONTROL: usize = 64 * 1024;

/// A batch that is whole.
#[derive(Debug)]
pub(crate) struct Scanned {
    pub header: BatchHeader,
    /// The bytes of a control batch.
    pub control: Option<Bytes>,
}

/// What a scan found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recovered {
    /// Offset after the last whole batch; the base offset if there is none.
    pub end: Offset,
    /// Bytes that were cut off, and why.
    pub cut: Option<(u64, String)>,
}

impl Segment {
    /// Checks all batches, cuts the file at the first bad one and rebuilds the indexes. `each` sees every good batch.
    ///
    /// # Errors
    /// I/O errors, and those of `each`.
    pub(crate) fn recover(
        &mut self,
        config: &LogConfig,
        truncate: bool,
        mut each: impl FnMut(&mut Self, &Scanned) -> Result<(), LogError>,
    ) -> Result<Recovered, LogError> {
        let file_len = self.file()?.len().map_err(|e| LogError::io("stat", &self.path, e))?;
        self.reset_indexes()?;
        let mut scan = Scan { position: 0, end: file_len, chunk: Vec::new(), chunk_at: 0 };
        let mut last = self.base.plus(-1);
        let reason = loop {
            let batch = match scan.next(self, last)? {
                Ok(Some(batch)) => batch,
                Ok(None) => break None,
                Err(reason) => break Some(reason),
            };
            let control = if batch.header.is_control() && batch.header.size_in_bytes() <= MAX_CONTROL {
                Some(self.read_batch(&batch)?)
            } else {
                None
            };
            self.index_batch(&info(&batch.header), config)?;
            each(self, &Scanned { header: batch.header, control })?;
            last = Offset(batch.header.last_offset());
        };
        let lost = file_len - self.size;
        if !truncate {
            self.size = file_len;
        } else if lost > 0 {
            self.file()?.set_len(self.size).map_err(|e| LogError::io("truncate", &self.path, e))?;
        }
        self.file.set_unsynced();
        self.finish_rebuilt()?;
        let cut = reason.map(|reason| (lost, reason));
        Ok(Recovered { end: last.plus(1), cut })
    }

    /// Builds damaged indexes anew without questioning the batches.
    pub(crate) fn rebuild_indexes(&mut self, config: &LogConfig) -> Result<(), LogError> {
        let size = self.size;
        self.reset_indexes()?;
        let mut walk = super::HeaderWalk::new(self.path.clone(), self.file()?, 0, size);
        while let Some(batch) = walk.next()? {
            self.index_batch(&info(&batch.header), config)?;
        }
        self.finish_rebuilt()
    }

    /// What the indexes have no room for waits in memory: a full disk keeps no node from starting.
    fn finish_rebuilt(&mut self) -> Result<(), LogError> {
        match self.finish() {
            Err(LogError::NoSpace { .. }) => Ok(()),
            other => other,
        }
    }

    fn reset_indexes(&mut self) -> Result<(), LogError> {
        self.offset_index.clear()?;
        self.time_index.clear()?;
        self.size = 0;
        self.bytes_since_index_entry = 0;
        *self.max_timestamp.get_mut() =
            Some(MaxTimestamp { timestamp: TimestampMs::NONE, offset: self.base });
        *self.first_timestamp.get_mut() = None;
        Ok(())
    }
}

pub(crate) fn info(header: &BatchHeader) -> BatchInfo {
    // A batch that a cleaner emptied has the time of records that are gone.
    let max_timestamp = if header.record_count == 0 { TimestampMs::NONE.0 } else { header.max_timestamp };
    BatchInfo {
        base_offset: Offset(header.base_offset),
        last_offset: Offset(header.last_offset()),
        max_timestamp: TimestampMs(max_timestamp),
        size: header.size_in_bytes(),
    }
}

/// Reads the file from front to end, once, in large pieces.
struct Scan {
    position: u64,
    end: u64,
    chunk: Vec<u8>,
    chunk_at: u64,
}

impl Scan {
    /// The next batch if it is whole; the inner error says why it is not.
    fn next(&mut self, segment: &Segment, last: Offset) -> Result<Result<Option<BatchAt>, String>, LogError> {
        if self.position == self.end {
            return Ok(Ok(None));
        }
        let head = self.bytes(segment, self.position, HEADER_LEN)?;
        let header = match BatchHeader::parse(head) {
            Ok(header) => header,
            Err(reason) => return Ok(Err(reason.to_string())),
        };
        let batch = BatchAt { header, position: self.position };
        if let Some(reason) = self.fault(segment, &batch, last) {
            return Ok(Err(reason));
        }
        let crc = self.crc(segment, self.position + CRC_START, batch.end())?;
        if crc != header.crc {
            return Ok(Err(format!("crc is {crc:#010x}, the header says {:#010x}", header.crc)));
        }
        self.position = batch.end();
        Ok(Ok(Some(batch)))
    }

    /// What makes a header impossible here.
    fn fault(&self, segment: &Segment, batch: &BatchAt, last: Offset) -> Option<String> {
        let header = &batch.header;
        if batch.end() > self.end {
            return Some(format!("batch of {} bytes is cut off", header.size_in_bytes()));
        }
        if header.last_offset_delta < 0 || header.base_offset <= last.0 {
            return Some(format!("offsets {} to {} after {last}", header.base_offset, header.last_offset()));
        }
        if !segment.fits(Offset(header.last_offset())) {
            return Some(format!("offset {} is too far from the base offset", header.last_offset()));
        }
        None
    }

    fn crc(&mut self, segment: &Segment, from: u64, to: u64) -> Result<u32, LogError> {
        let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
        let mut at = from;
        while at < to {
            let want = usize::try_from(to - at).unwrap_or(CHUNK).min(CHUNK);
            let piece = self.bytes(segment, at, want)?;
            if piece.is_empty() {
                break;
            }
            digest.update(piece);
            at += u64::try_from(piece.len()).unwrap_or_default();
        }
        Ok(u32::try_from(digest.finalize()).unwrap_or_default())
    }

    /// Up to `len` bytes at a position; fewer at the end of a chunk or of the file, but a header is never split.
    fn bytes(&mut self, segment: &Segment, at: u64, len: usize) -> Result<&[u8], LogError> {
        let chunk_end = self.chunk_at + u64::try_from(self.chunk.len()).unwrap_or_default();
        let enough = len.min(HEADER_LEN) as u64;
        if at < self.chunk_at || at + enough > chunk_end {
            let want = usize::try_from(self.end.saturating_sub(at)).unwrap_or(CHUNK).min(CHUNK);
            self.chunk.resize(want, 0);
            let read = segment.file()?.read_at(&mut self.chunk, at);
            self.chunk.truncate(read.map_err(|e| LogError::io("read", &segment.path, e))?);
            self.chunk_at = at;
        }
        let from = usize::try_from(at - self.chunk_at).unwrap_or(usize::MAX);
        let rest = self.chunk.get(from..).unwrap_or_default();
        Ok(rest.get(..len).unwrap_or(rest))
    }
}
