//! What goes wrong in a log, and Kafka's error code for it.

use crate::types::Offset;
use ottla_wire::ErrorCode;
use std::io;
use std::path::PathBuf;

/// A failure of the log or its directory. None of them is retried here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The disk is full. What was there before is unharmed, later appends may succeed.
    #[error("no space left for {path}")]
    NoSpace {
        /// File that was written.
        path: PathBuf,
    },
    /// Any other I/O error.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// An earlier write or fsync failed: the state of the files is unknown, the directory must be fenced.
    #[error("log is poisoned: {0}")]
    Poisoned(String),
    /// A file's content is not what it must be.
    #[error("{path}: {reason}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The log can only be truncated or moved inside its bounds.
    #[error("offset {offset} is outside of {start} to {end}")]
    OutOfBounds {
        /// Offset asked for.
        offset: Offset,
        /// Lower bound, inclusive.
        start: Offset,
        /// Upper bound, inclusive.
        end: Offset,
    },
}

impl LogError {
    /// Whether the disk is full, which passes, unlike everything else.
    #[must_use]
    pub fn is_no_space(&self) -> bool {
        matches!(self, Self::NoSpace { .. })
    }

    /// Wraps an I/O error; a full disk is told apart.
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        let path = path.into();
        if source.kind() == io::ErrorKind::StorageFull || source.kind() == io::ErrorKind::QuotaExceeded {
            Self::NoSpace { path }
        } else {
            Self::Io { action, path, source }
        }
    }
}

/// Why one record of a batch was refused, for `RecordErrors` of a ProduceResponse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError {
    /// Index of the record in the batch.
    pub batch_index: i32,
    /// Reason, shown to the producer.
    pub message: String,
}

/// Why an append was refused. Nothing was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The bytes are damaged: checksum or size.
    #[error("record batch is corrupt: {0}")]
    Corrupt(String),
    /// What came is not exactly one batch of format v2. Nothing of it was judged.
    #[error("{0}")]
    NotOneBatch(&'static str),
    /// The batch breaks a rule for batches, or its records do (then `record_errors` says which).
    #[error("{message}")]
    InvalidRecord {
        /// What is wrong.
        message: String,
        /// Which records.
        record_errors: Vec<RecordError>,
    },
    /// Timestamps are outside of the allowed range.
    #[error("timestamps of records are out of bounds")]
    InvalidTimestamp {
        /// Which records.
        record_errors: Vec<RecordError>,
    },
    /// Magic 0 or 1.
    #[error("message format of magic {0} is not supported, only 2 is")]
    UnsupportedFormat(i8),
    /// The codec is unknown.
    #[error("compression type is not supported: {0}")]
    UnsupportedCompression(String),
    /// The batch exceeds `max.message.bytes`.
    #[error("record batch of {size} bytes exceeds the maximum of {max} bytes")]
    TooLarge {
        /// Its size.
        size: usize,
        /// The limit.
        max: usize,
    },
    /// The batch exceeds `segment.bytes`.
    #[error("record batches of {size} bytes exceed the segment size of {max} bytes")]
    LargerThanSegment {
        /// Their size.
        size: usize,
        /// The limit.
        max: usize,
    },
    /// A gap or a repetition in a producer's sequence numbers.
    #[error("{0}")]
    OutOfOrderSequence(String),
    /// A newer instance of the producer has written.
    #[error("{0}")]
    InvalidProducerEpoch(String),
    /// A write outside of a transaction while one is open, or the other way round.
    #[error("{0}")]
    InvalidTxnState(String),
    /// A marker from a transaction coordinator that has been replaced.
    #[error("{0}")]
    CoordinatorFenced(String),
    /// A follower's batches do not begin at its log end, or go back.
    #[error("offset {offset} does not follow log end {log_end}")]
    OffsetsOutOfOrder {
        /// First offset of the offending batch.
        offset: Offset,
        /// Log end offset.
        log_end: Offset,
    },
    /// The log itself failed.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl AppendError {
    /// An invalid batch, without reference to single records.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::InvalidRecord { message: message.into(), record_errors: Vec::new() }
    }

    /// Kafka's error for it.
    #[must_use]
    pub fn error_code(&self) -> ErrorCode {
        match self {
            Self::Corrupt(_) => ErrorCode::CorruptMessage,
            Self::TooLarge { .. } => ErrorCode::MessageTooLarge,
            Self::LargerThanSegment { .. } => ErrorCode::RecordListTooLarge,
            Self::InvalidTimestamp { .. } => ErrorCode::InvalidTimestamp,
            Self::UnsupportedFormat(_) => ErrorCode::UnsupportedForMessageFormat,
            Self::OutOfOrderSequence(_) => ErrorCode::OutOfOrderSequenceNumber,
            Self::InvalidProducerEpoch(_) => ErrorCode::InvalidProducerEpoch,
            Self::InvalidTxnState(_) => ErrorCode::InvalidTxnState,
            Self::CoordinatorFenced(_) => ErrorCode::TransactionCoordinatorFenced,
            Self::OffsetsOutOfOrder { .. } => ErrorCode::UnknownServerError,
            Self::Log(_) => ErrorCode::KafkaStorageError,
            Self::UnsupportedCompression(_) => ErrorCode::UnsupportedCompressionType,
            Self::NotOneBatch(_) | Self::InvalidRecord { .. } => ErrorCode::InvalidRecord,
        }
    }

    /// The number of [`AppendError::error_code`].
    #[must_use]
    pub fn code(&self) -> i16 {
        self.error_code().code()
    }

    /// The single records at fault, if it is about them.
    #[must_use]
    pub fn record_errors(&self) -> &[RecordError] {
        match self {
            Self::InvalidRecord { record_errors, .. } | Self::InvalidTimestamp { record_errors } => {
                record_errors
            }
            _ => &[],
        }
    }
}

/// Why a read was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Below the log start or above the log end.
    #[error("offset {offset} is outside of {start} to {end}")]
    OffsetOutOfRange {
        /// Offset asked for.
        offset: Offset,
        /// Log start offset.
        start: Offset,
        /// Log end offset.
        end: Offset,
    },
    /// The log itself failed.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl ReadError {
    /// Kafka's error for it.
    #[must_use]
    pub fn error_code(&self) -> ErrorCode {
        match self {
            Self::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            Self::Log(_) => ErrorCode::KafkaStorageError,
        }
    }

    /// The number of [`ReadError::error_code`].
    #[must_use]
    pub fn code(&self) -> i16 {
        self.error_code().code()
    }
}
