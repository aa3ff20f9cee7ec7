//! Snapshots of the metadata log (KIP-630): `<end offset, 20 digits>-<epoch, 10 digits>.checkpoint`.
//!
//! A file of batches: a control batch with the header (and `kraft.version` and voters where they are dynamic), the
//! records of an image, a control batch with the footer. It is written to `.part`, synced and renamed, so that a
//! file of the right name is whole.

use std::io;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use ottla_log::disk::Disk;
use ottla_wire::Str;
use ottla_wire::batch::{Batch, BatchBuilder, Record, batches};
use ottla_wire::records::raft::{SnapshotFooterRecord, SnapshotHeaderRecord};

use crate::control::{ControlRecord, control_batch};
use crate::features::KRaftVersion;
use crate::file;
use crate::image::{MetadataImage, Provenance};
use crate::record::{RecordError, VersionedRecord};
use crate::replay::{Replay, ReplayError};
use crate::voters::VoterSet;

/// End of a snapshot's name.
pub const SUFFIX: &str = ".checkpoint";
/// End of the name while it is written.
pub const PART_SUFFIX: &str = ".part";
/// Records in a batch of a snapshot.
const RECORDS_PER_BATCH: usize = 1024;

/// Which part of the log a snapshot stands for: all records below the end offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SnapshotId {
    /// Offset after the last record in it.
    pub end_offset: i64,
    /// Epoch of the last record in it.
    pub epoch: i32,
}

impl SnapshotId {
    /// Name of the file.
    pub fn file_name(self) -> String {
        format!("{:020}-{:010}{SUFFIX}", self.end_offset, self.epoch)
    }

    /// The id in a file's name, `None` if it is no snapshot's.
    pub fn from_file_name(name: &str) -> Option<Self> {
        let (end_offset, epoch) = name.strip_suffix(SUFFIX)?.split_once('-')?;
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if end_offset.len() != 20 || epoch.len() != 10 || !digits(end_offset) || !digits(epoch) {
            return None;
        }
        Some(Self { end_offset: end_offset.parse().ok()?, epoch: epoch.parse().ok()? })
    }
}

/// Why a snapshot cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The system refuses.
    #[error("snapshot {path}: {cause}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        cause: io::Error,
    },
    /// A batch is damaged or does not fit.
    #[error("snapshot {path}: {cause}")]
    Replay {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: ReplayError,
    },
    /// The file does not begin with a header and end with a footer.
    #[error("snapshot {path}: {reason}")]
    Incomplete {
        /// The file.
        path: PathBuf,
        /// What is missing.
        reason: &'static str,
    },
    /// A record cannot be written.
    #[error("snapshot: {0}")]
    Record(#[from] RecordError),
}

/// What a snapshot file holds.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The image, at the offset before the end.
    pub image: MetadataImage,
    /// The voters, if they are dynamic.
    pub voters: Option<VoterSet>,
}

/// Reads a snapshot and checks that it is whole.
///
/// # Errors
/// See [`SnapshotError`].
pub fn read(
    disk: &dyn Disk,
    path: &Path,
    id: SnapshotId,
    cluster_id: &Str,
) -> Result<Snapshot, SnapshotError> {
    let bytes = disk.read(path).map_err(|cause| SnapshotError::Io { path: path.to_owned(), cause })?;
    let failed = |cause| SnapshotError::Replay { path: path.to_owned(), cause };
    let incomplete = |reason| SnapshotError::Incomplete { path: path.to_owned(), reason };
    let mut replay = Replay::new(MetadataImage::empty(cluster_id.clone()), None);
    let mut contained_until = None;
    let mut whole = false;
    for batch in batches(&Bytes::from(bytes)) {
        let batch = check_batch(batch).map_err(failed)?;
        if whole {
            return Err(incomplete("data after the footer"));
        }
        for control in control_records(&batch).map_err(failed)? {
            match control {
                ControlRecord::SnapshotHeader(header) => {
                    contained_until = Some(header.last_contained_log_timestamp);
                }
                ControlRecord::SnapshotFooter(_) => whole = true,
                _ => {}
            }
        }
        if contained_until.is_none() {
            return Err(incomplete("no header"));
        }
        replay.batch(&batch).map_err(failed)?;
    }
    let timestamp = contained_until.ok_or_else(|| incomplete("no header"))?;
    if !whole || replay.open_transaction().is_some() {
        return Err(incomplete("no footer"));
    }
    replay.advance(Provenance { offset: id.end_offset - 1, epoch: id.epoch, timestamp });
    Ok(Snapshot { image: replay.image().clone(), voters: replay.voters().cloned() })
}

