//! Opening: read and judge without writing, then recover, elect and begin.

use std::path::Path;
use std::sync::Arc;

use ottla_log::disk::Disk;
use ottla_log::{Log, LogConfig, Offset, Opening, TimestampMs};
use ottla_wire::records::metadata::{AbortTransactionRecord, BeginTransactionRecord, EndTransactionRecord};

use super::{MAX_BATCH_BYTES, Quorum, QuorumConfig, QuorumError};
use crate::METADATA_DIR;
use crate::bootstrap::{self, Bootstrap};
use crate::features::{FeatureError, KRaftVersion};
use crate::file;
use crate::load::{Loaded, load};
use crate::metadata_version::MetadataVersion;
use crate::quorum_state;
use crate::record::{MetadataRecord, VersionedRecord};
use crate::role::{Event, Raft};
use crate::snapshot::{PART_SUFFIX, SUFFIX};
use crate::voters::VoterSet;

/// What Kafka writes for the topic of the metadata log, whose id is always the same.
const PARTITION_METADATA: &str = "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ";

/// A metadata log that was read and found to be one that this node can serve. Nothing has been written.
#[derive(Debug)]
pub struct Examined {
    loaded: Loaded,
    bootstrap: Bootstrap,
    voters: VoterSet,
    epoch: i32,
    announce_voters: bool,
}

impl Examined {
    /// The image at the end of the log.
    pub fn image(&self) -> &crate::MetadataImage {
        self.loaded.replay.image()
    }
}

impl Quorum {
    /// Reads the directory and judges whether this node can serve it, without writing.
    ///
    /// # Errors
    /// Features that are not served, damage, or voters that leave no majority to this node.
    pub fn examine(config: &QuorumConfig, disk: &dyn Disk) -> Result<Examined, QuorumError> {
        let dir = config.dir();
        let bootstrap = bootstrap::read(disk, &config.log_dir)?.unwrap_or_default();
        let loaded = load(disk, &dir, &config.cluster_id)?;
        let image = loaded.replay.image();
        let refused = |path: &Path| {
            let path = path.to_owned();
            move |cause: FeatureError| QuorumError::Feature { path, cause }
        };
        image.features.check_supported().map_err(refused(&dir))?;
        if image.features.levels.is_empty() {
            let path = config.log_dir.join(bootstrap::FILE);
            bootstrap.check_supported().map_err(refused(&path))?;
        }
        let election = quorum_state::read(disk, &dir)?;
        let (voters, announce_voters) = settle_voters(config, &loaded)?;
        let epoch = election.map_or(0, |election| election.epoch).max(loaded.last_epoch);
        Ok(Examined { loaded, bootstrap, voters, epoch, announce_voters })
    }

    /// Recovers the log, elects this node in a new epoch, and writes what a new log begins with.
    ///
    /// # Errors
    /// As [`Quorum::examine`], and everything that writing can meet.
    pub fn open(config: QuorumConfig, disk: Arc<dyn Disk>, now: i64) -> Result<Self, QuorumError> {
        let mut examined = Self::examine(&config, &*disk)?;
        let dir = config.dir();
        prepare_dir(&*disk, &config.log_dir, &dir)
            .map_err(|cause| QuorumError::Io { path: dir.clone(), cause })?;
        // The names are durable when `quorum-state` is written, before anything is flushed.
        let opening = Opening { names_synced: true, ..Opening::default() };
        let now_ms = TimestampMs(now);
        let mut log = Log::open(dir.clone(), log_config(&config), Arc::clone(&disk), opening, now_ms)?;
        if examined.loaded.torn_bytes > 0 {
            tracing::warn!(bytes = examined.loaded.torn_bytes, "metadata log ended in a torn batch");
        }
        let needed = examined.loaded.replay.last().offset + 1;
        if log.end_offset().0 < needed && log.end_offset().0 == examined.loaded.log_end {
            // The newest snapshot reaches beyond the log.
            log.truncate_fully_and_start_at(Offset(needed), now_ms)?;
        } else if log.end_offset().0 != needed {
            examined.loaded = load(&*disk, &dir, &config.cluster_id)?;
        }
        let raft = Raft::new(config.node_id, config.directory_id, examined.voters, examined.epoch);
        let mut quorum = Self {
            dir,
            disk,
            log,
            raft,
            snapshots: examined.loaded.snapshots,
            bytes_since_snapshot: examined.loaded.bytes_after_snapshot,
            replay: examined.loaded.replay,
            last_snapshot_ms: now,
            announce_voters: examined.announce_voters,
            failed: None,
            config,
        };
        quorum.drive(Event::ElectionTimeout, now)?;
        quorum.begin(&examined.bootstrap, now)?;
        Ok(quorum)
    }

