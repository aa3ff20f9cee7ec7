//! What the log cleaner does, and when.

use std::time::Duration;

use bytes::Bytes;
use ottla_wire::ErrorCode;
use ottla_wire::batch::{BatchBuilder, Record};

use crate::common::now_ms;
use crate::keys::topic::{HOUR, Pairs, Topic, alter, alter_topic, places, until};

/// Each batch gets a segment of its own, so that all but the last can be cleaned; the cleaner looks often.
const OFTEN: (&str, &str) = ("log.cleaner.backoff.ms", "20");
const CHECKPOINT: &str = "cleaner-offset-checkpoint";

/// Whatever is dirty is cleaned, so that a cleaning in the middle of the test's writes is not the last.
const ALL: (&str, &str) = ("log.cleaner.min.cleanable.ratio", "0");

/// Long enough for many looks.
const WHILE: Duration = Duration::from_millis(400);

fn keyed(key: &str, value: Option<&str>, timestamp: i64) -> Bytes {
    let mut builder = BatchBuilder::new(0);
    builder.push(Record {
        timestamp,
        key: Some(Bytes::copy_from_slice(key.as_bytes())),
        value: value.map(|value| Bytes::copy_from_slice(value.as_bytes())),
        ..Default::default()
    });
    builder.build()
}

async fn compacted(broker: &[(&str, &str)], topic: &[(&str, &str)]) -> Topic {
    let mut configs = vec![("cleanup.policy", "compact"), ("internal.segment.bytes", "150")];
    configs.extend_from_slice(topic);
    let mut broker = broker.to_vec();
    if !broker.iter().any(|(key, _)| *key == OFTEN.0) {
        broker.push(OFTEN);
    }
    Topic::new(&broker, &configs).await
}

impl Topic {
    /// So many records of one key, and one of another.
    async fn overwrite(&mut self, count: usize, timestamp: i64) {
        self.produce_all((0..count).map(|i| keyed("k", Some(&format!("{i:0>50}")), timestamp))).await;
        self.produce_all([keyed("last", Some(&"x".repeat(50)), timestamp)]).await;
    }

    fn contains(&self, text: &str) -> bool {
        let files = self.files(".log");
        files.iter().any(|file| {
            let raw = std::fs::read(file).unwrap_or_default();
            raw.windows(text.len()).any(|window| window == text.as_bytes())
        })
    }

    async fn until_cleaned(&self, end: i64) {
        until(&format!("cleaned up to {end}"), || self.checkpointed(CHECKPOINT, end)).await;
    }

    async fn stays_uncleaned(&self) {
        tokio::time::sleep(WHILE).await;
        assert!(self.files(".log").len() > 5 && !self.data().join(CHECKPOINT).exists(), "cleaned");
    }
}

/// With the key set somewhere ten records of a key are cleaned; where it is not they stay; or the other way round.
async fn cleaned_if(
    cases: impl IntoIterator<Item = (Pairs<'_>, Pairs<'_>, bool)>,
    more: &[(&str, &str)],
    timestamp: i64,
) {
    for (mut broker, topic, cleaned) in cases {
        broker.extend_from_slice(more);
        let mut topic = compacted(&broker, &topic).await;
        topic.overwrite(10, timestamp).await;
        if cleaned {
            topic.until_cleaned(10).await;
            assert!(topic.contains(&format!("{:0>50}", 9)) && !topic.contains(&format!("{:0>50}", 8)));
        } else {
            topic.stays_uncleaned().await;
        }
        topic.node.stop().await;
    }
}

