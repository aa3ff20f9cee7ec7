//! CreatePartitions (37): asks the controller.

use std::time::Instant;

use ottla_wire::messages::create_partitions_response::CreatePartitionsTopicResult;
use ottla_wire::messages::{CreatePartitionsRequest, CreatePartitionsResponse};
use ottla_wire::{ErrorCode, Str};

use super::RequestContext;
use crate::node::NodeContext;
use crate::security::{Operation, Resource};

/// First version that knows the error for a quota that is used up; before, clients are only slowed down.
const KNOWS_QUOTA: i16 = 3;

/// Grows the topics that the principal may alter.
pub(crate) async fn decide(
    node: &NodeContext,
    context: &RequestContext,
    mut request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let mut forbidden = Vec::new();
    request.topics.retain(|topic| {
        let allowed = node.allows(context, Operation::Alter, Resource::Topic(&topic.name));
        if !allowed {
            forbidden.push(refused(topic.name.clone()));
        }
        allowed
    });
    let quota = context.mutations(&node.quotas, KNOWS_QUOTA);
    let mut response = node.controller.create_partitions(request, quota.clone()).await;
    response.throttle_time_ms = context.mute.pause(quota.pause(Instant::now()));
    response.results.extend(forbidden);
    response
}

fn refused(name: Str) -> CreatePartitionsTopicResult {
    let code = ErrorCode::TopicAuthorizationFailed;
    CreatePartitionsTopicResult {
        name,
        error_code: code.code(),
        error_message: Some(Str::from(code.to_string())),
        ..Default::default()
    }
}
