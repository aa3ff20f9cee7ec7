//! Requests of one connection: handled and answered in their order, however many are in flight.

use crate::common::{TestNode, batch, fetch_request, only_partition, produce_request};
use ottla_wire::Str;
use ottla_wire::messages::{ApiVersionsRequest, FetchRequest, ProduceRequest};

#[tokio::test(flavor = "multi_thread")]
async fn produces_keep_their_order() {
    let node = TestNode::start().await;
    let mut client = node.client().await;
    client.create_topic("t", 1, &[]).await;
    let values: Vec<String> = (0..200).map(|n| n.to_string()).collect();
    let mut sent = Vec::new();
    for value in &values {
        sent.push(client.send(&produce_request("t", 0, batch(&[value], None), -1), 9).await);
    }
    for (offset, id) in sent.into_iter().enumerate() {
        let (answered, response) = client.receive::<ProduceRequest>(9).await;
        assert_eq!(answered, id);
        assert_eq!(only_partition(response).base_offset, offset as i64);
    }
    let found: Vec<String> = client.read_all("t", 0).await.into_iter().map(|(_, value)| value).collect();
    assert_eq!(found, values);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_request_is_not_overtaken_by_answers() {
    let node = TestNode::start().await;
    let mut client = node.client().await;
    client.create_topic("t", 1, &[]).await;
    let mut slow = fetch_request("t", 0, 0);
    slow.max_wait_ms = 300;
    let quick = ApiVersionsRequest {
        client_software_name: Str::from("test"),
        client_software_version: Str::from("1"),
        ..Default::default()
    };
    let first = client.send(&slow, 12).await;
    let second = client.send(&quick, 3).await;
    assert_eq!(client.receive::<FetchRequest>(12).await.0, first);
    assert_eq!(client.receive::<ApiVersionsRequest>(3).await.0, second);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acks_0_has_no_answer_and_closes_on_failure() {
    let node = TestNode::start().await;
    let mut client = node.client().await;
    client.create_topic("t", 1, &[]).await;
    client.send(&produce_request("t", 0, batch(&["silent"], None), 0), 9).await;
    let after = client.produce("t", 0, batch(&["heard"], None)).await;
    assert_eq!(after.base_offset, 1, "the answer is the second's, and the first was appended");
    client.send(&produce_request("nowhere", 9, batch(&["lost"], None), 0), 9).await;
    assert!(client.is_closed().await);
    node.stop().await;
}