fn not<'a>(cases: [(Pairs<'a>, Pairs<'a>, bool); 4]) -> impl Iterator<Item = (Pairs<'a>, Pairs<'a>, bool)> {
    cases.into_iter().map(|(broker, topic, set)| (broker, topic, !set))
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_cleaned_where_configured() {
    let cases = [
        (vec![("log.cleaner.enable", "false")], vec![], false),
        (vec![("log.cleaner.enable", "true")], vec![], true),
    ];
    cleaned_if(cases, &[ALL], now_ms()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cleaner_rests_as_long_as_configured() {
    let mut topic = compacted(&[("log.cleaner.backoff.ms", "3600000"), ALL], &[]).await;
    tokio::time::sleep(WHILE).await;
    topic.overwrite(10, now_ms()).await;
    topic.stays_uncleaned().await;
    alter(&mut topic.client, "", OFTEN.0, Some(OFTEN.1)).await.unwrap();
    topic.until_cleaned(10).await;
    topic.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_cleaned_when_they_are_as_dirty_as_configured() {
    for (broker, topic, set) in places("log.cleaner.min.cleanable.ratio", "min.cleanable.dirty.ratio", "1") {
        let mut topic = compacted(&broker, &topic).await;
        topic.overwrite(10, now_ms()).await;
        if set {
            topic.stays_uncleaned().await;
        } else {
            until("a cleaning", || topic.data().join(CHECKPOINT).exists()).await;
        }
        topic.node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn young_records_are_not_cleaned_as_configured() {
    let lag = HOUR.to_string();
    let cases = || not(places("log.cleaner.min.compaction.lag.ms", "min.compaction.lag.ms", &lag));
    cleaned_if(cases(), &[ALL], now_ms()).await;
    cleaned_if([(vec![], vec![("min.compaction.lag.ms", &*lag)], true)], &[ALL], now_ms() - 2 * HOUR).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_records_are_cleaned_when_configured() {
    let lag = HOUR.to_string();
    let cases = places("log.cleaner.max.compaction.lag.ms", "max.compaction.lag.ms", &lag);
    cleaned_if(cases, &[("log.cleaner.min.cleanable.ratio", "1")], now_ms() - 2 * HOUR).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tombstones_stay_as_long_as_configured() {
    for (mut broker, topic, set) in places("log.cleaner.delete.retention.ms", "delete.retention.ms", "0") {
        broker.push(ALL);
        let mut topic = compacted(&broker, &topic).await;
        topic
            .produce_all([keyed("gone-key", Some("value"), now_ms()), keyed("gone-key", None, now_ms())])
            .await;
        for round in 1..4 {
            topic.overwrite(3, now_ms()).await;
            topic.until_cleaned(1 + round * 4).await;
        }
        if set {
            until("the tombstone goes", || !topic.contains("gone-key")).await;
        } else {
            assert!(topic.contains("gone-key") && !topic.contains("value"));
        }
        topic.node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_map_is_as_large_as_configured() {
    // Ten slots, of which nine are used: the log is cleaned in rounds of nine keys while most of it is dirty.
    for (broker, whole) in [(vec![("log.cleaner.dedupe.buffer.size", "240")], false), (vec![], true)] {
        let mut topic = compacted(&broker, &[]).await;
        let written: Vec<_> =
            (0..40).map(|i| keyed(&format!("key-{i}"), Some(&"x".repeat(50)), now_ms())).collect();
        topic.produce_all(written).await;
        let ends = |topic: &Topic| (18..=39).filter(|end| topic.checkpointed(CHECKPOINT, *end)).max();
        until("half is clean", || ends(&topic).is_some()).await;
        tokio::time::sleep(WHILE).await;
        let end = ends(&topic).unwrap();
        assert!(whole || end < 30, "{end}");
        topic.node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_map_is_as_full_as_configured() {
    for (broker, fullest) in [(vec![("log.cleaner.io.buffer.load.factor", "0.3")], 30), (vec![], 90)] {
        let mut topic = compacted(&broker, &[("min.cleanable.dirty.ratio", "0.9")]).await;
        let written: Vec<_> =
            (0..40).map(|i| keyed(&format!("key-{i}"), Some(&"x".repeat(50)), now_ms())).collect();
        topic.produce_all(written).await;
        let fill = |topic: &Topic| {
            let figures = topic.node.node.broker().cleaner.figures();
            figures.iter().find(|(name, ..)| name.contains("max_buffer_utilization")).unwrap().2
        };
        until("a cleaning", || fill(&topic) > 0).await;
        let fill = fill(&topic);
        assert!(fill <= fullest && fill > fullest - 30, "{fill} of {fullest}");
        topic.node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cleaning_is_as_fast_as_configured() {
    // Some KB are read and written, of which there is a second's worth to begin with.
    let broker = [("log.cleaner.io.max.bytes.per.second", "100"), ALL];
    let mut topic = compacted(&broker, &[]).await;
    topic.overwrite(10, now_ms()).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(!topic.checkpointed(CHECKPOINT, 10), "cleaned");
    alter(&mut topic.client, "", "log.cleaner.io.max.bytes.per.second", Some("1000000")).await.unwrap();
    topic.until_cleaned(10).await;
    topic.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_as_many_cleaners_as_configured() {
    let mut topic = compacted(&[("log.cleaner.threads", "2"), ALL], &[]).await;
    let threads = |topic: &Topic| topic.node.node.broker().cleaner.thread_count();
    assert_eq!(threads(&topic), 2);
    for wanted in [3, 1] {
        alter(&mut topic.client, "", "log.cleaner.threads", Some(&wanted.to_string())).await.unwrap();
        until(&format!("{wanted} threads"), || threads(&topic) == wanted).await;
    }
    topic.overwrite(10, now_ms()).await;
    topic.until_cleaned(10).await;
    topic.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_log_is_left_alone_and_the_others_are_cleaned() {
    let mut topic = compacted(&[ALL], &[]).await;
    let configs = [
        ("cleanup.policy", "compact"),
        ("internal.segment.bytes", "150"),
        ("min.cleanable.dirty.ratio", "1"),
    ];
    topic.client.create_topic("bad", 1, &configs).await;
    for i in 0..5 {
        let batch = keyed("k", Some(&format!("{i:0>50}")), now_ms());
        let code = topic.client.produce("bad", 0, batch).await.error_code;
        assert_eq!(ErrorCode::try_from(code).unwrap(), ErrorCode::None);
    }
    let path = topic.data().join("bad-0").join("00000000000000000001.log");
    let mut raw = std::fs::read(&path).unwrap();
    let last = raw.len() - 3;
    raw[last] ^= 1;
    std::fs::write(&path, raw).unwrap();
    alter_topic(&mut topic.client, "bad", "min.cleanable.dirty.ratio", Some("0")).await.unwrap();
    let cleaner = topic.node.node.broker().cleaner.clone();
    until("one is uncleanable", || {
        cleaner.uncleanable().iter().any(|bad| bad.partitions == 1 && bad.bytes > 0)
    })
    .await;
    topic.overwrite(10, now_ms()).await;
    topic.until_cleaned(10).await;
    assert!(!topic.node.node.broker().partitions.directories()[0].is_offline());
    topic.node.stop().await;
}
