//! What brokers ask of the controller: this node's own broker by a call, all others by requests.

use std::sync::Arc;

use ottla_wire::messages::{
    AllocateProducerIdsRequest, AllocateProducerIdsResponse, AlterPartitionReassignmentsRequest,
    AlterPartitionReassignmentsResponse, AlterPartitionRequest, AlterPartitionResponse,
    AssignReplicasToDirsRequest, AssignReplicasToDirsResponse, BrokerHeartbeatRequest,
    BrokerHeartbeatResponse, BrokerRegistrationRequest, BrokerRegistrationResponse,
    ControllerRegistrationRequest, ControllerRegistrationResponse, ElectLeadersRequest, ElectLeadersResponse,
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse, UnregisterBrokerRequest,
    UnregisterBrokerResponse,
};
use ottla_wire::{ErrorCode, Str, Uuid};

use super::handle::ControllerHandle;
use super::permits::Verdict;
use super::registration::{self, BrokerRegistration};
use super::task::Task;
use super::view::View;
use super::{
    ControllerError, Decision, Placement, ProducerIdBlock, TopicError, alter_partition,
    controller_registration, directories, elections, heartbeat, producer_ids, reassignment,
};
use crate::clock;

impl ControllerHandle {
    /// BrokerRegistration, as asked in `version`.
    pub async fn broker_registration(
        &self,
        request: BrokerRegistrationRequest,
        version: i16,
    ) -> BrokerRegistrationResponse {
        let result = self.ask(move |task| task.register(&request, version)).await;
        match result {
            Ok(broker_epoch) => BrokerRegistrationResponse { broker_epoch, ..Default::default() },
            Err(error) => BrokerRegistrationResponse {
                error_code: error.code().code(),
                broker_epoch: -1,
                ..Default::default()
            },
        }
    }

    /// BrokerHeartbeat, which arrived at `arrived_ms` of [`clock::monotonic_ms`].
    pub async fn broker_heartbeat(
        &self,
        request: BrokerHeartbeatRequest,
        arrived_ms: i64,
    ) -> BrokerHeartbeatResponse {
        let result = self.ask(move |task| {
            let decision = task.decide(|view, brokers, next_offset| {
                heartbeat::heartbeat(view, brokers, &request, next_offset, arrived_ms)
            })?;
            Ok(task.write_all(decision)?)
        });
        result.await.unwrap_or_else(|error| heartbeat::refuse(error.code()))
    }

    /// ControllerRegistration.
    pub async fn controller_registration(
        &self,
        request: ControllerRegistrationRequest,
    ) -> ControllerRegistrationResponse {
        let result = self.ask(move |task| {
            let decision = controller_registration::register(task.image(), &request)?;
            Ok(task.write(decision)?)
        });
        match result.await {
            Ok(()) => ControllerRegistrationResponse::default(),
            Err(error) => ControllerRegistrationResponse {
                error_code: error.code().code(),
                error_message: Some(Str::from(error.to_string())),
                ..Default::default()
            },
        }
    }

    /// UnregisterBroker.
    pub async fn unregister_broker(&self, request: UnregisterBrokerRequest) -> UnregisterBrokerResponse {
        let result = self.ask(move |task| {
            let decision = task.decide(|view, brokers, _| {
                registration::unregister_broker(view, brokers, request.broker_id)
            })?;
            Ok(task.write_all(decision)?)
        });
        match result.await {
            Ok(()) => UnregisterBrokerResponse::default(),
            Err(error) => UnregisterBrokerResponse {
                error_code: error.code().code(),
                error_message: Some(Str::from(error.to_string())),
                ..Default::default()
            },
        }
    }

    /// ElectLeaders.
    pub async fn elect_leaders(&self, request: ElectLeadersRequest) -> ElectLeadersResponse {
        let result = self.ask(move |task| {
            let decision = task.decide(|view, _, _| Ok(elections::elect_leaders(view, &request)))?;
            Ok(task.write_all(decision)?)
        });
        result.await.unwrap_or_else(|error| elections::refuse(error.code()))
    }

    /// Whether the node may stop now, see [`permits`](super::permits).
    ///
    /// # Errors
    /// The controller has stopped, or is not the active one.
    pub async fn ask_restart_permit(&self, node: i32) -> Result<Verdict, ControllerError> {
        self.ask(move |task| Ok(task.ask_permit(node))).await
    }

    /// The node does not stop after all.
    ///
    /// # Errors
    /// As [`ControllerHandle::ask_restart_permit`].
    pub async fn return_restart_permit(&self, node: i32) -> Result<(), ControllerError> {
        self.ask(move |task| {
            task.permits.give_back(node);
            Ok(())
        })
        .await
    }

    /// The broker is known to be gone, from its connections for instance: its session is over, and it is fenced.
    ///
    /// # Errors
    /// It is not registered with the epoch, or the controller cannot write.
    pub async fn broker_gone(&self, id: i32, epoch: i64) -> Result<(), ControllerError> {
        self.ask(move |task| {
            let decision = task.decide(|view, brokers, _| {
                let decision = registration::fence_broker(view, id, epoch)?;
                brokers.end(id);
                Ok(decision)
            })?;
            Ok(task.write_all(decision)?)
        })
        .await
    }

    /// A block of producer ids that nobody else gets, for this node's broker.
    ///
    /// # Errors
    /// The broker is not registered, or the controller cannot write.
    pub async fn allocate_producer_ids(&self) -> Result<ProducerIdBlock, ControllerError> {
        self.ask(|task| {
            let id = task.settings.config.node_id;
            let registered = task.image().broker(id).map(|broker| broker.epoch);
            let epoch = registered.ok_or(ControllerError::Refused(ErrorCode::BrokerIdNotRegistered))?;
            task.allocate_producer_ids(id, epoch)
        })
        .await
    }

