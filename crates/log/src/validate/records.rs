//! The rules for single records, applied while walking over a body once.

use super::Terms;
use crate::compression::{self, CompressionError};
use crate::config::LogConfig;
use crate::error::{AppendError, RecordError};
use crate::types::TimestampMs;
use ottla_wire::batch::{
    BatchError, BatchHeader, Compression, NO_TIMESTAMP, RecordMeta, TimestampType, skim_record,
};
use std::io::{self, ErrorKind, Read};

/// Record errors that are reported at most, so that a bad batch cannot make a giant answer.
const MAX_ERRORS: usize = 1000;

/// What the records of a batch came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walked {
    pub max_timestamp: i64,
    pub offsets_in_order: bool,
}

/// Sees every record of a batch.
#[derive(Debug)]
pub(super) struct RecordRules<'a> {
    header: &'a BatchHeader,
    config: &'a LogConfig,
    now: TimestampMs,
    index: i32,
    walked: Walked,
    invalid_timestamp: bool,
    errors: Vec<RecordError>,
    error_count: usize,
}

impl<'a> RecordRules<'a> {
    pub(super) fn new(header: &'a BatchHeader, terms: &Terms<'a>) -> Self {
        Self {
            header,
            config: terms.config,
            now: terms.now,
            index: 0,
            walked: Walked { max_timestamp: NO_TIMESTAMP, offsets_in_order: true },
            invalid_timestamp: false,
            errors: Vec::new(),
            error_count: 0,
        }
    }

    /// Walks over the whole body, in memory or through its codec.
    pub(super) fn walk(&mut self, codec: Compression, body: &[u8], max: usize) -> Result<(), AppendError> {
        if codec == Compression::None {
            self.walk_plain(body)
        } else {
            self.walk_compressed(codec, body, max)
        }
    }

    fn walk_plain(&mut self, body: &[u8]) -> Result<(), AppendError> {
        let mut rest = body;
        for _ in 0..self.header.record_count {
            let meta;
            (meta, rest) = skim_record(rest).map_err(|reason| AppendError::invalid(reason.to_string()))?;
            self.see(meta);
        }
        if rest.is_empty() { Ok(()) } else { Err(leftover()) }
    }

    fn walk_compressed(&mut self, codec: Compression, body: &[u8], max: usize) -> Result<(), AppendError> {
        let refused = |source| refused(codec, source, max);
        let mut stream = RecordStream::new(compression::reader(codec, body, max).map_err(refused)?);
        for _ in 0..self.header.record_count {
            let meta = stream.skim().map_err(refused)?;
            self.see(meta);
        }
        if stream.at_end().map_err(refused)? { Ok(()) } else { Err(leftover()) }
    }

    #[inline]
    fn see(&mut self, record: RecordMeta) {
        if record.offset_delta != self.index {
            self.walked.offsets_in_order = false;
        }
        let timestamp = match self.header.timestamp_type() {
            TimestampType::CreateTime => self.header.base_timestamp.wrapping_add(record.timestamp_delta),
            // Which no producer should say; its records then have the batch's time.
            TimestampType::LogAppendTime => self.header.max_timestamp,
        };
        if self.config.compact && !record.has_key {
            self.refuse("Compacted topic cannot accept message without key.".to_owned());
        } else {
            self.check_timestamp(timestamp);
        }
        self.walked.max_timestamp = self.walked.max_timestamp.max(timestamp);
        self.index += 1;
    }

    #[inline]
    fn check_timestamp(&mut self, timestamp: i64) {
        if self.config.timestamp_type == TimestampType::CreateTime && timestamp != NO_TIMESTAMP {
            let earliest = self.now.0.saturating_sub(self.config.timestamp_before_max_ms);
            let latest = self.now.0.saturating_add(self.config.timestamp_after_max_ms);
            if timestamp < earliest || timestamp > latest {
                self.invalid_timestamp = true;
                self.refuse(format!(
                    "Timestamp {timestamp} of message with offset {} is out of range. \
                     The timestamp should be within [{earliest}, {latest}]",
                    self.index
                ));
            }
        } else if self.header.timestamp_type() == TimestampType::LogAppendTime {
            self.invalid_timestamp = true;
            self.refuse("Producer should not set timestamp type to LogAppendTime.".to_owned());
        }
    }

    #[cold]
    fn refuse(&mut self, message: String) {
        self.error_count += 1;
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(RecordError { batch_index: self.index, message });
        }
    }

    /// The outcome, once all records were seen.
    pub(super) fn finish(self) -> Result<Walked, AppendError> {
        if self.error_count == 0 {
            return Ok(self.walked);
        }
        if self.invalid_timestamp {
            return Err(AppendError::InvalidTimestamp { record_errors: self.errors });
        }
        let shown: Vec<_> = self.errors.iter().take(3).map(|e| e.message.as_str()).collect();
        let message =
            format!("{} of the batch's records are invalid; the first of them: {shown:?}", self.error_count);
        Err(AppendError::InvalidRecord { message, record_errors: self.errors })
    }
}

