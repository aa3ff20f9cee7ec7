//! IncrementalAlterConfigs (44): asks the controller, and answers once the change is in effect here.

use std::sync::Arc;

use ottla_quorum::image::resource_type;
use ottla_wire::ErrorCode;
use ottla_wire::messages::incremental_alter_configs_request::AlterConfigsResource;
use ottla_wire::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

use super::altered_resource::{refusal, warn_of_idle};
use super::{RequestContext, logger_levels};
use crate::broker::Broker;
use crate::controller::{TopicError, refused_change, twice};

/// Changes the configs of the resources that the principal may alter; answers in the order of the request.
pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    mut request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let resources = std::mem::take(&mut request.resources);
    let twice = twice(resources.iter().map(|it| (it.resource_type, &it.resource_name)));
    let mut fates = Vec::with_capacity(resources.len());
    for resource in &resources {
        let id = (resource.resource_type, &*resource.resource_name);
        let configs = resource.configs.iter().map(|config| (&config.name, &config.value));
        let refused = refusal(broker, context, id, configs).await;
        fates.push(match refused {
            Some(error) => Some(refused_change(resource, Some(&error))),
            // Levels belong to this node alone: the controller knows nothing of them.
            None if resource.resource_type == resource_type::BROKER_LOGGER => {
                let is_twice = twice.contains(&(resource.resource_type, &resource.resource_name));
                let error = alter_loggers(broker, resource, is_twice, request.validate_only).err();
                Some(refused_change(resource, error.as_ref()))
            }
            None => None,
        });
    }
    let decided =
        |(resource, fate): (&AlterConfigsResource, &Option<_>)| fate.is_none().then(|| resource.clone());
    request.resources = resources.iter().zip(&fates).filter_map(decided).collect();
    let validate_only = request.validate_only;
    let mut decided = broker.controller.incremental_alter_configs(request).await.responses.into_iter();
    broker.catch_up().await;
    let mut responses = Vec::with_capacity(resources.len());
    for (resource, fate) in resources.iter().zip(fates) {
        let Some(response) = fate.or_else(|| decided.next()) else { continue };
        if response.error_code == 0 && !validate_only {
            let set = resource.configs.iter().filter(|change| change.value.is_some());
            warn_of_idle(resource.resource_type, &resource.resource_name, set.map(|change| &change.name));
        }
        responses.push(response);
    }
    IncrementalAlterConfigsResponse { responses, ..Default::default() }
}

fn alter_loggers(
    broker: &Broker,
    resource: &AlterConfigsResource,
    is_twice: bool,
    validate_only: bool,
) -> Result<(), TopicError> {
    if is_twice {
        return Err(TopicError::new(ErrorCode::InvalidRequest, "Each resource must appear at most once."));
    }
    logger_levels::check_node(&resource.resource_name, broker.node_id)?;
    logger_levels::alter(&broker.loggers, &resource.configs, validate_only)
}
