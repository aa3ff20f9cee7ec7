//! One table of the APIs served: decode, authorise, handle, encode. What is not in it is not advertised.

use std::sync::Arc;

use ottla_wire::{ApiKey, Decoder, messages};
use tokio_util::sync::CancellationToken;

use super::Refusal;
use super::call::{Call, Opened};
use crate::broker::Broker;
use crate::net::{Answer, ConnectionSlots, Frame, Handling, MemoryBudget, Peer, Service, timed};
use crate::quota::Quotas;
use crate::telemetry::Metrics;

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
    CreateTopics: CreateTopicsRequest => forward,
    DeleteTopics: DeleteTopicsRequest => forward,
    DeleteRecords: DeleteRecordsRequest => delete_records,
    InitProducerId: InitProducerIdRequest => init_producer_id,
    OffsetForLeaderEpoch: OffsetForLeaderEpochRequest => offset_for_leader_epoch,
    AlterConfigs: AlterConfigsRequest => alter_configs,
    AlterReplicaLogDirs: AlterReplicaLogDirsRequest => alter_replica_log_dirs,
    DescribeLogDirs: DescribeLogDirsRequest => describe_log_dirs,
    CreatePartitions: CreatePartitionsRequest => forward,
    DeleteGroups: DeleteGroupsRequest => delete_groups,
    IncrementalAlterConfigs: IncrementalAlterConfigsRequest => incremental_alter_configs,
    ElectLeaders: ElectLeadersRequest => forward,
    AlterPartitionReassignments: AlterPartitionReassignmentsRequest => forward,
    ListPartitionReassignments: ListPartitionReassignmentsRequest => forward,
    UnregisterBroker: UnregisterBrokerRequest => forward,
    AddRaftVoter: AddRaftVoterRequest => forward,
    RemoveRaftVoter: RemoveRaftVoterRequest => forward,
    OffsetDelete: OffsetDeleteRequest => offset_delete,
    DescribeClientQuotas: DescribeClientQuotasRequest => describe_client_quotas,
    AlterClientQuotas: AlterClientQuotasRequest => forward,
    DescribeQuorum: DescribeQuorumRequest => forward silently,
    UpdateFeatures: UpdateFeaturesRequest => forward,
    DescribeCluster: DescribeClusterRequest => describe_cluster,
    DescribeConfigs: DescribeConfigsRequest => describe_configs,
    DescribeProducers: DescribeProducersRequest => describe_producers,
    DescribeTopicPartitions: DescribeTopicPartitionsRequest => describe_topic_partitions,
    ListConfigResources: ListConfigResourcesRequest => list_config_resources,
}

impl Service for Broker {
    fn start(self: &Arc<Self>, peer: &Peer, frame: Frame) -> Result<Handling, Refusal> {
        match Call::open(SERVED, &self.node, peer, frame)? {
            Opened::Call(call, body) => route(Arc::clone(self), call, body),
            Opened::Answered(handling) => Ok(handling),
        }
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
