//! What the nodes of a cluster ask of its controllers: the quorum's own requests, and what brokers report and want to know.

use std::sync::Arc;

use ottla_quorum::{QuorumRequest, QuorumResponse};
use ottla_wire::messages::{
    self, BrokerHeartbeatRequest, BrokerHeartbeatResponse, FetchRequest, FetchResponse,
};
use ottla_wire::{ApiKey, Decoder, ErrorCode};

use crate::api::{Call, Refusal};
use crate::clock;
use crate::controller::witness::connection_ended;
use crate::net::{Answer, Handling};
use crate::node::NodeContext;
use crate::security::{Operation, Resource};

macro_rules! among_nodes {
    ($($api:ident: $request:ident, $response:ident => |$node:ident, $call:ident, $asked:ident| $answer:expr;)+) => {
        /// The APIs among nodes. Who may not act for the cluster is refused.
        pub(super) const SERVED: &[ApiKey] = &[$(ApiKey::$api),+];

        pub(super) fn route(node: Arc<NodeContext>, call: Call, body: Decoder) -> Result<Handling, Refusal> {
            match call.api {
                $(ApiKey::$api => {
                    let request = call.decode::<messages::$request>(body)?;
                    Ok(Box::pin(async move {
                        let response = if node.allows(&call.context, Operation::ClusterAction, Resource::Cluster) {
                            let ($node, $call, $asked) = (&node, &call, request);
                            $answer
                        } else {
                            let error_code = ErrorCode::ClusterAuthorizationFailed.code();
                            messages::$response { error_code, ..Default::default() }
                        };
                        // Nodes are never throttled.
                        call.encode(&response).map(Answer::Now)
                    }))
                })+
                other => Err(Refusal::UnknownApi(other.code())),
            }
        }
    };
}

/// Has the quorum answer.
macro_rules! quorum {
    ($node:ident, $kind:ident, $response:ident, $request:ident) => {
        match $node.controller.quorum_request(QuorumRequest::$kind($request)).await {
            Ok(QuorumResponse::$kind(response)) => response,
            Ok(_) => {
                let error_code = ErrorCode::UnknownServerError.code();
                messages::$response { error_code, ..Default::default() }
            }
            Err(error) => messages::$response { error_code: error.code().code(), ..Default::default() },
        }
    };
}

among_nodes! {
    Vote: VoteRequest, VoteResponse => |node, _call, request| quorum!(node, Vote, VoteResponse, request);
    BeginQuorumEpoch: BeginQuorumEpochRequest, BeginQuorumEpochResponse => |node, _call, request|
        quorum!(node, BeginQuorumEpoch, BeginQuorumEpochResponse, request);
    EndQuorumEpoch: EndQuorumEpochRequest, EndQuorumEpochResponse => |node, _call, request|
        quorum!(node, EndQuorumEpoch, EndQuorumEpochResponse, request);
    Fetch: FetchRequest, FetchResponse => |node, _call, request| fetch(node, request).await;
    FetchSnapshot: FetchSnapshotRequest, FetchSnapshotResponse => |node, _call, request|
        quorum!(node, FetchSnapshot, FetchSnapshotResponse, request);
    UpdateRaftVoter: UpdateRaftVoterRequest, UpdateRaftVoterResponse => |node, _call, request|
        quorum!(node, UpdateRaftVoter, UpdateRaftVoterResponse, request);
    BrokerRegistration: BrokerRegistrationRequest, BrokerRegistrationResponse => |node, call, request|
        node.controller.broker_registration(request, call.context.api_version).await;
    BrokerHeartbeat: BrokerHeartbeatRequest, BrokerHeartbeatResponse => |node, call, request|
        heartbeat(node, call, request).await;
    ControllerRegistration: ControllerRegistrationRequest, ControllerRegistrationResponse =>
        |node, _call, request| node.controller.controller_registration(request).await;
    AlterPartition: AlterPartitionRequest, AlterPartitionResponse => |node, call, request|
        node.controller.alter_partition(request, call.context.api_version).await;
    AllocateProducerIds: AllocateProducerIdsRequest, AllocateProducerIdsResponse => |node, _call, request|
        node.controller.allocate_producer_ids_for(request).await;
    AssignReplicasToDirs: AssignReplicasToDirsRequest, AssignReplicasToDirsResponse => |node, _call, request|
        node.controller.assign_replicas_to_dirs(request).await;
}

/// The metadata log.
async fn fetch(node: &NodeContext, request: FetchRequest) -> FetchResponse {
    let error_code = match node.controller.quorum_request(QuorumRequest::Fetch(Box::new(request))).await {
        Ok(QuorumResponse::Fetch(response)) => return *response,
        Ok(_) => ErrorCode::UnknownServerError,
        Err(error) => error.code(),
    };
    FetchResponse { error_code: error_code.code(), ..Default::default() }
}

/// A heartbeat. From now on it is noticed when the connection ends.
async fn heartbeat(
    node: &Arc<NodeContext>,
    call: &Call,
    request: BrokerHeartbeatRequest,
) -> BrokerHeartbeatResponse {
    let (id, epoch) = (request.broker_id, request.broker_epoch);
    let response = node.controller.broker_heartbeat(request, arrived_ms(call)).await;
    let lifetime = &call.context.lifetime;
    if response.error_code == 0 && lifetime.is_first_of(epoch) {
        let (node, lifetime) = (Arc::clone(node), Arc::clone(lifetime));
        tokio::spawn(async move {
            lifetime.ended().await;
            connection_ended(&node.controller, id, epoch).await;
        });
    }
    response
}

/// When the request had come, by [`clock::monotonic_ms`]: what it says of its sender was true then, however long it
/// waited here.
fn arrived_ms(call: &Call) -> i64 {
    let waited = i64::try_from(call.arrived().elapsed().as_millis()).unwrap_or(i64::MAX);
    clock::monotonic_ms().saturating_sub(waited)
}
