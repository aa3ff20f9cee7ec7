//! AddRaftVoter (80) and RemoveRaftVoter (81): who votes in the quorum (KIP-853).

use ottla_quorum::{QuorumRequest, QuorumResponse};
use ottla_wire::messages::{
    AddRaftVoterRequest, AddRaftVoterResponse, RemoveRaftVoterRequest, RemoveRaftVoterResponse,
};
use ottla_wire::{ErrorCode, Str};

use super::RequestContext;
use crate::controller::{ControllerError, TopicError};
use crate::node::NodeContext;
use crate::security::{Operation, Resource};

/// Adds a voter for those who may change the cluster.
pub(crate) async fn add(
    node: &NodeContext,
    context: &RequestContext,
    request: AddRaftVoterRequest,
) -> AddRaftVoterResponse {
    if !node.allows(context, Operation::Alter, Resource::Cluster) {
        return not_added(&request, &error(ErrorCode::ClusterAuthorizationFailed));
    }
    match node.controller.quorum_request(QuorumRequest::AddRaftVoter(request.clone())).await {
        Ok(QuorumResponse::AddRaftVoter(response)) => response,
        other => not_added(&request, &unanswered(other.err())),
    }
}

/// Removes a voter for those who may change the cluster.
pub(crate) async fn remove(
    node: &NodeContext,
    context: &RequestContext,
    request: RemoveRaftVoterRequest,
) -> RemoveRaftVoterResponse {
    if !node.allows(context, Operation::Alter, Resource::Cluster) {
        return not_removed(&request, &error(ErrorCode::ClusterAuthorizationFailed));
    }
    match node.controller.quorum_request(QuorumRequest::RemoveRaftVoter(request.clone())).await {
        Ok(QuorumResponse::RemoveRaftVoter(response)) => response,
        other => not_removed(&request, &unanswered(other.err())),
    }
}

/// The voters stay as they are.
pub(crate) fn not_added(_: &AddRaftVoterRequest, error: &TopicError) -> AddRaftVoterResponse {
    AddRaftVoterResponse {
        error_code: error.code.code(),
        error_message: Some(error.message.clone()),
        ..Default::default()
    }
}

/// The voters stay as they are.
pub(crate) fn not_removed(_: &RemoveRaftVoterRequest, error: &TopicError) -> RemoveRaftVoterResponse {
    RemoveRaftVoterResponse {
        error_code: error.code.code(),
        error_message: Some(error.message.clone()),
        ..Default::default()
    }
}

fn error(code: ErrorCode) -> TopicError {
    TopicError { code, message: Str::from(code.to_string()) }
}

/// The quorum answers a request by one of its kind, or not at all.
fn unanswered(reason: Option<ControllerError>) -> TopicError {
    error(reason.map_or(ErrorCode::UnknownServerError, |reason| reason.code()))
}
