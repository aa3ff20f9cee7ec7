//! What the coordinator needs of a partition of `__consumer_offsets`.

use std::future::Future;

use bytes::Bytes;

use super::GroupError;

/// A partition's log, as its leader sees it. Refusals come as what a client is to be told.
pub trait OffsetsLog: Send + Sync + 'static {
    /// Appends a batch that all in-sync replicas must get; returns the offset of its last record.
    ///
    /// # Errors
    /// Nothing was written then.
    fn append(&self, batch: Bytes) -> Result<i64, GroupError>;

    /// Everything below is safe.
    fn high_watermark(&self) -> i64;

    /// Waits until the high watermark is at or above `end`.
    ///
    /// # Errors
    /// It never will be: the partition has another leader, or its storage failed.
    fn wait_committed(&self, end: i64) -> impl Future<Output = Result<(), GroupError>> + Send;

    /// The first offset, and the one after the last.
    fn bounds(&self) -> (i64, i64);

    /// Whole batches from the one with `offset` on: about `max_bytes`, at least one batch. Waits for the disk.
    ///
    /// # Errors
    /// The storage failed.
    fn read(&self, offset: i64, max_bytes: usize) -> Result<Bytes, GroupError>;
}
