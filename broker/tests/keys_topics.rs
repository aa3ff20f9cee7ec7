//! Configuration keys of topics and logs, and the broker's keys that give their defaults: each changes what the node
//! does.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::field_reassign_with_default,
    reason = "a test may fail where it likes"
)]
#![allow(missing_docs)]

mod common;

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use common::{Client, PATIENCE, TestNode, batch, now_ms};
use ottla_wire::batch::{BatchBuilder, Compression, Record, batches};
use ottla_wire::messages::create_topics_request::CreatableTopic;
use ottla_wire::messages::delete_topics_request::DeleteTopicState;
use ottla_wire::messages::metadata_request::MetadataRequestTopic;
use ottla_wire::messages::{CreateTopicsRequest, DeleteTopicsRequest, MetadataRequest};
use ottla_wire::{ErrorCode, Records, Str};

type Pairs<'a> = Vec<(&'a str, &'a str)>;

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// Nothing set; the broker's key set; the topic's key set to the same.
fn places<'a>(broker: &'a str, topic: &'a str, value: &'a str) -> [(Pairs<'a>, Pairs<'a>, bool); 3] {
    [(vec![], vec![], false), (vec![(broker, value)], vec![], true), (vec![], vec![(topic, value)], true)]
}

struct Topic {
    node: TestNode,
    client: Client,
}

impl Topic {
    /// A node with a topic `t` of one partition.
    async fn new(broker: &[(&str, &str)], topic: &[(&str, &str)]) -> Topic {
        let node = TestNode::start_with(broker).await;
        let mut client = node.client().await;
        client.create_topic("t", 1, topic).await;
        Topic { node, client }
    }

    async fn produce(&mut self, batch: Bytes) -> ErrorCode {
        ErrorCode::try_from(self.client.produce("t", 0, batch).await.error_code).unwrap()
    }

    async fn produce_all(&mut self, batches: impl IntoIterator<Item = Bytes>) {
        for batch in batches {
            assert_eq!(self.produce(batch).await, ErrorCode::None);
        }
    }

    fn data(&self) -> PathBuf {
        self.node.dir.path().join("data")
    }

    /// Files of the partition whose name ends so.
    fn files(&self, end: &str) -> Vec<PathBuf> {
        files_in(&self.data().join("t-0"), end)
    }

    /// Whether a checkpoint file has this offset for the partition.
    fn checkpointed(&self, file: &str, offset: i64) -> bool {
        let text = std::fs::read_to_string(self.data().join(file)).unwrap_or_default();
        text.lines().any(|line| line == format!("t 0 {offset}"))
    }

    async fn earliest(&mut self) -> i64 {
        self.client.list_offset("t", 0, -2).await
    }

