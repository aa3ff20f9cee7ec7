//! What a handler knows about the request beside its body.

use std::net::IpAddr;

use ottla_wire::Str;

use crate::config::ListenerName;
use crate::quota::Mute;
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
}
