//! AlterPartitionReassignments (45): asks the controller to move replicas (KIP-455).

use ottla_wire::ErrorCode;
use ottla_wire::messages::{AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse};

use super::RequestContext;
use crate::controller::{TopicError, refused};
use crate::node::NodeContext;
use crate::security::{Operation, Resource};

/// Begins and cancels moves for those who may change the cluster.
pub(crate) async fn decide(
    node: &NodeContext,
    context: &RequestContext,
    request: AlterPartitionReassignmentsRequest,
) -> AlterPartitionReassignmentsResponse {
    if node.allows(context, Operation::Alter, Resource::Cluster) {
        return node.controller.alter_partition_reassignments(request).await;
    }
    let code = ErrorCode::ClusterAuthorizationFailed;
    let error = TopicError::from(code);
    refused::alter_partition_reassignments(&request, &error)
}
