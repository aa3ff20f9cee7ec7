//! AlterConfigs (33): asks the controller.

use ottla_wire::messages::alter_configs_request::AlterConfigsResource;
use ottla_wire::messages::{AlterConfigsRequest, AlterConfigsResponse};

use super::RequestContext;
use super::altered_resource::{refusal, warn_of_idle};
use crate::controller::refused_replacement;
use crate::node::NodeContext;

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
