//! A quorum of one on a real disk: elections, restarts, crashes, snapshots, refusals.

use std::fs;
use std::path::Path;

use ottla_log::disk::StdDisk;
use ottla_wire::records::metadata::{
    BeginTransactionRecord, ConfigRecord, EndTransactionRecord, PartitionRecord, TopicRecord,
};

use super::*;
use crate::bootstrap::{self, Bootstrap, feature_level};
use crate::features::{self, KRaftVersion};
use crate::load::load;
use crate::metadata_version::MetadataVersion;
use crate::quorum_state::{self, Election};
use crate::record::{MetadataRecord, VersionedRecord};
use crate::voters::Voter;

pub(super) const NOW: i64 = 1_700_000_000_000;

pub(super) fn uuid(n: u8) -> Uuid {
    Uuid::from_bytes([n; 16])
}

fn endpoint(port: u16) -> VoterEndpoint {
    VoterEndpoint { name: "CONTROLLER".into(), host: "127.0.0.1".into(), port }
}

pub(super) fn config(dir: &Path, kind: KRaftVersion) -> QuorumConfig {
    let base = QuorumConfig::new(dir.to_owned(), 1, uuid(5), "4L6g3nShT-eMCtK--X86sw".into());
    let static_voters = VoterSet::parse_static("1@127.0.0.1:21033", "CONTROLLER").expect("valid");
    QuorumConfig {
        endpoints: vec![endpoint(21033)],
        static_voters: (kind == KRaftVersion::Static).then_some(static_voters),
        ..base
    }
}

/// A directory formatted for a quorum of this node.
pub(super) fn format(dir: &Path, kind: KRaftVersion, bootstrap: &Bootstrap) {
    bootstrap::write(&StdDisk, dir, bootstrap, NOW).expect("written");
    if kind == KRaftVersion::Dynamic {
        let voters = VoterSet::of_one(Voter::standalone(1, uuid(5), vec![endpoint(21033)]));
        bootstrap::write_first_voters(&StdDisk, dir, &voters, NOW).expect("written");
    }
}

fn open(config: &QuorumConfig) -> Result<Quorum, QuorumError> {
    Quorum::open_alone(config.clone(), Arc::new(StdDisk), Now::at(NOW))
}

pub(super) fn formatted(kind: KRaftVersion) -> (tempfile::TempDir, QuorumConfig) {
    let dir = tempfile::tempdir().expect("temporary directory");
    format(dir.path(), kind, &Bootstrap::default());
    let config = config(dir.path(), kind);
    (dir, config)
}

pub(super) fn at_latest(record: impl Into<MetadataRecord>) -> VersionedRecord {
    record.into().at(MetadataVersion::LATEST)
}

pub(super) fn topic(n: u8) -> Vec<VersionedRecord> {
    vec![
        at_latest(TopicRecord {
            name: Str::from(format!("topic-{n}")),
            topic_id: uuid(n),
            ..Default::default()
        }),
        at_latest(ConfigRecord {
            resource_type: 2,
            resource_name: Str::from(format!("topic-{n}")),
            name: "retention.ms".into(),
            value: Some("1000".into()),
            ..Default::default()
        }),
        at_latest(PartitionRecord {
            partition_id: 0,
            topic_id: uuid(n),
            replicas: vec![1],
            isr: vec![1],
            leader: 1,
            leader_epoch: 0,
            partition_epoch: 0,
            directories: vec![uuid(5)],
            ..Default::default()
        }),
    ]
}

fn write(quorum: &mut Quorum, n: u8) {
    quorum.append(&topic(n), NOW).expect("appended");
    quorum.commit(NOW).expect("committed");
}

#[test]
fn a_new_node_elects_itself_and_begins_with_the_bootstrap_records() {
    for kind in [KRaftVersion::Static, KRaftVersion::Dynamic] {
        let (dir, config) = formatted(kind);
        let quorum = open(&config).expect("a fresh directory");
        let status = quorum.status();
        assert_eq!((status.leader_id, status.leader_epoch), (Some(1), 1));
        assert_eq!(status.high_watermark, status.log_end_offset);
        assert_eq!(status.kraft_version, kind);
        assert_eq!(quorum.image().metadata_version(), Some(MetadataVersion::LATEST));
        let metadata = dir.path().join(crate::METADATA_DIR);
        let state = fs::read_to_string(metadata.join("quorum-state")).expect("written");
        assert!(state.contains("\"leaderId\":1,\"leaderEpoch\":1"), "{state}");
        assert_eq!(fs::read(metadata.join("partition.metadata")).expect("written").len(), 43);
    }
}

