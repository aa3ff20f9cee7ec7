//! Idempotent producers: repetitions, gaps; and no transactions yet, said so that no client tries again.

use crate::common::{TestNode, batch, only_partition, produce_request};
use ottla_wire::batch::{BatchBuilder, Record};
use ottla_wire::messages::InitProducerIdRequest;
use ottla_wire::{ApiKey, ErrorCode, Str};

#[tokio::test(flavor = "multi_thread")]
async fn a_repetition_is_acknowledged_and_not_appended() {
    let node = TestNode::start().await;
    let mut client = node.client().await;
    client.create_topic("t", 1, &[]).await;
    let producer = client.call(&InitProducerIdRequest::default_idempotent(), 4).await;
    let id = producer.producer_id;
    assert_eq!((producer.error_code, producer.producer_epoch), (0, 0));
    for sequence in 0..3 {
        client.produce("t", 0, batch(&["x"], Some((id, 0, sequence)))).await;
    }
    let again = client.produce("t", 0, batch(&["x"], Some((id, 0, 1)))).await;
    assert_eq!((again.error_code, again.base_offset), (0, 1), "with its first offset");
    let gap = client.produce("t", 0, batch(&["x"], Some((id, 0, 9)))).await;
    assert_eq!(gap.error_code, ErrorCode::OutOfOrderSequenceNumber.code());
    assert_eq!(client.list_offset("t", 0, -1).await, 3);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_producer_has_its_own_id() {
    let node = TestNode::start().await;
    let mut client = node.client().await;
    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..1500 {
        ids.insert(client.call(&InitProducerIdRequest::default_idempotent(), 4).await.producer_id);
    }
    assert_eq!(ids.len(), 1500, "also beyond a block of a thousand");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_get_an_error_that_nobody_retries() {
    let node = TestNode::start().await;
    let mut client = node.client().await;
    client.create_topic("t", 1, &[]).await;
    for version in ApiKey::InitProducerId.versions() {
        let request = InitProducerIdRequest {
            transactional_id: Some(Str::from("tx")),
            transaction_timeout_ms: 1000,
            ..Default::default()
        };
        let code = ErrorCode::try_from(client.call(&request, version).await.error_code).unwrap();
        assert_eq!(code, ErrorCode::TransactionalIdAuthorizationFailed);
        assert!(!code.is_retriable());
    }
    // The id alone means nothing, as in Kafka; the batch says that it is part of a transaction.
    let mut part = BatchBuilder::new(0).producer(1, 0, 0).transactional(true);
    part.push(Record { value: Some("x".into()), ..Default::default() });
    let mut request = produce_request("t", 0, part.build(), -1);
    request.transactional_id = Some(Str::from("tx"));
    let response = only_partition(client.call(&request, 9).await);
    assert_eq!(response.error_code, ErrorCode::TransactionalIdAuthorizationFailed.code());
    node.stop().await;
}

trait Idempotent {
    fn default_idempotent() -> Self;
}

impl Idempotent for InitProducerIdRequest {
    fn default_idempotent() -> Self {
        Self { transactional_id: None, transaction_timeout_ms: 60_000, ..Default::default() }
    }
}
