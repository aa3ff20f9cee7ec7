//! Keys of brokers that change while the node runs. Those that are the defaults of topics are changed by
//! [`crate::keys::topic::places`], too.

use std::time::Duration;

use ottla_wire::ErrorCode;

use crate::common::{Client, PATIENCE, TestNode, batch, now_ms};
use crate::keys::network::{SHORT, is_served};
use crate::keys::topic::{Topic, alter, record, until};

async fn served(node: &TestNode) -> Option<Client> {
    let mut client = node.client().await;
    let tried = tokio::spawn(async move { is_served(&mut client, SHORT).await.then_some(client) });
    // A connection that is closed at once is an error of the client.
    tried.await.unwrap_or(None)
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_connections_change_at_once() {
    const PER_IP: &str = "max.connections.per.ip";
    const OVERRIDES: &str = "max.connections.per.ip.overrides";
    let node = TestNode::start().await;
    let mut first = node.client().await;
    assert!(is_served(&mut first, PATIENCE).await);
    for (broker, key, value) in [
        ("", "max.connections", "1"),
        ("1", PER_IP, "1"),
        ("", OVERRIDES, "127.0.0.1:1"),
        ("1", OVERRIDES, "localhost:1"),
    ] {
        drop(served(&node).await.expect("as before"));
        tokio::time::sleep(Duration::from_millis(50)).await;
        alter(&mut first, broker, key, Some(value)).await.unwrap();
        assert!(served(&node).await.is_none(), "{key}");
        alter(&mut first, broker, key, None).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lower_limit_closes_connections_and_outlives_a_restart() {
    let node = TestNode::start().await;
    let mut first = node.client().await;
    assert!(is_served(&mut first, PATIENCE).await);
    let mut second = node.client().await;
    assert!(is_served(&mut second, PATIENCE).await);
    alter(&mut second, "1", "max.connections", Some("1")).await.unwrap();
    assert!(first.is_closed().await, "the least recently used");
    assert!(is_served(&mut second, PATIENCE).await);
    drop(second);
    let node = node.restart(&[]).await;
    let mut first = node.client().await;
    assert!(is_served(&mut first, PATIENCE).await);
    assert!(served(&node).await.is_none());
    node.stop().await;
}

/// One broker's own key is stronger than that of all brokers, and both than what it was started with.
#[tokio::test(flavor = "multi_thread")]
async fn the_nearest_default_of_a_topic_counts() {
    const KEY: &str = "message.max.bytes";
    let mut topic = Topic::new(&[(KEY, "2000")], &[]).await;
    for (broker, value, largest) in [
        ("", Some("1000"), 1000),
        ("1", Some("3000"), 3000),
        ("", Some("4000"), 3000),
        ("1", None, 4000),
        ("", None, 2000),
    ] {
        alter(&mut topic.client, broker, KEY, value).await.unwrap();
        assert_eq!(
            topic.produce(record(now_ms(), largest - 200)).await,
            ErrorCode::None,
            "{broker} {value:?}"
        );
        assert_eq!(topic.produce(record(now_ms(), largest + 1)).await, ErrorCode::MessageTooLarge);
    }
    let node = topic.node.restart(&[]).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn producers_are_forgotten_as_was_changed() {
    let broker = [
        ("producer.id.expiration.check.interval.ms", "20"),
        ("replica.high.watermark.checkpoint.interval.ms", "200"),
    ];
    let mut topic = Topic::new(&broker, &[]).await;
    alter(&mut topic.client, "", "producer.id.expiration.ms", Some("50")).await.unwrap();
    topic.produce_all([batch(&["x"], Some((1, 0, 0)))]).await;
    until("high watermark", || topic.checkpointed("replication-offset-checkpoint", 1)).await;
    let gap = topic.produce(batch(&["x"], Some((1, 0, 7)))).await;
    assert_eq!(gap, ErrorCode::None, "a gap in the sequence of a producer that is not known any more");
    topic.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_change_while_the_node_runs_is_refused_by_name() {
    let node = TestNode::start().await;
    let mut client = node.client().await;
    for (broker, key, value, expected) in [
        ("1", "num.partitions", "3", "num.partitions cannot be changed while the broker runs"),
        ("", "offsets.retention.minutes", "3", "offsets.retention.minutes cannot be changed while"),
        ("1", "listeners", "PLAINTEXT://:1", "listeners cannot be changed while the broker runs"),
        ("1", "no.such.key", "3", "unknown key no.such.key"),
        ("", "max.connectoins", "3", "did you mean max.connections?"),
        ("", "log.retention.ms", "x", "invalid value \"x\" for log.retention.ms"),
        (
            "",
            "log.retention.ms",
            "0",
            "log.retention.ms, log.retention.minutes and log.retention.hours must not be 0",
        ),
        ("", "max.connections.per.ip.overrides", "localhost", "must be a list of address:limit"),
        (
            "",
            "max.connections.per.ip.overrides",
            "127.0.0.1:5,nowhere.invalid:3",
            "max.connections.per.ip.overrides: nowhere.invalid:3: the host nowhere.invalid has no address",
        ),
        ("", "ssl.keystore.type", "PEM", "ssl.keystore.type cannot be changed for all brokers at once"),
        ("2", "max.connections", "3", "No broker with id 2"),
    ] {
        let error = alter(&mut client, broker, key, Some(value)).await.unwrap_err();
        assert!(error.contains(expected), "{key}: {error}");
    }
    // Known and without effect: taken, as from a file, and warned about.
    alter(&mut client, "", "background.threads", Some("3")).await.unwrap();
    node.stop().await;
}