#[test]
fn with_eligible_leader_replicas_a_cluster_begins_with_one_min_isr_for_all() {
    for level in [0, 1] {
        let dir = tempfile::tempdir().expect("temporary directory");
        let mut bootstrap = Bootstrap::default();
        bootstrap.records.push(feature_level(features::ELIGIBLE_LEADER_REPLICAS, level));
        format(dir.path(), KRaftVersion::Dynamic, &bootstrap);
        let config = QuorumConfig { min_insync_replicas: 2, ..config(dir.path(), KRaftVersion::Dynamic) };
        let quorum = open(&config).expect("a fresh directory");
        let told = quorum.image().configs.default_broker().get("min.insync.replicas").cloned();
        assert_eq!(told.as_deref(), (level == 1).then_some("2"));
    }
}

#[test]
fn every_start_is_a_new_epoch_and_nothing_is_lost() {
    for kind in [KRaftVersion::Static, KRaftVersion::Dynamic] {
        let (_dir, config) = formatted(kind);
        for start in 1..5_u8 {
            let mut quorum = open(&config).expect("opened again");
            assert_eq!(quorum.status().leader_epoch, i32::from(start));
            assert_eq!(quorum.image().topics.len(), usize::from(start - 1));
            write(&mut quorum, start);
            if start % 2 == 0 {
                quorum.close(NOW).expect("closed");
            }
        }
    }
}

#[test]
fn the_epoch_is_kept_by_vote_or_log_whichever_is_higher() {
    let (dir, config) = formatted(KRaftVersion::Dynamic);
    drop(open(&config).expect("opened"));
    let metadata = dir.path().join(crate::METADATA_DIR);
    let vote = Election { epoch: 41, leader: None, voted: Some((1, uuid(5))) };
    quorum_state::write(&StdDisk, &metadata, &vote, KRaftVersion::Dynamic, &[1]).expect("written");
    assert_eq!(open(&config).expect("opened").status().leader_epoch, 42);
    fs::remove_file(metadata.join("quorum-state")).expect("removed");
    assert_eq!(open(&config).expect("opened").status().leader_epoch, 43, "the log knows of 42");
}

#[test]
fn records_are_all_there_or_none() {
    let (_dir, config) = formatted(KRaftVersion::Dynamic);
    let mut quorum = open(&config).expect("opened");
    let end = quorum.next_offset();
    let mut twice = topic(1);
    twice.extend(topic(1));
    assert!(matches!(quorum.append(&twice, NOW), Err(QuorumError::Replay(_))));
    assert_eq!((quorum.next_offset(), quorum.image().topics.len()), (end, 0));
    write(&mut quorum, 1);
    assert_eq!(quorum.image().offset(), quorum.next_offset() - 1);
}

#[test]
fn too_much_for_a_batch_is_refused_and_many_batches_are_not() {
    let (_dir, config) = formatted(KRaftVersion::Static);
    let mut quorum = open(&config).expect("opened");
    let change = |n: usize| {
        at_latest(ConfigRecord {
            resource_type: 4,
            resource_name: "1".into(),
            name: Str::from(format!("key-{n}")),
            value: Some("v".into()),
            ..Default::default()
        })
    };
    let many: Vec<_> = (0..MAX_RECORDS_PER_BATCH + 5).map(change).collect();
    assert!(matches!(quorum.append(&many, NOW), Err(QuorumError::TooLarge { .. })));
    quorum.append_all(&many, NOW).expect("in two batches");
    quorum.commit(NOW).expect("committed");
    drop(quorum);
    let quorum = open(&config).expect("opened again");
    assert_eq!(quorum.image().configs.broker(1).len(), many.len());
}

#[test]
fn a_transaction_without_end_is_aborted_by_the_next_controller() {
    let (_dir, config) = formatted(KRaftVersion::Dynamic);
    let mut quorum = open(&config).expect("opened");
    let mut half = vec![at_latest(BeginTransactionRecord::default())];
    half.extend(topic(1));
    quorum.append(&half, NOW).expect("appended");
    quorum.commit(NOW).expect("committed");
    assert_eq!(quorum.image().topics.len(), 0, "it does not count yet");
    assert!(quorum.open_transaction().is_some());
    let before = quorum.image().offset();
    quorum.snapshot(NOW).expect("written");
    assert_eq!(quorum.snapshots.last().map(|id| id.end_offset), Some(before + 1), "nothing of it");
    drop(quorum);
    let mut quorum = open(&config).expect("opened again");
    assert_eq!((quorum.open_transaction(), quorum.image().topics.len()), (None, 0));
    let mut whole = vec![at_latest(BeginTransactionRecord::default())];
    whole.extend(topic(1));
    whole.push(at_latest(EndTransactionRecord::default()));
    quorum.append(&whole, NOW).expect("appended");
    assert_eq!(quorum.image().topics.len(), 1);
}