    /// AllocateProducerIds.
    pub async fn allocate_producer_ids_for(
        &self,
        request: AllocateProducerIdsRequest,
    ) -> AllocateProducerIdsResponse {
        let (id, epoch) = (request.broker_id, request.broker_epoch);
        producer_ids::response(self.ask(move |task| task.allocate_producer_ids(id, epoch)).await)
    }

    /// AlterPartition, as asked in `version`.
    pub async fn alter_partition(
        &self,
        request: AlterPartitionRequest,
        version: i16,
    ) -> AlterPartitionResponse {
        let result = self.ask(move |task| {
            let decision =
                task.decide(|view, _, _| alter_partition::alter_partition(view, &request, version))?;
            Ok(task.write_all(decision)?)
        });
        result.await.unwrap_or_else(|error| alter_partition::refuse(error.code()))
    }

    /// AlterPartitionReassignments.
    pub async fn alter_partition_reassignments(
        &self,
        request: AlterPartitionReassignmentsRequest,
    ) -> AlterPartitionReassignmentsResponse {
        let request = Arc::new(request);
        let asked = Arc::clone(&request);
        let result = self.ask(move |task| {
            let decision = task.decide(|view, _, _| Ok(reassignment::alter_reassignments(view, &asked)))?;
            Ok(task.write(decision)?)
        });
        result.await.unwrap_or_else(|error| {
            reassignment::refuse_alter(&request, &TopicError::new(error.code(), error.to_string()))
        })
    }

    /// ListPartitionReassignments, from the newest committed image.
    pub fn list_partition_reassignments(
        &self,
        request: &ListPartitionReassignmentsRequest,
    ) -> ListPartitionReassignmentsResponse {
        reassignment::list_reassignments(&self.image(), request)
    }

    /// AssignReplicasToDirs.
    pub async fn assign_replicas_to_dirs(
        &self,
        request: AssignReplicasToDirsRequest,
    ) -> AssignReplicasToDirsResponse {
        let result = self.ask(move |task| {
            let decision = task.decide(|view, _, _| directories::assign_replicas(view, &request))?;
            Ok(task.write_all(decision)?)
        });
        result.await.unwrap_or_else(|error| directories::refuse(error.code()))
    }

    /// Registers this node as a broker, fenced, and returns its epoch. Whoever had its id before is gone: this process
    /// has the lock on the directories.
    ///
    /// # Errors
    /// The controller refuses or cannot write.
    pub async fn register_broker(&self, broker: BrokerRegistration) -> Result<i64, ControllerError> {
        self.ask(move |task| {
            task.brokers.end(broker.id);
            let request = broker.request(task.settings.identity.cluster_id.clone());
            let epoch = task.register(&request, i16::MAX)?;
            task.brokers.keep(broker.id);
            Ok(epoch)
        })
        .await
    }

    /// Unfences this node's broker: it is ready to lead.
    ///
    /// # Errors
    /// It is not registered with the epoch, or the controller cannot write.
    pub async fn unfence_broker(&self, epoch: i64) -> Result<(), ControllerError> {
        self.change_broker(move |view, id| registration::unfence_broker(view, id, epoch)).await
    }

    /// This node's broker is about to stop: it leads nothing from now on.
    ///
    /// # Errors
    /// As [`ControllerHandle::unfence_broker`].
    pub async fn controlled_shutdown(&self, epoch: i64) -> Result<(), ControllerError> {
        self.change_broker(move |view, id| registration::controlled_shutdown(view, id, epoch)).await
    }

    /// This node's broker has stopped.
    ///
    /// # Errors
    /// As [`ControllerHandle::unfence_broker`].
    pub async fn fence_broker(&self, epoch: i64) -> Result<(), ControllerError> {
        self.change_broker(move |view, id| registration::fence_broker(view, id, epoch)).await
    }

    /// Notes in which directories this node's broker keeps its replicas.
    ///
    /// # Errors
    /// The controller cannot write.
    pub async fn assign_directories(&self, placements: Vec<Placement>) -> Result<(), ControllerError> {
        self.change_broker(move |view, id| Ok(directories::assign(view.image, id, &placements))).await
    }

    /// Of this node's log directories only `online` are left.
    ///
    /// # Errors
    /// The controller cannot write.
    pub async fn fail_directories(&self, online: Vec<Uuid>) -> Result<(), ControllerError> {
        self.change_broker(move |view, id| Ok(directories::fail(view, id, &online))).await
    }

    /// Writes what is decided about this node's broker.
    async fn change_broker(
        &self,
        decide: impl FnOnce(&View<'_>, i32) -> Result<Decision<()>, ControllerError> + Send + 'static,
    ) -> Result<(), ControllerError> {
        self.ask(move |task| {
            let id = task.settings.config.node_id;
            let decision = task.decide(|view, _, _| decide(view, id))?;
            Ok(task.write_all(decision)?)
        })
        .await
    }
}

impl Task {
    fn allocate_producer_ids(&mut self, id: i32, epoch: i64) -> Result<ProducerIdBlock, ControllerError> {
        let decision = self.decide(|view, _, _| producer_ids::allocate(view, id, epoch))?;
        Ok(self.write(decision)?)
    }

    fn register(
        &mut self,
        request: &BrokerRegistrationRequest,
        version: i16,
    ) -> Result<i64, ControllerError> {
        let decision = self.decide(|view, brokers, next_offset| {
            registration::register_broker(view, brokers, request, version, next_offset, clock::monotonic_ms())
        })?;
        Ok(self.write_all(decision)?)
    }
}
