//! The way from this node's broker to the active controller: a call where that is this node, else a connection.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use ottla_client::{CallError, Connection, Options, Versions, address};
use ottla_quorum::MetadataImage;
use ottla_wire::messages::{
    AllocateProducerIdsRequest, AlterPartitionRequest, AlterPartitionResponse, AssignReplicasToDirsRequest,
    BrokerHeartbeatRequest, BrokerRegistrationRequest, ControllerRegistrationRequest, CreateTopicsRequest,
};
use ottla_wire::{ErrorCode, Request, Str};
use parking_lot::Mutex;

use super::handle::ControllerHandle;
use super::task::Leadership;
use crate::clock;
use crate::quota::MutationQuota;
use crate::replication::{AsksForIsrs, PeerError};

/// Longest answer of a controller, in bytes.
const LONGEST_ANSWER: usize = 16 << 20;

/// What a broker asks of the active controller.
pub trait ControllerRequest: Request + Send + Sync {
    /// The decision, where the active controller is this node's.
    fn decide(
        self,
        controller: &ControllerHandle,
        version: i16,
    ) -> impl Future<Output = Self::Response> + Send;

    /// The error of the whole, if the answer has one.
    fn error_code(response: &Self::Response) -> i16;
}

/// Asks the active controller, one request at a time; clone it for another connection.
#[derive(Debug)]
pub struct ControllerChannel {
    controller: ControllerHandle,
    options: Options,
    connection: Option<(Leadership, Connection)>,
    /// What the newest controller that one of the clones connected to serves.
    served: Arc<Mutex<Option<Served>>>,
}

/// What the controller that led then serves.
type Served = (Leadership, Arc<Versions>);

impl Clone for ControllerChannel {
    fn clone(&self) -> Self {
        let (controller, options) = (self.controller.clone(), self.options.clone());
        Self { controller, options, connection: None, served: Arc::clone(&self.served) }
    }
}

impl ControllerChannel {
    /// Calls itself `client_id`; a controller that does not answer within `deadline` is given up.
    pub fn new(controller: ControllerHandle, client_id: Str, deadline: Duration) -> Self {
        let options = Options { client_id, deadline, longest_answer: LONGEST_ANSWER };
        Self { controller, options, connection: None, served: Arc::default() }
    }

    /// The newest metadata that this node knows to be committed.
    pub fn image(&self) -> Arc<MetadataImage> {
        self.controller.image()
    }

    /// What the active controller serves, where that is another node that was reached already.
    pub fn served(&self) -> Option<Arc<Versions>> {
        let leader = self.controller.leader();
        let now = leader.borrow();
        let served = self.served.lock();
        let (_, versions) = served.as_ref().filter(|(of, _)| *of == *now && !now.is_active_here)?;
        Some(Arc::clone(versions))
    }

    /// Asks once. The request is built for the version in which it is sent.
    ///
    /// # Errors
    /// No controller is active or can be reached, or whoever was asked is not the active one (any more). It can be asked again;
    /// [`ControllerChannel::pause`] says when.
    pub async fn call<R: ControllerRequest>(
        &mut self,
        build: impl FnOnce(i16) -> R + Send,
    ) -> Result<R::Response, PeerError> {
        let response = if self.controller.is_active() {
            let version = *R::VERSIONS.end();
            build(version).decide(&self.controller, version).await
        } else {
            self.remote(build).await?
        };
        if R::error_code(&response) == ErrorCode::NotController.code() {
            self.connection = None;
            return Err(PeerError("whoever was asked is not the active controller".to_owned()));
        }
        Ok(response)
    }

    /// As [`ControllerChannel::call`], of a controller that is another node, and of any request.
    ///
    /// # Errors
    /// As [`ControllerChannel::call`]; the answer may be that it is not the active controller.
    pub async fn remote<R: Request + Send>(
        &mut self,
        build: impl FnOnce(i16) -> R + Send,
    ) -> Result<R::Response, PeerError> {
        let told = |error: CallError| PeerError(error.to_string());
        let leader = self.controller.leader().borrow().clone();
        // Taken out while it is in use: a call that is broken off halfway leaves no half-read connection behind.
        let known = self.connection.take().filter(|(known, _)| *known == leader);
        let exchange = async {
            let mut connection = match known {
                Some((_, connection)) => connection,
                None => {
                    let (host, port) = leader.address.as_ref().ok_or_else(nobody)?;
                    let opened = Connection::open(&address(host, *port), self.options.clone()).await;
                    let opened = opened.map_err(told)?;
                    *self.served.lock() = Some((leader.clone(), Arc::clone(opened.versions())));
                    opened
                }
            };
            let result = connection.send_for(build).await;
            Ok((connection, result))
        };
        let (connection, result) = tokio::select! {
            exchanged = exchange => exchanged?,
            () = self.overtaken(&leader) => return Err(PeerError("another controller took over".to_owned())),
        };
        if result.as_ref().err().is_none_or(CallError::is_harmless) {
            self.connection = Some((leader, connection));
        }
        result.map_err(told)
    }

    /// Returns when another node leads: who was asked before may never answer.
    async fn overtaken(&self, asked: &Leadership) {
        let mut leader = self.controller.leader();
        // It fails only when the node's own controller is gone: the answer may come all the same.
        if leader.wait_for(|now| now.id != asked.id && now.id.is_some()).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Returns when another controller may be active, at the latest after `time`.
    pub async fn pause(&self, time: Duration) {
        let mut leader = self.controller.leader();
        leader.mark_unchanged();
        // It fails only when the node's own controller is gone: whoever asks again then does not do so all the time.
        let changed = async {
            if leader.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let _ = tokio::time::timeout(time, changed).await;
    }
}

fn nobody() -> PeerError {
    PeerError("no active controller is known".to_owned())
}

impl AsksForIsrs for ControllerChannel {
    async fn alter_partition(
        &mut self,
        build: impl FnOnce(i16) -> AlterPartitionRequest + Send,
    ) -> Result<AlterPartitionResponse, PeerError> {
        self.call(build).await
    }
}

macro_rules! asked_by_brokers {
    ($($request:ident => |$controller:ident, $it:ident, $version:ident| $decide:expr;)+) => {
        $(impl ControllerRequest for $request {
            async fn decide(self, $controller: &ControllerHandle, $version: i16) -> Self::Response {
                let $it = self;
                $decide.await
            }

            fn error_code(response: &Self::Response) -> i16 {
                response.error_code
            }
        })+
    };
}

asked_by_brokers! {
    BrokerRegistrationRequest => |controller, it, version| controller.broker_registration(it, version);
    BrokerHeartbeatRequest => |controller, it, _version| controller.broker_heartbeat(it, clock::monotonic_ms());
    ControllerRegistrationRequest => |controller, it, _version| controller.controller_registration(it);
    AlterPartitionRequest => |controller, it, version| controller.alter_partition(it, version);
    AllocateProducerIdsRequest => |controller, it, _version| controller.allocate_producer_ids_for(it);
    AssignReplicasToDirsRequest => |controller, it, _version| controller.assign_replicas_to_dirs(it);
}

impl ControllerRequest for CreateTopicsRequest {
    async fn decide(self, controller: &ControllerHandle, _: i16) -> Self::Response {
        controller.create_topics(self, MutationQuota::unlimited()).await
    }

    /// Its topics have errors of their own; that nobody is active is the same for all.
    fn error_code(response: &Self::Response) -> i16 {
        response.topics.first().map_or(0, |topic| topic.error_code)
    }
}
