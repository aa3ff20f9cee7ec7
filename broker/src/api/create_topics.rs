//! CreateTopics (19): asks the controller.

use std::collections::BTreeSet;
use std::time::Instant;

use ottla_wire::messages::create_topics_response::CreatableTopicResult;
use ottla_wire::messages::{CreateTopicsRequest, CreateTopicsResponse};
use ottla_wire::{ErrorCode, Str};

use super::RequestContext;
use crate::node::NodeContext;
use crate::security::{Operation, Resource};

/// First version that knows the error for a quota that is used up; before, clients are only slowed down.
const KNOWS_QUOTA: i16 = 6;

/// Creates the topics that the principal may create.
pub(crate) async fn decide(
    node: &NodeContext,
    context: &RequestContext,
    mut request: CreateTopicsRequest,
) -> CreateTopicsResponse {
    let forbidden = take_forbidden(node, context, &mut request);
    let quota = context.mutations(&node.quotas, KNOWS_QUOTA);
    let mut response = node.controller.create_topics(request, quota.clone()).await;
    response.throttle_time_ms = context.mute.pause(quota.pause(Instant::now()));
    for topic in &mut response.topics {
        hide_configs(node, context, topic);
    }
    response.topics.extend(forbidden.into_iter().map(refused));
    response
}

/// Who may create anything need not be allowed each topic.
fn take_forbidden(
    node: &NodeContext,
    context: &RequestContext,
    request: &mut CreateTopicsRequest,
) -> BTreeSet<Str> {
    if node.allows(context, Operation::Create, Resource::Cluster) {
        return BTreeSet::new();
    }
    let mut forbidden = BTreeSet::new();
    request.topics.retain(|topic| {
        let allowed = node.allows(context, Operation::Create, Resource::Topic(&topic.name));
        if !allowed {
            forbidden.insert(topic.name.clone());
        }
        allowed
    });
    forbidden
}

/// Configs are shown to those who may see them.
fn hide_configs(node: &NodeContext, context: &RequestContext, topic: &mut CreatableTopicResult) {
    let made = topic.error_code == ErrorCode::None.code();
    if made && !node.allows(context, Operation::DescribeConfigs, Resource::Topic(&topic.name)) {
        topic.topic_config_error_code = ErrorCode::TopicAuthorizationFailed.code();
        topic.configs = Some(Vec::new());
        topic.num_partitions = -1;
        topic.replication_factor = -1;
    }
}

fn refused(name: Str) -> CreatableTopicResult {
    let code = ErrorCode::TopicAuthorizationFailed;
    CreatableTopicResult {
        name,
        error_code: code.code(),
        error_message: Some(Str::from(code.to_string())),
        ..Default::default()
    }
}
