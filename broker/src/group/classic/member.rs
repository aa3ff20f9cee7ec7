//! One member of a classic group.

use bytes::Bytes;

use super::{Protocol, Token};
use crate::group::Str;

/// A member: what it offered when it joined, and which of its requests are parked.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Its id in the group.
    pub id: Str,
    /// Set for a static member (KIP-345).
    pub instance_id: Option<Str>,
    /// The client id it connected with.
    pub client_id: Str,
    /// The address it connected from, as Kafka prints it (`/127.0.0.1`).
    pub client_host: Str,
    /// Milliseconds; the group waits for the greatest of its members'.
    pub rebalance_timeout_ms: i32,
    /// Milliseconds without a heartbeat after which it is removed.
    pub session_timeout_ms: i32,
    /// In the member's order of preference.
    pub protocols: Vec<Protocol>,
    /// What the leader assigned in the current generation.
    pub assignment: Bytes,
    /// Has not yet got the answer to its first join.
    pub is_new: bool,
    pub(super) awaiting_join: Option<Token>,
    pub(super) awaiting_sync: Option<Token>,
}

impl Member {
    /// The metadata that it offered for `protocol`, empty if it did not.
    pub fn metadata(&self, protocol: Option<&Str>) -> Bytes {
        self.protocols
            .iter()
            .find(|offered| Some(&offered.name) == protocol)
            .map(|offered| offered.metadata.clone())
            .unwrap_or_default()
    }

    /// Whether a join request of this member is parked.
    pub fn is_awaiting_join(&self) -> bool {
        self.awaiting_join.is_some()
    }

    /// Whether a sync request of this member is parked.
    pub fn is_awaiting_sync(&self) -> bool {
        self.awaiting_sync.is_some()
    }

    /// A member whose request is parked cannot send heartbeats and must not be blamed for it; a new one gets
    /// no such mercy, since its client may be gone and unable to tell.
    pub(super) fn has_satisfied_heartbeat(&self) -> bool {
        !self.is_new && (self.is_awaiting_join() || self.is_awaiting_sync())
    }
}
