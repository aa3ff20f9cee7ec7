//! The way to the controller: ask it, and read the image that it published.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Instant;

use arc_swap::ArcSwap;
use ottla_client::Options;
use ottla_log::disk::Disk;
use ottla_quorum::{
    LastRoom, MetadataImage, Quorum, QuorumConfig, QuorumError, QuorumRequest, QuorumResponse, QuorumStatus,
};
use ottla_wire::messages::{
    AlterClientQuotasRequest, AlterClientQuotasResponse, AlterConfigsRequest, AlterConfigsResponse,
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    DeleteTopicsRequest, DeleteTopicsResponse, DescribeQuorumRequest, DescribeQuorumResponse,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, UpdateFeaturesRequest,
    UpdateFeaturesResponse,
};
use ottla_wire::{ErrorCode, Str, Uuid};
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};

use super::network::Network;
use super::settings::ControllerSettings;
use super::state::{Answer, Controller};
use super::task::{Leadership, Message, Publisher, Task, now};
use super::topics::{self, Context};
use super::{ControllerError, TopicError, configs, describe, features, quotas, replace_configs};
use crate::quota::{Exceeded, MutationQuota};
use crate::storage::random_uuid;

/// A cheap handle to the controller of this node.
#[derive(Clone, Debug)]
pub struct ControllerHandle {
    jobs: Sender<Message>,
    current: Arc<ArcSwap<MetadataImage>>,
    changes: watch::Receiver<Arc<MetadataImage>>,
    leadership: watch::Receiver<Leadership>,
}

/// Longest answer of another node of the quorum, in bytes: what it sends of the log or a snapshot at once, and more.
const LONGEST_ANSWER: usize = 64 << 20;

impl ControllerHandle {
    /// Opens the metadata log, takes this node's part in the quorum, and starts the controller's thread. A lone voter is the
    /// active controller when this returns. Blocks on I/O. Connections to other nodes live on `runtime`.
    ///
    /// # Errors
    /// The directory cannot be served (nothing was written then), or writing failed.
    pub fn start(
        settings: ControllerSettings,
        disk: Arc<dyn Disk>,
        last_room: LastRoom,
        runtime: Handle,
    ) -> Result<Self, QuorumError> {
        let options = Options {
            client_id: Str::from(format!("raft-client-{}", settings.config.node_id)),
            deadline: settings.config.quorum.request_timeout,
            longest_answer: LONGEST_ANSWER,
        };
        let config = QuorumConfig { last_room, ..settings.quorum() };
        let quorum = Quorum::open(config, disk, now())?;
        let (handle, publisher, messages) = Self::wired(settings.identity.cluster_id.clone());
        let controller = Controller::new(quorum, settings, now())?;
        let network = Network::new(runtime, options, handle.jobs.clone());
        let task = Task::begin(controller, publisher, network);
        thread::Builder::new()
            .name("controller".to_owned())
            .spawn(move || task.run(&messages))
            .map_err(|cause| QuorumError::Io { path: "controller thread".into(), cause })?;
        Ok(handle)
    }

    /// A handle, and what a controller's thread needs to answer it.
    pub(super) fn wired(cluster_id: Str) -> (Self, Publisher, Receiver<Message>) {
        let empty = Arc::new(MetadataImage::empty(cluster_id));
        let current = Arc::new(ArcSwap::new(Arc::clone(&empty)));
        let (sender, changes) = watch::channel(empty);
        let (leaders, leadership) = watch::channel(Leadership::default());
        let publisher = Publisher { current: Arc::clone(&current), changes: sender, leadership: leaders };
        let (jobs, messages) = channel();
        (Self { jobs, current, changes, leadership }, publisher, messages)
    }

    /// Brings a message to the controller.
    #[cfg(test)]
    pub(super) fn tell(&self, message: Message) {
        drop(self.jobs.send(message));
    }

    /// The newest committed image.
    pub fn image(&self) -> Arc<MetadataImage> {
        self.current.load_full()
    }

    /// Tells of every new image; a reader that is slow sees only the newest.
    pub fn image_changes(&self) -> watch::Receiver<Arc<MetadataImage>> {
        self.changes.clone()
    }

