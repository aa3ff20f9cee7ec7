//! The keys of the metadata quorum: each changes what is done with its log. Time is given, not waited for.

use std::path::Path;
use std::sync::Arc;

use ottla_log::disk::StdDisk;
use ottla_quorum::bootstrap::{self, Bootstrap};
use ottla_quorum::image::resource_type;
use ottla_quorum::{MetadataRecord, MetadataVersion, Now, Quorum, Voter, VoterSet};
use ottla_wire::records::metadata::ConfigRecord;
use ottla_wire::{Str, Uuid};
use tempfile::TempDir;

use super::{ControllerIdentity, ControllerSettings};
use crate::clock;
use crate::config::Config;

const HOUR: i64 = 3_600_000;
const DIRECTORY: Uuid = Uuid::from_bytes([5; 16]);

fn now_ms() -> i64 {
    clock::now().0
}

fn settings(overrides: &[(&str, &str)]) -> ControllerSettings {
    let incarnation_id = Uuid::from_bytes([1; 16]);
    let identity = ControllerIdentity { cluster_id: "c".into(), directory_id: DIRECTORY, incarnation_id };
    ControllerSettings { config: Arc::new(Config::from_overrides(overrides).expect("valid")), identity }
}

/// The log of a new quorum of this node alone.
fn open(overrides: &[(&str, &str)]) -> (TempDir, Quorum) {
    let dir = tempfile::tempdir().expect("a directory");
    let voters = VoterSet::of_one(Voter::standalone(1, DIRECTORY, Vec::new()));
    bootstrap::write(&StdDisk, dir.path(), &Bootstrap::default(), 0).expect("written");
    bootstrap::write_first_voters(&StdDisk, dir.path(), &voters, 0).expect("written");
    let log_dir = ("metadata.log.dir", dir.path().to_str().expect("a plain path"));
    let quorum = settings(&[overrides, &[log_dir]].concat()).quorum();
    let quorum = Quorum::open(quorum, Arc::new(StdDisk), Now::at(now_ms())).expect("opened");
    (dir, quorum)
}

fn append(quorum: &mut Quorum, count: usize, size: usize, now: i64) {
    let record = ConfigRecord {
        resource_type: resource_type::TOPIC,
        resource_name: "t".into(),
        name: "retention.ms".into(),
        value: Some(Str::from("1".repeat(size))),
        ..Default::default()
    };
    let record = MetadataRecord::from(record).at(MetadataVersion::LATEST);
    quorum.append(&vec![record; count], now).expect("appended");
    quorum.commit(now).expect("committed");
}

fn segments(dir: &Path) -> usize {
    let names = std::fs::read_dir(dir.join("__cluster_metadata-0")).expect("a directory");
    let names = names.map(|entry| entry.expect("an entry").file_name());
    names.filter(|name| name.to_string_lossy().ends_with(".log")).count()
}

#[test]
fn a_segment_is_rolled_when_it_is_as_old_or_large_as_configured() {
    for (overrides, rolled) in [(&[][..], false), (&[("metadata.log.segment.ms", "3600000")], true)] {
        let (dir, mut quorum) = open(overrides);
        append(&mut quorum, 1, 1, now_ms());
        append(&mut quorum, 1, 1, now_ms() + 2 * HOUR);
        assert_eq!(segments(dir.path()) > 1, rolled, "{overrides:?}");
    }
    for (overrides, rolled) in [(&[][..], false), (&[("metadata.log.segment.bytes", "8388608")], true)] {
        let (dir, mut quorum) = open(overrides);
        for _ in 0..10 {
            append(&mut quorum, 40, 30_000, now_ms());
        }
        assert_eq!(segments(dir.path()) > 1, rolled, "{overrides:?}");
    }
}

#[test]
fn old_snapshots_are_removed_when_they_are_as_old_or_large_as_configured() {
    for (overrides, removed) in [
        (&[][..], false),
        (&[("metadata.max.retention.ms", "3600000")], true),
        (&[("metadata.max.retention.bytes", "2500")], true),
    ] {
        let (_dir, mut quorum) = open(overrides);
        for _ in 0..3 {
            append(&mut quorum, 1, 1_000, now_ms());
            quorum.snapshot(now_ms()).expect("written");
        }
        let found = quorum.clean(now_ms() + 2 * HOUR).expect("cleaned");
        assert_eq!(found > 0, removed, "{overrides:?}: {found}");
    }
}

#[test]
fn a_snapshot_is_due_when_as_much_or_as_long_as_configured_has_passed() {
    for (overrides, due) in [
        (&[][..], false),
        (&[("metadata.log.max.record.bytes.between.snapshots", "1000")], true),
        (&[("metadata.log.max.snapshot.interval.ms", "60000")], true),
    ] {
        let (_dir, mut quorum) = open(overrides);
        append(&mut quorum, 1, 2_000, now_ms());
        let written = quorum.maybe_snapshot(now_ms() + HOUR / 2).expect("no failure");
        assert_eq!(written.is_some(), due, "{overrides:?}");
    }
}

#[test]
fn voters_are_static_where_configured() {
    let voters = |overrides: &[(&str, &str)]| settings(overrides).quorum().static_voters;
    assert!(voters(&[]).is_none());
    let configured = voters(&[("controller.quorum.voters", "1@here:9093")]).expect("configured");
    assert_eq!(configured.ids().collect::<Vec<_>>(), [1]);
}
