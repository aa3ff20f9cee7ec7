//! DescribeQuorum: who leads, who votes, and how far they are.

use ottla_quorum::{METADATA_TOPIC, QuorumStatus, ReplicaKey};
use ottla_wire::messages::describe_quorum_request::TopicData as Asked;
use ottla_wire::messages::describe_quorum_response::{
    Listener, Node, PartitionData, ReplicaState, TopicData,
};
use ottla_wire::messages::{DescribeQuorumRequest, DescribeQuorumResponse};
use ottla_wire::{ErrorCode, Str, Uuid};

/// Answers for the one partition that there is.
pub(crate) fn describe_quorum(
    request: &DescribeQuorumRequest,
    status: &QuorumStatus,
) -> DescribeQuorumResponse {
    if !asks_for_metadata(request) {
        return refuse_all(request, ErrorCode::UnknownTopicOrPartition);
    }
    // Only the leader knows of the replicas, itself among them.
    if status.replicas.is_empty() {
        return refuse_all(request, ErrorCode::NotLeaderOrFollower);
    }
    let partition = PartitionData {
        partition_index: 0,
        leader_id: status.leader_id.unwrap_or(-1),
        leader_epoch: status.leader_epoch,
        high_watermark: status.high_watermark,
        current_voters: status
            .voters
            .iter()
            .map(|voter| replica(status, ReplicaKey::new(voter.id, voter.directory_id)))
            .collect(),
        observers: status
            .replicas
            .iter()
            .filter(|replica| !replica.is_voter)
            .map(|observer| replica(status, observer.key))
            .collect(),
        ..Default::default()
    };
    DescribeQuorumResponse {
        topics: vec![TopicData {
            topic_name: Str::from(METADATA_TOPIC),
            partitions: vec![partition],
            ..Default::default()
        }],
        nodes: status.voters.iter().map(node).collect(),
        ..Default::default()
    }
}

/// The answer when the quorum cannot be asked.
pub(crate) fn refuse(code: ErrorCode) -> DescribeQuorumResponse {
    DescribeQuorumResponse {
        error_code: code.code(),
        error_message: Some(Str::from(code.to_string())),
        ..Default::default()
    }
}

fn asks_for_metadata(request: &DescribeQuorumRequest) -> bool {
    matches!(request.topics.as_slice(), [Asked { topic_name, partitions, .. }]
        if **topic_name == *METADATA_TOPIC
            && matches!(partitions.as_slice(), [partition] if partition.partition_index == 0))
}

/// How far a replica is, if that is known.
fn replica(status: &QuorumStatus, key: ReplicaKey) -> ReplicaState {
    // Static voters are known by their ids alone.
    let is_same = |other: ReplicaKey| other == key || other.id == key.id && key.directory_id == Uuid::ZERO;
    let known = status.replicas.iter().find(|replica| is_same(replica.key));
    ReplicaState {
        replica_id: key.id,
        replica_directory_id: key.directory_id,
        log_end_offset: known.map_or(-1, |replica| replica.log_end_offset),
        last_fetch_timestamp: known.map_or(-1, |replica| replica.last_fetch_ms),
        last_caught_up_timestamp: known.map_or(-1, |replica| replica.last_caught_up_ms),
        ..Default::default()
    }
}

fn refuse_all(request: &DescribeQuorumRequest, code: ErrorCode) -> DescribeQuorumResponse {
    let partition = |index: i32| PartitionData {
        partition_index: index,
        error_code: code.code(),
        error_message: Some(Str::from(code.to_string())),
        ..Default::default()
    };
    let topics = request.topics.iter().map(|topic| TopicData {
        topic_name: topic.topic_name.clone(),
        partitions: topic.partitions.iter().map(|asked| partition(asked.partition_index)).collect(),
        ..Default::default()
    });
    DescribeQuorumResponse { topics: topics.collect(), ..Default::default() }
}

fn node(voter: &ottla_quorum::Voter) -> Node {
    Node {
        node_id: voter.id,
        listeners: voter
            .endpoints
            .iter()
            .map(|endpoint| Listener {
                name: endpoint.name.clone(),
                host: endpoint.host.clone(),
                port: endpoint.port,
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}