fn leftover() -> AppendError {
    AppendError::invalid("bytes follow the last record")
}

/// A body that cannot be decompressed is corrupt; one whose records make no sense is invalid.
fn refused(codec: Compression, source: io::Error, max: usize) -> AppendError {
    if let Some(reason) = source.get_ref().and_then(|inner| inner.downcast_ref::<BatchError>()) {
        return AppendError::invalid(reason.to_string());
    }
    match compression::decode_error(codec, source, max) {
        CompressionError::TooLarge(max) => AppendError::TooLarge { size: max.saturating_add(1), max },
        other => AppendError::Corrupt(other.to_string()),
    }
}

/// Walks over records that come out of a decompressor, holding only a window of them.
struct RecordStream<R> {
    input: R,
    window: Box<[u8]>,
    from: usize,
    to: usize,
}

const WINDOW: usize = 16 * 1024;

impl<R: Read> RecordStream<R> {
    fn new(input: R) -> Self {
        Self { input, window: vec![0; WINDOW].into_boxed_slice(), from: 0, to: 0 }
    }

    fn at_end(&mut self) -> io::Result<bool> {
        Ok(self.from == self.to && !self.refill()?)
    }

    /// Reads more into the empty window; false at the end.
    fn refill(&mut self) -> io::Result<bool> {
        self.from = 0;
        self.to = 0;
        loop {
            match self.input.read(&mut self.window) {
                Ok(n) => {
                    self.to = n;
                    return Ok(n > 0);
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    fn byte(&mut self) -> io::Result<u8> {
        if self.from == self.to && !self.refill()? {
            return Err(cut());
        }
        let byte = self.window.get(self.from).copied();
        self.from += 1;
        byte.ok_or_else(cut)
    }

    fn skip(&mut self, mut count: u64) -> io::Result<()> {
        while count > 0 {
            if self.from == self.to && !self.refill()? {
                return Err(cut());
            }
            let ready = self.to - self.from;
            let step = usize::try_from(count).map_or(ready, |count| count.min(ready));
            self.from += step;
            count -= u64::try_from(step).unwrap_or_default();
        }
        Ok(())
    }

    /// A zigzag varlong, and the bytes it took.
    fn varlong(&mut self) -> io::Result<(i64, u64)> {
        let mut raw = 0u64;
        for i in 0..10u32 {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if i == 9 && bits > 1 {
                break;
            }
            raw |= bits << (7 * i);
            if byte & 0x80 == 0 {
                return Ok(((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed(), u64::from(i) + 1));
            }
        }
        Err(invalid(BatchError::Varint))
    }

    fn varint(&mut self) -> io::Result<(i32, u64)> {
        let (value, len) = self.varlong()?;
        Ok((i32::try_from(value).map_err(|_| invalid(BatchError::Varint))?, len))
    }

    /// The next record; the same checks as [`skim_record`]'s.
    fn skim(&mut self) -> io::Result<RecordMeta> {
        let (length, _) = self.varint()?;
        let mut left = u64::try_from(length).map_err(|_| invalid(BatchError::Record("negative length")))?;
        self.byte()?;
        spend(&mut left, 1)?;
        let (timestamp_delta, len) = self.varlong()?;
        spend(&mut left, len)?;
        let (offset_delta, len) = self.varint()?;
        spend(&mut left, len)?;
        let has_key = self.nullable(&mut left)?;
        self.nullable(&mut left)?;
        let (headers, len) = self.varint()?;
        spend(&mut left, len)?;
        let headers =
            u64::try_from(headers).map_err(|_| invalid(BatchError::Record("negative header count")))?;
        if headers > left / 2 {
            return Err(invalid(BatchError::Record("header count runs over the record")));
        }
        for _ in 0..headers {
            if !self.nullable(&mut left)? {
                return Err(invalid(BatchError::Record("header key is null")));
            }
            self.nullable(&mut left)?;
        }
        if left > 0 {
            return Err(invalid(BatchError::Record("bytes after the last header")));
        }
        Ok(RecordMeta { offset_delta, timestamp_delta, has_key })
    }

    /// Skips a length-prefixed field; whether it is not null.
    fn nullable(&mut self, left: &mut u64) -> io::Result<bool> {
        let (length, len) = self.varint()?;
        spend(left, len)?;
        let Ok(length) = u64::try_from(length) else { return Ok(false) };
        spend(left, length)?;
        self.skip(length)?;
        Ok(true)
    }
}

fn spend(left: &mut u64, bytes: u64) -> io::Result<()> {
    *left =
        left.checked_sub(bytes).ok_or_else(|| invalid(BatchError::Record("field runs over the record")))?;
    Ok(())
}

/// The codec has given all it had.
fn cut() -> io::Error {
    invalid(BatchError::Record("fewer records than the header says"))
}

fn invalid(reason: BatchError) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, reason)
}
