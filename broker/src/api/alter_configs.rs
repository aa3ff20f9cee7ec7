//! AlterConfigs (33): asks the controller, and answers once the change is in effect here.

use std::sync::Arc;

use ottla_wire::messages::{AlterConfigsRequest, AlterConfigsResponse};

use super::RequestContext;
use super::altered_resource::refusal;
use crate::broker::Broker;
use crate::controller::refused_replacement;

/// Replaces the configs of the resources that the principal may alter.
pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    mut request: AlterConfigsRequest,
) -> AlterConfigsResponse {
    let mut refused = Vec::new();
    let mut allowed = Vec::new();
    for resource in std::mem::take(&mut request.resources) {
        let id = (resource.resource_type, &*resource.resource_name);
        let configs = resource.configs.iter().map(|config| (&config.name, &config.value));
        match refusal(broker, context, id, configs).await {
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
