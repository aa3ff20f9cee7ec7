//! IncrementalAlterConfigs (44): asks the controller, and answers once the change is in effect here.

use std::sync::Arc;

use ottla_quorum::image::resource_type;
use ottla_wire::messages::incremental_alter_configs_request::AlterConfigsResource;
use ottla_wire::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use ottla_wire::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};
use ottla_wire::{ErrorCode, Str};

use super::RequestContext;
use crate::broker::Broker;
use crate::security::{Operation, Resource};

/// Changes the configs of the resources that the principal may alter.
pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    mut request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let mut forbidden = Vec::new();
    request.resources.retain(|resource| match refusal(broker, context, resource) {
        None => true,
        Some(code) => {
            forbidden.push(refused(resource, code));
            false
        }
    });
    let mut response = broker.controller.incremental_alter_configs(request).await;
    broker.catch_up().await;
    response.responses.extend(forbidden);
    response
}

/// Everything that is no topic belongs to the cluster.
fn refusal(broker: &Broker, context: &RequestContext, resource: &AlterConfigsResource) -> Option<ErrorCode> {
    let (target, code) = match resource.resource_type {
        resource_type::TOPIC => {
            (Resource::Topic(&resource.resource_name), ErrorCode::TopicAuthorizationFailed)
        }
        _ => (Resource::Cluster, ErrorCode::ClusterAuthorizationFailed),
    };
    (!broker.allows(context, Operation::AlterConfigs, target)).then_some(code)
}

fn refused(resource: &AlterConfigsResource, code: ErrorCode) -> AlterConfigsResourceResponse {
    AlterConfigsResourceResponse {
        error_code: code.code(),
        error_message: Some(Str::from(code.to_string())),
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.clone(),
        ..Default::default()
    }
}
