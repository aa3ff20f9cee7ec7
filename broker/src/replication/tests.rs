//! A leader and a follower with everything between them but sockets: the loops, the requests in bytes, the logs.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use bytes::Bytes;
use ottla_log::disk::{Disk, StdDisk};
use ottla_log::{Offset, Origin};
use ottla_quorum::MetadataRecord;
use ottla_quorum::image::MetadataImage;
use ottla_wire::batch::{BatchBuilder, Record};
use ottla_wire::messages::alter_partition_response::{PartitionData, TopicData};
use ottla_wire::messages::{AlterPartitionRequest, AlterPartitionResponse, FetchRequest, ListOffsetsRequest};
use ottla_wire::records::metadata::{
    PartitionChangeRecord, PartitionRecord, RegisterBrokerRecord, TopicRecord,
};
use ottla_wire::{ApiKey, Message, Request, Uuid, decode_exact, encode_to_bytes};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::answers::{self, content};
use super::{Action, Command, Connect, FollowedKey, Peer, PeerError, Replication, carry_out, isr};
use crate::clock;
use crate::config::Config;
use crate::fetch_session::Sessions;
use crate::partition::{LeaderBounds, LogDirectory, Partition, Partitions, RequiredAcks, TopicPartition};
use crate::storage::FileSystem;

const TOPIC: Uuid = Uuid::from_bytes([7; 16]);

/// Brokers 1 and 2; 1 leads and is in sync alone.
fn image() -> MetadataImage {
    let mut image = MetadataImage::empty("cluster".into());
    for broker_id in [1, 2] {
        let broker_epoch = i64::from(broker_id) * 100;
        let record = RegisterBrokerRecord { broker_id, broker_epoch, fenced: false, ..Default::default() };
        image.apply(&MetadataRecord::from(record)).unwrap();
    }
    let topic = TopicRecord { name: "t".into(), topic_id: TOPIC, ..Default::default() };
    image.apply(&topic.into()).unwrap();
    let partition = PartitionRecord {
        partition_id: 0,
        topic_id: TOPIC,
        replicas: vec![1, 2],
        isr: vec![1],
        leader: 1,
        leader_epoch: 0,
        partition_epoch: 0,
        directories: vec![Uuid::ZERO; 2],
        ..Default::default()
    };
    image.apply(&partition.into()).unwrap();
    image
}

struct Node {
    _dir: TempDir,
    config: Config,
    partitions: Arc<Partitions>,
}

impl Node {
    fn new(id: i32, flush_messages: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (path, id_text) = (dir.path().display().to_string(), id.to_string());
        let config = Config::from_overrides(&[
            ("log.dirs", &*path),
            ("node.id", &*id_text),
            ("min.insync.replicas", "2"),
            ("replica.fetch.backoff.ms", "20"),
            ("log.flush.interval.messages", flush_messages),
        ])
        .unwrap();
        let disk: Arc<dyn Disk> = Arc::new(StdDisk);
        let file_system = FileSystem::new(Arc::clone(&disk), dir.path(), Some(0));
        let directory_id = Uuid::from_bytes([u8::try_from(id).unwrap(); 16]);
        let path = dir.path().to_owned();
        let directory = LogDirectory::new(path, directory_id, disk, file_system, Arc::new(Notify::new()));
        let loaded =
            Partitions::load(Arc::new(config.clone()), vec![directory], &image(), clock::now()).unwrap();
        Self { _dir: dir, config, partitions: loaded }
    }

    fn partition(&self) -> Arc<Partition> {
        self.partitions.find("t", 0).unwrap()
    }
}

/// Brings requests to the leader as bytes of a version.
struct Wire {
    partitions: Arc<Partitions>,
    sessions: Arc<Sessions>,
    version: i16,
    /// Requests that get no answer.
    failures: Arc<Mutex<usize>>,
}

fn through<M: Message>(message: &M, version: i16) -> Bytes {
    encode_to_bytes(message, version).expect("the version can say it")
}

