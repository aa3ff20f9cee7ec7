//! The controller's own listener: what other nodes ask there, what clients ask of controllers, and what brokers pass on.

use bytes::Bytes;
use ottla_quorum::features;
use ottla_wire::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use ottla_wire::messages::create_topics_request::CreatableTopic;
use ottla_wire::messages::{
    AllocateProducerIdsRequest, AlterClientQuotasRequest, AlterPartitionRequest, ApiVersionsRequest,
    AssignReplicasToDirsRequest, BrokerHeartbeatRequest, BrokerRegistrationRequest, CreateTopicsRequest,
    DeleteTopicsRequest, DescribeClusterRequest, DescribeConfigsRequest, DescribeQuorumRequest,
    EnvelopeRequest, EnvelopeResponse, FetchRequest, FetchSnapshotRequest, ListPartitionReassignmentsRequest,
    MetadataRequest, ResponseHeader, UnregisterBrokerRequest, VoteRequest, broker_registration_request,
    delete_topics_request, describe_configs_request, describe_quorum_request, fetch_request,
    fetch_snapshot_request, vote_request,
};
use ottla_wire::{ApiKey, Decoder, ErrorCode, Message as _, Request, Str, Uuid, encode_request};

use crate::common::{Client, TestNode};

const METADATA: Uuid = Uuid::from_bytes([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

/// A node, and a client of its controller.
struct Controller {
    node: TestNode,
    client: Client,
}

impl Controller {
    async fn start() -> Self {
        let node = TestNode::start().await;
        let client = Client::connect(node.node.address("CONTROLLER").unwrap()).await;
        Self { node, client }
    }

    fn cluster_id(&self) -> Str {
        self.node.node.broker().cluster_id.clone()
    }

    async fn stop(self) {
        self.node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_what_it_serves_and_nothing_of_brokers() {
    let mut controller = Controller::start().await;
    let request = ApiVersionsRequest {
        client_software_name: "t".into(),
        client_software_version: "1".into(),
        ..Default::default()
    };
    let response = controller.client.call(&request, 4).await;
    let mut keys: Vec<i16> = response.api_keys.iter().map(|range| range.api_key).collect();
    keys.sort_unstable();
    // Kafka's, less what is not there yet: SASL, ACLs, tokens, SCRAM.
    let kafkas = [
        1, 18, 19, 20, 32, 33, 37, 43, 44, 45, 46, 49, 52, 53, 54, 55, 56, 57, 58, 59, 60, 62, 63, 64, 67,
        70, 73, 80, 81, 82,
    ];
    assert_eq!(keys, kafkas);
    assert!(response.finalized_features.iter().any(|feature| &*feature.name == "metadata.version"));
    controller.client.send(&MetadataRequest::default(), 12).await;
    assert!(controller.client.is_closed().await, "it is no broker");
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_registers_lives_and_is_forgotten() {
    let mut controller = Controller::start().await;
    let feature = |feature: features::SupportedFeature| broker_registration_request::Feature {
        name: feature.name.into(),
        min_supported_version: feature.min,
        max_supported_version: feature.max,
        ..Default::default()
    };
    let registration = BrokerRegistrationRequest {
        broker_id: 7,
        cluster_id: controller.cluster_id(),
        incarnation_id: Uuid::from_bytes([9; 16]),
        listeners: vec![broker_registration_request::Listener {
            name: "PLAINTEXT".into(),
            host: "localhost".into(),
            port: 9,
            ..Default::default()
        }],
        features: features::advertised().map(feature).collect(),
        log_dirs: vec![Uuid::from_bytes([8; 16])],
        previous_broker_epoch: -1,
        ..Default::default()
    };
    let client = &mut controller.client;
    let elsewhere = BrokerRegistrationRequest { cluster_id: "other".into(), ..registration.clone() };
    let refused = client.call(&elsewhere, 4).await.error_code;
    assert_eq!(refused, ErrorCode::InconsistentClusterId.code());
    let registered = client.call(&registration, 4).await;
    assert_eq!(registered.error_code, 0);

    let heartbeat = |broker_epoch, want_fence| BrokerHeartbeatRequest {
        broker_id: 7,
        broker_epoch,
        current_metadata_offset: i64::MAX,
        want_fence,
        ..Default::default()
    };
    let stale = client.call(&heartbeat(registered.broker_epoch - 1, false), 1).await;
    assert_eq!(stale.error_code, ErrorCode::StaleBrokerEpoch.code());
    let alive = client.call(&heartbeat(registered.broker_epoch, false), 1).await;
    assert_eq!((alive.error_code, alive.is_caught_up, alive.is_fenced), (0, true, false));

    let ids = AllocateProducerIdsRequest {
        broker_id: 7,
        broker_epoch: registered.broker_epoch,
        ..Default::default()
    };
    let block = client.call(&ids, 0).await;
    assert_eq!((block.error_code, block.producer_id_len), (0, 1000));
    let alter = AlterPartitionRequest { broker_id: 7, broker_epoch: 0, ..Default::default() };
    assert_eq!(client.call(&alter, 3).await.error_code, ErrorCode::StaleBrokerEpoch.code());
    let assign = AssignReplicasToDirsRequest { broker_id: 7, broker_epoch: 0, ..Default::default() };
    assert_eq!(client.call(&assign, 0).await.error_code, ErrorCode::StaleBrokerEpoch.code());

    let forget = UnregisterBrokerRequest { broker_id: 7, ..Default::default() };
    assert_eq!(client.call(&forget, 0).await.error_code, 0);
    assert_eq!(client.call(&forget, 0).await.error_code, ErrorCode::BrokerIdNotRegistered.code());
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metadata_log_is_read_by_others_of_the_cluster() {
    let mut controller = Controller::start().await;
    let cluster_id = controller.cluster_id();
    let client = &mut controller.client;
    let fetch = |cluster_id: Str, topic_id| FetchRequest {
        cluster_id: Some(cluster_id),
        replica_state: fetch_request::ReplicaState { replica_id: 9, replica_epoch: -1, ..Default::default() },
        max_bytes: 1 << 20,
        topics: vec![fetch_request::FetchTopic {
            topic_id,
            partitions: vec![fetch_request::FetchPartition {
                current_leader_epoch: 1,
                last_fetched_epoch: 0,
                partition_max_bytes: 1 << 20,
                replica_directory_id: Uuid::from_bytes([3; 16]),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let fetched = client.call(&fetch(cluster_id.clone(), METADATA), 17).await;
    let partition = &fetched.responses[0].partitions[0];
    assert_eq!((fetched.error_code, partition.error_code), (0, 0));
    assert!(partition.high_watermark > 0 || partition.snapshot_id.end_offset >= 0, "{partition:?}");
    let other = client.call(&fetch("other".into(), METADATA), 17).await;
    assert_eq!(other.error_code, ErrorCode::InconsistentClusterId.code());
    let data = client.call(&fetch(cluster_id.clone(), Uuid::from_bytes([5; 16])), 17).await;
    assert_eq!(data.error_code, ErrorCode::InvalidRequest.code());

    let snapshot = FetchSnapshotRequest {
        cluster_id: Some(cluster_id.clone()),
        replica_id: 9,
        max_bytes: 1000,
        topics: vec![fetch_snapshot_request::TopicSnapshot {
            name: "__cluster_metadata".into(),
            partitions: vec![fetch_snapshot_request::PartitionSnapshot {
                current_leader_epoch: 1,
                snapshot_id: fetch_snapshot_request::SnapshotId {
                    end_offset: 1 << 40,
                    epoch: 1,
                    ..Default::default()
                },
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let missing = client.call(&snapshot, 1).await;
    assert_eq!(missing.topics[0].partitions[0].error_code, ErrorCode::SnapshotNotFound.code());

    let vote = VoteRequest {
        cluster_id: Some(cluster_id),
        voter_id: 1,
        topics: vec![vote_request::TopicData {
            topic_name: "__cluster_metadata".into(),
            partitions: vec![vote_request::PartitionData {
                replica_id: 9,
                replica_epoch: 0,
                replica_directory_id: Uuid::from_bytes([3; 16]),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let voted = client.call(&vote, 2).await;
    let partition = &voted.topics[0].partitions[0];
    assert!(!partition.vote_granted && partition.leader_id == 1, "{partition:?}");
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_may_ask_a_controller() {
    let mut controller = Controller::start().await;
    let cluster_id = controller.cluster_id();
    let client = &mut controller.client;
    let cluster = |endpoint_type| DescribeClusterRequest { endpoint_type, ..Default::default() };
    let described = client.call(&cluster(2), 1).await;
    assert_eq!((described.error_code, &described.cluster_id), (0, &cluster_id));
    assert_eq!((described.controller_id, described.endpoint_type), (1, 2));
    let controllers: Vec<i32> = described.brokers.iter().map(|row| row.broker_id).collect();
    assert_eq!(controllers, [1]);
    assert_eq!(client.call(&cluster(1), 1).await.error_code, ErrorCode::MismatchedEndpointType.code());
    assert_eq!(client.call(&cluster(3), 1).await.error_code, ErrorCode::UnsupportedEndpointType.code());

    client.create_topic("t", 1, &[]).await;
    let resource = describe_configs_request::DescribeConfigsResource {
        resource_type: 2,
        resource_name: "t".into(),
        configuration_keys: Some(vec!["retention.ms".into()]),
        ..Default::default()
    };
    let configs = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
    assert_eq!(client.call(&configs, 4).await.results[0].configs.len(), 1);
    let listed = client.call(&ListPartitionReassignmentsRequest::default(), 0).await;
    assert_eq!((listed.error_code, listed.topics.len()), (0, 0));
    let asked = describe_quorum_request::TopicData {
        topic_name: "__cluster_metadata".into(),
        partitions: vec![describe_quorum_request::PartitionData::default()],
        ..Default::default()
    };
    let quorum = client.call(&DescribeQuorumRequest { topics: vec![asked], ..Default::default() }, 2).await;
    let partition = &quorum.topics[0].partitions[0];
    assert_eq!((partition.leader_id, partition.current_voters.len(), partition.observers.len()), (1, 1, 0));
    assert!(partition.current_voters[0].log_end_offset > 0 && partition.high_watermark > 0);
    let topic = delete_topics_request::DeleteTopicState { name: Some("t".into()), ..Default::default() };
    let delete = DeleteTopicsRequest { topics: vec![topic], timeout_ms: 1000, ..Default::default() };
    assert_eq!(client.call(&delete, 6).await.responses[0].error_code, 0);
    controller.stop().await;
}

fn create(name: &str) -> CreateTopicsRequest {
    let topic =
        CreatableTopic { name: name.into(), num_partitions: 1, replication_factor: 1, ..Default::default() };
    CreateTopicsRequest { topics: vec![topic], timeout_ms: 5000, ..Default::default() }
}

/// As a broker wraps a request of its client.
fn envelope<R: Request>(request: &R, version: i16, client: &str) -> EnvelopeRequest {
    let parts = encode_request(request, version, 77, Some(client.into())).unwrap();
    EnvelopeRequest {
        request_data: parts.into_bytes().unwrap(),
        request_principal: Some(Bytes::from_static(b"\0\0\x05User\x0aANONYMOUS\0\0")),
        client_host_address: Bytes::from_static(&[10, 0, 0, 9]),
        ..Default::default()
    }
}

fn opened<R: Request>(envelope: EnvelopeResponse, version: i16) -> R::Response {
    assert_eq!(envelope.error_code, 0);
    let mut decoder = Decoder::new(envelope.response_data.unwrap());
    let header = ResponseHeader::decode(&mut decoder, R::KEY.response_header_version(version)).unwrap();
    assert_eq!(header.correlation_id, 77, "the client's own");
    let response = R::Response::decode(&mut decoder, version).unwrap();
    assert_eq!(decoder.remaining(), 0);
    response
}

#[tokio::test(flavor = "multi_thread")]
async fn what_brokers_pass_on_is_decided() {
    let mut controller = Controller::start().await;
    for version in ApiKey::CreateTopics.versions() {
        let request = create(&format!("t-{version}"));
        let answer = controller.client.call(&envelope(&request, version, "c"), 0).await;
        assert_eq!(opened::<CreateTopicsRequest>(answer, version).topics[0].error_code, 0);
    }
    let answer = controller.client.call(&envelope(&create("t-7"), 7, "c"), 0).await;
    let exists = opened::<CreateTopicsRequest>(answer, 7).topics[0].error_code;
    assert_eq!(exists, ErrorCode::TopicAlreadyExists.code());

    let whole = envelope(&create("t"), 7, "c");
    let garbage = Bytes::from_static(b"\0\x13\0\x07");
    let wrong = [
        (envelope(&MetadataRequest::default(), 12, "c"), ErrorCode::InvalidRequest),
        (envelope(&EnvelopeRequest::default(), 0, "c"), ErrorCode::InvalidRequest),
        (
            EnvelopeRequest { request_principal: None, ..whole.clone() },
            ErrorCode::PrincipalDeserializationFailure,
        ),
        (
            EnvelopeRequest { request_principal: Some(Bytes::from_static(b"\0\x09")), ..whole.clone() },
            ErrorCode::PrincipalDeserializationFailure,
        ),
        (EnvelopeRequest { client_host_address: Bytes::new(), ..whole.clone() }, ErrorCode::InvalidRequest),
        (EnvelopeRequest { request_data: garbage, ..whole.clone() }, ErrorCode::UnsupportedVersion),
        (
            EnvelopeRequest { request_data: whole.request_data.slice(..20), ..whole },
            ErrorCode::UnsupportedVersion,
        ),
    ];
    for (request, code) in wrong {
        assert_eq!(controller.client.call(&request, 0).await.error_code, code.code(), "{request:?}");
    }
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passed_on_request_is_paid_for_by_its_client() {
    let mut controller = Controller::start().await;
    let entity = EntityData {
        entity_type: "client-id".into(),
        entity_name: Some("greedy".into()),
        ..Default::default()
    };
    let op = OpData { key: "controller_mutation_rate".into(), value: 0.01, ..Default::default() };
    let entry = EntryData { entity: vec![entity], ops: vec![op], ..Default::default() };
    let limit = AlterClientQuotasRequest { entries: vec![entry], ..Default::default() };
    let answer = controller.client.call(&envelope(&limit, 1, "admin"), 0).await;
    assert_eq!(opened::<AlterClientQuotasRequest>(answer, 1).entries[0].error_code, 0);
    controller.node.node.broker().catch_up().await;

    let mut outcomes = Vec::new();
    for (name, client) in [("a", "greedy"), ("b", "greedy"), ("c", "greedy"), ("d", "modest")] {
        let answer = controller.client.call(&envelope(&create(name), 7, client), 0).await;
        let response = opened::<CreateTopicsRequest>(answer, 7);
        outcomes.push((response.topics[0].error_code, response.throttle_time_ms > 0));
    }
    let exceeded = (ErrorCode::ThrottlingQuotaExceeded.code(), true);
    assert_eq!(outcomes[3], (0, false), "the broker's connection is not kept waiting");
    assert!(outcomes.contains(&exceeded) && !outcomes[0].1, "{outcomes:?}");
    controller.stop().await;
}
