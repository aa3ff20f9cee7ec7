//! One partition's log in Kafka's on-disk format: segments, indexes, checkpoints, producer state, recovery.
//!
//! Synchronous, without a clock: the time is a parameter. All file access goes through [`disk::Disk`].
//!
//! - [`Log`] is what others use; `segment` and `index` are the files it is made of.
//! - `validate` judges what clients send, `producer` remembers who sent it, `epochs` under which leader.
//! - [`cleaner`] takes out what later records supersede.
//! - [`checkpoint`] holds the small text files of a partition and of a log directory.

pub mod checkpoint;
pub mod cleaner;
pub mod compression;
pub mod config;
pub mod disk;
mod epochs;
mod error;
mod index;
mod log;
mod names;
mod producer;
pub mod properties;
mod segment;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(not(any(test, feature = "testing")))]
mod testing;
mod types;
mod validate;

pub use config::{CompressionLevels, CompressionType, LogConfig};
pub use error::{AppendError, LogError, ReadError, RecordError};
pub use log::{
    AbortedTxn, ActiveProducer, Appended, Flush, Log, Lookup, Names, Opening, Origin, Slice, TimestampOffset,
};
pub use types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};
