//! DescribeCluster (60): brokers or controllers, and who leads (KIP-700, KIP-919).

use std::sync::Arc;

use ottla_quorum::image::BrokerImage;
use ottla_wire::ErrorCode;
use ottla_wire::messages::describe_cluster_response::DescribeClusterBroker;
use ottla_wire::messages::{DescribeClusterRequest, DescribeClusterResponse};

use super::{RequestContext, operations};
use crate::broker::Broker;

/// The endpoint type of brokers; 2 is for controllers, which clients of a broker listener cannot ask for.
const BROKERS: i8 = 1;

/// Answers from the metadata image.
pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: DescribeClusterRequest,
) -> DescribeClusterResponse {
    if request.endpoint_type != BROKERS {
        return wrong_endpoint(request.endpoint_type);
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

fn wrong_endpoint(endpoint_type: i8) -> DescribeClusterResponse {
    let (error, message) = match endpoint_type {
        2 => (ErrorCode::MismatchedEndpointType, "The request was sent to an endpoint of type BROKER"),
        _ => (ErrorCode::UnsupportedEndpointType, "Unsupported endpoint type"),
    };
    DescribeClusterResponse {
        error_code: error.code(),
        error_message: Some(message.into()),
        ..Default::default()
    }
}
