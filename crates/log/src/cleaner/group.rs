//! Which segments are written into one.

use super::Source;
use crate::config::LogConfig;
use crate::types::Offset;

/// Splits `sources` into runs that fit into one segment: by bytes, by index size and by the range of offsets.
///
/// `end` is where the last one's offsets end at most.
pub(super) fn group<'a>(sources: &'a [Source], config: &LogConfig, end: Offset) -> Vec<&'a [Source]> {
    let mut groups = Vec::new();
    let mut rest = sources;
    while let Some(first) = rest.first() {
        let mut room = Room {
            base: first.base,
            bytes: u64::from(config.segment_bytes),
            index_bytes: u64::from(config.segment_index_bytes),
        };
        room.bytes = room.bytes.saturating_sub(first.size);
        room.index_bytes = room.index_bytes.saturating_sub(first.index_bytes);
        let more = rest.iter().skip(1).take_while(|source| room.take(source, end)).count();
        let (one, behind) = rest.split_at_checked(1 + more).unwrap_or((rest, &[]));
        groups.push(one);
        rest = behind;
    }
    groups
}

struct Room {
    base: Offset,
    bytes: u64,
    index_bytes: u64,
}

impl Room {
    fn take(&mut self, source: &Source, end: Offset) -> bool {
        let last = source.next_base.min(end).plus(-1);
        let (Some(bytes), Some(index_bytes)) =
            (self.bytes.checked_sub(source.size), self.index_bytes.checked_sub(source.index_bytes))
        else {
            return false;
        };
        if last.0.saturating_sub(self.base.0) > i64::from(i32::MAX) {
            return false;
        }
        (self.bytes, self.index_bytes) = (bytes, index_bytes);
        true
    }
}
