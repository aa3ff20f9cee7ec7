//! DescribeQuorum (55): who leads the metadata quorum and how far its members are.

use std::sync::Arc;

use ottla_wire::messages::{DescribeQuorumRequest, DescribeQuorumResponse};
use ottla_wire::{ErrorCode, Str};

use super::RequestContext;
use crate::broker::Broker;
use crate::security::{Operation, Resource};

/// Answers those who may see the cluster.
pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: DescribeQuorumRequest,
) -> DescribeQuorumResponse {
    if broker.allows(context, Operation::Describe, Resource::Cluster) {
        return broker.controller.describe_quorum(request).await;
    }
    let code = ErrorCode::ClusterAuthorizationFailed;
    DescribeQuorumResponse {
        error_code: code.code(),
        error_message: Some(Str::from(code.to_string())),
        ..Default::default()
    }
}
