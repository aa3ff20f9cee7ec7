//! Opening: read and judge without writing, then recover, elect and begin.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use ottla_log::disk::Disk;
use ottla_log::{Log, LogConfig, Offset, Opening, TimestampMs};
use ottla_wire::Str;
use ottla_wire::records::metadata::{
    AbortTransactionRecord, BeginTransactionRecord, ConfigRecord, EndTransactionRecord,
};

use super::{MAX_BATCH_BYTES, Now, Quorum, QuorumConfig, QuorumError};
use crate::METADATA_DIR;
use crate::bootstrap::{self, Bootstrap};
use crate::features::{self, FeatureError, KRaftVersion};
use crate::file;
use crate::history::VoterHistory;
use crate::image::resource_type;
use crate::load::{Loaded, load};
use crate::metadata_version::MetadataVersion;
use crate::quorum_state::{self, Election};
use crate::raft::{Event, Raft, RaftConfig};
use crate::record::{MetadataRecord, VersionedRecord};
use crate::snapshot::{PART_SUFFIX, SUFFIX, SnapshotId};
use crate::voters::{Voter, VoterSet};

/// What Kafka writes for the topic of the metadata log, whose id is always the same.
const PARTITION_METADATA: &str = "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ";

/// A metadata log that was read and found to be one that this node can serve. Nothing has been written.
#[derive(Debug)]
pub struct Examined {
    loaded: Loaded,
    bootstrap: Bootstrap,
    election: Election,
}

impl Examined {
    /// The image at the end of the log, committed or not.
    pub fn image(&self) -> &crate::MetadataImage {
        self.loaded.replay.image()
    }
}

impl Quorum {
    /// Reads the directory and judges whether this node can serve it, without writing.
    ///
    /// # Errors
    /// Features that are not served, damage, or voters that this node cannot be among.
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
        let election = quorum_state::read(disk, &dir)?.unwrap_or(Election::NONE);
        check_voters(config, &loaded)?;
        Ok(Examined { loaded, bootstrap, election })
    }

    /// Recovers the log and takes the part in the quorum that the voters give to this node. A lone voter leads when this
    /// returns, in a new epoch, and a new log has its first records.
    ///
    /// # Errors
    /// As [`Quorum::examine`], and everything that writing can meet.
    pub fn open(config: QuorumConfig, disk: Arc<dyn Disk>, now: Now) -> Result<Self, QuorumError> {
        let examined = Self::examine(&config, &*disk)?;
        Self::open_examined(config, disk, examined, now)
    }

    /// As [`Quorum::open`] for the one voter of a quorum, and for nobody else.
    ///
    /// # Errors
    /// There are other voters (nothing was written then), or those of [`Quorum::open`].
    pub fn open_alone(config: QuorumConfig, disk: Arc<dyn Disk>, now: Now) -> Result<Self, QuorumError> {
        let examined = Self::examine(&config, &*disk)?;
        let (voters, version) = effective_voters(&config, &examined.loaded.history);
        let whose = match version {
            KRaftVersion::Static => "controller.quorum.voters",
            KRaftVersion::Dynamic => "the metadata log's voters",
        };
        check_only_voter(&config, &voters, whose)?;
        Self::open_examined(config, disk, examined, now)
    }

    fn open_examined(
        config: QuorumConfig,
        disk: Arc<dyn Disk>,
        examined: Examined,
        now: Now,
    ) -> Result<Self, QuorumError> {
        let Examined { mut loaded, bootstrap, election } = examined;
        let dir = config.dir();
        prepare_dir(&*disk, &config.log_dir, &dir)
            .map_err(|cause| QuorumError::Io { path: dir.clone(), cause })?;
        // The names are durable when `quorum-state` is written, before anything is flushed.
        let opening = Opening { names_synced: true, ..Opening::default() };
        let wall = TimestampMs(now.wall);
        let mut log = Log::open(dir.clone(), log_config(&config), Arc::clone(&disk), opening, wall)?;
        if loaded.torn_bytes > 0 {
            tracing::warn!(bytes = loaded.torn_bytes, "metadata log ended in a torn batch");
        }
        if let Some(id) = loaded.snapshots.last().filter(|id| is_superseded(&log, **id)) {
            log.truncate_fully_and_start_at(Offset(id.end_offset), wall)?;
        }
        if loaded.is_superseded || log.end_offset().0 != loaded.replay.last().offset + 1 {
            loaded = load(&*disk, &dir, &config.cluster_id)?;
        }
        let raft = raft(&config, &loaded, election, now);
        let mut quorum = Self {
            dir,
            disk,
            log,
            raft,
            snapshots: loaded.snapshots,
            bytes_since_snapshot: loaded.bytes_after_snapshot,
            refuses: false,
            committed: loaded.base,
            tip: Some(loaded.replay),
            undecided: VecDeque::new(),
            history: loaded.history,
            last_snapshot_ms: now.wall,
            bootstrap,
            active_epoch: -1,
            part: None,
            outbound: Vec::new(),
            now,
            failed: None,
            config,
        };
        if quorum.raft.voters().len() != 1 || !quorum.raft.is_voter() {
            // What was read may only be in the page cache, and it is going to be counted.
            quorum.sync_names(now.wall)?;
        }
        quorum.drive(Event::Tick, now)?;
        Ok(quorum)
    }

    fn sync_names(&mut self, now: i64) -> Result<(), QuorumError> {
        self.disk.sync_dir(&self.dir).map_err(|cause| QuorumError::Io { path: self.dir.clone(), cause })?;
        self.flush(now)
    }

    /// What an active controller writes first: it ends a transaction that has no end, and begins an empty log.
    pub(super) fn begin(&mut self, now: i64) -> Result<(), QuorumError> {
        if self.open_transaction().is_some() {
            let reason = "this controller took over in the middle of the transaction";
            let abort = AbortTransactionRecord { reason: Some(reason.into()), ..Default::default() };
            self.append(&[unversioned(MetadataRecord::AbortTransaction(abort))], now)?;
        }
        if self.image().features.levels.is_empty() {
            let records = first_records(&self.bootstrap, self.config.min_insync_replicas);
            self.append(&records, now)?;
        }
        self.commit(now)
    }
}

