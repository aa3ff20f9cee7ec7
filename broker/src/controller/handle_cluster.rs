//! What brokers ask of the active controller.

use std::sync::Arc;

use ottla_wire::Str;
use ottla_wire::messages::{
    AllocateProducerIdsRequest, AllocateProducerIdsResponse, AlterPartitionReassignmentsRequest,
    AlterPartitionReassignmentsResponse, AlterPartitionRequest, AlterPartitionResponse,
    AssignReplicasToDirsRequest, AssignReplicasToDirsResponse, BrokerHeartbeatRequest,
    BrokerHeartbeatResponse, BrokerRegistrationRequest, BrokerRegistrationResponse,
    ControllerRegistrationRequest, ControllerRegistrationResponse, ElectLeadersRequest, ElectLeadersResponse,
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse, UnregisterBrokerRequest,
    UnregisterBrokerResponse,
};

use super::handle::ControllerHandle;
use super::permits::Verdict;
use super::registration;
use super::state::Controller;
use super::{
    ControllerError, ProducerIdBlock, TopicError, alter_partition, controller_registration, directories,
    elections, heartbeat, producer_ids, reassignment,
};

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

    /// BrokerHeartbeat, which arrived at `arrived_ms` of [`monotonic_ms`](crate::clock::monotonic_ms).
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

    /// The broker is known to be gone, from its connections for instance: its session is over, and it is fenced, unless
    /// something was heard of it since `since_ms` of `clock::monotonic_ms`. Whether it is fenced now.
    ///
    /// # Errors
    /// It is not registered with the epoch, or the controller cannot write.
    pub async fn broker_gone(&self, id: i32, epoch: i64, since_ms: i64) -> Result<bool, ControllerError> {
        self.ask(move |task| {
            if task.brokers.was_heard(id, epoch, since_ms) {
                return Ok(false);
            }
            let decision = task.decide(|view, brokers, _| {
                let decision = registration::fence_broker(view, id, epoch)?;
                brokers.end(id);
                Ok(decision)
            })?;
            task.write_all(decision)?;
            Ok(true)
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
}

impl Controller {
    fn allocate_producer_ids(&mut self, id: i32, epoch: i64) -> Result<ProducerIdBlock, ControllerError> {
        let decision = self.decide(|view, _, _| producer_ids::allocate(view, id, epoch))?;
        Ok(self.write(decision)?)
    }

    pub(super) fn register(
        &mut self,
        request: &BrokerRegistrationRequest,
        version: i16,
    ) -> Result<i64, ControllerError> {
        let now = self.now.monotonic;
        let decision = self.decide(|view, brokers, next_offset| {
            registration::register_broker(view, brokers, request, version, next_offset, now)
        })?;
        Ok(self.write_all(decision)?)
    }
}
