//! AlterConfigs (33): asks the controller.

use std::sync::Arc;

use ottla_wire::messages::alter_configs_request::AlterConfigsResource;
use ottla_wire::messages::{AlterConfigsRequest, AlterConfigsResponse};

use super::altered_resource::{not_to_be_cordoned, refusal, warn_of_idle};
use super::{RequestContext, forward};
use crate::broker::Broker;
use crate::controller::refused_replacement;
use crate::node::NodeContext;

/// Has the controller replace configs, except where this broker is to cordon directories that it does not have.
pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    mut request: AlterConfigsRequest,
) -> AlterConfigsResponse {
    let fate = |resource: &AlterConfigsResource| {
        let id = (resource.resource_type, &*resource.resource_name);
        let values =
            resource.configs.iter().filter_map(|config| Some((&config.name, config.value.as_ref()?)));
        let error = not_to_be_cordoned(&broker.node, context, id, values)?;
        Some(refused_replacement(resource, Some(&error)))
    };
    let fates: Vec<_> = request.resources.iter().map(fate).collect();
    if fates.iter().all(Option::is_none) {
        return forward::handle(broker, context, request).await;
    }
    let mut undecided = fates.iter().map(Option::is_none);
    request.resources.retain(|_| undecided.next().unwrap_or_default());
    let decided = forward::handle(broker, context, request).await;
    let mut others = decided.responses.into_iter();
    let responses = fates.into_iter().filter_map(|fate| fate.or_else(|| others.next())).collect();
    AlterConfigsResponse { responses, ..decided }
}

/// Replaces the configs of the resources that the principal may alter; answers in the order of the request.
pub(crate) async fn decide(
    node: &NodeContext,
    context: &RequestContext,
    mut request: AlterConfigsRequest,
) -> AlterConfigsResponse {
    let resources = std::mem::take(&mut request.resources);
    let mut fates = Vec::with_capacity(resources.len());
    for resource in &resources {
        let id = (resource.resource_type, &*resource.resource_name);
        let configs = resource.configs.iter().map(|config| (&config.name, &config.value));
        let refused = refusal(node, context, id, configs).await;
        fates.push(refused.map(|error| refused_replacement(resource, Some(&error))));
    }
    let decided =
        |(resource, fate): (&AlterConfigsResource, &Option<_>)| fate.is_none().then(|| resource.clone());
    request.resources = resources.iter().zip(&fates).filter_map(decided).collect();
    let validate_only = request.validate_only;
    let mut decided = node.controller.alter_configs(request).await.responses.into_iter();
    let mut responses = Vec::with_capacity(resources.len());
    for (resource, fate) in resources.iter().zip(fates) {
        let Some(response) = fate.or_else(|| decided.next()) else { continue };
        if response.error_code == 0 && !validate_only {
            let set = resource.configs.iter().map(|config| &config.name);
            warn_of_idle(resource.resource_type, &resource.resource_name, set);
        }
        responses.push(response);
    }
    AlterConfigsResponse { responses, ..Default::default() }
}
