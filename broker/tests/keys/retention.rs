//! Deletion of old records, and of their files.

use std::time::Duration;

use ottla_wire::ErrorCode;

use crate::common::{batch, now_ms};
use crate::keys::topic::{HOUR, SOON, Topic, first_tasks, places, record, until};

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
        first_record_is_gone(&mut topic, set).await;
        topic.node.stop().await;
    }
}

/// Whether the first record is deleted: it is waited for if `expected`, else the deletion in the topic `gone` is, which
/// shows that the check was made.
async fn first_record_is_gone(topic: &mut Topic, expected: bool) {
    if expected {
        topic.until_earliest(1).await;
        return;
    }
    while topic.client.list_offset("gone", 0, -2).await == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(topic.earliest().await, 0);
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
        first_record_is_gone(&mut topic, set).await;
        topic.node.stop().await;
    }
}

/// With one of the two intervals long, nothing is deleted while high watermarks are written many times.
#[tokio::test(flavor = "multi_thread")]
async fn deletion_waits_for_the_first_and_then_for_every_check() {
    let mut topic = Topic::new(&SOON, &[("retention.ms", "1000")]).await;
    for end in 1..3 {
        topic.produce_all([record(now_ms() - HOUR, 1)]).await;
        topic.until_earliest(end).await;
    }
    topic.node.stop().await;
    for late in ["log.retention.check.interval.ms", "log.initial.task.delay.ms"] {
        let mut broker = SOON.to_vec();
        broker.extend([(late, "3600000"), ("replica.high.watermark.checkpoint.interval.ms", "20")]);
        let mut topic = Topic::new(&broker, &[("retention.ms", "1000")]).await;
        first_tasks().await;
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
