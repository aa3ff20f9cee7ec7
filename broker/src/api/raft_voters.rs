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
        return not_added(&request, &TopicError::from(ErrorCode::ClusterAuthorizationFailed));
    }
    match node.controller.quorum_request(QuorumRequest::AddRaftVoter(request.clone())).await {
        Ok(QuorumResponse::AddRaftVoter(response)) => {
            let error_message = reason(response.error_code, response.error_message);
            AddRaftVoterResponse { error_message, ..response }
        }
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
        return not_removed(&request, &TopicError::from(ErrorCode::ClusterAuthorizationFailed));
    }
    match node.controller.quorum_request(QuorumRequest::RemoveRaftVoter(request.clone())).await {
        Ok(QuorumResponse::RemoveRaftVoter(response)) => {
            let error_message = reason(response.error_code, response.error_message);
            RemoveRaftVoterResponse { error_message, ..response }
        }
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

/// What is said of an error, if only what it means; nothing where there is none.
fn reason(code: i16, given: Option<Str>) -> Option<Str> {
    let code = ErrorCode::try_from(code).unwrap_or(ErrorCode::UnknownServerError);
    let meaning = || Str::from(code.to_string());
    (code != ErrorCode::None).then(|| given.filter(|given| !given.is_empty()).unwrap_or_else(meaning))
}

/// The quorum answers a request by one of its kind, or not at all.
fn unanswered(reason: Option<ControllerError>) -> TopicError {
    TopicError::from(reason.map_or(ErrorCode::UnknownServerError, |reason| reason.code()))
}