    /// Who leads the quorum.
    pub fn leader(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    /// Whether this node is the active controller.
    pub fn is_active(&self) -> bool {
        // What it was last says nothing once its thread has ended.
        self.leadership.has_changed().is_ok() && self.leadership.borrow().is_active_here
    }

    /// Passes on what another node asks of the quorum. The answer to a fetch may take as long as it said that it waits.
    ///
    /// # Errors
    /// The controller has stopped.
    pub async fn quorum_request(&self, request: QuorumRequest) -> Result<QuorumResponse, ControllerError> {
        let (caller, answered) = oneshot::channel();
        self.jobs.send(Message::Asked(request, caller)).map_err(|_| ControllerError::Stopped)?;
        answered.await.map_err(|_| ControllerError::Stopped)
    }

    /// Returns when the controller has stopped, asked to or because its log failed.
    pub async fn stopped(&self) {
        let mut changes = self.changes.clone();
        while changes.changed().await.is_ok() {}
    }

    /// CreateTopics, see `topics`, paid for with `quota`. All topics that can be made are in the image when this
    /// returns.
    pub async fn create_topics(
        &self,
        request: CreateTopicsRequest,
        quota: MutationQuota,
    ) -> CreateTopicsResponse {
        if request.timeout_ms <= 0 {
            return topics::refuse_create(&request, &TopicError::out_of_time());
        }
        let request = Arc::new(request);
        let asked = Arc::clone(&request);
        let result = self
            .ask(move |task| {
                let mut context = Context {
                    config: &task.settings.config,
                    fresh_id: &mut fresh_id,
                    charge: &mut |partitions| charge(&quota, partitions),
                };
                let decision = topics::create_topics(task.quorum.image(), &asked, &mut context);
                Ok(task.write(decision)?)
            })
            .await;
        result.unwrap_or_else(|error| topics::refuse_create(&request, &refusal(&error)))
    }

    /// DeleteTopics, paid for with `quota`.
    pub async fn delete_topics(
        &self,
        request: DeleteTopicsRequest,
        quota: MutationQuota,
    ) -> DeleteTopicsResponse {
        if request.timeout_ms <= 0 {
            return topics::refuse_delete(&request, &TopicError::out_of_time());
        }
        let request = Arc::new(request);
        let asked = Arc::clone(&request);
        let result = self
            .ask(move |task| {
                let enabled = task.settings.config.topics.delete_enable;
                let mut charge = |partitions| charge(&quota, partitions);
                let decision = topics::delete_topics(task.image(), &asked, enabled, &mut charge);
                Ok(task.write(decision)?)
            })
            .await;
        result.unwrap_or_else(|error| topics::refuse_delete(&request, &refusal(&error)))
    }

    /// CreatePartitions, paid for with `quota`.
    pub async fn create_partitions(
        &self,
        request: CreatePartitionsRequest,
        quota: MutationQuota,
    ) -> CreatePartitionsResponse {
        let request = Arc::new(request);
        let asked = Arc::clone(&request);
        let result = self
            .ask(move |task| {
                let mut charge = |partitions| charge(&quota, partitions);
                let decision = topics::create_partitions(task.image(), &asked, &mut charge);
                Ok(task.write(decision)?)
            })
            .await;
        result.unwrap_or_else(|error| topics::refuse_grow(&request, &refusal(&error)))
    }

    /// IncrementalAlterConfigs.
    pub async fn incremental_alter_configs(
        &self,
        request: IncrementalAlterConfigsRequest,
    ) -> IncrementalAlterConfigsResponse {
        let request = Arc::new(request);
        let asked = Arc::clone(&request);
        let result = self
            .ask(move |task| {
                let config = Arc::clone(&task.settings.config);
                let decision = configs::incremental_alter_configs(task.image(), &asked, &config);
                Ok(task.write(decision)?)
            })
            .await;
        result.unwrap_or_else(|error| configs::refuse_all(&request, &refusal(&error)))
    }

    /// AlterConfigs.
    pub async fn alter_configs(&self, request: AlterConfigsRequest) -> AlterConfigsResponse {
        let request = Arc::new(request);
        let asked = Arc::clone(&request);
        let result = self
            .ask(move |task| {
                let config = Arc::clone(&task.settings.config);
                let decision = replace_configs::alter_configs(task.image(), &asked, &config);
                Ok(task.write(decision)?)
            })
            .await;
        result.unwrap_or_else(|error| replace_configs::refuse_all(&request, &refusal(&error)))
    }

    /// AlterClientQuotas; `unknown_hosts` are those of the request that have no address.
    pub async fn alter_client_quotas(
        &self,
        request: AlterClientQuotasRequest,
        unknown_hosts: BTreeSet<Str>,
    ) -> AlterClientQuotasResponse {
        let request = Arc::new(request);
        let asked = Arc::clone(&request);
        let result = self
            .ask(move |task| {
                let decision = quotas::alter_client_quotas(task.image(), &asked, &unknown_hosts);
                Ok(task.write(decision)?)
            })
            .await;
        result.unwrap_or_else(|error| quotas::refuse_all(&request, &refusal(&error)))
    }

    /// UpdateFeatures, as asked in `version`.
    pub async fn update_features(
        &self,
        request: UpdateFeaturesRequest,
        version: i16,
    ) -> UpdateFeaturesResponse {
        let result = self
            .ask(move |task| {
                let config = Arc::clone(&task.settings.config);
                let decision = features::update_features(task.image(), &request, version, &config);
                Ok(task.write(decision)?)
            })
            .await;
        result.unwrap_or_else(|error| features::refuse(&refusal(&error)))
    }

    /// DescribeQuorum.
    pub async fn describe_quorum(&self, request: DescribeQuorumRequest) -> DescribeQuorumResponse {
        match self.quorum_status().await {
            Ok(status) => describe::describe_quorum(&request, &status),
            Err(error) => describe::refuse(error.code()),
        }
    }

    /// Who leads the quorum, who votes, and how far they are.
    ///
    /// # Errors
    /// The controller has stopped.
    pub async fn quorum_status(&self) -> Result<QuorumStatus, ControllerError> {
        self.inspect(|task| Ok(task.quorum.status())).await
    }

    /// Writes a snapshot of the metadata now, if there is anything new.
    ///
    /// # Errors
    /// The snapshot cannot be written.
    pub async fn snapshot(&self) -> Result<(), ControllerError> {
        self.inspect(|task| {
            task.quorum.snapshot(task.now.wall)?;
            Ok(())
        })
        .await
    }

    /// Closes the metadata log and ends the controller's thread.
    ///
    /// # Errors
    /// The log cannot be closed cleanly, or the controller had stopped before.
    pub async fn stop(&self) -> Result<(), ControllerError> {
        let (done, stopped) = oneshot::channel();
        let message = Message::Stop(Box::new(move |result| {
            // Whoever asked may have gone away.
            let _ = done.send(result);
        }));
        self.jobs.send(message).map_err(|_| ControllerError::Stopped)?;
        stopped.await.map_err(|_| ControllerError::Stopped)?
    }

    /// Runs a job of the active controller; its result arrives when everything decided so far is committed.
    ///
    /// # Errors
    /// The job's, at once; this node is not the active controller, or ceases to be before the commit.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Controller) -> Result<T, ControllerError> + Send + 'static,
    ) -> Result<T, ControllerError> {
        let (answer, answered) = oneshot::channel();
        // Whoever asked may have gone away, here and below.
        let run =
            move |controller: &mut Controller| match controller.check_active().and_then(|()| job(controller))
            {
                Ok(result) => Some(Box::new(move |committed: Result<(), ControllerError>| {
                    let _ = answer.send(committed.map(|()| result));
                }) as Answer),
                Err(error) => {
                    let _ = answer.send(Err(error));
                    None
                }
            };
        self.jobs.send(Message::Run(Box::new(run))).map_err(|_| ControllerError::Stopped)?;
        answered.await.map_err(|_| ControllerError::Stopped)?
    }

    /// Runs a job that any node can do, and that decides nothing.
    async fn inspect<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Controller) -> Result<T, ControllerError> + Send + 'static,
    ) -> Result<T, ControllerError> {
        let (answer, answered) = oneshot::channel();
        let run = move |controller: &mut Controller| {
            // Whoever asked may have gone away.
            let _ = answer.send(job(controller));
            None
        };
        self.jobs.send(Message::Run(Box::new(run))).map_err(|_| ControllerError::Stopped)?;
        answered.await.map_err(|_| ControllerError::Stopped)?
    }
}

fn fresh_id() -> Result<Uuid, TopicError> {
    random_uuid().map_err(|error| TopicError::new(ErrorCode::UnknownServerError, error.to_string()))
}

fn charge(quota: &MutationQuota, partitions: usize) -> Result<(), TopicError> {
    let refused = |error: Exceeded| TopicError::new(ErrorCode::ThrottlingQuotaExceeded, error.to_string());
    quota.charge(partitions, Instant::now()).map_err(refused)
}

fn refusal(error: &ControllerError) -> TopicError {
    TopicError::new(error.code(), error.to_string())
}