/// Writes the image as a snapshot durably and returns its id. Without dynamic voters, `voters` is `None`.
///
/// # Errors
/// See [`SnapshotError`]; there is no file of the final name then.
pub fn write(
    disk: &dyn Disk,
    dir: &Path,
    image: &MetadataImage,
    voters: Option<&VoterSet>,
    now: i64,
) -> Result<SnapshotId, SnapshotError> {
    let provenance = image.provenance;
    let id = SnapshotId { end_offset: provenance.offset + 1, epoch: provenance.epoch.max(0) };
    let mut head = vec![header(provenance.timestamp)];
    if let (Some(voters), KRaftVersion::Dynamic) = (voters, image.features.kraft_version) {
        head.push(ControlRecord::kraft_version(KRaftVersion::Dynamic.level()));
        head.push(ControlRecord::Voters(voters.to_record()));
    }
    let path = dir.join(id.file_name());
    let bytes = render(&head, &image.to_records(), id.epoch, now)?;
    write_file(disk, &path, &bytes)?;
    Ok(id)
}

/// Writes a file in the format of snapshots.
pub(crate) fn write_file(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<(), SnapshotError> {
    file::write_atomically(disk, path, PART_SUFFIX, bytes)
        .map_err(|cause| SnapshotError::Io { path: path.to_owned(), cause })
}

/// The control record that a snapshot begins with.
pub(crate) fn header(last_contained_log_timestamp: i64) -> ControlRecord {
    ControlRecord::SnapshotHeader(SnapshotHeaderRecord {
        version: 0,
        last_contained_log_timestamp,
        ..Default::default()
    })
}

/// The bytes of a file in the format of snapshots.
pub(crate) fn render(
    head: &[ControlRecord],
    records: &[VersionedRecord],
    epoch: i32,
    timestamp: i64,
) -> Result<BytesMut, RecordError> {
    let mut out = BytesMut::new();
    let mut offset = 0;
    out.extend_from_slice(&control_batch(head, offset, epoch, timestamp)?);
    offset += count(head);
    for chunk in records.chunks(RECORDS_PER_BATCH) {
        out.extend_from_slice(&data_batch(chunk, offset, epoch, timestamp)?);
        offset += count(chunk);
    }
    let footer = ControlRecord::SnapshotFooter(SnapshotFooterRecord { version: 0, ..Default::default() });
    out.extend_from_slice(&control_batch(&[footer], offset, epoch, timestamp)?);
    Ok(out)
}

/// A batch of metadata records.
///
/// # Errors
/// A record cannot be encoded.
pub(crate) fn data_batch(
    records: &[VersionedRecord],
    base_offset: i64,
    epoch: i32,
    timestamp: i64,
) -> Result<Bytes, RecordError> {
    let mut batch = BatchBuilder::new(base_offset).leader_epoch(epoch);
    for record in records {
        batch.push(Record { timestamp, key: None, value: Some(record.encode()?), headers: Vec::new() });
    }
    Ok(batch.build())
}

/// The control records of a batch, none if it is a batch of data.
pub(crate) fn control_records(batch: &Batch) -> Result<Vec<ControlRecord>, ReplayError> {
    let offset = batch.header.base_offset;
    if !batch.header.is_control() {
        return Ok(Vec::new());
    }
    let damaged = |cause| ReplayError::Batch { offset, cause };
    batch
        .records()
        .map_err(damaged)?
        .map(|record| {
            let record = record.map_err(damaged)?;
            ControlRecord::decode(record.key.as_ref(), record.value)
                .map_err(|cause| ReplayError::Record { offset: record.offset, cause })
        })
        .collect()
}

pub(crate) fn check_batch(batch: Result<Batch, ottla_wire::batch::BatchError>) -> Result<Batch, ReplayError> {
    let batch = batch.map_err(|cause| ReplayError::Batch { offset: -1, cause })?;
    let offset = batch.header.base_offset;
    batch.verify_crc().map_err(|cause| ReplayError::Batch { offset, cause })?;
    Ok(batch)
}

fn count<T>(items: &[T]) -> i64 {
    i64::try_from(items.len()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kafkas() {
        let id = SnapshotId { end_offset: 33, epoch: 1 };
        assert_eq!(id.file_name(), "00000000000000000033-0000000001.checkpoint");
        assert_eq!(SnapshotId::from_file_name(&id.file_name()), Some(id));
        for other in [
            "bootstrap.checkpoint",
            "33-1.checkpoint",
            "00000000000000000033-0000000001.checkpoint.part",
            "0000000000000000003x-0000000001.checkpoint",
        ] {
            assert_eq!(SnapshotId::from_file_name(other), None, "{other}");
        }
    }
}
