//! A fetch waits for data, for its time, or for the broker's end.

use std::time::{Duration, Instant};

use crate::common::{TestNode, batch, fetch_request, values};
use ottla_wire::messages::{DeleteTopicsRequest, FetchRequest};
use ottla_wire::{ErrorCode, Str};

#[tokio::test(flavor = "multi_thread")]
async fn data_ends_the_wait() {
    let node = TestNode::start().await;
    let (mut consumer, mut producer) = (node.client().await, node.client().await);
    producer.create_topic("t", 1, &[]).await;
    let mut request = fetch_request("t", 0, 0);
    request.max_wait_ms = 60_000;
    consumer.send(&request, 12).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    producer.produce("t", 0, batch(&["hello"], None)).await;
    let (_, response) = consumer.receive::<FetchRequest>(12).await;
    assert_eq!(values(&response.responses[0].partitions[0]), [(0, "hello".into())]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn min_bytes_are_waited_for() {
    let node = TestNode::start().await;
    let (mut consumer, mut producer) = (node.client().await, node.client().await);
    producer.create_topic("t", 1, &[]).await;
    let mut request = fetch_request("t", 0, 0);
    (request.max_wait_ms, request.min_bytes) = (60_000, 200);
    consumer.send(&request, 12).await;
    for value in ["one", "two", "three"] {
        producer.produce("t", 0, batch(&[value], None)).await;
    }
    let (_, response) = consumer.receive::<FetchRequest>(12).await;
    assert_eq!(values(&response.responses[0].partitions[0]).len(), 3, "three batches make 200 bytes");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_ends_the_wait() {
    let node = TestNode::start().await;
    let mut client = node.client().await;
    client.create_topic("t", 1, &[]).await;
    let mut request = fetch_request("t", 0, 0);
    request.max_wait_ms = 300;
    let began = Instant::now();
    let response = client.call(&request, 12).await;
    assert!(began.elapsed() >= Duration::from_millis(290));
    assert_eq!(values(&response.responses[0].partitions[0]), []);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_topic_ends_the_wait() {
    let node = TestNode::start().await;
    let (mut consumer, mut admin) = (node.client().await, node.client().await);
    admin.create_topic("t", 1, &[]).await;
    let mut request = fetch_request("t", 0, 0);
    request.max_wait_ms = 60_000;
    consumer.send(&request, 12).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let delete =
        DeleteTopicsRequest { topic_names: vec![Str::from("t")], timeout_ms: 5000, ..Default::default() };
    assert_eq!(admin.call(&delete, 5).await.responses[0].error_code, 0);
    let (_, response) = consumer.receive::<FetchRequest>(12).await;
    let code = response.responses[0].partitions[0].error_code;
    let expected = [ErrorCode::UnknownTopicOrPartition, ErrorCode::NotLeaderOrFollower];
    assert!(expected.iter().any(|error| error.code() == code), "{code}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_broker_ends_the_wait() {
    let node = TestNode::start().await;
    let mut client = node.client().await;
    client.create_topic("t", 1, &[]).await;
    let mut request = fetch_request("t", 0, 0);
    request.max_wait_ms = 60_000;
    client.send(&request, 12).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let stopping = tokio::spawn(node.stop());
    client.receive::<FetchRequest>(12).await;
    assert!(client.is_closed().await);
    stopping.await.unwrap();
}
