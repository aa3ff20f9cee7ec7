//! What a handler knows about the request beside its body.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_wire::Str;

use crate::config::ListenerName;
use crate::net::Lifetime;
use crate::quota::{MutationQuota, Mute, Quotas};
use crate::security::Principal;

/// One request's envelope: header and connection.
#[derive(Debug, Clone)]
pub struct RequestContext {
    /// The version in which the request came and the response goes.
    pub api_version: i16,
    /// Echoed in the response.
    pub correlation_id: i32,
    /// What the client calls itself; for logs and quotas.
    pub client_id: Option<Str>,
    /// Who asks.
    pub principal: Principal,
    /// The listener on which the request arrived.
    pub listener: ListenerName,
    /// The peer's address.
    pub client_address: IpAddr,
    /// The peer's address as Kafka writes it in group descriptions: `/127.0.0.1`.
    pub client_host: Str,
    /// Keeps the connection from being read for a while.
    pub mute: Mute,
    /// Until when there is a connection.
    pub lifetime: Arc<Lifetime>,
}

impl RequestContext {
    /// What the client calls itself, empty if nothing.
    pub fn client(&self) -> &str {
        self.client_id.as_deref().unwrap_or_default()
    }

    /// The client's quota of changes to topics, strict from a version on.
    pub fn mutations(&self, quotas: &Quotas, strict_from: i16) -> MutationQuota {
        quotas.mutations(&self.principal.name, self.client(), self.api_version >= strict_from)
    }

    /// Counts time that a thread had for the request; how long the client is throttled for it, in ms.
    pub fn throttle_time(&self, quotas: &Quotas, spent: Duration) -> i32 {
        let pause = quotas.record_time(&self.principal.name, self.client(), spent, Instant::now());
        self.mute.pause(pause)
    }
}
