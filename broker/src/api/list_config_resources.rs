//! ListConfigResources (74): what has configs, by kind (KIP-1142). In version 0 it lists client metrics alone.

use std::sync::Arc;

use ottla_quorum::image::resource_type::{BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP, TOPIC};
use ottla_wire::messages::list_config_resources_response::ConfigResource;
use ottla_wire::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse};
use ottla_wire::{ErrorCode, Str};

use super::RequestContext;
use crate::broker::Broker;
use crate::security::{Operation, Resource};

/// The kinds, in the order in which they are listed.
const KINDS: [i8; 5] = [GROUP, CLIENT_METRICS, BROKER_LOGGER, BROKER, TOPIC];

/// Lists from the metadata image.
pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: ListConfigResourcesRequest,
) -> ListConfigResourcesResponse {
    if !broker.allows(context, Operation::DescribeConfigs, Resource::Cluster) {
        return refused(ErrorCode::ClusterAuthorizationFailed);
    }
    let known: &[i8] = if context.api_version == 0 { &[CLIENT_METRICS] } else { &KINDS };
    let asked = &request.resource_types;
    if asked.iter().any(|kind| !known.contains(kind)) {
        return refused(ErrorCode::UnsupportedVersion);
    }
    let wanted = known.iter().filter(|kind| asked.is_empty() || asked.contains(kind));
    let config_resources = wanted.flat_map(|kind| of_kind(broker, context, *kind)).collect();
    ListConfigResourcesResponse { config_resources, ..Default::default() }
}

fn of_kind(broker: &Broker, context: &RequestContext, kind: i8) -> Vec<ConfigResource> {
    let image = broker.image();
    let names: Vec<Str> = match kind {
        TOPIC => image.topics.iter().map(|topic| topic.name.clone()).collect(),
        BROKER | BROKER_LOGGER => {
            let reachable = |id: &&i32| {
                let found = image.broker(**id).filter(|broker| !broker.fenced);
                found.is_some_and(|broker| broker.endpoint(context.listener.as_str()).is_some())
            };
            image.cluster.brokers.keys().filter(reachable).map(|id| Str::from(id.to_string())).collect()
        }
        _ => {
            let of_kind = image.configs.iter().filter(|(resource, _)| resource.resource_type == kind);
            of_kind.map(|(resource, _)| resource.name.clone()).collect()
        }
    };
    let row = |resource_name| ConfigResource { resource_name, resource_type: kind, ..Default::default() };
    names.into_iter().map(row).collect()
}

fn refused(code: ErrorCode) -> ListConfigResourcesResponse {
    ListConfigResourcesResponse { error_code: code.code(), ..Default::default() }
}
