use super::*;
use crate::kafka::{ConfigKind, quorum::Endpoint};
use ottla_client::testing::{broker, framed};
use ottla_wire::{
    ApiKey, ErrorCode, Str,
    messages::{
        AddRaftVoterResponse, DescribeConfigsResponse, DescribeQuorumResponse, MetadataResponse,
        RemoveRaftVoterResponse,
        describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult},
        describe_quorum_response::{PartitionData, ReplicaState, TopicData},
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

const ID: crate::ids::Uuid = crate::ids::Uuid::from_bytes([1; 16]);

fn endpoint() -> Endpoint {
    Endpoint { listener: "CONTROLLER".into(), host: "demo-main-1.shop.svc".into(), port: 9090 }
}

fn quorum() -> DescribeQuorumResponse {
    let state = |id: i32| ReplicaState {
        replica_id: id,
        replica_directory_id: ID,
        last_fetch_timestamp: 7,
        last_caught_up_timestamp: 5,
        ..ReplicaState::default()
    };
    let partition = PartitionData {
        leader_id: 2,
        current_voters: vec![state(1), state(2)],
        observers: vec![state(3)],
        ..PartitionData::default()
    };
    let topic = TopicData { partitions: vec![partition], ..TopicData::default() };
    DescribeQuorumResponse { topics: vec![topic], ..DescribeQuorumResponse::default() }
}

#[tokio::test]
async fn the_quorum_is_described_and_a_change_that_is_made_already_is_none() {
    let (address, _) = broker(
        2,
        Arc::new(|key, version, id| {
            let refused = |code: ErrorCode| code.code();
            Some(match key {
                ApiKey::DescribeQuorum => framed(&quorum(), key, version, id),
                ApiKey::AddRaftVoter => {
                    let error_code = refused(ErrorCode::DuplicateVoter);
                    framed(&AddRaftVoterResponse { error_code, ..Default::default() }, key, version, id)
                }
                _ => {
                    let error_code = refused(ErrorCode::VoterNotFound);
                    framed(&RemoveRaftVoterResponse { error_code, ..Default::default() }, key, version, id)
                }
            })
        }),
    )
    .await;
    let admin = Pool::new(Leadership::always(), Arc::new(Metrics::default())).admin(&address);
    let found = admin.quorum().await.unwrap();
    assert_eq!(found.leader, Some(2));
    assert_eq!(found.voters.iter().map(|v| v.id).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(
        (found.observers[0].id, found.observers[0].caught_up_ms, found.observers[0].fetched_ms),
        (3, 5, 7)
    );
    admin.add_voter(ID, 1, ID, &endpoint()).await.unwrap();
    admin.remove_voter(ID, 1, ID).await.unwrap();
}

#[tokio::test]
async fn without_the_lease_nothing_is_changed() {
    let (address, connections) = broker(4, Arc::new(|_, _, _| None)).await;
    let admin = Pool::new(Leadership::lapsed(), Arc::new(Metrics::default())).admin(&address);
    let results = [
        admin.create("a", None, None, &BTreeMap::new()).await,
        admin.add_partitions("a", 2).await,
        admin.alter_config("a", &[]).await,
        admin.delete(ID).await,
        admin.add_voter(ID, 1, ID, &endpoint()).await,
        admin.remove_voter(ID, 1, ID).await,
        admin.unregister(1).await,
    ];
    for result in results {
        assert!(matches!(result, Err(KafkaError::NotLeader)), "{result:?}");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 0);
}
