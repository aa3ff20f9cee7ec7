//! Kafka's requests and responses between the nodes of a quorum, and what they mean to [`crate::raft`].
//!
//! All are about the one partition of the metadata log. What is not, or comes from another cluster, is refused here.

mod reply;
mod request;
mod response;
#[cfg(test)]
mod tests;

use ottla_wire::Uuid;
use ottla_wire::messages::{
    AddRaftVoterRequest, AddRaftVoterResponse, BeginQuorumEpochRequest, BeginQuorumEpochResponse,
    EndQuorumEpochRequest, EndQuorumEpochResponse, FetchRequest, FetchResponse, FetchSnapshotRequest,
    FetchSnapshotResponse, RemoveRaftVoterRequest, RemoveRaftVoterResponse, UpdateRaftVoterRequest,
    UpdateRaftVoterResponse, VoteRequest, VoteResponse,
};

pub(crate) use reply::{Payload, encode as encode_reply};
pub(crate) use request::{decode as decode_request, encode as encode_request};
pub(crate) use response::decode as decode_response;

/// Id of the metadata topic, the same in every cluster.
pub const METADATA_TOPIC_ID: Uuid = Uuid::from_bytes([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

/// A request to a node of the quorum.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the variants are Kafka's messages")]
pub enum QuorumRequest {
    Vote(VoteRequest),
    BeginQuorumEpoch(BeginQuorumEpochRequest),
    EndQuorumEpoch(EndQuorumEpochRequest),
    Fetch(Box<FetchRequest>),
    FetchSnapshot(FetchSnapshotRequest),
    AddRaftVoter(AddRaftVoterRequest),
    RemoveRaftVoter(RemoveRaftVoterRequest),
    UpdateRaftVoter(UpdateRaftVoterRequest),
}

/// The answer to a [`QuorumRequest`], of the same kind.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the variants are Kafka's messages")]
pub enum QuorumResponse {
    Vote(VoteResponse),
    BeginQuorumEpoch(BeginQuorumEpochResponse),
    EndQuorumEpoch(EndQuorumEpochResponse),
    Fetch(Box<FetchResponse>),
    FetchSnapshot(FetchSnapshotResponse),
    AddRaftVoter(AddRaftVoterResponse),
    RemoveRaftVoter(RemoveRaftVoterResponse),
    UpdateRaftVoter(UpdateRaftVoterResponse),
}
