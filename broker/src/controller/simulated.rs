//! A controller without a thread or connections: its owner brings messages and the time ([`crate::clock::set`]), and carries
//! away what it sends.

use std::future::Future;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use ottla_log::disk::Disk;
use ottla_quorum::{
    Correlation, Destination, Inbound, MetadataImage, Quorum, QuorumConfig, QuorumError, QuorumRequest,
};
use ottla_wire::messages::CreateTopicsRequest;
use ottla_wire::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use ottla_wire::{Str, Uuid};

use super::permits::Verdict;
use super::state::Controller;
use super::task::{Message, Task, Ways, now};
use super::topics::{self, Context};
use super::{ControllerHandle, ControllerSettings};

/// A request of the quorum to another node.
pub(crate) type Sent = (Destination, Correlation, QuorumRequest);

#[derive(Default)]
struct Outbox(Vec<Sent>);

impl Ways for Outbox {
    fn send(&mut self, to: Destination, correlation: Correlation, request: QuorumRequest) {
        self.0.push((to, correlation, request));
    }

    fn answered(&mut self) {}

    fn in_flight(&self) -> usize {
        0
    }
}

/// See the module's documentation.
pub(crate) struct SimulatedController {
    task: Task<Outbox>,
    messages: Receiver<Message>,
    handle: ControllerHandle,
}

impl SimulatedController {
    /// With a metadata log of small segments, and snapshots often.
    pub(crate) fn open(settings: ControllerSettings, disk: Arc<dyn Disk>) -> Result<Self, QuorumError> {
        let config = QuorumConfig {
            segment_bytes: 3_000,
            snapshot_bytes: 3_000,
            retention_bytes: 6_000,
            ..settings.quorum()
        };
        let quorum = Quorum::open(config, disk, now())?;
        let (handle, publisher, messages) = ControllerHandle::wired(settings.identity.cluster_id.clone());
        let controller = Controller::new(quorum, settings, now())?;
        Ok(Self { task: Task::begin(controller, publisher, Outbox::default()), messages, handle })
    }

    /// The way in.
    pub(crate) fn handle(&self) -> &ControllerHandle {
        &self.handle
    }

    /// What became of a request.
    pub(crate) fn answered(&self, inbound: Inbound) {
        self.handle.tell(Message::Answered(inbound));
    }

    /// As its thread does when messages have come or something is due.
    pub(crate) fn step(&mut self) -> Result<(), QuorumError> {
        let first = self.messages.try_recv().ok();
        self.task.step(first, &self.messages).map(drop)
    }

    /// What is to be sent.
    pub(crate) fn take_sent(&mut self) -> Vec<Sent> {
        std::mem::take(&mut self.task.network.0)
    }

    /// When [`SimulatedController::step`] has something to do by itself, in monotonic ms.
    pub(crate) fn next_deadline(&self) -> i64 {
        self.task.controller.next_deadline()
    }

    /// The quorum.
    pub(crate) fn quorum(&self) -> &Quorum {
        &self.task.controller.quorum
    }

    /// Whether it decides.
    pub(crate) fn is_active(&self) -> bool {
        self.task.controller.is_active()
    }

    /// What it decides on.
    pub(crate) fn decided(&self) -> &MetadataImage {
        self.task.controller.image()
    }

    /// Gives the leadership up; the others are told by what is sent then.
    pub(crate) fn resign(&mut self) -> Result<(), QuorumError> {
        self.task.controller.resign(now())?;
        self.task.publish();
        Ok(())
    }

    /// Ends in order.
    pub(crate) fn close(self) -> Result<(), QuorumError> {
        self.task.controller.quorum.close(now().wall)
    }
}

/// Asks whether the node may stop: the answer, and the metadata by which it was found. It is told when that is committed, and
/// much may be otherwise by then.
pub(crate) async fn ask_permit(handle: ControllerHandle, node: i32) -> Option<(Verdict, MetadataImage)> {
    handle.ask(move |task| Ok((task.ask_permit(node), task.image().clone()))).await.ok()
}

/// Makes a topic of partitions with three replicas under an id of the caller's; whether it is there then.
pub(crate) fn create_topic(
    handle: ControllerHandle,
    name: &str,
    num_partitions: i32,
    configs: &[(&str, &str)],
    id: Uuid,
) -> impl Future<Output = bool> + Send + use<> {
    let config = |(name, value): &(&str, &str)| CreatableTopicConfig {
        name: Str::from(*name),
        value: Some(Str::from(*value)),
        ..Default::default()
    };
    let topic = CreatableTopic {
        name: Str::from(name),
        num_partitions,
        replication_factor: 3,
        configs: configs.iter().map(config).collect(),
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 1_000, ..Default::default() };
    async move {
        let created = handle.ask(move |task| {
            let mut context =
                Context { config: &task.settings.config, fresh_id: &mut || Ok(id), charge: &mut |_| Ok(()) };
            let decision = topics::create_topics(task.quorum.image(), &request, &mut context);
            Ok(task.write(decision)?)
        });
        created.await.is_ok_and(|response| response.topics.iter().all(|topic| topic.error_code == 0))
    }
}
