//! AlterConfigs (33): asks the controller, and answers once the change is in effect here.

use std::sync::Arc;

use ottla_quorum::image::resource_type;
use ottla_wire::messages::alter_configs_request::AlterConfigsResource;
use ottla_wire::messages::{AlterConfigsRequest, AlterConfigsResponse};
use ottla_wire::{ErrorCode, Str};

use super::RequestContext;
use super::incremental_alter_configs::{HOSTS, unknown_host};
use crate::broker::Broker;
use crate::controller::{TopicError, refused_replacement};
use crate::security::{Operation, Resource};

/// Replaces the configs of the resources that the principal may alter.
pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    mut request: AlterConfigsRequest,
) -> AlterConfigsResponse {
    let mut refused = Vec::new();
    let mut allowed = Vec::new();
    for resource in std::mem::take(&mut request.resources) {
        match refusal(broker, context, &resource).await {
            None => allowed.push(resource),
            Some(error) => refused.push(refused_replacement(&resource, Some(&error))),
        }
    }
    request.resources = allowed;
    let mut response = broker.controller.alter_configs(request).await;
    broker.catch_up().await;
    response.responses.extend(refused);
    response
}

/// Why a resource is not to be changed, as far as the controller does not decide it.
async fn refusal(
    broker: &Broker,
    context: &RequestContext,
    resource: &AlterConfigsResource,
) -> Option<TopicError> {
    let (target, code) = match resource.resource_type {
        resource_type::TOPIC => {
            (Resource::Topic(&resource.resource_name), ErrorCode::TopicAuthorizationFailed)
        }
        _ => (Resource::Cluster, ErrorCode::ClusterAuthorizationFailed),
    };
    if !broker.allows(context, Operation::AlterConfigs, target) {
        return Some(TopicError { code, message: Str::from(code.to_string()) });
    }
    let hosts = resource.configs.iter().find(|config| &*config.name == HOSTS)?;
    let value = hosts.value.clone().filter(|_| resource.resource_type == resource_type::BROKER)?;
    let message = Str::from(unknown_host(value).await?);
    Some(TopicError { code: ErrorCode::InvalidRequest, message })
}
