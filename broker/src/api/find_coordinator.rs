//! FindCoordinator (10).

use std::sync::Arc;

use ottla_quorum::image::MetadataImage;
use ottla_wire::messages::find_coordinator_request::FindCoordinatorRequest;
use ottla_wire::messages::find_coordinator_response::{Coordinator, FindCoordinatorResponse};
use ottla_wire::{ErrorCode, Str};

use super::RequestContext;
use crate::broker::Broker;
use crate::group::placement::OFFSETS_TOPIC;
use crate::group::topic::create_offsets_topic;
use crate::security::{Operation, Resource};

/// From this version on many keys can be asked for.
const MANY_KEYS: i16 = 4;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

/// What Kafka calls success.
const NO_ERROR: &str = "NONE";

/// A node that clients can reach.
struct Node {
    id: i32,
    host: Str,
    port: i32,
}

/// Tells which node coordinates groups.
pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    if context.api_version >= MANY_KEYS {
        let mut coordinators = Vec::with_capacity(request.coordinator_keys.len());
        for key in request.coordinator_keys {
            let found = find(broker, context, request.key_type, &key).await;
            coordinators.push(coordinator(key, found));
        }
        return FindCoordinatorResponse { coordinators, ..Default::default() };
    }
    let found = find(broker, context, request.key_type, &request.key).await;
    let only = coordinator(request.key, found);
    // Old versions give a success a message too.
    let message = only.error_message.filter(|_| only.error_code != 0).unwrap_or(Str::from_static(NO_ERROR));
    FindCoordinatorResponse {
        error_code: only.error_code,
        error_message: Some(message),
        node_id: only.node_id,
        host: only.host,
        port: only.port,
        ..Default::default()
    }
}

async fn find(
    broker: &Arc<Broker>,
    context: &RequestContext,
    key_type: i8,
    key: &str,
) -> Result<Node, ErrorCode> {
    match key_type {
        GROUP => {
            if !broker.allows(context, Operation::Describe, Resource::Group(key)) {
                return Err(ErrorCode::GroupAuthorizationFailed);
            }
            group_coordinator(broker, context, key).await
        }
        TRANSACTION => {
            if !broker.allows(context, Operation::Describe, Resource::TransactionalId(key)) {
                return Err(ErrorCode::TransactionalIdAuthorizationFailed);
            }
            // There are no transactions yet. InitProducerId says so, once and for all; an error here would be retried.
            node(&broker.image(), context, broker.node_id)
        }
        _ => Err(ErrorCode::InvalidRequest),
    }
}

async fn group_coordinator(
    broker: &Arc<Broker>,
    context: &RequestContext,
    group: &str,
) -> Result<Node, ErrorCode> {
    if broker.image().topics.by_name(OFFSETS_TOPIC).is_none() {
        create_offsets_topic(broker).await.map_err(|_| ErrorCode::CoordinatorNotAvailable)?;
        broker.catch_up().await;
    }
    let image = broker.image();
    let partition = broker.groups.partition_for(group).ok_or(ErrorCode::CoordinatorNotAvailable)?;
    let leader = image.partition(OFFSETS_TOPIC, partition).map_or(-1, |partition| partition.leader);
    node(&image, context, leader)
}

/// The node as clients of this listener reach it.
fn node(image: &MetadataImage, context: &RequestContext, id: i32) -> Result<Node, ErrorCode> {
    let broker = image.active_broker(id).ok_or(ErrorCode::CoordinatorNotAvailable)?;
    let endpoint = broker.endpoint(context.listener.as_str()).ok_or(ErrorCode::CoordinatorNotAvailable)?;
    Ok(Node { id, host: endpoint.host.clone(), port: i32::from(endpoint.port) })
}

fn coordinator(key: Str, found: Result<Node, ErrorCode>) -> Coordinator {
    match found {
        Ok(Node { id, host, port }) => Coordinator { key, node_id: id, host, port, ..Default::default() },
        Err(error) => Coordinator {
            key,
            node_id: -1,
            port: -1,
            error_code: error.code(),
            error_message: Some(error.to_string().into()),
            ..Default::default()
        },
    }
}
