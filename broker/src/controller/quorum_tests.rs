//! The keys of the metadata quorum: each changes what is done with its log. Time is given, not waited for.

use std::path::Path;
use std::sync::Arc;

use ottla_log::disk::StdDisk;
use ottla_quorum::bootstrap::{self, Bootstrap};
use ottla_quorum::image::resource_type;
use ottla_quorum::voters::VoterEndpoint;
use ottla_quorum::{
    Failure, Inbound, MetadataRecord, MetadataVersion, Now, Outbound, Quorum, QuorumRequest, Token, Voter,
    VoterSet,
};
use ottla_wire::messages::{
    BeginQuorumEpochRequest, EndQuorumEpochRequest, begin_quorum_epoch_request, end_quorum_epoch_request,
};
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

/// A voter of three that never hears of anybody, and the time.
struct Lonely {
    _dir: TempDir,
    quorum: Quorum,
    now: i64,
}

impl Lonely {
    fn new(overrides: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |id: u8| VoterEndpoint { name: "CONTROLLER".into(), host: "h".into(), port: u16::from(id) };
        let voter = |id: u8| Voter::standalone(i32::from(id), Uuid::from_bytes([id + 4; 16]), vec![at(id)]);
        let voters = (1..=3).fold(VoterSet::default(), |voters, id| voters.with(voter(id)));
        bootstrap::write(&StdDisk, dir.path(), &Bootstrap::default(), 0).expect("written");
        bootstrap::write_first_voters(&StdDisk, dir.path(), &voters, 0).expect("written");
        let log_dir = ("metadata.log.dir", dir.path().to_str().expect("a plain path"));
        let quorum = settings(&[overrides, &[log_dir]].concat()).quorum();
        let quorum = Quorum::open(quorum, Arc::new(StdDisk), Now::at(0)).expect("opened");
        Self { _dir: dir, quorum, now: 0 }
    }

    /// Time passes until the node asks something that is `wanted`; how long that took. Whatever else it asks fails at once.
    fn until(&mut self, mut wanted: impl FnMut(&QuorumRequest) -> bool) -> i64 {
        let began = self.now;
        loop {
            for outbound in self.quorum.take_outbound() {
                let Outbound::Request { to, correlation, request } = outbound else { continue };
                if wanted(&request) {
                    return self.now - began;
                }
                let failed = Inbound::Failed { from: to.id, correlation, failure: Failure::TimedOut };
                self.quorum.receive(failed, Now::at(self.now)).expect("received");
            }
            self.now = self.quorum.next_deadline().max(self.now + 1);
            assert!(self.now - began < HOUR, "it never asks");
            self.quorum.tick(Now::at(self.now)).expect("ticked");
        }
    }

    /// Node 2 says that it leads.
    fn hears_of_a_leader(&mut self) {
        let request = BeginQuorumEpochRequest {
            cluster_id: Some("c".into()),
            voter_id: 1,
            topics: vec![begin_quorum_epoch_request::TopicData {
                topic_name: "__cluster_metadata".into(),
                partitions: vec![begin_quorum_epoch_request::PartitionData {
                    partition_index: 0,
                    voter_directory_id: DIRECTORY,
                    leader_id: 2,
                    leader_epoch: 5,
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        let request = QuorumRequest::BeginQuorumEpoch(request);
        self.quorum
            .receive(Inbound::Request { token: Token(0), request }, Now::at(self.now))
            .expect("received");
        assert_eq!(self.quorum.leader_id(), Some(2));
    }
}

#[test]
fn a_voter_without_a_leader_stands_for_election_after_the_configured_time() {
    for (configured, ms) in [("1000", 1000), ("7000", 7000)] {
        let mut node = Lonely::new(&[("controller.quorum.election.timeout.ms", configured)]);
        let waited = node.until(|request| matches!(request, QuorumRequest::Vote(_)));
        assert!((ms..=2 * ms).contains(&waited), "{waited} ms for {ms}");
    }
}

#[test]
fn a_leader_is_missed_after_the_configured_time() {
    for (configured, ms) in [("2000", 2000), ("9000", 9000)] {
        let mut node = Lonely::new(&[("controller.quorum.fetch.timeout.ms", configured)]);
        node.hears_of_a_leader();
        assert_eq!(node.until(|request| matches!(request, QuorumRequest::Vote(_))), ms);
    }
}

#[test]
fn a_request_is_given_up_after_the_configured_time() {
    for (configured, ms) in [("1000", 1000), ("3000", 3000)] {
        let timeouts = [
            ("controller.quorum.request.timeout.ms", configured),
            ("controller.quorum.fetch.timeout.ms", "60000"),
        ];
        let mut node = Lonely::new(&timeouts);
        node.hears_of_a_leader();
        let fetch = |request: &QuorumRequest| matches!(request, QuorumRequest::Fetch(_));
        node.until(fetch);
        let again = node.until(fetch);
        assert!((ms..ms + 100).contains(&again), "{again} ms for {ms}");
    }
}

#[test]
fn a_failed_request_is_repeated_after_the_configured_pause() {
    for (configured, ms) in [("20", 20), ("500", 500)] {
        let mut node = Lonely::new(&[
            ("controller.quorum.retry.backoff.ms", configured),
            ("controller.quorum.fetch.timeout.ms", "60000"),
        ]);
        node.hears_of_a_leader();
        let mut fetches = 0;
        let waited = node.until(|request| {
            fetches += usize::from(matches!(request, QuorumRequest::Fetch(_)));
            fetches == 2
        });
        assert!((ms..ms + 20).contains(&waited), "{waited} ms for {ms}");
    }
}

#[test]
fn a_successor_waits_for_those_before_it_no_longer_than_configured() {
    for (configured, waits) in [("0", false), ("1000", true)] {
        let mut node = Lonely::new(&[("controller.quorum.election.backoff.max.ms", configured)]);
        node.hears_of_a_leader();
        let request = EndQuorumEpochRequest {
            cluster_id: Some("c".into()),
            topics: vec![end_quorum_epoch_request::TopicData {
                topic_name: "__cluster_metadata".into(),
                partitions: vec![end_quorum_epoch_request::PartitionData {
                    partition_index: 0,
                    leader_id: 2,
                    leader_epoch: 5,
                    preferred_candidates: [3_u8, 1]
                        .map(|id| end_quorum_epoch_request::ReplicaInfo {
                            candidate_id: i32::from(id),
                            candidate_directory_id: Uuid::from_bytes([id + 4; 16]),
                            ..Default::default()
                        })
                        .to_vec(),
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        let request = QuorumRequest::EndQuorumEpoch(request);
        node.quorum
            .receive(Inbound::Request { token: Token(1), request }, Now::at(node.now))
            .expect("received");
        let waited = node.until(|request| matches!(request, QuorumRequest::Vote(_)));
        assert_eq!(waited > 0, waits, "{waited} ms");
    }
}
