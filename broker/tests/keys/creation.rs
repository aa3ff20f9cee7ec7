//! Topics that are made and deleted.

use std::time::Duration;

use ottla_wire::messages::create_topics_request::CreatableTopic;
use ottla_wire::messages::delete_topics_request::DeleteTopicState;
use ottla_wire::messages::metadata_request::MetadataRequestTopic;
use ottla_wire::messages::{CreateTopicsRequest, DeleteTopicsRequest, MetadataRequest};
use ottla_wire::{ErrorCode, Str};

use crate::common::{Client, TestNode};
use crate::keys::topic::Topic;

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
