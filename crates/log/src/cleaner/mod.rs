//! Compaction: of each key the last record stays (`cleanup.policy=compact`), at its offset and in its order.
//!
//! A cleaning goes in rounds. [`Log::cleaning`] notes, under the log's lock, what there is; [`Cleaning::run`] then
//! reads the dirty segments into an [`OffsetMap`], writes all segments below anew without the records that a later
//! one supersedes, and takes the lock again only to put each result in place of its sources.
//!
//! Invariants:
//! - nothing at or above min(last stable offset, active segment, `min.compaction.lag.ms`, recovery point) changes;
//! - a tombstone stays for `delete.retention.ms` after the first cleaning that saw it (KIP-534: the batch says until
//!   when);
//! - the last batch of each producer stays, if need be without records, and so does the last batch of every written
//!   segment: sequences and the offsets up to the next segment are never lost;
//! - a crash at any step leaves the old segments or the new one, as `log/swap.rs` says.
//!
//! Of transactions: what a committed one wrote is data like any other. Batches of aborted ones and all control batches
//! stay as they are, and supersede nothing; `cleaner/aborted.rs` is where their removal belongs.

mod aborted;
mod build;
mod filter;
mod group;
mod offset_map;
mod raw_record;
mod round;
mod select;
mod source;
mod token_bucket;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub(crate) use aborted::Aborted;
pub(crate) use round::Replacement;
pub(crate) use source::Source;

pub use offset_map::{DEFAULT_LOAD_FACTOR, OffsetMap};
pub use round::{Cleaned, Cleaning};
pub use select::{Cleanable, filthiest};
pub use token_bucket::TokenBucket;

use crate::error::LogError;
use crate::log::Log;

/// How much memory one cleaning may use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Buffers {
    /// Bytes of the offset map: `log.cleaner.dedupe.buffer.size` divided by the threads.
    pub dedupe_bytes: usize,
    /// `log.cleaner.io.buffer.load.factor`: how full the map may become, above 0 and up to 1.
    pub load_factor: f64,
    /// Bytes read and bytes written at a time: half of `log.cleaner.io.buffer.size` divided by the threads. A larger
    /// batch is read whole.
    pub io_bytes: usize,
}

impl Default for Buffers {
    fn default() -> Self {
        Self { dedupe_bytes: 128 << 20, load_factor: DEFAULT_LOAD_FACTOR, io_bytes: 256 << 10 }
    }
}

/// Why a cleaning ended early. What it had put in place before stays; the rest is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CleanError {
    /// [`Pace::spend`] said so.
    #[error("cleaning was interrupted")]
    Interrupted,
    /// The log was truncated, deleted, or lost segments to retention meanwhile.
    #[error("log changed while it was being cleaned")]
    Changed,
    /// Files cannot be read or written, or make no sense.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Is told of every byte read and written; may wait, so that cleaning stays within `log.cleaner.io.max.bytes.per.second`.
pub trait Pace {
    /// `bytes` were read or are about to be written. False ends the cleaning.
    fn spend(&mut self, bytes: usize) -> bool;
}

/// As fast as the disk goes.
#[derive(Clone, Copy, Debug)]
pub struct Unhurried;

impl Pace for Unhurried {
    fn spend(&mut self, _: usize) -> bool {
        true
    }
}

/// Gives a cleaning its log now and then, for a short time.
pub trait LogAccess {
    /// Runs `work` with the log locked for writing; `None` if there is no log any more.
    fn with_log<R>(&self, work: impl FnOnce(&mut Log) -> R) -> Option<R>;
}