#[test]
fn a_crash_leaves_a_prefix() {
    let (dir, config) = formatted(KRaftVersion::Dynamic);
    let mut quorum = open(&config).expect("opened");
    for n in 1..6 {
        write(&mut quorum, n);
    }
    drop(quorum);
    let log = dir.path().join(crate::METADATA_DIR).join("00000000000000000000.log");
    let whole = fs::read(&log).expect("there");
    for cut in [1, 50, 200, 500] {
        fs::write(&log, &whole[..whole.len() - cut]).expect("cut");
        let mut quorum = open(&config).expect("the rest is whole");
        let left: Vec<String> = quorum.image().topics.iter().map(|t| t.name.to_string()).collect();
        assert!(left.len() < 5, "{cut} bytes are a part of the last topic");
        assert!(left.iter().enumerate().all(|(index, name)| *name == format!("topic-{}", index + 1)));
        write(&mut quorum, 100);
        drop(quorum);
        assert_eq!(open(&config).expect("again").image().topics.len(), left.len() + 1);
    }
}

#[test]
fn snapshots_come_with_growth_or_time_and_are_read_back() {
    for kind in [KRaftVersion::Static, KRaftVersion::Dynamic] {
        let (dir, config) = formatted(kind);
        let mut config = config;
        config.snapshot_bytes = 1000;
        let mut quorum = open(&config).expect("opened");
        assert_eq!(quorum.maybe_snapshot(NOW).expect("nothing to do"), None);
        for n in 1..10 {
            write(&mut quorum, n);
        }
        let id = quorum.maybe_snapshot(NOW).expect("written").expect("it has grown");
        assert_eq!(id.end_offset, quorum.next_offset());
        assert_eq!(quorum.maybe_snapshot(NOW).expect("nothing to do"), None);
        write(&mut quorum, 10);
        assert_eq!(quorum.maybe_snapshot(NOW).expect("too little"), None);
        assert!(quorum.maybe_snapshot(NOW + 3_600_000).expect("written").is_some(), "an hour later");
        let image = quorum.image().clone();
        drop(quorum);
        let loaded = load(&StdDisk, &dir.path().join(crate::METADATA_DIR), &config.cluster_id).expect("read");
        assert_eq!(loaded.replay.image(), &image);
        assert_eq!(loaded.bytes_after_snapshot, 0, "the snapshot has it all");
        assert_eq!(open(&config).expect("opened").image().topics.len(), 10);
    }
}

#[test]
fn a_snapshot_beyond_the_log_begins_a_new_log() {
    let (dir, config) = formatted(KRaftVersion::Dynamic);
    let mut quorum = open(&config).expect("opened");
    write(&mut quorum, 1);
    quorum.snapshot(NOW).expect("written");
    let end = quorum.next_offset();
    drop(quorum);
    for entry in fs::read_dir(dir.path().join(crate::METADATA_DIR)).expect("listed") {
        let path = entry.expect("listed").path();
        if path.extension().is_some_and(|ext| ext == "log" || ext == "index" || ext == "timeindex") {
            fs::remove_file(path).expect("removed");
        }
    }
    let mut quorum = open(&config).expect("opened from the snapshot");
    assert_eq!((quorum.image().topics.len(), quorum.status().leader_epoch), (1, 2));
    assert!(quorum.next_offset() > end);
    write(&mut quorum, 2);
    drop(quorum);
    assert_eq!(open(&config).expect("again").image().topics.len(), 2);
}

#[test]
fn old_snapshots_and_the_log_below_go_when_they_are_too_large() {
    let (dir, mut config) = formatted(KRaftVersion::Dynamic);
    config.retention_bytes = 3000;
    let mut quorum = open(&config).expect("opened");
    for n in 1..20 {
        write(&mut quorum, n);
        quorum.snapshot(NOW).expect("written");
    }
    let removed = quorum.clean(NOW).expect("cleaned");
    assert!(removed > 10, "{removed}");
    assert!(!quorum.snapshots.is_empty(), "the newest stays");
    assert_eq!(quorum.clean(NOW).expect("cleaned"), 0);
    drop(quorum);
    let files = fs::read_dir(dir.path().join(crate::METADATA_DIR)).expect("listed");
    let left = files
        .filter(|entry| {
            entry.as_ref().is_ok_and(|entry| entry.path().extension().is_some_and(|ext| ext == "checkpoint"))
        })
        .count();
    assert_eq!(left, 20 - removed);
    assert_eq!(open(&config).expect("opened").image().topics.len(), 19);
}