impl Peer for Wire {
    async fn call<R: Request + Send>(
        &mut self,
        build: impl FnOnce(i16) -> R + Send,
    ) -> Result<R::Response, PeerError> {
        let version = if R::KEY == ApiKey::Fetch { self.version } else { *R::VERSIONS.end() };
        let request = through(&build(version), version);
        tokio::time::sleep(Duration::from_millis(1)).await;
        let left = self.failures.lock().checked_sub(1);
        if let Some(left) = left {
            *self.failures.lock() = left;
            return Err(PeerError("no answer".into()));
        }
        let response = match R::KEY {
            ApiKey::Fetch => {
                let request: FetchRequest = decode_exact(request, version).unwrap();
                through(&answers::fetch(&self.partitions, &self.sessions, request), version)
            }
            ApiKey::ListOffsets => {
                let request: ListOffsetsRequest = decode_exact(request, version).unwrap();
                through(&answers::list_offsets(&self.partitions, &request), version)
            }
            other => panic!("{other:?}"),
        };
        Ok(decode_exact(response, version).unwrap())
    }
}

struct Wires {
    leader: Arc<Partitions>,
    version: i16,
    failures: Arc<Mutex<usize>>,
}

impl Connect for Wires {
    type Peer = Wire;

    fn peer(&self, node: i32) -> Wire {
        assert_eq!(node, 1, "only the leader is asked");
        Wire {
            partitions: Arc::clone(&self.leader),
            sessions: Arc::new(Sessions::new(10, 1)),
            version: self.version,
            failures: Arc::clone(&self.failures),
        }
    }
}

/// A controller that accepts every ISR.
struct Controller {
    partition_epoch: i32,
    refuse: usize,
}

impl Peer for Controller {
    async fn call<R: Request + Send>(
        &mut self,
        build: impl FnOnce(i16) -> R + Send,
    ) -> Result<R::Response, PeerError> {
        assert_eq!(R::KEY, ApiKey::AlterPartition);
        let request: AlterPartitionRequest = decode_exact(through(&build(3), 3), 3).unwrap();
        if let Some(left) = self.refuse.checked_sub(1) {
            self.refuse = left;
            return Err(PeerError("no controller".into()));
        }
        let asked = &request.topics[0].partitions[0];
        assert_eq!(asked.partition_epoch, self.partition_epoch);
        let told: Vec<_> =
            asked.new_isr_with_epochs.iter().map(|member| (member.broker_id, member.broker_epoch)).collect();
        assert_eq!(told, [(1, 100), (2, 200)]);
        self.partition_epoch += 1;
        let partition = PartitionData {
            leader_id: 1,
            leader_epoch: asked.leader_epoch,
            isr: told.iter().map(|(id, _)| *id).collect(),
            partition_epoch: self.partition_epoch,
            ..Default::default()
        };
        let topic = TopicData { topic_id: TOPIC, partitions: vec![partition], ..Default::default() };
        let response = AlterPartitionResponse { topics: vec![topic], ..Default::default() };
        Ok(decode_exact(through(&response, 3), 3).unwrap())
    }
}

fn append(partition: &Arc<Partition>, acks: RequiredAcks, value: &'static str) -> Offset {
    let now = clock::now();
    let mut batch = BatchBuilder::new(0);
    batch.push(Record { timestamp: now.0, value: Some(Bytes::from(value)), ..Record::default() });
    let appended = partition.append(batch.build(), Origin::Client, acks, now).unwrap();
    Offset(appended.last_offset.0 + 1)
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..2000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("not within ten seconds: {what}");
}

