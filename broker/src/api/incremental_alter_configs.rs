//! IncrementalAlterConfigs (44): asks the controller, and answers once the change is in effect here.

use std::sync::Arc;

use ottla_quorum::image::resource_type;
use ottla_wire::Str;
use ottla_wire::messages::incremental_alter_configs_request::AlterConfigsResource;
use ottla_wire::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use ottla_wire::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};
use tracing::warn;

use super::RequestContext;
use super::altered_resource::refusal;
use crate::broker::Broker;
use crate::config::keys::{self, Scope, Status};
use crate::controller::refused_change;

/// Changes the configs of the resources that the principal may alter.
pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    mut request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let mut refused = Vec::new();
    let mut allowed = Vec::new();
    for resource in std::mem::take(&mut request.resources) {
        let id = (resource.resource_type, &*resource.resource_name);
        let configs = resource.configs.iter().map(|config| (&config.name, &config.value));
        match refusal(broker, context, id, configs).await {
            None => allowed.push(resource),
            Some(error) => refused.push(refused_change(&resource, Some(&error))),
        }
    }
    request.resources = allowed;
    let without_effect = without_effect(&request);
    let mut response = broker.controller.incremental_alter_configs(request).await;
    broker.catch_up().await;
    for (resource, key) in without_effect {
        let changed = |it: &AlterConfigsResourceResponse| {
            it.error_code == 0 && (it.resource_type, &it.resource_name) == (resource.0, &resource.1)
        };
        if response.responses.iter().any(changed) {
            warn!(resource = %resource.1, "{key} has no effect");
        }
    }
    response.responses.extend(refused);
    response
}

/// Keys that are set and drive nothing here, each with its resource.
fn without_effect(request: &IncrementalAlterConfigsRequest) -> Vec<((i8, Str), Str)> {
    let of = |resource: &AlterConfigsResource| {
        let scope = if resource.resource_type == resource_type::TOPIC { Scope::Topic } else { Scope::Broker };
        let id = (resource.resource_type, resource.resource_name.clone());
        let idle = |name: &Str| keys::find(scope, name).is_none_or(|key| key.status == Status::NoEffect);
        let set = resource.configs.iter().filter(|change| change.value.is_some());
        set.map(|change| change.name.clone()).filter(idle).map(|name| (id.clone(), name)).collect::<Vec<_>>()
    };
    if request.validate_only { Vec::new() } else { request.resources.iter().flat_map(of).collect() }
}
