//! Apache's own tool reads what is written here. Needs `OTTLA_KAFKA_LIBS`, a directory with the jars of Kafka 4.3.1.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use ottla_log::disk::StdDisk;
use ottla_quorum::bootstrap::{self, Bootstrap};
use ottla_quorum::voters::VoterEndpoint;
use ottla_quorum::{
    METADATA_DIR, MetadataRecord, MetadataVersion, Now, Quorum, QuorumConfig, Voter, VoterSet,
};
use ottla_wire::Uuid;
use ottla_wire::records::metadata::{ConfigRecord, PartitionRecord, ProducerIdsRecord, TopicRecord};

const NOW: i64 = 1_700_000_000_000;

fn kafka_libs() -> Option<PathBuf> {
    let libs = std::env::var_os("OTTLA_KAFKA_LIBS").map(PathBuf::from);
    if libs.is_none() {
        eprintln!("OTTLA_KAFKA_LIBS is not set: Apache's tool is not asked");
    }
    libs
}

fn dump(libs: &Path, file: &Path) -> String {
    let output = Command::new("java")
        .arg("-cp")
        .arg(libs.join("*"))
        .args(["org.apache.kafka.tools.DumpLogSegments", "--cluster-metadata-decoder", "--deep-iteration"])
        .arg("--files")
        .arg(file)
        .output()
        .expect("java runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

fn records() -> Vec<MetadataRecord> {
    let topic_id = Uuid::from_bytes([7; 16]);
    vec![
        TopicRecord { name: "orders".into(), topic_id, ..Default::default() }.into(),
        ConfigRecord {
            resource_type: 2,
            resource_name: "orders".into(),
            name: "cleanup.policy".into(),
            value: Some("compact".into()),
            ..Default::default()
        }
        .into(),
        PartitionRecord {
            partition_id: 0,
            topic_id,
            replicas: vec![1],
            isr: vec![1],
            leader: 1,
            leader_epoch: 0,
            partition_epoch: 0,
            directories: vec![Uuid::from_bytes([5; 16])],
            ..Default::default()
        }
        .into(),
        ProducerIdsRecord { broker_id: 1, broker_epoch: 1, next_producer_id: 1000, ..Default::default() }
            .into(),
    ]
}

#[test]
fn dump_log_segments_reads_log_snapshots_and_bootstrap_file() {
    let Some(libs) = kafka_libs() else { return };
    let dir = tempfile::tempdir().expect("temporary directory");
    let directory_id = Uuid::from_bytes([5; 16]);
    let endpoint = VoterEndpoint { name: "CONTROLLER".into(), host: "localhost".into(), port: 9093 };
    let voters = VoterSet::of_one(Voter::standalone(1, directory_id, vec![endpoint]));
    bootstrap::write(&StdDisk, dir.path(), &Bootstrap::default(), NOW).expect("written");
    bootstrap::write_first_voters(&StdDisk, dir.path(), &voters, NOW).expect("written");
    let config = QuorumConfig::new(dir.path().to_owned(), 1, directory_id, "4L6g3nShT-eMCtK--X86sw".into());
    let mut quorum = Quorum::open_alone(config, Arc::new(StdDisk), Now::at(NOW)).expect("opened");
    let level = MetadataVersion::LATEST;
    let records: Vec<_> = records().into_iter().map(|record| record.at(level)).collect();
    quorum.append(&records, NOW).expect("appended");
    quorum.commit(NOW).expect("committed");
    let snapshot = quorum.snapshot(NOW).expect("written").expect("there is something new");
    quorum.close(NOW).expect("closed");

    let metadata = dir.path().join(METADATA_DIR);
    let log = dump(&libs, &metadata.join("00000000000000000000.log"));
    for expected in [
        "LeaderChange: {\"version\":0,\"leaderId\":1,\"voters\":[{\"voterId\":1}]",
        "KRaftVersion {\"version\":0,\"kRaftVersion\":1}",
        "KRaftVoters {\"version\":0,\"voters\":[{\"voterId\":1,\"voterDirectoryId\":",
        "\"BEGIN_TRANSACTION_RECORD\",\"version\":0,\"data\":{\"name\":\"Bootstrap records\"}",
        "\"name\":\"metadata.version\",\"featureLevel\":30",
        "\"END_TRANSACTION_RECORD\"",
        "\"TOPIC_RECORD\",\"version\":0,\"data\":{\"name\":\"orders\"",
        "\"PARTITION_RECORD\",\"version\":2",
        "\"PRODUCER_IDS_RECORD\"",
    ] {
        assert!(log.contains(expected), "no {expected} in\n{log}");
    }
    let snapshot = dump(&libs, &metadata.join(snapshot.file_name()));
    for expected in ["SnapshotHeader", "KRaftVoters", "\"CONFIG_RECORD\"", "SnapshotFooter"] {
        assert!(snapshot.contains(expected), "no {expected} in\n{snapshot}");
    }
    // The tool knows snapshots by their names alone.
    let copy = dir.path().join("00000000000000000000-0000000000.checkpoint");
    std::fs::copy(dir.path().join(bootstrap::FILE), &copy).expect("copied");
    let bootstrap = dump(&libs, &copy);
    assert!(bootstrap.contains("\"featureLevel\":30"), "{bootstrap}");
    for text in [log, snapshot, bootstrap] {
        assert!(!text.contains("isvalid: false") && !text.contains("Could not"), "{text}");
    }
}
