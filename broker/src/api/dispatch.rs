//! One table of the APIs served: decode, authorise, handle, encode. What is not in it is not advertised.

use std::sync::Arc;

use ottla_wire::messages::{self, ApiVersionsResponse};
use ottla_wire::{ApiKey, Decoder, ErrorCode};
use tokio_util::sync::CancellationToken;

use super::call::{Call, encode};
use super::{Refusal, RequestContext};
use crate::broker::Broker;
use crate::net::{Answer, ConnectionSlots, Frame, Handling, MemoryBudget, Peer, Service, timed};
use crate::quota::Quotas;
use crate::security::{Action, Operation, Resource};
use crate::telemetry::{Metrics, Timing};

/// Adds the pause for the request's own time to a response; some have no field for it, and Fetch sees to it itself.
macro_rules! throttled {
    ($call:ident, $broker:ident, $response:ident, $spent:ident, itself) => {
        let _ = $spent;
    };
    ($call:ident, $broker:ident, $response:ident, $spent:ident, silently) => {
        $call.context.throttle_time(&$broker.quotas, $spent);
    };
    ($call:ident, $broker:ident, $response:ident, $spent:ident,) => {
        let pause = $call.context.throttle_time(&$broker.quotas, $spent);
        $response.throttle_time_ms = $response.throttle_time_ms.max(pause);
    };
}

macro_rules! apis {
    ($($api:ident: $request:ident => $module:ident $($how:ident)?),+ $(,)?) => {
        /// The APIs that are served, each in all its stable versions.
        pub const SERVED: &[ApiKey] = &[ApiKey::Produce, $(ApiKey::$api),+];

        fn route(broker: Arc<Broker>, call: Call, body: Decoder) -> Result<Handling, Refusal> {
            match call.api {
                ApiKey::Produce => super::produce::start(broker, call, body),
                $(ApiKey::$api => {
                    let request = call.decode::<messages::$request>(body)?;
                    Ok(Box::pin(async move {
                        let handled = timed(super::$module::handle(&broker, &call.context, request));
                        #[allow(unused_mut, reason = "without the field it is sent as it is")]
                        let (mut response, spent) = handled.await;
                        throttled!(call, broker, response, spent, $($how)?);
                        call.encode(&response).map(Answer::Now)
                    }))
                })+
                other => Err(Refusal::UnknownApi(other.code())),
            }
        }
    };
}

apis! {
    Fetch: FetchRequest => fetch itself,
    ListOffsets: ListOffsetsRequest => list_offsets,
    Metadata: MetadataRequest => metadata,
    OffsetCommit: OffsetCommitRequest => offset_commit,
    OffsetFetch: OffsetFetchRequest => offset_fetch,
    FindCoordinator: FindCoordinatorRequest => find_coordinator,
    JoinGroup: JoinGroupRequest => join_group,
    Heartbeat: HeartbeatRequest => heartbeat,
    LeaveGroup: LeaveGroupRequest => leave_group,
    SyncGroup: SyncGroupRequest => sync_group,
    DescribeGroups: DescribeGroupsRequest => describe_groups,
    ListGroups: ListGroupsRequest => list_groups,
    ApiVersions: ApiVersionsRequest => api_versions,
    CreateTopics: CreateTopicsRequest => create_topics,
    DeleteTopics: DeleteTopicsRequest => delete_topics,
    DeleteRecords: DeleteRecordsRequest => delete_records,
    InitProducerId: InitProducerIdRequest => init_producer_id,
    OffsetForLeaderEpoch: OffsetForLeaderEpochRequest => offset_for_leader_epoch,
    AlterConfigs: AlterConfigsRequest => alter_configs,
    DescribeLogDirs: DescribeLogDirsRequest => describe_log_dirs,
    CreatePartitions: CreatePartitionsRequest => create_partitions,
    DeleteGroups: DeleteGroupsRequest => delete_groups,
    IncrementalAlterConfigs: IncrementalAlterConfigsRequest => incremental_alter_configs,
    OffsetDelete: OffsetDeleteRequest => offset_delete,
    DescribeClientQuotas: DescribeClientQuotasRequest => describe_client_quotas,
    AlterClientQuotas: AlterClientQuotasRequest => alter_client_quotas,
    DescribeQuorum: DescribeQuorumRequest => describe_quorum silently,
    UpdateFeatures: UpdateFeaturesRequest => update_features,
    DescribeCluster: DescribeClusterRequest => describe_cluster,
    DescribeConfigs: DescribeConfigsRequest => describe_configs,
    DescribeProducers: DescribeProducersRequest => describe_producers,
    DescribeTopicPartitions: DescribeTopicPartitionsRequest => describe_topic_partitions,
    ListConfigResources: ListConfigResourcesRequest => list_config_resources,
}

impl Service for Broker {
    fn start(self: &Arc<Self>, peer: &Peer, frame: Frame) -> Result<Handling, Refusal> {
        start(self, peer, frame)
    }

    fn memory(&self) -> &MemoryBudget {
        &self.memory
    }

    fn connections(&self) -> &Arc<ConnectionSlots> {
        &self.connections
    }

    fn quotas(&self) -> &Quotas {
        &self.quotas
    }

    fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }
}

fn start(broker: &Arc<Broker>, peer: &Peer, frame: Frame) -> Result<Handling, Refusal> {
    let length = frame.bytes.len();
    let (header, decoder) = ottla_wire::decode_request_header(frame.bytes).map_err(Refusal::Header)?;
    let (key, version) = (header.request_api_key, header.request_api_version);
    let correlation_id = header.correlation_id;
    let api = ApiKey::try_from(key).map_err(|_| Refusal::UnknownApi(key))?;
    let timing = Timing { api, version, arrived: frame.arrived, bytes: length };
    if !SERVED.contains(&api) {
        return Err(Refusal::UnknownApi(key));
    }
    if !api.versions().contains(&version) {
        if api == ApiKey::ApiVersions {
            return Ok(unsupported_api_versions(correlation_id, timing));
        }
        return Err(Refusal::UnsupportedVersion { api, version });
    }
    let context = RequestContext {
        api_version: version,
        correlation_id,
        client_id: header.client_id,
        principal: peer.principal.clone(),
        listener: peer.listener.clone(),
        client_address: peer.address,
        client_host: peer.host.clone(),
        mute: peer.mute.clone(),
    };
    let action = Action { operation: Operation::Describe, resource: Resource::Api(api) };
    if !broker.authoriser.allows(&context, action) {
        return Err(Refusal::Unauthorised(api));
    }
    let counted = broker.quotas.limits_time();
    route(Arc::clone(broker), Call { api, context, timing, share: frame.share, counted }, decoder)
}

/// The answer to a version that we do not know, in version 0, which every client reads (KIP-511).
fn unsupported_api_versions(correlation_id: i32, timing: Timing) -> Handling {
    let response = ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.code(),
        api_keys: super::api_versions::own_range(),
        ..Default::default()
    };
    let answer = encode(ApiKey::ApiVersions, correlation_id, &response, 0, timing).map(Answer::Now);
    Box::pin(std::future::ready(answer))
}
