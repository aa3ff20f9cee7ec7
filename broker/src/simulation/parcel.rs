//! What travels between nodes.

use ottla_quorum::{Correlation, QuorumRequest, QuorumResponse};
use ottla_wire::messages::{
    AlterPartitionRequest, AlterPartitionResponse, AssignReplicasToDirsRequest, BrokerHeartbeatRequest,
    BrokerHeartbeatResponse, BrokerRegistrationRequest, BrokerRegistrationResponse, FetchRequest,
    FetchResponse, ListOffsetsRequest, ListOffsetsResponse,
};

use crate::broker::member::Wanted;
use crate::replication::isr::Asked;

/// Who waits for an answer: a node, which start of it, and the number of its call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    pub(super) node: i32,
    pub(super) life: u64,
    pub(super) call: u64,
}

#[derive(Clone)]
pub(super) enum Question {
    Quorum(Box<QuorumRequest>),
    Register(Box<BrokerRegistrationRequest>),
    Beat(Box<BrokerHeartbeatRequest>),
    Isrs(Box<AlterPartitionRequest>),
    Fetch(Box<FetchRequest>),
    Bounds(Box<(ListOffsetsRequest, ListOffsetsRequest)>),
    Places(Box<AssignReplicasToDirsRequest>),
}

#[derive(Clone)]
pub(super) enum Reply {
    Quorum(Box<QuorumResponse>),
    Registered(Box<BrokerRegistrationResponse>),
    Beaten(Box<BrokerHeartbeatResponse>),
    Isrs(Box<AlterPartitionResponse>),
    Fetched(Box<FetchResponse>),
    Bounds(Box<(ListOffsetsResponse, ListOffsetsResponse)>),
    /// Whether the controller knows.
    Placed(bool),
    /// The connection is gone.
    Broken,
}

#[derive(Clone)]
pub(super) enum Parcel {
    Ask(Caller, Question),
    Answer(Caller, Reply),
    /// The connection of a broker with this epoch has ended, and its listeners refuse.
    Gone(i32, i64),
}

/// What a node does with the answer to its call.
pub(super) enum Kind {
    Quorum { known_as: i32, correlation: Correlation },
    Register,
    Beat(Wanted),
    Isrs(Vec<Asked>),
    Fetch(i32),
    Bounds(i32),
    Places,
}

/// A call that is not answered yet.
pub(super) struct Call {
    pub(super) kind: Kind,
    pub(super) to: i32,
    /// In the world's ms.
    pub(super) deadline: i64,
}

impl Question {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Quorum(request) => match **request {
                QuorumRequest::Vote(_) => "Vote",
                QuorumRequest::BeginQuorumEpoch(_) => "BeginQuorumEpoch",
                QuorumRequest::EndQuorumEpoch(_) => "EndQuorumEpoch",
                QuorumRequest::Fetch(_) => "Fetch of metadata",
                QuorumRequest::FetchSnapshot(_) => "FetchSnapshot",
                _ => "change of voters",
            },
            Self::Register(_) => "BrokerRegistration",
            Self::Beat(_) => "BrokerHeartbeat",
            Self::Isrs(_) => "AlterPartition",
            Self::Fetch(_) => "Fetch",
            Self::Bounds(_) => "ListOffsets",
            Self::Places(_) => "AssignReplicasToDirs",
        }
    }

    /// In ms, how long an answer is waited for.
    pub(super) fn patience(&self) -> i64 {
        match self {
            Self::Quorum(_) => 4_000,
            _ => 1_500,
        }
    }
}
