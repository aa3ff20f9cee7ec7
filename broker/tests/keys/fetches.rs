//! Fetches and descriptions.

use ottla_wire::Str;
use ottla_wire::messages::describe_topic_partitions_request::TopicRequest;
use ottla_wire::messages::{DescribeTopicPartitionsRequest, FetchRequest};

use crate::common::{TestNode, batch, fetch_request, values};

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_gets_at_most_the_configured_bytes() {
    for (settings, batches) in [(&[][..], 3), (&[("fetch.max.bytes", "1024")], 1)] {
        let node = TestNode::start_with(settings).await;
        let mut client = node.client().await;
        client.create_topic("t", 1, &[]).await;
        for _ in 0..3 {
            client.produce("t", 0, batch(&["x".repeat(900).as_str()], None)).await;
        }
        assert_eq!(values(&client.fetch("t", 0, 0).await).len(), batches);
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_as_many_fetch_sessions_as_configured() {
    for (settings, session) in
        [(&[][..], true), (&[("max.incremental.fetch.session.cache.slots", "0")], false)]
    {
        let node = TestNode::start_with(settings).await;
        let mut client = node.client().await;
        client.create_topic("t", 1, &[]).await;
        let mut request = fetch_request("t", 0, 0);
        (request.session_epoch, request.max_wait_ms) = (0, 0);
        let answer = client.call::<FetchRequest>(&request, 12).await;
        assert_eq!(answer.session_id != 0, session);
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_described_in_pages_of_the_configured_size() {
    for (settings, partitions) in [(&[][..], 3), (&[("max.request.partition.size.limit", "2")], 2)] {
        let node = TestNode::start_with(settings).await;
        let mut client = node.client().await;
        client.create_topic("t", 3, &[]).await;
        let request = DescribeTopicPartitionsRequest {
            topics: vec![TopicRequest { name: Str::from("t"), ..Default::default() }],
            response_partition_limit: 2000,
            ..Default::default()
        };
        let answer = client.call(&request, 0).await;
        assert_eq!(answer.topics[0].partitions.len(), partitions);
        assert_eq!(answer.next_cursor.is_some(), partitions == 2);
        node.stop().await;
    }
}