    /// What an active controller writes first: it ends a transaction that has no end, and begins an empty log.
    fn begin(&mut self, bootstrap: &Bootstrap, now: i64) -> Result<(), QuorumError> {
        if self.open_transaction().is_some() {
            let reason = "this controller took over in the middle of the transaction";
            let abort = AbortTransactionRecord { reason: Some(reason.into()), ..Default::default() };
            self.append(&[unversioned(MetadataRecord::AbortTransaction(abort))], now)?;
        }
        if self.image().features.levels.is_empty() {
            self.append(&first_records(bootstrap), now)?;
        }
        self.commit(now)
    }
}

/// The records of the bootstrap file, in a transaction where the level knows them.
fn first_records(bootstrap: &Bootstrap) -> Vec<VersionedRecord> {
    let records = bootstrap.records.iter().cloned();
    if !bootstrap.metadata_version().is_some_and(MetadataVersion::has_transactions) {
        return records.collect();
    }
    let name = Some("Bootstrap records".into());
    let begin = BeginTransactionRecord { name, ..Default::default() };
    let end = EndTransactionRecord::default();
    std::iter::once(unversioned(MetadataRecord::BeginTransaction(begin)))
        .chain(records)
        .chain([unversioned(MetadataRecord::EndTransaction(end))])
        .collect()
}

fn unversioned(record: MetadataRecord) -> VersionedRecord {
    VersionedRecord { record, version: 0 }
}

/// Who votes, and whether the log has to be told about it.
fn settle_voters(config: &QuorumConfig, loaded: &Loaded) -> Result<(VoterSet, bool), QuorumError> {
    match loaded.replay.image().features.kraft_version {
        KRaftVersion::Static => settle_static(config).map(|voters| (voters, false)),
        KRaftVersion::Dynamic => settle_dynamic(config, loaded),
    }
}

fn settle_static(config: &QuorumConfig) -> Result<VoterSet, QuorumError> {
    let Some(voters) = &config.static_voters else {
        return Err(QuorumError::Voters(format!(
            "{} has no voters in its metadata log (kraft.version 0) and controller.quorum.voters is not set: set \
             controller.quorum.voters={}@host:port, or format the directory for dynamic voters",
            config.log_dir.display(),
            config.node_id
        )));
    };
    check_only_voter(config, voters, "controller.quorum.voters")?;
    Ok(voters.clone())
}

fn settle_dynamic(config: &QuorumConfig, loaded: &Loaded) -> Result<(VoterSet, bool), QuorumError> {
    let voters = loaded.replay.voters().cloned().unwrap_or_default();
    check_only_voter(config, &voters, "the metadata log's voters")?;
    let Some(own) = voters.get(config.node_id) else { return Ok((voters, false)) };
    if own.directory_id != config.directory_id {
        return Err(QuorumError::Voters(format!(
            "{}: the voter {} of the metadata log has directory id {}, this directory has {}",
            config.log_dir.display(),
            own.id,
            own.directory_id,
            config.directory_id
        )));
    }
    let mut renewed = own.clone();
    renewed.kraft_versions = (0, 1);
    if !config.endpoints.is_empty() {
        renewed.endpoints.clone_from(&config.endpoints);
    }
    let changed = renewed != *own;
    let announce = changed || loaded.log_end == 0;
    Ok((voters.with(renewed), announce))
}

fn check_only_voter(config: &QuorumConfig, voters: &VoterSet, whose: &str) -> Result<(), QuorumError> {
    if voters.len() == 1 && voters.get(config.node_id).is_some() {
        return Ok(());
    }
    let ids: Vec<String> = voters.ids().map(|id| id.to_string()).collect();
    Err(QuorumError::Voters(format!(
        "{whose} are [{}]; a quorum is served only if node {} is its one voter",
        ids.join(", "),
        config.node_id
    )))
}

fn prepare_dir(disk: &dyn Disk, log_dir: &Path, dir: &Path) -> std::io::Result<()> {
    if disk.len(&dir.join(quorum_state::FILE))?.is_none() {
        disk.create_dir_all(dir)?;
        disk.sync_dir(log_dir)?;
    }
    for name in disk.list(dir)? {
        if name.ends_with(&format!("{SUFFIX}{PART_SUFFIX}")) || name.ends_with(".checkpoint.deleted") {
            disk.remove_file(&dir.join(name))?;
        }
    }
    let path = dir.join("partition.metadata");
    if disk.len(&path)?.is_none() {
        file::write_atomically(disk, &path, ".tmp", PARTITION_METADATA.as_bytes())?;
    }
    debug_assert!(dir.ends_with(METADATA_DIR));
    Ok(())
}

/// Retention is by snapshots alone; the log deletes nothing by itself.
pub(super) fn log_config(config: &QuorumConfig) -> LogConfig {
    LogConfig {
        segment_bytes: config.segment_bytes,
        segment_ms: config.segment_ms,
        max_message_bytes: u32::try_from(MAX_BATCH_BYTES).unwrap_or(u32::MAX),
        timestamp_after_max_ms: i64::MAX,
        retention_ms: -1,
        retention_bytes: -1,
        ..LogConfig::default()
    }
}
