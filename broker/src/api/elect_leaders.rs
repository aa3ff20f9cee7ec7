//! ElectLeaders (43): asks the controller for elections (KIP-460).

use ottla_wire::ErrorCode;
use ottla_wire::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use ottla_wire::messages::{ElectLeadersRequest, ElectLeadersResponse};

use super::RequestContext;
use crate::controller::TopicError;
use crate::node::NodeContext;
use crate::security::{Operation, Resource};

/// First version with an error of its own for the whole.
const KNOWS_ERROR: i16 = 1;

/// Elects leaders for those who may change the cluster.
pub(crate) async fn decide(
    node: &NodeContext,
    context: &RequestContext,
    request: ElectLeadersRequest,
) -> ElectLeadersResponse {
    let code = if node.allows(context, Operation::Alter, Resource::Cluster) {
        let response = node.controller.elect_leaders(request.clone()).await;
        match ErrorCode::try_from(response.error_code) {
            Ok(ErrorCode::None) => return response,
            code => code.unwrap_or(ErrorCode::UnknownServerError),
        }
    } else {
        ErrorCode::ClusterAuthorizationFailed
    };
    let mut response = refused(&request, &TopicError::from(code));
    if context.api_version < KNOWS_ERROR {
        response.error_code = 0;
    }
    response
}

/// No election is held.
pub(crate) fn refused(request: &ElectLeadersRequest, error: &TopicError) -> ElectLeadersResponse {
    let partition = |partition_id: &i32| PartitionResult {
        partition_id: *partition_id,
        error_code: error.code.code(),
        error_message: Some(error.message.clone()),
        ..Default::default()
    };
    let topics = request.topic_partitions.iter().flatten().map(|topic| ReplicaElectionResult {
        topic: topic.topic.clone(),
        partition_result: topic.partitions.iter().map(partition).collect(),
        ..Default::default()
    });
    ElectLeadersResponse {
        error_code: error.code.code(),
        replica_election_results: topics.collect(),
        ..Default::default()
    }
}
