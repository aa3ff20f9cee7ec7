//! A stopped node comes back with everything.

use crate::common::{TestNode, batch};
use ottla_wire::messages::{DeleteTopicsRequest, InitProducerIdRequest, MetadataRequest};
use ottla_wire::{ErrorCode, Str};

#[tokio::test(flavor = "multi_thread")]
async fn data_topics_and_ids_are_kept() {
    let node = TestNode::start().await;
    let mut client = node.client().await;
    client.create_topic("t", 2, &[("retention.ms", "1234567")]).await;
    for value in ["a", "b", "c"] {
        client.produce("t", 1, batch(&[value], None)).await;
    }
    let before = client.call(&MetadataRequest { topics: None, ..Default::default() }, 12).await;

    let node = node.restart(&[]).await;
    let mut client = node.client().await;
    let after = client.call(&MetadataRequest { topics: None, ..Default::default() }, 12).await;
    assert_eq!(after.topics[0].topic_id, before.topics[0].topic_id);
    assert_eq!(after.cluster_id, before.cluster_id);
    let values: Vec<_> = client.read_all("t", 1).await;
    assert_eq!(values, [(0, "a".into()), (1, "b".into()), (2, "c".into())]);
    let next = client.produce("t", 1, batch(&["d"], None)).await;
    assert_eq!(next.base_offset, 3);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn producers_are_remembered_and_their_ids_never_reused() {
    let node = TestNode::start().await;
    let mut client = node.client().await;
    client.create_topic("t", 1, &[]).await;
    let init = InitProducerIdRequest { transactional_id: None, ..Default::default() };
    let first = client.call(&init, 4).await;
    let id = first.producer_id;
    let batches = [batch(&["a"], Some((id, 0, 0))), batch(&["b"], Some((id, 0, 1)))];
    for batch in &batches {
        client.produce("t", 0, batch.clone()).await;
    }

    let node = node.restart(&[]).await;
    let mut client = node.client().await;
    let again = client.produce("t", 0, batches[1].clone()).await;
    assert_eq!((again.error_code, again.base_offset), (0, 1), "a repetition is recognised");
    assert!(client.call(&init, 4).await.producer_id > id);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_topic_stays_deleted() {
    let node = TestNode::start_with(&[("auto.create.topics.enable", "false")]).await;
    let mut client = node.client().await;
    client.create_topic("t", 1, &[]).await;
    client.produce("t", 0, batch(&["old"], None)).await;
    let delete =
        DeleteTopicsRequest { topic_names: vec![Str::from("t")], timeout_ms: 5000, ..Default::default() };
    assert_eq!(client.call(&delete, 5).await.responses[0].error_code, 0);
    let gone = client.produce("t", 0, batch(&["x"], None)).await;
    assert_eq!(gone.error_code, ErrorCode::UnknownTopicOrPartition.code());
    client.create_topic("t", 1, &[]).await;
    assert_eq!(client.list_offset("t", 0, -1).await, 0, "the new topic has nothing of the old one");

    let node = node.restart(&[]).await;
    let mut client = node.client().await;
    assert_eq!(client.list_offset("t", 0, -1).await, 0);
    node.stop().await;
}
