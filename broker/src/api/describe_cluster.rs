//! DescribeCluster (60): brokers or controllers, and who leads (KIP-700, KIP-919).

use std::sync::Arc;

use ottla_quorum::image::{BrokerImage, ControllerImage};
use ottla_wire::ErrorCode;
use ottla_wire::messages::describe_cluster_response::DescribeClusterBroker;
use ottla_wire::messages::{DescribeClusterRequest, DescribeClusterResponse};

use super::{RequestContext, operations};
use crate::broker::Broker;
use crate::node::NodeContext;
use crate::security::{Operation, Resource};

/// The endpoint type of brokers.
const BROKERS: i8 = 1;
/// The endpoint type of controllers.
const CONTROLLERS: i8 = 2;

/// Answers from the metadata image.
pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: DescribeClusterRequest,
) -> DescribeClusterResponse {
    if request.endpoint_type != BROKERS {
        return wrong_endpoint(BROKERS, request.endpoint_type);
    }
    let image = broker.image();
    let shown = |registered: &&Arc<BrokerImage>| !registered.fenced || request.include_fenced_brokers;
    let brokers = image.cluster.brokers.values().filter(shown);
    DescribeClusterResponse {
        endpoint_type: BROKERS,
        cluster_id: broker.cluster_id.clone(),
        controller_id: broker.some_broker_id(&image),
        brokers: brokers.filter_map(|registered| row(registered, context)).collect(),
        cluster_authorized_operations: if request.include_cluster_authorized_operations {
            operations::of_cluster(broker, context)
        } else {
            operations::NOT_ASKED
        },
        ..Default::default()
    }
}

/// What the controller's listeners answer: who is a controller, and which of them leads (KIP-919).
pub(crate) async fn controllers(
    node: &NodeContext,
    context: &RequestContext,
    request: DescribeClusterRequest,
) -> DescribeClusterResponse {
    if request.endpoint_type != CONTROLLERS {
        return wrong_endpoint(CONTROLLERS, request.endpoint_type);
    }
    let image = node.controller.image();
    if !image.metadata_version().is_some_and(|level| level.has_controller_registration()) {
        let message = "metadata.version knows nothing of clients that ask controllers";
        return refused(ErrorCode::UnsupportedVersion, message.into());
    }
    if !node.allows(context, Operation::Alter, Resource::Cluster) {
        let code = ErrorCode::ClusterAuthorizationFailed;
        return refused(code, code.to_string());
    }
    let leader = node.controller.quorum_status().await.ok().and_then(|status| status.leader_id);
    let controllers = image.cluster.controllers.values();
    DescribeClusterResponse {
        endpoint_type: CONTROLLERS,
        cluster_id: node.cluster_id.clone(),
        controller_id: leader.unwrap_or(-1),
        brokers: controllers.filter_map(|registered| controller_row(registered, context)).collect(),
        cluster_authorized_operations: if request.include_cluster_authorized_operations {
            operations::of_cluster(node, context)
        } else {
            operations::NOT_ASKED
        },
        ..Default::default()
    }
}

fn controller_row(registered: &ControllerImage, context: &RequestContext) -> Option<DescribeClusterBroker> {
    let listener = context.listener.as_str();
    let endpoint = registered.endpoints.iter().find(|endpoint| &*endpoint.name == listener)?;
    Some(DescribeClusterBroker {
        broker_id: registered.id,
        host: endpoint.host.clone(),
        port: i32::from(endpoint.port),
        ..Default::default()
    })
}

fn row(registered: &BrokerImage, context: &RequestContext) -> Option<DescribeClusterBroker> {
    let endpoint = registered.endpoint(context.listener.as_str())?;
    Some(DescribeClusterBroker {
        broker_id: registered.id,
        host: endpoint.host.clone(),
        port: i32::from(endpoint.port),
        rack: registered.rack.clone(),
        is_fenced: registered.fenced,
        ..Default::default()
    })
}

fn wrong_endpoint(own: i8, asked: i8) -> DescribeClusterResponse {
    match asked {
        BROKERS | CONTROLLERS => {
            let kind = if own == BROKERS { "BROKER" } else { "CONTROLLER" };
            let message = format!("The request was sent to an endpoint of type {kind}");
            refused(ErrorCode::MismatchedEndpointType, message)
        }
        _ => refused(ErrorCode::UnsupportedEndpointType, "Unsupported endpoint type".to_owned()),
    }
}

fn refused(code: ErrorCode, message: String) -> DescribeClusterResponse {
    DescribeClusterResponse {
        error_code: code.code(),
        error_message: Some(message.into()),
        ..Default::default()
    }
}
