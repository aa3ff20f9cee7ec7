//! IncrementalAlterConfigs (44): asks the controller, and answers once the change is in effect here.

use std::sync::Arc;

use ottla_quorum::image::resource_type;
use ottla_wire::messages::incremental_alter_configs_request::AlterConfigsResource;
use ottla_wire::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use ottla_wire::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};
use ottla_wire::{ErrorCode, Str};
use tracing::warn;

use super::RequestContext;
use crate::broker::Broker;
use crate::config::Config;
use crate::config::keys::{self, Scope, Status};
use crate::net::ConnectionLimits;
use crate::security::{Operation, Resource};

/// The key whose values name hosts.
pub(super) const HOSTS: &str = "max.connections.per.ip.overrides";

/// Changes the configs of the resources that the principal may alter.
pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    mut request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let mut refused = Vec::new();
    let mut allowed = Vec::new();
    for resource in std::mem::take(&mut request.resources) {
        match refusal(broker, context, &resource).await {
            None => allowed.push(resource),
            Some((code, message)) => refused.push(response(&resource, code, message)),
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

/// Why a resource is not to be changed, as far as the controller does not decide it.
async fn refusal(
    broker: &Broker,
    context: &RequestContext,
    resource: &AlterConfigsResource,
) -> Option<(ErrorCode, Str)> {
    // Everything that is no topic belongs to the cluster.
    let (target, code) = match resource.resource_type {
        resource_type::TOPIC => {
            (Resource::Topic(&resource.resource_name), ErrorCode::TopicAuthorizationFailed)
        }
        _ => (Resource::Cluster, ErrorCode::ClusterAuthorizationFailed),
    };
    if !broker.allows(context, Operation::AlterConfigs, target) {
        return Some((code, Str::from(code.to_string())));
    }
    let change = resource.configs.iter().find(|change| &*change.name == HOSTS)?;
    let value = change.value.clone().filter(|_| resource.resource_type == resource_type::BROKER)?;
    let unknown = unknown_host(value).await?;
    Some((ErrorCode::InvalidRequest, Str::from(unknown)))
}

/// A host without an address in a broker's limits of connections. Waits for the name server, which the controller must
/// not.
pub(super) async fn unknown_host(value: Str) -> Option<String> {
    // What is no list at all is refused by the controller.
    let network = Config::from_overrides(&[(HOSTS, &value)]).ok()?.network;
    let unknown = tokio::task::spawn_blocking(move || ConnectionLimits::resolve(&network).1).await.ok()?;
    unknown.first().map(ToString::to_string)
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

fn response(resource: &AlterConfigsResource, code: ErrorCode, message: Str) -> AlterConfigsResourceResponse {
    AlterConfigsResourceResponse {
        error_code: code.code(),
        error_message: Some(message),
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.clone(),
        ..Default::default()
    }
}
