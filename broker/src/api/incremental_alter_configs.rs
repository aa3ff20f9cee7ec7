//! IncrementalAlterConfigs (44): asks the controller; levels of loggers are changed by the node that is asked.

use std::sync::Arc;

use ottla_quorum::image::resource_type;
use ottla_wire::ErrorCode;
use ottla_wire::messages::incremental_alter_configs_request::AlterConfigsResource;
use ottla_wire::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use ottla_wire::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

use super::altered_resource::{not_to_be_cordoned, refusal, warn_of_idle};
use super::{RequestContext, forward, logger_levels};
use crate::broker::Broker;
use crate::controller::{TopicError, refused_change, twice};
use crate::node::NodeContext;

/// The operation that takes something out of a list.
const SUBTRACT: i8 = 3;

/// Changes the configs of the resources that the principal may alter; answers in the order of the request.
pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    mut request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    // Levels and directories belong to this node alone: the controller knows nothing of them.
    let mut fates = alter_loggers(&broker.node, context, &request).await;
    for (resource, fate) in request.resources.iter().zip(&mut fates) {
        *fate = fate.take().or_else(|| cannot_cordon(&broker.node, context, resource));
    }
    if fates.iter().all(Option::is_none) {
        return forward::handle(broker, context, request).await;
    }
    keep_undecided(&mut request, &fates);
    if request.resources.is_empty() {
        let responses = fates.into_iter().flatten().collect();
        return IncrementalAlterConfigsResponse { responses, ..Default::default() };
    }
    let decided = forward::handle(broker, context, request).await;
    IncrementalAlterConfigsResponse { responses: merged(fates, decided.responses), ..decided }
}

fn cannot_cordon(
    node: &NodeContext,
    context: &RequestContext,
    resource: &AlterConfigsResource,
) -> Option<AlterConfigsResourceResponse> {
    let id = (resource.resource_type, &*resource.resource_name);
    let added = resource.configs.iter().filter(|change| change.config_operation != SUBTRACT);
    let values = added.filter_map(|change| Some((&change.name, change.value.as_ref()?)));
    not_to_be_cordoned(node, context, id, values).map(|error| refused_change(resource, Some(&error)))
}

/// As [`handle`], on the controller.
pub(crate) async fn decide(
    node: &NodeContext,
    context: &RequestContext,
    mut request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let mut fates = alter_loggers(node, context, &request).await;
    for (resource, fate) in request.resources.iter().zip(&mut fates).filter(|(_, fate)| fate.is_none()) {
        *fate = refused(node, context, resource).await;
    }
    let resources = request.resources.clone();
    keep_undecided(&mut request, &fates);
    let validate_only = request.validate_only;
    let decided = node.controller.incremental_alter_configs(request).await;
    let responses = merged(fates, decided.responses);
    let altered = |response: &&AlterConfigsResourceResponse| response.error_code == 0 && !validate_only;
    for (resource, _) in resources.iter().zip(&responses).filter(|(_, response)| altered(response)) {
        let set = resource.configs.iter().filter(|change| change.value.is_some());
        warn_of_idle(resource.resource_type, &resource.resource_name, set.map(|change| &change.name));
    }
    IncrementalAlterConfigsResponse { responses, ..decided }
}

async fn refused(
    node: &NodeContext,
    context: &RequestContext,
    resource: &AlterConfigsResource,
) -> Option<AlterConfigsResourceResponse> {
    let id = (resource.resource_type, &*resource.resource_name);
    let configs = resource.configs.iter().map(|config| (&config.name, &config.value));
    let error = refusal(node, context, id, configs).await?;
    Some(refused_change(resource, Some(&error)))
}

/// Leaves those that nothing is known of yet.
fn keep_undecided(
    request: &mut IncrementalAlterConfigsRequest,
    fates: &[Option<AlterConfigsResourceResponse>],
) {
    let mut fates = fates.iter();
    request.resources.retain(|_| fates.next().is_some_and(Option::is_none));
}

/// All answers in the order of the request.
fn merged(
    fates: Vec<Option<AlterConfigsResourceResponse>>,
    decided: Vec<AlterConfigsResourceResponse>,
) -> Vec<AlterConfigsResourceResponse> {
    let mut decided = decided.into_iter();
    fates.into_iter().filter_map(|fate| fate.or_else(|| decided.next())).collect()
}

/// Changes this node's loggers, and answers for them alone.
async fn alter_loggers(
    node: &NodeContext,
    context: &RequestContext,
    request: &IncrementalAlterConfigsRequest,
) -> Vec<Option<AlterConfigsResourceResponse>> {
    let resources = &request.resources;
    let twice = twice(resources.iter().map(|it| (it.resource_type, &it.resource_name)));
    let mut fates = Vec::with_capacity(resources.len());
    for resource in resources {
        fates.push(if resource.resource_type == resource_type::BROKER_LOGGER {
            let refused = refused(node, context, resource).await;
            let is_twice = twice.contains(&(resource.resource_type, &resource.resource_name));
            let alter = || alter_levels(node, resource, is_twice, request.validate_only).err();
            Some(refused.unwrap_or_else(|| refused_change(resource, alter().as_ref())))
        } else {
            None
        });
    }
    fates
}

fn alter_levels(
    node: &NodeContext,
    resource: &AlterConfigsResource,
    is_twice: bool,
    validate_only: bool,
) -> Result<(), TopicError> {
    if is_twice {
        return Err(TopicError::new(ErrorCode::InvalidRequest, "Each resource must appear at most once."));
    }
    logger_levels::check_node(&resource.resource_name, node.node_id)?;
    logger_levels::alter(&node.loggers, &resource.configs, validate_only)
}