/// Whether the snapshot is beyond the log, or of a newer epoch: it was fetched, and the log was to be cut.
fn is_superseded(log: &Log, id: SnapshotId) -> bool {
    let end = log.end_offset().0;
    let is_empty = log.start_offset() == log.end_offset();
    let is_older = log.last_epoch().is_some_and(|epoch| epoch.0 < id.epoch);
    end < id.end_offset || (is_older && !(is_empty && end == id.end_offset))
}

fn raft(config: &QuorumConfig, loaded: &Loaded, election: Election, now: Now) -> Raft {
    let (voters, version) = effective_voters(config, &loaded.history);
    let local = Voter::standalone(config.node_id, config.directory_id, config.endpoints.clone());
    // Different for each directory and each start, so that the nodes do not stand for election all at once.
    let (high, low) = config.directory_id.as_bytes().split_at(8);
    let half = |bytes: &[u8]| bytes.try_into().map(u64::from_be_bytes).unwrap_or_default();
    let seed = half(high)
        ^ half(low).rotate_left(17)
        ^ u64::from(config.node_id.unsigned_abs())
        ^ now.wall.unsigned_abs();
    let raft = RaftConfig {
        local,
        listener: config.listener.clone(),
        bootstrap_servers: config.bootstrap_servers.clone(),
        timeouts: config.timeouts,
        seed,
    };
    Raft::new(raft, voters, version, election, loaded.last_epoch, now.monotonic)
}

/// The voters that count: those of the log where they are dynamic, else those of the configuration.
pub(super) fn effective_voters(config: &QuorumConfig, history: &VoterHistory) -> (VoterSet, KRaftVersion) {
    let version = history.version();
    let voters = match version {
        KRaftVersion::Static => config.static_voters.clone(),
        KRaftVersion::Dynamic => history.voters().cloned(),
    };
    (voters.unwrap_or_default(), version)
}

/// A node without voters needs somebody to ask; a lone voter must be in the directory that it is known by.
fn check_voters(config: &QuorumConfig, loaded: &Loaded) -> Result<(), QuorumError> {
    let (voters, version) = effective_voters(config, &loaded.history);
    if voters.is_empty() && version == KRaftVersion::Static && config.bootstrap_servers.is_empty() {
        return Err(QuorumError::Voters(format!(
            "{} has no voters in its metadata log (kraft.version 0) and controller.quorum.voters is not set: set \
             controller.quorum.voters={}@host:port, or format the directory for dynamic voters",
            config.log_dir.display(),
            config.node_id
        )));
    }
    match voters.get(config.node_id) {
        Some(own)
            if voters.len() == 1
                && version == KRaftVersion::Dynamic
                && own.directory_id != config.directory_id =>
        {
            Err(QuorumError::Voters(format!(
                "{}: the voter {} of the metadata log has directory id {}, this directory has {}",
                config.log_dir.display(),
                own.id,
                own.directory_id,
                config.directory_id
            )))
        }
        _ => Ok(()),
    }
}

/// The records of the bootstrap file and what follows from its features, in a transaction where the level knows them.
fn first_records(bootstrap: &Bootstrap, min_isr: i32) -> Vec<VersionedRecord> {
    let keeps_elr = bootstrap.level(features::ELIGIBLE_LEADER_REPLICAS) > 0;
    let records = bootstrap.records.iter().cloned().chain(keeps_elr.then(|| min_isr_of_all(min_isr)));
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

fn min_isr_of_all(value: i32) -> VersionedRecord {
    unversioned(MetadataRecord::Config(ConfigRecord {
        resource_type: resource_type::BROKER,
        resource_name: Str::default(),
        name: "min.insync.replicas".into(),
        value: Some(Str::from(value.to_string())),
        ..Default::default()
    }))
}

fn unversioned(record: MetadataRecord) -> VersionedRecord {
    VersionedRecord { record, version: 0 }
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
