//! One partition's log in Kafka's on-disk format: segments, indexes, checkpoints, producer state, recovery.
//!
//! Synchronous, without a clock: the time is a parameter. All file access goes through [`disk::Disk`].

pub mod checkpoint;
pub mod config;
pub mod disk;
mod error;
mod log;
mod types;

pub use config::{CompressionLevels, CompressionType, LogConfig};
pub use error::{AppendError, LogError, ReadError, RecordError};
pub use log::{AbortedTxn, Appended, Log, Opening, Origin, Slice, TimestampOffset};
pub use types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};
