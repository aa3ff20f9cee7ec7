//! DescribeQuorum: who leads, who votes, and how far they are.

use ottla_quorum::{METADATA_TOPIC, QuorumStatus};
use ottla_wire::messages::describe_quorum_request::TopicData as Asked;
use ottla_wire::messages::describe_quorum_response::{
    Listener, Node, PartitionData, ReplicaState, TopicData,
};
use ottla_wire::messages::{DescribeQuorumRequest, DescribeQuorumResponse};
use ottla_wire::{ErrorCode, Str};

/// Answers for the one partition that there is.
pub(crate) fn describe_quorum(
    request: &DescribeQuorumRequest,
    status: &QuorumStatus,
    now: i64,
) -> DescribeQuorumResponse {
    if !asks_for_metadata(request) {
        return unknown(request);
    }
    let partition = PartitionData {
        partition_index: 0,
        leader_id: status.leader_id.unwrap_or(-1),
        leader_epoch: status.leader_epoch,
        high_watermark: status.high_watermark,
        current_voters: status
            .voters
            .iter()
            .map(|voter| ReplicaState {
                replica_id: voter.id,
                replica_directory_id: voter.directory_id,
                log_end_offset: status.log_end_offset,
                last_fetch_timestamp: now,
                last_caught_up_timestamp: now,
                ..Default::default()
            })
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

fn unknown(request: &DescribeQuorumRequest) -> DescribeQuorumResponse {
    let code = ErrorCode::UnknownTopicOrPartition;
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