    /// Waits until the log starts there.
    async fn until_earliest(&mut self, offset: i64) {
        let began = std::time::Instant::now();
        while self.earliest().await != offset {
            assert!(began.elapsed() < PATIENCE, "the log does not start at {offset}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn files_in(dir: &std::path::Path, end: &str) -> Vec<PathBuf> {
    let all = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| path.to_string_lossy().ends_with(end)).collect()
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let began = std::time::Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A batch of one record without key.
fn record(timestamp: i64, size: usize) -> Bytes {
    let mut builder = BatchBuilder::new(0);
    builder.push(Record { timestamp, value: Some(Bytes::from(vec![b'x'; size])), ..Default::default() });
    builder.build()
}

const SOON: [(&str, &str); 2] =
    [("log.retention.check.interval.ms", "30"), ("log.initial.task.delay.ms", "0")];

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_is_as_large_as_configured() {
    for (broker, topic, set) in places("log.segment.bytes", "segment.bytes", "1048576") {
        let mut topic = Topic::new(&broker, &topic).await;
        topic.produce_all((0..5).map(|_| record(now_ms(), 400_000))).await;
        assert_eq!(topic.files(".log").len(), if set { 3 } else { 1 }, "{broker:?}");
        topic.node.stop().await;
    }
    let mut topic = Topic::new(&[], &[("internal.segment.bytes", "200")]).await;
    topic.produce_all((0..3).map(|_| record(now_ms(), 100))).await;
    assert_eq!(topic.files(".log").len(), 3);
    topic.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_is_rolled_when_it_is_as_old_as_configured() {
    let hour = HOUR.to_string();
    let mut cases = places("log.roll.ms", "segment.ms", &hour).to_vec();
    cases.push((vec![("log.roll.hours", "1")], vec![], true));
    for (broker, topic, set) in cases {
        let mut topic = Topic::new(&broker, &topic).await;
        topic.produce_all([record(now_ms() - 2 * HOUR, 1), record(now_ms(), 1)]).await;
        assert_eq!(topic.files(".log").len(), if set { 2 } else { 1 }, "{broker:?}");
        topic.node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jitter_rolls_a_segment_earlier() {
    let week = (7 * DAY).to_string();
    let mut cases = places("log.roll.jitter.ms", "segment.jitter.ms", &week).to_vec();
    cases.push((vec![("log.roll.jitter.hours", "168")], vec![], true));
    for (broker, topic, set) in cases {
        let mut topic = Topic::new(&broker, &topic).await;
        // Within the week, so that nothing is rolled by age; the jitter of a segment is always the same.
        topic.produce_all([record(now_ms() - 7 * DAY + HOUR, 1), record(now_ms(), 1)]).await;
        assert_eq!(topic.files(".log").len(), if set { 2 } else { 1 }, "{broker:?}");
        topic.node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_index_is_as_dense_as_configured() {
    for (broker, topic, set) in places("log.index.interval.bytes", "index.interval.bytes", "0") {
        let mut topic = Topic::new(&broker, &topic).await;
        topic.produce_all((0..5).map(|_| record(now_ms(), 10))).await;
        let dir = topic.node.stop().await;
        let index = files_in(&dir.path().join("data/t-0"), ".index").remove(0);
        assert_eq!(std::fs::metadata(index).unwrap().len() > 0, set, "{broker:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_index_rolls_the_segment() {
    for (mut broker, topic, set) in places("log.index.size.max.bytes", "segment.index.bytes", "24") {
        broker.push(("log.index.interval.bytes", "0"));
        let mut topic = Topic::new(&broker, &topic).await;
        topic.produce_all((0..9).map(|_| record(now_ms(), 10))).await;
        assert_eq!(topic.files(".log").len() > 1, set, "{broker:?}");
        topic.node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_is_preallocated_where_configured() {
    use std::os::unix::fs::MetadataExt as _;
    for (mut broker, topic, set) in places("log.preallocate", "preallocate", "true") {
        broker.push(("log.segment.bytes", "1048576"));
        let mut topic = Topic::new(&broker, &topic).await;
        topic.produce_all([record(now_ms(), 10)]).await;
        let file = std::fs::metadata(topic.files(".log").remove(0)).unwrap();
        assert_eq!(file.len().max(file.blocks() * 512) >= 1_048_576, set, "{broker:?}");
        topic.node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_deleted_when_they_are_as_old_as_configured() {
    let hour = HOUR.to_string();
    let mut cases = places("log.retention.ms", "retention.ms", &hour).to_vec();
    cases.push((vec![("log.retention.minutes", "60")], vec![], true));
    cases.push((vec![("log.retention.hours", "1")], vec![], true));
    for (mut broker, topic, set) in cases {
        broker.extend(SOON);
        let mut topic = Topic::new(&broker, &topic).await;
        topic.client.create_topic("gone", 1, &[("retention.ms", &hour)]).await;
        let old = now_ms() - 2 * HOUR;
        topic.produce_all([record(old, 1)]).await;
        topic.client.produce("gone", 0, record(old, 1)).await;
        if set {
            topic.until_earliest(1).await;
        } else {
            while topic.client.list_offset("gone", 0, -2).await == 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert_eq!(topic.earliest().await, 0);
        }
        topic.node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_deleted_when_there_are_as_many_as_configured() {
    for (mut broker, topic, set) in places("log.retention.bytes", "retention.bytes", "700000") {
        broker.extend(SOON);
        broker.push(("log.segment.bytes", "1048576"));
        let mut topic = Topic::new(&broker, &topic).await;
        topic.client.create_topic("gone", 1, &[("retention.ms", "1")]).await;
        topic.produce_all((0..3).map(|_| record(now_ms(), 600_000))).await;
        topic.client.produce("gone", 0, record(now_ms() - HOUR, 1)).await;
        if set {
            topic.until_earliest(1).await;
        } else {
            while topic.client.list_offset("gone", 0, -2).await == 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert_eq!(topic.earliest().await, 0);
        }
        topic.node.stop().await;
    }
}

/// With one of the two intervals long, nothing is deleted while high watermarks are written many times.
#[tokio::test(flavor = "multi_thread")]
async fn deletion_waits_for_the_first_and_then_for_every_check() {
    for late in ["log.retention.check.interval.ms", "log.initial.task.delay.ms"] {
        let mut broker = SOON.to_vec();
        broker.extend([(late, "3600000"), ("replica.high.watermark.checkpoint.interval.ms", "20")]);
        let mut topic = Topic::new(&broker, &[("retention.ms", "1000")]).await;
        topic.produce_all([record(now_ms() - HOUR, 1)]).await;
        until("high watermark 1", || topic.checkpointed("replication-offset-checkpoint", 1)).await;
        topic.produce_all([record(now_ms() - HOUR, 1)]).await;
        until("high watermark 2", || topic.checkpointed("replication-offset-checkpoint", 2)).await;
        assert_eq!(topic.earliest().await, 0, "{late}");
        topic.node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_deleted_segments_stay_as_long_as_configured() {
    for (broker, topic, set) in places("log.segment.delete.delay.ms", "file.delete.delay.ms", "0") {
        let mut broker = broker;
        broker.extend(SOON);
        broker.push(("log.retention.ms", "1000"));
        let mut topic = Topic::new(&broker, &topic).await;
        topic.produce_all([record(now_ms() - HOUR, 1)]).await;
        topic.until_earliest(1).await;
        if set {
            until("the files are gone", || topic.files(".deleted").is_empty()).await;
        } else {
            assert!(!topic.files(".deleted").is_empty());
        }
        topic.node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compacted_topic_needs_keys() {
    for (broker, topic, set) in places("log.cleanup.policy", "cleanup.policy", "compact") {
        let mut topic = Topic::new(&broker, &topic).await;
        let expected = if set { ErrorCode::InvalidRecord } else { ErrorCode::None };
        assert_eq!(topic.produce(batch(&["x"], None)).await, expected, "{broker:?}");
        topic.node.stop().await;
    }
}

/// The recovery point is the end of what was flushed.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_flushed_as_often_as_configured() {
    let checkpoints = [
        ("log.flush.offset.checkpoint.interval.ms", "20"),
        ("replica.high.watermark.checkpoint.interval.ms", "20"),
        ("log.initial.task.delay.ms", "0"),
    ];
    let mut cases = places("log.flush.interval.messages", "flush.messages", "1").to_vec();
    let scheduler = ("log.flush.scheduler.interval.ms", "20");
    for (mut broker, topic, set) in places("log.flush.interval.ms", "flush.ms", "1") {
        if set {
            broker.push(scheduler);
        }
        cases.push((broker, topic, set));
    }
    cases.push((vec![scheduler], vec![], true));
    for (mut broker, topic, set) in cases {
        broker.extend(checkpoints);
        let mut topic = Topic::new(&broker, &topic).await;
        topic.produce_all([record(now_ms(), 1)]).await;
        let flushed = || topic.checkpointed("recovery-point-offset-checkpoint", 1);
        if set {
            until("flushed", flushed).await;
        } else {
            until("high watermark", || topic.checkpointed("replication-offset-checkpoint", 1)).await;
            assert!(!flushed(), "{broker:?}");
        }
        topic.node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_are_written_as_often_as_configured() {
    for (key, file) in [
        ("log.flush.offset.checkpoint.interval.ms", "recovery-point-offset-checkpoint"),
        ("log.flush.start.offset.checkpoint.interval.ms", "log-start-offset-checkpoint"),
        ("replica.high.watermark.checkpoint.interval.ms", "replication-offset-checkpoint"),
    ] {
        for often in [true, false] {
            let mut broker: Pairs<'_> = vec![
                ("log.flush.offset.checkpoint.interval.ms", "20"),
                ("log.flush.start.offset.checkpoint.interval.ms", "20"),
                ("replica.high.watermark.checkpoint.interval.ms", "20"),
                ("log.flush.interval.messages", "1"),
                ("log.retention.ms", "1000"),
            ];
            broker.extend(SOON);
            if !often {
                broker.push((key, "3600000"));
            }
            let mut topic = Topic::new(&broker, &[]).await;
            topic.produce_all([record(now_ms() - HOUR, 1)]).await;
            topic.until_earliest(1).await;
            let other = match file {
                "replication-offset-checkpoint" => "recovery-point-offset-checkpoint",
                _ => "replication-offset-checkpoint",
            };
            until("the other checkpoint", || topic.checkpointed(other, 1)).await;
            if often {
                until(file, || topic.checkpointed(file, 1)).await;
            } else {
                assert!(!topic.checkpointed(file, 1), "{file}");
            }
            topic.node.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_at_most_as_large_as_configured() {
    for (broker, topic, set) in places("message.max.bytes", "max.message.bytes", "1000") {
        let mut topic = Topic::new(&broker, &topic).await;
        let expected = if set { ErrorCode::MessageTooLarge } else { ErrorCode::None };
        assert_eq!(topic.produce(record(now_ms(), 1000)).await, expected, "{broker:?}");
        topic.node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn timestamps_are_the_producers_or_the_brokers() {
    for (broker, topic, set) in
        places("log.message.timestamp.type", "message.timestamp.type", "LogAppendTime")
    {
        let mut topic = Topic::new(&broker, &topic).await;
        let produced = topic.client.produce("t", 0, record(now_ms() - HOUR, 1)).await;
        assert_eq!(produced.log_append_time_ms != -1, set, "{broker:?}");
        topic.node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn timestamps_are_near_the_brokers_clock() {
    let cases = [
        ("log.message.timestamp.before.max.ms", "message.timestamp.before.max.ms", -HOUR),
        ("log.message.timestamp.after.max.ms", "message.timestamp.after.max.ms", HOUR / 2),
    ];
    for (broker_key, topic_key, distance) in cases {
        for (broker, topic, set) in places(broker_key, topic_key, "60000") {
            let mut topic = Topic::new(&broker, &topic).await;
            let expected = if set { ErrorCode::InvalidTimestamp } else { ErrorCode::None };
            assert_eq!(topic.produce(record(now_ms() + distance, 1)).await, expected, "{broker:?}");
            topic.node.stop().await;
        }
    }
}

/// Codec and size of the batch that is stored for `size` bytes of text.
async fn stored(broker: &[(&str, &str)], topic: &[(&str, &str)], size: usize) -> (Compression, usize) {
    let mut topic = Topic::new(broker, topic).await;
    let mut builder = BatchBuilder::new(0);
    let text: Vec<u8> = (0..size).flat_map(|i| format!("{} ", i * i % 7919).into_bytes()).collect();
    builder.push(Record { timestamp: now_ms(), value: Some(text.into()), ..Default::default() });
    topic.produce_all([builder.build()]).await;
    let Some(Records::Bytes(bytes)) = topic.client.fetch("t", 0, 0).await.records else {
        panic!("no records")
    };
    let header = batches(&bytes).next().unwrap().unwrap().header;
    topic.node.stop().await;
    (header.compression().unwrap(), header.size_in_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_are_stored_with_the_configured_codec() {
    for (broker, topic, set) in places("compression.type", "compression.type", "lz4") {
        let expected = if set { Compression::Lz4 } else { Compression::None };
        assert_eq!(stored(&broker, &topic, 100).await.0, expected, "{broker:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_are_compressed_at_the_configured_level() {
    for (codec, key, least, most) in
        [("gzip", "compression.gzip.level", "1", "9"), ("zstd", "compression.zstd.level", "1", "19")]
    {
        let size = async |level: &'static str, at_broker: bool| {
            let mut settings: [Pairs<'_>; 2] = [vec![("compression.type", codec)], vec![]];
            settings[usize::from(!at_broker)].push((key, level));
            stored(&settings[0], &settings[1], 20_000).await.1
        };
        for at_broker in [true, false] {
            assert!(size(most, at_broker).await < size(least, at_broker).await, "{key} {at_broker}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_producers_are_forgotten_as_configured() {
    for (expiration, interval, forgotten) in
        [("50", "20", true), ("86400000", "20", false), ("50", "3600000", false)]
    {
        let broker = [
            ("producer.id.expiration.ms", expiration),
            ("producer.id.expiration.check.interval.ms", interval),
            ("replica.high.watermark.checkpoint.interval.ms", "200"),
        ];
        let mut topic = Topic::new(&broker, &[]).await;
        topic.produce_all([batch(&["x"], Some((1, 0, 0)))]).await;
        until("high watermark", || topic.checkpointed("replication-offset-checkpoint", 1)).await;
        // A gap in the sequence is an error for a producer that is known.
        let gap = topic.produce(batch(&["x"], Some((1, 0, 7)))).await;
        assert_eq!(gap == ErrorCode::None, forgotten, "{expiration} {interval}: {gap:?}");
        topic.node.stop().await;
    }
}

async fn partitions(client: &mut Client, name: &str) -> Result<usize, ErrorCode> {
    let topic = MetadataRequestTopic { name: Some(Str::from(name)), ..Default::default() };
    let request =
        MetadataRequest { topics: Some(vec![topic]), allow_auto_topic_creation: true, ..Default::default() };
    let began = std::time::Instant::now();
    loop {
        let found = client.call(&request, 8).await.topics.remove(0);
        match ErrorCode::try_from(found.error_code).unwrap() {
            ErrorCode::None => return Ok(found.partitions.len()),
            ErrorCode::LeaderNotAvailable => {}
            // A topic that is being made may not be there at once.
            error if began.elapsed() > Duration::from_secs(1) => return Err(error),
            _ => {}
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_made_by_themselves_where_configured() {
    for (value, expected) in [("true", Ok(1)), ("false", Err(ErrorCode::UnknownTopicOrPartition))] {
        let node = TestNode::start_with(&[("auto.create.topics.enable", value)]).await;
        assert_eq!(partitions(&mut node.client().await, "new").await, expected);
        node.stop().await;
    }
}

async fn create(client: &mut Client) -> (ErrorCode, i32) {
    let topic =
        CreatableTopic { name: "t".into(), num_partitions: -1, replication_factor: -1, ..Default::default() };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 5000, ..Default::default() };
    let created = client.call(&request, 7).await.topics.remove(0);
    (ErrorCode::try_from(created.error_code).unwrap(), created.num_partitions)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_gets_the_configured_partitions_and_replicas() {
    for (settings, expected) in [
        (&[][..], (ErrorCode::None, 1)),
        (&[("num.partitions", "4")], (ErrorCode::None, 4)),
        (&[("default.replication.factor", "2")], (ErrorCode::InvalidReplicationFactor, -1)),
    ] {
        let node = TestNode::start_with(settings).await;
        assert_eq!(create(&mut node.client().await).await, expected, "{settings:?}");
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_can_be_deleted_only_where_configured() {
    for (value, expected) in [("true", ErrorCode::None), ("false", ErrorCode::TopicDeletionDisabled)] {
        let mut topic = Topic::new(&[("delete.topic.enable", value)], &[]).await;
        let state = DeleteTopicState { name: Some("t".into()), ..Default::default() };
        let request = DeleteTopicsRequest { topics: vec![state], timeout_ms: 5000, ..Default::default() };
        let response = topic.client.call(&request, 6).await;
        assert_eq!(response.responses[0].error_code, expected.code());
        topic.node.stop().await;
    }
}
