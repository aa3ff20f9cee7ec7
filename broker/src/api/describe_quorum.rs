//! DescribeQuorum (55): who leads the metadata quorum and how far its members are.

use std::sync::Arc;

use ottla_wire::messages::{DescribeQuorumRequest, DescribeQuorumResponse};
use ottla_wire::{ErrorCode, Str, Uuid};

use super::RequestContext;
use crate::broker::Broker;
use crate::security::{Operation, Resource};

/// First version with directory ids and the voters' addresses (KIP-853).
const KNOWS_DIRECTORIES: i16 = 2;

/// Answers those who may see the cluster.
pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: DescribeQuorumRequest,
) -> DescribeQuorumResponse {
    if broker.allows(context, Operation::Describe, Resource::Cluster) {
        let mut response = broker.controller.describe_quorum(request).await;
        if context.api_version < KNOWS_DIRECTORIES {
            leave_out_directories(&mut response);
        }
        return response;
    }
    let code = ErrorCode::ClusterAuthorizationFailed;
    DescribeQuorumResponse {
        error_code: code.code(),
        error_message: Some(Str::from(code.to_string())),
        ..Default::default()
    }
}

fn leave_out_directories(response: &mut DescribeQuorumResponse) {
    response.nodes.clear();
    let partitions = response.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
    for voter in partitions.flat_map(|partition| &mut partition.current_voters) {
        voter.replica_directory_id = Uuid::ZERO;
    }
}
