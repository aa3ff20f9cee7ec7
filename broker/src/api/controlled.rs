//! The APIs that the active controller decides, whichever node is asked: one table for brokers, which pass the requests on
//! ([`forward`](super::forward)), and for the controller's listeners.

use std::future::Future;

use futures::future::BoxFuture;
use ottla_wire::messages::{
    AddRaftVoterRequest, AlterClientQuotasRequest, AlterConfigsRequest, AlterPartitionReassignmentsRequest,
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeQuorumRequest,
    ElectLeadersRequest, IncrementalAlterConfigsRequest, ListPartitionReassignmentsRequest,
    RemoveRaftVoterRequest, UnregisterBrokerRequest, UpdateFeaturesRequest,
};
use ottla_wire::{ApiKey, Decoder, ErrorCode, Request};

use super::call::Call;
use super::{
    Refusal, RequestContext, alter_client_quotas, alter_configs, alter_partition_reassignments,
    create_partitions, create_topics, delete_topics, describe_quorum, elect_leaders,
    incremental_alter_configs, list_partition_reassignments, raft_voters, unregister_broker, update_features,
};
use crate::controller::{TopicError, refused};
use crate::net::{Response, timed};
use crate::node::NodeContext;

/// An API that the active controller decides.
pub(crate) trait ControllerApi: Request<Response: Send> + Clone + Send + Sync + 'static {
    /// Whether it may change metadata.
    const CHANGES: bool;

    /// Authorises and decides, on the active controller; elsewhere `NOT_CONTROLLER` is in the answer.
    fn decide(
        node: &NodeContext,
        context: &RequestContext,
        request: Self,
    ) -> impl Future<Output = Self::Response> + Send;

    /// The answer when nothing can be decided.
    fn refused(&self, error: &TopicError) -> Self::Response;

    /// Whether the node that answered is not the active controller.
    fn is_elsewhere(response: &Self::Response) -> bool;

    /// Where the response says how long the client is throttled.
    fn throttle_time(response: &mut Self::Response) -> Option<&mut i32>;

    /// How long the client wants to wait, in ms, if it says so.
    fn timeout_ms(&self) -> Option<i32>;
}

/// Whether one of the codes says that another node has to be asked.
fn any_elsewhere(codes: impl IntoIterator<Item = i16>) -> bool {
    let elsewhere = [ErrorCode::NotController.code(), ErrorCode::NotLeaderOrFollower.code()];
    codes.into_iter().any(|code| elsewhere.contains(&code))
}

macro_rules! controlled {
    ($($api:ident: $request:ident $kind:ident {
        decide: $decide:path,
        refused: $refused:expr,
        codes: |$response:ident| $codes:expr,
        $(timeout: $timeout:ident,)?
        $(throttle: $throttle:ident,)?
    })+) => {
        /// The APIs that brokers may send to the controller for their clients (KIP-590).
        pub(crate) const CONTROLLED: &[ApiKey] = &[$(ApiKey::$api),+];

        $(impl ControllerApi for $request {
            const CHANGES: bool = controlled!(@changes $kind);

            async fn decide(node: &NodeContext, context: &RequestContext, request: Self) -> Self::Response {
                $decide(node, context, request).await
            }

            fn refused(&self, error: &TopicError) -> Self::Response {
                $refused(self, error)
            }

            fn is_elsewhere($response: &Self::Response) -> bool {
                any_elsewhere($codes)
            }

            fn throttle_time(_response: &mut Self::Response) -> Option<&mut i32> {
                controlled!(@throttle _response $($throttle)?)
            }

            fn timeout_ms(&self) -> Option<i32> {
                controlled!(@timeout self $($timeout)?)
            }
        })+

        /// Begins to decide a request of one of [`CONTROLLED`].
        pub(crate) fn decide<'a>(node: &'a NodeContext, call: Call, body: Decoder) -> Result<Deciding<'a>, Refusal> {
            match call.api {
                $(ApiKey::$api => decide_one::<$request>(node, call, body),)+
                other => Err(Refusal::UnknownApi(other.code())),
            }
        }
    };
    (@changes changes) => { true };
    (@changes reads) => { false };
    (@throttle $response:ident $field:ident) => { Some(&mut $response.$field) };
    (@throttle $response:ident) => { None };
    (@timeout $request:ident $field:ident) => { Some($request.$field) };
    (@timeout $request:ident) => { None };
}

