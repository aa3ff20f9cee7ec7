//! Segments and their indexes.

use crate::common::now_ms;
use crate::keys::topic::{DAY, HOUR, Topic, files_in, places, record};

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
        // The second is in a segment of its own, made after everything was set.
        topic.produce_all([record(now_ms(), 600_000), record(now_ms(), 600_000)]).await;
        let file = std::fs::metadata(topic.files(".log").iter().max().unwrap()).unwrap();
        assert_eq!(file.len().max(file.blocks() * 512) >= 1_048_576, set, "{broker:?}");
        topic.node.stop().await;
    }
}
