//! DescribeQuorum (55): who leads the metadata quorum and how far its members are.

use ottla_wire::messages::{DescribeQuorumRequest, DescribeQuorumResponse};
use ottla_wire::{ErrorCode, Uuid};

use super::RequestContext;
use crate::controller::TopicError;
use crate::node::NodeContext;
use crate::security::{Operation, Resource};

/// First version with directory ids and the voters' addresses (KIP-853).
const KNOWS_DIRECTORIES: i16 = 2;

/// Answers those who may see the cluster.
pub(crate) async fn decide(
    node: &NodeContext,
    context: &RequestContext,
    request: DescribeQuorumRequest,
) -> DescribeQuorumResponse {
    if !node.allows(context, Operation::Describe, Resource::Cluster) {
        let code = ErrorCode::ClusterAuthorizationFailed;
        return refused(&request, &TopicError::from(code));
    }
    let mut response = node.controller.describe_quorum(request).await;
    if context.api_version < KNOWS_DIRECTORIES {
        leave_out_directories(&mut response);
    }
    response
}

/// Nothing is described.
pub(crate) fn refused(_: &DescribeQuorumRequest, error: &TopicError) -> DescribeQuorumResponse {
    DescribeQuorumResponse {
        error_code: error.code.code(),
        error_message: Some(error.message.clone()),
        ..Default::default()
    }
}

/// All errors of a response.
pub(crate) fn codes(response: &DescribeQuorumResponse) -> impl Iterator<Item = i16> {
    let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    std::iter::once(response.error_code).chain(partitions.map(|partition| partition.error_code))
}

fn leave_out_directories(response: &mut DescribeQuorumResponse) {
    response.nodes.clear();
    let partitions = response.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
    for partition in partitions {
        for replica in partition.current_voters.iter_mut().chain(&mut partition.observers) {
            replica.replica_directory_id = Uuid::ZERO;
        }
    }
}
