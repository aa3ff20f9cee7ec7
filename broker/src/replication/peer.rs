//! What replication needs of a connection to another broker.

use std::future::Future;

use ottla_wire::Request;
use ottla_wire::messages::{AlterPartitionRequest, AlterPartitionResponse};

/// Why there is no answer. The connection is made anew for the next request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PeerError(pub String);

/// Another broker. Connects when it is first asked, and again after a failure.
pub trait Peer: Send + 'static {
    /// Sends a request in the newest version that both sides know, built for that version, and waits for the answer.
    ///
    /// # Errors
    /// No connection, no answer in time, or one that cannot be read.
    fn call<R: Request + Send>(
        &mut self,
        build: impl FnOnce(i16) -> R + Send,
    ) -> impl Future<Output = Result<R::Response, PeerError>> + Send;
}

/// Makes peers.
pub trait Connect: Send + Sync + 'static {
    /// What it makes.
    type Peer: Peer;

    /// The broker `node`, at the address that the metadata has when a connection is made.
    fn peer(&self, node: i32) -> Self::Peer;
}

/// The active controller, as leaders ask it for ISRs.
pub trait AsksForIsrs: Send + 'static {
    /// AlterPartition, built for the version that both sides know.
    ///
    /// # Errors
    /// No controller is active, can be reached or answers.
    fn alter_partition(
        &mut self,
        build: impl FnOnce(i16) -> AlterPartitionRequest + Send,
    ) -> impl Future<Output = Result<AlterPartitionResponse, PeerError>> + Send;
}

impl<P: Peer> AsksForIsrs for P {
    async fn alter_partition(
        &mut self,
        build: impl FnOnce(i16) -> AlterPartitionRequest + Send,
    ) -> Result<AlterPartitionResponse, PeerError> {
        self.call(build).await
    }
}