/// Names and contents of everything below a directory.
fn contents(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).expect("listed") {
        let path = entry.expect("listed").path();
        if path.is_dir() {
            all.extend(contents(&path));
        } else {
            all.push((path.display().to_string(), fs::read(&path).expect("read")));
        }
    }
    all.sort();
    all
}

#[test]
fn features_that_are_not_served_are_refused_before_any_write() {
    for (name, level) in [
        ("transaction.version", 2),
        ("group.version", 1),
        ("share.version", 1),
        ("streams.version", 1),
        ("eligible.leader.replicas.version", 2),
        ("metadata.version", 31),
        ("from.the.future", 1),
    ] {
        let dir = tempfile::tempdir().expect("temporary directory");
        let mut bootstrap = Bootstrap::default();
        bootstrap.records.push(feature_level(name, level));
        format(dir.path(), KRaftVersion::Dynamic, &bootstrap);
        let before = contents(dir.path());
        let config = config(dir.path(), KRaftVersion::Dynamic);
        let error = open(&config).expect_err("not served").to_string();
        assert!(error.contains(name) && error.contains(&format!("level {level}")), "{error}");
        assert_eq!(contents(dir.path()), before);

        // The same, found in the log.
        let dir = tempfile::tempdir().expect("temporary directory");
        format(dir.path(), KRaftVersion::Dynamic, &Bootstrap::default());
        let config = self::config(dir.path(), KRaftVersion::Dynamic);
        let mut quorum = open(&config).expect("served so far");
        quorum.append(&[feature_level(name, level)], NOW).expect("the log takes it");
        quorum.commit(NOW).expect("committed");
        drop(quorum);
        let before = contents(dir.path());
        let error = open(&config).expect_err("not served any more").to_string();
        assert!(error.contains(name) && error.contains(&format!("level {level}")), "{error}");
        assert_eq!(contents(dir.path()), before);
    }
}

#[test]
fn voters_that_leave_this_node_no_majority_are_refused_before_any_write() {
    let (dir, good) = formatted(KRaftVersion::Dynamic);
    let before = contents(dir.path());
    let other_node = QuorumConfig { node_id: 2, ..good.clone() };
    let error = open(&other_node).expect_err("node 2 is no voter").to_string();
    assert!(error.contains("are [1]") && error.contains("node 2"), "{error}");
    let other_directory = QuorumConfig { directory_id: uuid(6), ..good };
    let error = open(&other_directory).expect_err("another directory").to_string();
    assert!(error.contains("directory id"), "{error}");
    assert_eq!(contents(dir.path()), before);

    let (dir, good) = formatted(KRaftVersion::Static);
    let before = contents(dir.path());
    let none = QuorumConfig { static_voters: None, ..good.clone() };
    let error = open(&none).expect_err("no voters").to_string();
    assert!(error.contains("controller.quorum.voters"), "{error}");
    let three = VoterSet::parse_static("1@a:1,2@b:2,3@c:3", "CONTROLLER").expect("valid");
    let error = open(&QuorumConfig { static_voters: Some(three), ..good }).expect_err("three").to_string();
    assert!(error.contains("[1, 2, 3]"), "{error}");
    assert_eq!(contents(dir.path()), before);
}

#[test]
fn a_new_address_of_the_controller_is_written_to_the_voters() {
    let (_dir, mut config) = formatted(KRaftVersion::Dynamic);
    drop(open(&config).expect("opened"));
    config.endpoints = vec![endpoint(21099)];
    drop(open(&config).expect("opened"));
    let quorum = open(&QuorumConfig { endpoints: Vec::new(), ..config }).expect("opened");
    assert_eq!(quorum.status().voters[0].endpoints, [endpoint(21099)]);
}

#[test]
fn levels_before_transactions_begin_without_one() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let level = MetadataVersion::from_level(12).expect("served");
    format(dir.path(), KRaftVersion::Static, &Bootstrap::at(level));
    let quorum = open(&config(dir.path(), KRaftVersion::Static)).expect("opened");
    assert_eq!(quorum.image().metadata_version(), Some(level));
    assert_eq!(quorum.next_offset(), 2, "LeaderChange and FeatureLevel");
}