controlled! {
    CreateTopics: CreateTopicsRequest changes {
        decide: create_topics::decide,
        refused: refused::create_topics,
        codes: |response| response.topics.iter().map(|topic| topic.error_code),
        timeout: timeout_ms,
        throttle: throttle_time_ms,
    }
    DeleteTopics: DeleteTopicsRequest changes {
        decide: delete_topics::decide,
        refused: refused::delete_topics,
        codes: |response| response.responses.iter().map(|topic| topic.error_code),
        timeout: timeout_ms,
        throttle: throttle_time_ms,
    }
    AlterConfigs: AlterConfigsRequest changes {
        decide: alter_configs::decide,
        refused: refused::alter_configs,
        codes: |response| response.responses.iter().map(|resource| resource.error_code),
        throttle: throttle_time_ms,
    }
    CreatePartitions: CreatePartitionsRequest changes {
        decide: create_partitions::decide,
        refused: refused::create_partitions,
        codes: |response| response.results.iter().map(|topic| topic.error_code),
        timeout: timeout_ms,
        throttle: throttle_time_ms,
    }
    ElectLeaders: ElectLeadersRequest changes {
        decide: elect_leaders::decide,
        refused: elect_leaders::refused,
        codes: |response| [response.error_code],
        timeout: timeout_ms,
        throttle: throttle_time_ms,
    }
    IncrementalAlterConfigs: IncrementalAlterConfigsRequest changes {
        decide: incremental_alter_configs::decide,
        refused: refused::incremental_alter_configs,
        codes: |response| response.responses.iter().map(|resource| resource.error_code),
        throttle: throttle_time_ms,
    }
    AlterPartitionReassignments: AlterPartitionReassignmentsRequest changes {
        decide: alter_partition_reassignments::decide,
        refused: refused::alter_partition_reassignments,
        codes: |response| [response.error_code],
        timeout: timeout_ms,
        throttle: throttle_time_ms,
    }
    ListPartitionReassignments: ListPartitionReassignmentsRequest reads {
        decide: list_partition_reassignments::decide,
        refused: list_partition_reassignments::refused,
        codes: |response| [response.error_code],
        timeout: timeout_ms,
        throttle: throttle_time_ms,
    }
    AlterClientQuotas: AlterClientQuotasRequest changes {
        decide: alter_client_quotas::decide,
        refused: refused::alter_client_quotas,
        codes: |response| response.entries.iter().map(|entry| entry.error_code),
        throttle: throttle_time_ms,
    }
    DescribeQuorum: DescribeQuorumRequest reads {
        decide: describe_quorum::decide,
        refused: describe_quorum::refused,
        codes: |response| describe_quorum::codes(response),
    }
    UpdateFeatures: UpdateFeaturesRequest changes {
        decide: update_features::decide,
        refused: |_: &_, error: &TopicError| refused::update_features(error),
        codes: |response| [response.error_code],
        timeout: timeout_ms,
        throttle: throttle_time_ms,
    }
    UnregisterBroker: UnregisterBrokerRequest changes {
        decide: unregister_broker::decide,
        refused: unregister_broker::refused,
        codes: |response| [response.error_code],
        throttle: throttle_time_ms,
    }
    AddRaftVoter: AddRaftVoterRequest changes {
        decide: raft_voters::add,
        refused: raft_voters::not_added,
        codes: |response| [response.error_code],
        timeout: timeout_ms,
        throttle: throttle_time_ms,
    }
    RemoveRaftVoter: RemoveRaftVoterRequest changes {
        decide: raft_voters::remove,
        refused: raft_voters::not_removed,
        codes: |response| [response.error_code],
        throttle: throttle_time_ms,
    }
}

/// A request that is being decided.
pub(crate) type Deciding<'a> = BoxFuture<'a, Result<Decided, Refusal>>;

/// What came of it.
pub(crate) struct Decided {
    /// Whether another node has to be asked.
    pub(crate) is_elsewhere: bool,
    /// The answer, also then.
    pub(crate) response: Response,
}

fn decide_one<R: ControllerApi>(
    node: &NodeContext,
    call: Call,
    body: Decoder,
) -> Result<Deciding<'_>, Refusal> {
    let request = call.decode::<R>(body)?;
    Ok(Box::pin(async move {
        let (mut response, spent) = timed(R::decide(node, &call.context, request)).await;
        let pause = call.context.throttle_time(&node.quotas, spent);
        if let Some(time) = R::throttle_time(&mut response) {
            *time = pause.max(*time);
        }
        let is_elsewhere = R::is_elsewhere(&response);
        Ok(Decided { is_elsewhere, response: call.encode(&response)? })
    }))
}
