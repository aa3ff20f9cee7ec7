//! What the connections of a listener are for: the broker's APIs, or the controller's.

use std::sync::Arc;

use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::{Answer, ConnectionSlots, Frame, MemoryBudget, Peer};
use crate::api::Refusal;
use crate::quota::Quotas;
use crate::telemetry::Metrics;

/// A request that is being handled.
pub type Handling = BoxFuture<'static, Result<Answer, Refusal>>;

/// Serves requests, and says what its connections may use. Cheap to ask: every request does.
pub trait Service: Send + Sync + 'static {
    /// Begins to handle a request. Nothing of the handler has run yet when this returns.
    ///
    /// # Errors
    /// It ends its connection instead of being answered.
    fn start(self: &Arc<Self>, peer: &Peer, frame: Frame) -> Result<Handling, Refusal>;

    /// Memory for requests and unsent responses.
    fn memory(&self) -> &MemoryBudget;

    /// Slots for connections.
    fn connections(&self) -> &Arc<ConnectionSlots>;

    /// Limits of clients.
    fn quotas(&self) -> &Quotas;

    /// What is counted.
    fn metrics(&self) -> &Metrics;

    /// Cancelled when nothing new is accepted any more; requests in hand are answered.
    fn stopping(&self) -> &CancellationToken;
}
