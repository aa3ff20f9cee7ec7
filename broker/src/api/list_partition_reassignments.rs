//! ListPartitionReassignments (46): which partitions move (KIP-455).

use ottla_wire::ErrorCode;
use ottla_wire::messages::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse};

use super::RequestContext;
use crate::controller::TopicError;
use crate::node::NodeContext;
use crate::security::{Operation, Resource};

/// Lists for those who may see the cluster.
pub(crate) async fn decide(
    node: &NodeContext,
    context: &RequestContext,
    request: ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    let code = if !node.allows(context, Operation::Describe, Resource::Cluster) {
        ErrorCode::ClusterAuthorizationFailed
    } else if !node.controller.is_active() {
        ErrorCode::NotController
    } else {
        return node.controller.list_partition_reassignments(&request);
    };
    refused(&request, &TopicError::from(code))
}

/// Nothing is listed.
pub(crate) fn refused(
    _: &ListPartitionReassignmentsRequest,
    error: &TopicError,
) -> ListPartitionReassignmentsResponse {
    ListPartitionReassignmentsResponse {
        error_code: error.code.code(),
        error_message: Some(error.message.clone()),
        ..Default::default()
    }
}
