//! DeleteTopics (20): asks the controller.

use std::time::Instant;

use ottla_wire::messages::delete_topics_request::DeleteTopicState;
use ottla_wire::messages::delete_topics_response::DeletableTopicResult;
use ottla_wire::messages::{DeleteTopicsRequest, DeleteTopicsResponse};
use ottla_wire::{ErrorCode, Str, Uuid};

use super::RequestContext;
use crate::node::NodeContext;
use crate::security::{Operation, Resource};

/// First version that knows the error for a quota that is used up; before, clients are only slowed down.
const KNOWS_QUOTA: i16 = 5;
/// First version that knows the error for deletion being disabled.
const KNOWS_DISABLED: i16 = 3;

/// Deletes the topics that the principal may delete.
pub(crate) async fn decide(
    node: &NodeContext,
    context: &RequestContext,
    mut request: DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    let forbidden = take_forbidden(node, context, &mut request);
    let quota = context.mutations(&node.quotas, KNOWS_QUOTA);
    let mut response = node.controller.delete_topics(request, quota.clone()).await;
    response.throttle_time_ms = context.mute.pause(quota.pause(Instant::now()));
    response.responses.extend(forbidden);
    if context.api_version < KNOWS_DISABLED {
        for topic in &mut response.responses {
            if topic.error_code == ErrorCode::TopicDeletionDisabled.code() {
                topic.error_code = ErrorCode::InvalidRequest.code();
            }
        }
    }
    response
}

fn take_forbidden(
    node: &NodeContext,
    context: &RequestContext,
    request: &mut DeleteTopicsRequest,
) -> Vec<DeletableTopicResult> {
    let image = node.controller.image();
    let name_of = |state: &DeleteTopicState| {
        let by_id = || image.topics.by_id(&state.topic_id).map(|topic| topic.name.clone());
        state.name.clone().or_else(by_id)
    };
    let allows = |operation: Operation, name: &str| node.allows(context, operation, Resource::Topic(name));
    let mut forbidden = Vec::new();
    request.topics.retain(|state| {
        let Some(name) = name_of(state) else { return true };
        if allows(Operation::Delete, &name) {
            return true;
        }
        // A topic named by id keeps its name from those who may not see it.
        let shown = state.name.is_some() || allows(Operation::Describe, &name);
        forbidden.push(refused(shown.then_some(name), state.topic_id));
        false
    });
    request.topic_names.retain(|name| {
        let allowed = allows(Operation::Delete, name);
        if !allowed {
            forbidden.push(refused(Some(name.clone()), Uuid::ZERO));
        }
        allowed
    });
    forbidden
}

fn refused(name: Option<Str>, topic_id: Uuid) -> DeletableTopicResult {
    let code = ErrorCode::TopicAuthorizationFailed;
    DeletableTopicResult {
        name,
        topic_id,
        error_code: code.code(),
        error_message: Some(Str::from(code.to_string())),
        ..Default::default()
    }
}
