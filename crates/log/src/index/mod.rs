//! The sparse indexes of a segment: files of fixed-size big-endian entries, sorted, relative to the base offset.
//!
//! Kafka maps preallocated files; ours are as long as their entries. New entries gather in memory and are written a
//! few hundred at a time: an index is rebuilt after a crash anyway, and is complete after [`IndexFile::flush`].

mod entry;
mod file;
mod txn;

pub(crate) use entry::{Entry, OffsetEntry, TimeEntry};
pub(crate) use file::{IndexFile, IndexView};
pub(crate) use txn::TxnIndex;
