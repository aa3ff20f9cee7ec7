use super::*;
use crate::kafka::ConfigKind;
use ottla_client::testing::{broker, framed};
use ottla_wire::{
    ApiKey, ErrorCode, Str,
    messages::{
        DescribeConfigsResponse, MetadataResponse,
        describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult},
        metadata_response::{MetadataResponsePartition, MetadataResponseTopic},
    },
};
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
};

#[tokio::test]
async fn one_connection_serves_until_it_breaks() {
    let answered = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&answered);
    // Every third request finds the connection closed.
    let (address, connections) = broker(
        4,
        Arc::new(move |key, version, id| {
            let third = count.fetch_add(1, Ordering::SeqCst) % 3 == 2;
            (!third).then(|| framed(&MetadataResponse::default(), key, version, id))
        }),
    )
    .await;
    let pool = Pool::new(Leadership::always(), Arc::new(Metrics::default()));
    for _ in 0..4 {
        assert!(pool.admin(&address).describe(&["a".to_owned()]).await.unwrap().is_empty());
    }
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

fn topics() -> MetadataResponse {
    let topic = |name: &'static str, error: ErrorCode, partitions: usize| MetadataResponseTopic {
        name: Some(Str::from_static(name)),
        topic_id: crate::ids::Uuid::from_bytes([9; 16]),
        error_code: error.code(),
        partitions: vec![
            MetadataResponsePartition {
                replica_nodes: vec![0],
                ..MetadataResponsePartition::default()
            };
            partitions
        ],
        ..MetadataResponseTopic::default()
    };
    let topics = vec![topic("a", ErrorCode::None, 3), topic("b", ErrorCode::UnknownTopicOrPartition, 0)];
    MetadataResponse { topics, ..MetadataResponse::default() }
}

fn configs() -> DescribeConfigsResponse {
    let config = |name: &'static str, source: i8, kind: i8| DescribeConfigsResourceResult {
        name: Str::from_static(name),
        value: Some(Str::from_static("1")),
        config_source: source,
        config_type: kind,
        ..DescribeConfigsResourceResult::default()
    };
    let result = DescribeConfigsResult {
        resource_type: 2,
        resource_name: Str::from_static("a"),
        configs: vec![config("retention.ms", 1, 5), config("segment.ms", 5, 5), config("preallocate", 4, 1)],
        ..DescribeConfigsResult::default()
    };
    DescribeConfigsResponse { results: vec![result], ..DescribeConfigsResponse::default() }
}

#[tokio::test]
async fn a_description_is_what_exists_and_what_is_set_on_it() {
    let (address, _) = broker(
        4,
        Arc::new(|key, version, id| {
            Some(match key {
                ApiKey::Metadata => framed(&topics(), key, version, id),
                _ => framed(&configs(), key, version, id),
            })
        }),
    )
    .await;
    let admin = Pool::new(Leadership::always(), Arc::new(Metrics::default())).admin(&address);
    let found = admin.describe(&["a".to_owned(), "b".to_owned()]).await.unwrap();
    assert_eq!(found.keys().collect::<Vec<_>>(), ["a"]);
    assert_eq!((found["a"].partitions, found["a"].replicas), (3, 1));
    assert_eq!(found["a"].config.keys().collect::<Vec<_>>(), ["retention.ms"]);
    let keys = admin.broker_keys(0).await.unwrap();
    assert_eq!((keys["retention.ms"], keys["preallocate"]), (ConfigKind::Long, ConfigKind::Boolean));
}

#[tokio::test]
async fn without_the_lease_nothing_is_changed() {
    let (address, connections) = broker(4, Arc::new(|_, _, _| None)).await;
    let admin = Pool::new(Leadership::lapsed(), Arc::new(Metrics::default())).admin(&address);
    let results = [
        admin.create("a", None, None, &BTreeMap::new()).await,
        admin.add_partitions("a", 2).await,
        admin.alter_config("a", &[]).await,
        admin.delete(crate::ids::Uuid::from_bytes([1; 16])).await,
    ];
    for result in results {
        assert!(matches!(result, Err(KafkaError::NotLeader)), "{result:?}");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 0);
}