/// From out of sync to acknowledged by both; then the follower leads.
async fn follow_and_lead(version: i16, flush_messages: &str, failures: usize) {
    let (leader, follower) = (Node::new(1, flush_messages), Node::new(2, flush_messages));
    let (tracker, stopping) = (TaskTracker::new(), CancellationToken::new());
    let old = append(&leader.partition(), RequiredAcks::Leader, "before");

    let failures = Arc::new(Mutex::new(failures));
    let wires = Wires { leader: Arc::clone(&leader.partitions), version, failures };
    let replication = Replication::new(
        &follower.config,
        Arc::clone(&follower.partitions),
        wires,
        Handle::current(),
        tracker.clone(),
    )
    .registered(Arc::new(AtomicI64::new(if version < 15 { -1 } else { 200 })));
    let nothing = MetadataImage::empty("cluster".into());
    let mut now = image();
    replication.apply(&nothing, &now);
    until("the follower has what was there", || follower.partition().log_end_offset() == old).await;
    assert_eq!(leader.partition().high_watermark(), Offset(0), "one of two is not enough");

    if version >= 15 {
        let controller = Controller { partition_epoch: 0, refuse: 1 };
        let around = Arc::clone(leader.partitions.surroundings());
        let epoch = Arc::new(AtomicI64::new(100));
        tracker.spawn(isr::propose(around, epoch, controller, stopping.clone()));
        until("both are in sync", || leader.partition().isr() == [1, 2]).await;
        let end = append(&leader.partition(), RequiredAcks::All, "acknowledged");
        leader.partition().wait_committed(end).await.unwrap();
        assert!(follower.partition().log_end_offset() >= end, "both have it");
        until("the follower knows", || follower.partition().high_watermark() == end).await;
        let (start, ours) = (Offset(0), leader.partition());
        assert_eq!(content(&ours, start, end), content(&follower.partition(), start, end));

        // The metadata brings what the leader knows already, and another leader.
        for leader in [-2, 2] {
            let isr = Some(vec![1, 2]);
            let change =
                PartitionChangeRecord { partition_id: 0, topic_id: TOPIC, isr, leader, ..Default::default() };
            let before = now.clone();
            now.apply(&change.into()).unwrap();
            follower.partitions.apply(&before, &now, clock::now());
            replication.apply(&before, &now);
        }
        assert!(follower.partition().leadership().here);
        assert_eq!(append(&follower.partition(), RequiredAcks::All, "next"), Offset(end.0 + 1));
    }
    replication.stop();
    stopping.cancel();
    tracker.close();
    tracker.wait().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_catches_up_is_in_sync_and_leads() {
    follow_and_lead(18, "1000000", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_catches_up_with_what_is_on_disk() {
    follow_and_lead(18, "1", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_gets_over_answers_that_do_not_come() {
    follow_and_lead(18, "1000000", 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_speaks_to_older_leaders() {
    follow_and_lead(13, "1000000", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_that_too_few_have_is_refused_or_waits() {
    let leader = Node::new(1, "1000000").partition();
    let now = clock::now();
    let mut batch = BatchBuilder::new(0);
    batch.push(Record { timestamp: now.0, value: Some(Bytes::from("x")), ..Record::default() });
    let refused = leader.append(batch.build(), Origin::Client, RequiredAcks::All, now).unwrap_err();
    assert_eq!(refused.code(), ottla_wire::ErrorCode::NotEnoughReplicas);
    let end = append(&leader, RequiredAcks::Leader, "y");
    let waiting = tokio::time::timeout(Duration::from_millis(50), leader.wait_committed(end));
    assert!(waiting.await.is_err(), "nobody else has it");
}

/// What was to be appended after a cut may not have been, for want of space.
#[test]
fn a_follower_whose_log_has_moved_goes_on_where_it_ends() {
    let follower = Node::new(2, "1000000");
    let append = |from: i64, records: usize| {
        let mut batch = BatchBuilder::new(from);
        (0..records).for_each(|_| batch.push(Record::default()));
        let leader = LeaderBounds { high_watermark: Offset(0), log_start: Offset(0) };
        let action = Action::Append { from: Offset(from), records: batch.build(), leader };
        let key = FollowedKey { topic_id: TOPIC, partition: 0 };
        let command = Command { key, name: TopicPartition::new("t", 0), leader_epoch: 0, action };
        let (_, position) = carry_out(&follower.partitions, vec![command], clock::now()).remove(0);
        position.map(|position| position.offset)
    };
    assert_eq!(append(0, 2), Some(Offset(2)));
    assert_eq!(append(5, 1), Some(Offset(2)), "not from where it was before");
    assert_eq!(append(2, 1), Some(Offset(3)));
}
