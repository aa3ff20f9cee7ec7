//! The admin port of a node: what is asked there, what is answered, and how, over HTTP and TLS with a certificate on
//! either side.
//!
//! Both sides take the shapes of questions and answers from here. They are JSON, names in camelCase; who reads an answer
//! passes over fields that it does not know.

mod call;
mod identity;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use call::{AdminClient, AdminError};
pub use identity::{Identity, IdentityError, Purpose};
pub use rustls::pki_types::UnixTime;

/// `POST`: may this node stop now; `DELETE` of `/v1/permit/{node}`: it does not stop after all.
pub const PERMIT: &str = "/v1/permit";
/// `GET`: a [`CaughtUp`].
pub const CAUGHT_UP: &str = "/v1/caught-up";
/// `GET`: a [`NodeState`].
pub const STATE: &str = "/v1/state";
/// `GET`: the [`Addresses`] that are registered; `PUT`: those that are to be, of all listeners.
pub const ADDRESSES: &str = "/v1/addresses";
/// Of a list that may be long, so many are told.
pub const AT_MOST: usize = 100;

/// Whether a node may stop now. Asked of the active controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PermitRequest {
    /// The node's id.
    pub node: i32,
}

/// The active controller's answer, with HTTP's code 200.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Permit {
    /// It may stop, if it begins in time.
    Granted {
        /// How long that holds, in ms from now.
        for_ms: u64,
        /// What it costs although nothing could be won by waiting.
        cost: Cost,
    },
    /// It does nothing that could be missed: its stop changes nothing.
    NotNeeded,
    /// Not now.
    Refused {
        /// What stands in the way, the first [`AT_MOST`] of it.
        blockers: Vec<Blocker>,
        /// How much that is in all.
        count: usize,
    },
}

/// What a stop costs that was permitted because waiting wins nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cost {
    /// Partitions that will have too few replicas in sync meanwhile, the first [`AT_MOST`].
    pub partitions: Vec<String>,
    /// The quorum will have no majority meanwhile.
    pub majority: bool,
}

/// Why a node may not stop now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Blocker {
    /// A partition would have fewer replicas in sync than it needs.
    BelowMinIsr {
        /// `topic-index`.
        partition: String,
        /// Who would be left.
        in_sync: Vec<i32>,
        /// How many have to be.
        min_isr: usize,
    },
    /// The metadata quorum would lose its majority.
    Majority {
        /// Voters that would be left.
        voters: Vec<i32>,
    },
    /// Another node may stop, or has stopped and is not back.
    Away {
        /// That node.
        node: i32,
    },
    /// The controller does not know yet what its predecessor has permitted.
    NewController {
        /// Until then, in ms from now.
        for_ms: u64,
    },
}

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BelowMinIsr { partition, in_sync, min_isr } => {
                let left = in_sync.len();
                write!(
                    f,
                    "partition {partition} would have {left} in sync of {min_isr} that it needs {in_sync:?}"
                )
            }
            Self::Majority { voters } => {
                write!(f, "the quorum would lose its majority: {voters:?} would be left")
            }
            Self::Away { node } => write!(f, "node {node} is away, or may go"),
            // Without the time: what is told of a refusal shall not change by itself.
            Self::NewController { .. } => write!(f, "the active controller is new"),
        }
    }
}

/// Where the active controller is, answered with HTTP's code 421 by a controller that is not the active one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NotActive {
    /// Its id, where it is known.
    pub active_controller: Option<i32>,
}

/// Whether a node has what it should have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CaughtUp {
    /// All of it: the logs are open, the broker is unfenced, in sync wherever it has a replica and there is a leader,
    /// and what it coordinates is loaded. Of a node that is no broker: it knows the active controller.
    pub caught_up: bool,
    /// How far its logs are recovered; absent where the node is no broker.
    pub logs: Option<Logs>,
    /// Groups that are coordinated here are loaded.
    pub coordinators_loaded: bool,
    /// Partitions in which it should be in sync and is not, the first [`AT_MOST`].
    pub lagging: Vec<String>,
    /// How many that are.
    pub lagging_count: usize,
}

/// The opening of a broker's logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Logs {
    /// Logs that the metadata places here; 0 until that is known.
    pub found: usize,
    /// Those of them that have been opened, or given up.
    pub opened: usize,
}

/// Who a node is, and what it is at the moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeState {
    /// Its id.
    pub node: i32,
    /// The cluster's.
    pub cluster_id: String,
    /// `broker`, `controller`.
    pub roles: Vec<String>,
    /// As `/readyz`.
    pub ready: bool,
    /// The broker in the newest committed metadata that the node has; absent where it is not registered.
    pub broker: Option<BrokerState>,
    /// The metadata quorum, as the node knows it.
    pub quorum: QuorumState,
}

/// A broker's registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BrokerState {
    /// Its epoch.
    pub epoch: i64,
    /// It is not to be used.
    pub fenced: bool,
    /// It is on its way out.
    pub in_controlled_shutdown: bool,
}

/// Where clients and other brokers are told to find a broker, by the names of its listeners. One without an address is bound
/// and not registered; all that are bound are named in an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Addresses(pub BTreeMap<String, Option<Address>>);

/// Where one listener is found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Address {
    /// Host name or address, that of IPv6 without brackets.
    pub host: String,
    /// From 1.
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// The metadata quorum, as one node knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QuorumState {
    /// The leader's id.
    pub leader: Option<i32>,
    /// In this epoch.
    pub epoch: i32,
    /// This node is the active controller.
    pub is_active_here: bool,
    /// Offset of the newest committed record that it has; -1 without any.
    pub metadata_offset: i64,
}
