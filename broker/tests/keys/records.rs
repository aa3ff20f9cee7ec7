//! What is accepted from producers, and how it is stored.

use ottla_wire::batch::{BatchBuilder, Compression, Record, batches};
use ottla_wire::{ErrorCode, Records};

use crate::common::{batch, now_ms};
use crate::keys::topic::{HOUR, Pairs, Topic, places, record, until};

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
