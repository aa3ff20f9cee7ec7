//! From batches of the log to the image: control records, and transactions of the metadata (KIP-868).
//!
//! The records between `BeginTransaction` and `EndTransaction` count only at the end: until then they go into an
//! image of their own, which an abort throws away.

use ottla_wire::batch::{Batch, BatchError, Compression};

use crate::control::ControlRecord;
use crate::features::KRaftVersion;
use crate::image::{ApplyError, MetadataImage, Provenance};
use crate::record::{MetadataRecord, RecordError, VersionedRecord};
use crate::voters::VoterSet;

/// A batch of the metadata log that cannot be applied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The batch's bytes are damaged.
    #[error("offset {offset}: {cause}")]
    Batch {
        /// Offset of the batch.
        offset: i64,
        /// What is wrong.
        cause: BatchError,
    },
    /// Metadata batches are never compressed.
    #[error("offset {offset}: metadata batch is compressed with {}", compression.name())]
    Compressed {
        /// Offset of the batch.
        offset: i64,
        /// The codec.
        compression: Compression,
    },
    /// A record cannot be read.
    #[error("offset {offset}: {cause}")]
    Record {
        /// Offset of the record.
        offset: i64,
        /// What is wrong.
        cause: RecordError,
    },
    /// A record without a value.
    #[error("offset {0}: metadata record without a value")]
    NoValue(i64),
    /// A record does not fit.
    #[error("offset {offset}: {cause}")]
    Apply {
        /// Offset of the record.
        offset: i64,
        /// What is wrong.
        cause: ApplyError,
    },
    /// `BeginTransaction` inside of a transaction, or an end outside.
    #[error("offset {offset}: {marker} {place} a transaction")]
    Transaction {
        /// Offset of the record.
        offset: i64,
        /// Type of the record.
        marker: &'static str,
        /// `inside` or `outside of`.
        place: &'static str,
    },
    /// `kraft.version` at a level that is not served.
    #[error(
        "offset {offset}: feature kraft.version is finalised at level {level}; this broker supports levels 0 to 1"
    )]
    KRaftVersion {
        /// Offset of the record.
        offset: i64,
        /// The level.
        level: i16,
    },
}

/// A transaction that has not ended.
#[derive(Clone, Debug)]
struct Transaction {
    start_offset: i64,
    image: MetadataImage,
}

/// An image that follows a log.
#[derive(Clone, Debug)]
pub struct Replay {
    image: MetadataImage,
    transaction: Option<Transaction>,
    voters: Option<VoterSet>,
    last: Provenance,
}

impl Replay {
    /// Begins with the image, whose provenance says what was read so far.
    pub fn new(image: MetadataImage, voters: Option<VoterSet>) -> Self {
        Self { last: image.provenance, image, transaction: None, voters }
    }

    /// The image without what an open transaction did.
    pub fn image(&self) -> &MetadataImage {
        &self.image
    }

    /// Voters as the log has them, `None` if it says nothing.
    pub fn voters(&self) -> Option<&VoterSet> {
        self.voters.as_ref()
    }

    /// Takes voters that were just written.
    pub(crate) fn set_voters(&mut self, voters: VoterSet) {
        self.voters = Some(voters);
    }

    /// Offset of the `BeginTransaction` that has no end yet.
    pub fn open_transaction(&self) -> Option<i64> {
        self.transaction.as_ref().map(|transaction| transaction.start_offset)
    }

    /// The last offset that was read, whether it counts yet or not.
    pub fn last(&self) -> Provenance {
        self.last
    }

    /// Reads a batch.
    ///
    /// # Errors
    /// See [`ReplayError`]; the replay must not go on then.
    pub fn batch(&mut self, batch: &Batch) -> Result<(), ReplayError> {
        let header = &batch.header;
        let offset = header.base_offset;
        let damaged = |cause| ReplayError::Batch { offset, cause };
        let compression = header.compression().map_err(damaged)?;
        if compression != Compression::None {
            return Err(ReplayError::Compressed { offset, compression });
        }
        for record in batch.records().map_err(damaged)? {
            let record = record.map_err(damaged)?;
            let offset = record.offset;
            let unreadable = |cause| ReplayError::Record { offset, cause };
            if header.is_control() {
                let control = ControlRecord::decode(record.key.as_ref(), record.value).map_err(unreadable)?;
                self.control(offset, &control)?;
            } else {
                let value = record.value.ok_or(ReplayError::NoValue(offset))?;
                let record = VersionedRecord::decode(value).map_err(unreadable)?.record;
                self.record(offset, &record)?;
            }
        }
        self.advance(Provenance {
            offset: header.last_offset(),
            epoch: header.partition_leader_epoch,
            timestamp: header.max_timestamp,
        });
        Ok(())
    }

    /// Takes a record at its offset.
    ///
    /// # Errors
    /// The record does not fit.
    pub fn record(&mut self, offset: i64, record: &MetadataRecord) -> Result<(), ReplayError> {
        let misplaced = |place| ReplayError::Transaction { offset, marker: record.name(), place };
        match record {
            MetadataRecord::BeginTransaction(_) => {
                if self.transaction.is_some() {
                    return Err(misplaced("inside"));
                }
                self.transaction = Some(Transaction { start_offset: offset, image: self.image.clone() });
                // What lies before the transaction is what a snapshot may hold.
                self.image.provenance.offset = self.image.provenance.offset.max(offset - 1);
            }
            MetadataRecord::EndTransaction(_) => {
                let transaction = self.transaction.take().ok_or_else(|| misplaced("outside of"))?;
                self.image = transaction.image;
            }
            MetadataRecord::AbortTransaction(_) => {
                self.transaction.take().ok_or_else(|| misplaced("outside of"))?;
            }
            record => {
                self.working_image().apply(record).map_err(|cause| ReplayError::Apply { offset, cause })?;
            }
        }
        Ok(())
    }

    /// Everything up to here was read; it counts unless a transaction is open.
    pub fn advance(&mut self, to: Provenance) {
        self.last = to;
        if self.transaction.is_none() {
            self.image.provenance = to;
        }
    }

    fn control(&mut self, offset: i64, record: &ControlRecord) -> Result<(), ReplayError> {
        match record {
            ControlRecord::KRaftVersion(record) => {
                let level = record.kraft_version;
                let version =
                    KRaftVersion::from_level(level).ok_or(ReplayError::KRaftVersion { offset, level })?;
                self.image.set_kraft_version(version);
                if let Some(transaction) = &mut self.transaction {
                    transaction.image.set_kraft_version(version);
                }
            }
            ControlRecord::Voters(record) => self.voters = Some(VoterSet::from_record(record)),
            _ => {}
        }
        Ok(())
    }

    fn working_image(&mut self) -> &mut MetadataImage {
        match &mut self.transaction {
            Some(transaction) => &mut transaction.image,
            None => &mut self.image,
        }
    }
}
