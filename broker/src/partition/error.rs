//! What a partition refuses, and Kafka's code for it.

use ottla_log::{AppendError, LogError, Offset, ReadError, RecordError};
use ottla_wire::ErrorCode;

/// Why a partition cannot be read or asked.
#[derive(Debug, thiserror::Error)]
pub enum PartitionError {
    /// This broker does not lead the partition.
    #[error("this broker does not lead the partition")]
    NotLeader,
    /// The client knows an older leader epoch than the broker.
    #[error("leader epoch {0} is fenced")]
    FencedLeaderEpoch(i32),
    /// The client knows a newer leader epoch than the broker.
    #[error("leader epoch {0} is not known yet")]
    UnknownLeaderEpoch(i32),
    /// The offset is not in the log.
    #[error("offset {0} is out of range")]
    OffsetOutOfRange(Offset),
    /// Records of a topic that is only compacted are not deleted by offset.
    #[error("the topic is compacted and not deleted from")]
    Compacted,
    /// The log directory is offline, or the log failed right now.
    #[error("storage: {0}")]
    Storage(String),
}

impl PartitionError {
    /// The code on the wire.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NotLeader => ErrorCode::NotLeaderOrFollower,
            Self::FencedLeaderEpoch(_) => ErrorCode::FencedLeaderEpoch,
            Self::UnknownLeaderEpoch(_) => ErrorCode::UnknownLeaderEpoch,
            Self::OffsetOutOfRange(_) => ErrorCode::OffsetOutOfRange,
            Self::Compacted => ErrorCode::PolicyViolation,
            Self::Storage(_) => ErrorCode::KafkaStorageError,
        }
    }
}

impl From<LogError> for PartitionError {
    fn from(error: LogError) -> Self {
        Self::Storage(error.to_string())
    }
}

impl From<ReadError> for PartitionError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::OffsetOutOfRange { offset, .. } => Self::OffsetOutOfRange(offset),
            other => Self::Storage(other.to_string()),
        }
    }
}

/// Why nothing was appended, or the append is not acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum ProduceError {
    /// This broker does not lead the partition.
    #[error("this broker does not lead the partition")]
    NotLeader,
    /// acks=all, and fewer replicas than `min.insync.replicas` are in sync: nothing was written.
    #[error("{isr} replicas in sync, min.insync.replicas is {min}")]
    NotEnoughReplicas {
        /// Size of the ISR.
        isr: usize,
        /// `min.insync.replicas`, at most the number of replicas.
        min: usize,
    },
    /// The ISR shrank below the minimum before the batch was replicated; it was written.
    #[error("too few replicas in sync after the append")]
    NotEnoughReplicasAfterAppend,
    /// The batch was refused by the log.
    #[error(transparent)]
    Append(AppendError),
    /// The log directory is offline.
    #[error("log directory is offline")]
    Offline,
    /// The disk is full up to what is kept back.
    #[error("disk is full: the last {reserve} bytes are kept back (ottla.disk.reserve.bytes)")]
    NoSpace {
        /// Bytes kept back.
        reserve: i64,
    },
}

impl ProduceError {
    /// The code on the wire.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NotLeader => ErrorCode::NotLeaderOrFollower,
            Self::NotEnoughReplicas { .. } => ErrorCode::NotEnoughReplicas,
            Self::NotEnoughReplicasAfterAppend => ErrorCode::NotEnoughReplicasAfterAppend,
            Self::Offline | Self::NoSpace { .. } => ErrorCode::KafkaStorageError,
            Self::Append(error) => ErrorCode::try_from(error.code()).unwrap_or(ErrorCode::UnknownServerError),
        }
    }

    /// Whether it is only that the disk is full.
    pub fn is_no_space(&self) -> bool {
        match self {
            Self::NoSpace { .. } => true,
            Self::Append(AppendError::Log(error)) => error.is_no_space(),
            _ => false,
        }
    }

    /// The records at fault, if it is about single ones.
    pub fn record_errors(&self) -> &[RecordError] {
        match self {
            Self::Append(error) => error.record_errors(),
            _ => &[],
        }
    }
}
