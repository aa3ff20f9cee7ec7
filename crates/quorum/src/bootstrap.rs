//! `bootstrap.checkpoint`: the records that a formatted, still empty metadata log is to begin with; and the first
//! snapshot of a directory with dynamic voters. Both are written when a directory is formatted.

use std::path::Path;

use bytes::Bytes;
use ottla_log::disk::Disk;
use ottla_wire::Str;
use ottla_wire::batch::batches;
use ottla_wire::records::metadata::FeatureLevelRecord;

use crate::METADATA_DIR;
use crate::control::ControlRecord;
use crate::features::{FeatureError, KRaftVersion};
use crate::file;
use crate::image::MetadataImage;
use crate::metadata_version::MetadataVersion;
use crate::record::{MetadataRecord, VersionedRecord};
use crate::replay::ReplayError;
use crate::snapshot::{self, SnapshotError, SnapshotId, check_batch};
use crate::voters::VoterSet;

/// Name of the file, in every log directory.
pub const FILE: &str = "bootstrap.checkpoint";

/// What a new cluster begins with.
#[derive(Clone, Debug, PartialEq)]
pub struct Bootstrap {
    /// Records in the order of the file; the first finalises `metadata.version`.
    pub records: Vec<VersionedRecord>,
}

impl Bootstrap {
    /// A cluster at the level, with nothing else finalised.
    pub fn at(level: MetadataVersion) -> Self {
        Self { records: vec![feature_level(MetadataVersion::FEATURE, level.level())] }
    }

    /// Finalised `metadata.version`, if it is there and served.
    pub fn metadata_version(&self) -> Option<MetadataVersion> {
        self.image().ok()?.metadata_version()
    }

    /// Finalised level of a feature, 0 for none.
    pub fn level(&self, feature: &str) -> i16 {
        self.image().map_or(0, |image| image.features.level(feature))
    }

    /// Whether everything that would be finalised is served here.
    ///
    /// # Errors
    /// Names the first feature and level that is not.
    pub fn check_supported(&self) -> Result<(), FeatureError> {
        let Ok(image) = self.image() else { return Ok(()) };
        image.features.check_supported()
    }

    fn image(&self) -> Result<MetadataImage, crate::image::ApplyError> {
        let mut image = MetadataImage::default();
        for record in &self.records {
            image.apply(&record.record)?;
        }
        Ok(image)
    }
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self::at(MetadataVersion::LATEST)
    }
}

/// The record that finalises a feature.
pub fn feature_level(name: &str, level: i16) -> VersionedRecord {
    let record = FeatureLevelRecord { name: Str::from(name), feature_level: level, ..Default::default() };
    VersionedRecord { record: MetadataRecord::FeatureLevel(record), version: 0 }
}

/// Reads the file in a log directory; `None` if there is none.
///
/// # Errors
/// The file is damaged.
pub fn read(disk: &dyn Disk, log_dir: &Path) -> Result<Option<Bootstrap>, SnapshotError> {
    let path = log_dir.join(FILE);
    let io = |cause| SnapshotError::Io { path: path.clone(), cause };
    let Some(bytes) = file::read_if_exists(disk, &path).map_err(io)? else {
        return Ok(None);
    };
    let mut records = Vec::new();
    for batch in batches(&Bytes::from(bytes)) {
        let failed = |cause| SnapshotError::Replay { path: path.clone(), cause };
        let batch = check_batch(batch).map_err(failed)?;
        if batch.header.is_control() {
            continue;
        }
        let damaged = |cause| ReplayError::Batch { offset: batch.header.base_offset, cause };
        for record in batch.records().map_err(|error| failed(damaged(error)))? {
            let record = record.map_err(|error| failed(damaged(error)))?;
            let offset = record.offset;
            let value = record.value.ok_or_else(|| failed(ReplayError::NoValue(offset)))?;
            let record = VersionedRecord::decode(value)
                .map_err(|cause| failed(ReplayError::Record { offset, cause }))?;
            records.push(record);
        }
    }
    Ok(Some(Bootstrap { records }))
}

/// Writes the file durably into a log directory.
///
/// # Errors
/// A record cannot be encoded, or the system refuses.
pub fn write(disk: &dyn Disk, log_dir: &Path, bootstrap: &Bootstrap, now: i64) -> Result<(), SnapshotError> {
    let bytes = snapshot::render(&[snapshot::header(0)], &bootstrap.records, 0, now)?;
    snapshot::write_file(disk, &log_dir.join(FILE), &bytes)
}

/// Writes the snapshot at offset 0 that makes the quorum of a new directory a dynamic one with these voters.
///
/// # Errors
/// The system refuses.
pub fn write_first_voters(
    disk: &dyn Disk,
    log_dir: &Path,
    voters: &VoterSet,
    now: i64,
) -> Result<(), SnapshotError> {
    let dir = log_dir.join(METADATA_DIR);
    let io = |cause| SnapshotError::Io { path: dir.clone(), cause };
    disk.create_dir_all(&dir).map_err(io)?;
    disk.sync_dir(log_dir).map_err(io)?;
    let head = [
        snapshot::header(now),
        ControlRecord::kraft_version(KRaftVersion::Dynamic.level()),
        ControlRecord::Voters(voters.to_record()),
    ];
    let bytes = snapshot::render(&head, &[], 0, now)?;
    let id = SnapshotId { end_offset: 0, epoch: 0 };
    snapshot::write_file(disk, &dir.join(id.file_name()), &bytes)
}
