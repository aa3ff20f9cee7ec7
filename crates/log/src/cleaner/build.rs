//! Reading the dirty segments into the offset map.

use super::filter::{for_each_record, offset};
use super::round::Progress;
use super::{Buffers, CleanError, Cleaning, OffsetMap, Pace};
use crate::compression;
use crate::error::LogError;
use crate::types::Offset;
use ottla_wire::batch::Batch;

impl Cleaning {
    /// The last offset of each key from the first dirty offset on, as far as there is room for.
    pub(super) fn build_map(
        &self,
        buffers: &Buffers,
        pace: &mut dyn Pace,
        progress: &mut Progress,
    ) -> Result<OffsetMap, CleanError> {
        let dirty = self.upper.0.saturating_sub(self.first_dirty.0);
        let keys = usize::try_from(dirty).unwrap_or(usize::MAX);
        let mut map = OffsetMap::new(buffers.dedupe_bytes, buffers.load_factor, keys, self.first_dirty);
        for source in self.sources.iter().filter(|source| source.next_base > self.first_dirty) {
            let from = if source.base < self.first_dirty { self.dirty_position } else { 0 };
            let mut reader = source.read(&*self.disk, from, buffers.io_bytes)?;
            while let Some(batch) = reader.next()? {
                progress.read(&batch, pace)?;
                if !self.note(&batch, &mut map).map_err(|reason| self.corrupt(&batch, &reason))? {
                    return Ok(map);
                }
            }
            // Offsets that an earlier cleaning or a leader left out.
            map.saw(source.next_base.plus(-1));
        }
        Ok(map)
    }

    /// Puts the records of a batch into the map; false if it is full.
    fn note(&self, batch: &Batch, map: &mut OffsetMap) -> Result<bool, compression::CompressionError> {
        let header = &batch.header;
        if !header.is_control() && !self.aborted.wrote(header) && header.record_count > 0 {
            let max = self.config.max_decompressed_bytes;
            let body = compression::decompress_bounded(header.compression()?, &batch.body(), max)?;
            let mut room = true;
            for_each_record(header, &body, |record| {
                let offset = offset(header, record);
                if let Some(key) = record.key.filter(|_| room && offset >= self.first_dirty) {
                    room = map.put(key, offset);
                }
            })?;
            if !room {
                return Ok(false);
            }
        }
        map.saw(Offset(header.last_offset()));
        Ok(true)
    }

    pub(super) fn corrupt(&self, batch: &Batch, reason: &impl ToString) -> LogError {
        let reason = format!("batch at offset {}: {}", batch.header.base_offset, reason.to_string());
        LogError::Corrupt { path: self.dir.clone(), reason }
    }
}
