//! Flushes and checkpoints.

use std::time::Duration;

use crate::common::now_ms;
use crate::keys::topic::{HOUR, Pairs, SOON, Topic, first_tasks, places, record, until};

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
    // Where it is not set, it is the scheduler's.
    for (mut broker, topic, set) in places("log.flush.interval.ms", "flush.ms", "3600000") {
        broker.push(scheduler);
        cases.push((broker, topic, !set));
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
            first_tasks().await;
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
                if file == "replication-offset-checkpoint" {
                    // Longer than the default.
                    tokio::time::sleep(Duration::from_secs(6)).await;
                }
                assert!(!topic.checkpointed(file, 1), "{file}");
            }
            topic.node.stop().await;
        }
    }
}
