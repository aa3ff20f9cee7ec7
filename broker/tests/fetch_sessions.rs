//! Fetch sessions over the wire (KIP-227).

use crate::common::{TestNode, batch, fetch_request, values};
use ottla_wire::messages::FetchRequest;
use ottla_wire::messages::fetch_request::{FetchPartition, ForgottenTopic};
use ottla_wire::{ErrorCode, Str};

/// A request of the session that changes nothing.
fn next(session_id: i32, session_epoch: i32) -> FetchRequest {
    let mut request = fetch_request("t", 0, 0);
    request.topics.clear();
    (request.session_id, request.session_epoch, request.max_wait_ms) = (session_id, session_epoch, 200);
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_tells_only_news() {
    let node = TestNode::start().await;
    let mut client = node.client().await;
    client.create_topic("t", 2, &[]).await;
    let mut full = fetch_request("t", 0, 0);
    let other = FetchPartition { partition: 1, ..full.topics[0].partitions[0].clone() };
    full.topics[0].partitions.push(other);
    (full.session_epoch, full.max_wait_ms) = (0, 200);
    let response = client.call(&full, 12).await;
    let id = response.session_id;
    assert!(id > 0, "a session was opened");
    assert_eq!(response.responses[0].partitions.len(), 2);

    let quiet = client.call(&next(id, 1), 12).await;
    assert_eq!((quiet.session_id, quiet.responses.len()), (id, 0), "nothing new");

    client.produce("t", 1, batch(&["news"], None)).await;
    let news = client.call(&next(id, 2), 12).await;
    let partitions = &news.responses[0].partitions;
    assert_eq!((partitions.len(), partitions[0].partition_index), (1, 1));
    assert_eq!(values(&partitions[0]), [(0, "news".into())]);

    let mut forget = next(id, 3);
    let forgotten = ForgottenTopic { topic: Str::from("t"), partitions: vec![1], ..Default::default() };
    forget.forgotten_topics_data = vec![forgotten];
    assert_eq!(client.call(&forget, 12).await.responses.len(), 0, "it is not asked for any more");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_sessions_are_told_so() {
    let node = TestNode::start().await;
    let mut client = node.client().await;
    client.create_topic("t", 1, &[]).await;
    let mut full = fetch_request("t", 0, 0);
    (full.session_epoch, full.max_wait_ms) = (0, 1);
    let id = client.call(&full, 12).await.session_id;
    let wrong_epoch = client.call(&next(id, 5), 12).await;
    assert_eq!(wrong_epoch.error_code, ErrorCode::InvalidFetchSessionEpoch.code());
    let wrong_id = client.call(&next(id + 1, 1), 12).await;
    assert_eq!(wrong_id.error_code, ErrorCode::FetchSessionIdNotFound.code());
    let other_kind = client.call(&next(id, 1), 13).await;
    assert_eq!(other_kind.error_code, ErrorCode::FetchSessionTopicIdError.code());
    node.stop().await;
}
