//! The thread that owns the quorum: jobs and other nodes' messages in, one sync for all that wait, then the image, answers
//! and messages out.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use ottla_quorum::{
    Correlation, Destination, Inbound, MetadataImage, Now, Outbound, QuorumError, QuorumRequest,
    QuorumResponse, Token,
};
use ottla_wire::Str;
use tokio::sync::{oneshot, watch};

use super::ControllerError;
use super::state::{Controller, Job};
use crate::clock;

/// Messages that share a sync at most.
const MAX_BATCH: usize = 128;
/// Time between looks at retention, in ms; nothing is waited for longer.
const HOUSEKEEPING_MS: i64 = 10_000;
/// What takes longer is told.
const SLOW_MS: i64 = 1000;
/// How long a leader that stops waits for the others to have heard of it.
const FAREWELL: Duration = Duration::from_millis(500);

/// A message to the thread.
pub(super) enum Message {
    /// A job.
    Run(Job),
    /// Another node asks.
    Asked(QuorumRequest, oneshot::Sender<QuorumResponse>),
    /// What became of a request to another node.
    Answered(Inbound),
    /// Close the log and end.
    Stop(Stop),
}

/// Told how the end went.
pub(super) type Stop = Box<dyn FnOnce(Result<(), ControllerError>) + Send>;

/// Who leads the quorum, as far as this node knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// Node id.
    pub id: Option<i32>,
    /// In which epoch.
    pub epoch: i32,
    /// The leader's host and port on the first of `controller.listener.names`.
    pub address: Option<(Str, u16)>,
    /// This node is the active controller.
    pub is_active_here: bool,
}

/// Where the image and the leader are published.
pub(super) struct Publisher {
    pub(super) current: Arc<ArcSwap<MetadataImage>>,
    pub(super) changes: watch::Sender<Arc<MetadataImage>>,
    pub(super) leadership: watch::Sender<Leadership>,
}

impl Publisher {
    fn publish(&self, controller: &Controller) {
        let image = controller.quorum.committed_image();
        if self.current.load().provenance != image.provenance {
            let image = Arc::new(image.clone());
            self.current.store(Arc::clone(&image));
            self.changes.send_replace(image);
        }
        let leadership = Leadership {
            id: controller.quorum.leader_id(),
            epoch: controller.quorum.epoch(),
            address: controller.quorum.leader_address(),
            is_active_here: controller.is_active(),
        };
        self.leadership.send_if_modified(|known| {
            let changed = *known != leadership;
            *known = leadership;
            changed
        });
    }
}

/// The way to other nodes of the quorum. What became of a request arrives as [`Message::Answered`].
pub(super) trait Ways {
    /// Sends a request. The quorum has at most one under way to each node.
    fn send(&mut self, to: Destination, correlation: Correlation, request: QuorumRequest);

    /// A request has come to its end.
    fn answered(&mut self);

    /// Requests under way.
    fn in_flight(&self) -> usize;
}

/// The thread's state.
pub(super) struct Task<N> {
    pub(super) controller: Controller,
    publisher: Publisher,
    pub(super) network: N,
    callers: HashMap<Token, oneshot::Sender<QuorumResponse>>,
    next_token: u64,
    /// When to look after what is too old, in monotonic ms.
    clean_due: i64,
}

impl<N: Ways> Task<N> {
    /// Publishes the first image and sends the first messages.
    pub(super) fn begin(controller: Controller, publisher: Publisher, network: N) -> Self {
        let (callers, clean_due) = (HashMap::new(), clock::monotonic_ms() + HOUSEKEEPING_MS);
        let mut task = Self { controller, publisher, network, callers, next_token: 0, clean_due };
        task.publish();
        task
    }

    /// Runs until it is told to stop, nobody is left to ask, or the log fails.
    pub(super) fn run(mut self, messages: &Receiver<Message>) {
        loop {
            let (patience, waits_from) = (self.patience(), clock::monotonic());
            let received = messages.recv_timeout(patience);
            let patience = i64::try_from(patience.as_millis()).unwrap_or(i64::MAX);
            let late = clock::monotonic().since(waits_from).saturating_sub(patience);
            self.stood_still(late, "was not let run");
            let asked = match received {
                Ok(first) => self.step(Some(first), messages),
                Err(RecvTimeoutError::Timeout) => self.step(None, messages),
                Err(RecvTimeoutError::Disconnected) => {
                    let nobody: Stop = Box::new(|_| ());
                    self.step(None, messages).map(|_| Some(nobody))
                }
            };
            let asked = match asked {
                Ok(asked) => asked,
                Err(error) => {
                    tracing::error!(%error, "metadata log failed, the controller stops");
                    return;
                }
            };
            if let Some(stopped) = asked {
                stopped(self.stop(messages));
                return;
            }
        }
    }

    /// Takes in what has come, does what is due and lets everybody know; returns who wants it to stop.
    pub(super) fn step(
        &mut self,
        first: Option<Message>,
        messages: &Receiver<Message>,
    ) -> Result<Option<Stop>, QuorumError> {
        let asked = first.map_or(Ok(None), |first| self.take(first, messages))?;
        self.timed(|task| task.controller.turn(now()))?;
        self.publish();
        self.timed(Self::keep_house);
        Ok(asked)
    }

    /// How long to wait for messages.
    fn patience(&self) -> Duration {
        let due = self.controller.next_deadline().saturating_sub(clock::monotonic_ms());
        Duration::from_millis(due.clamp(0, HOUSEKEEPING_MS).unsigned_abs())
    }

    /// Takes in everything that waits; returns who wants it to stop.
    fn take(&mut self, first: Message, messages: &Receiver<Message>) -> Result<Option<Stop>, QuorumError> {
        let mut next = Some(first);
        let mut taken = 0;
        while let Some(message) = next.take() {
            match message {
                Message::Run(job) => self.controller.run(job, now()),
                Message::Asked(request, caller) => self.ask(request, caller)?,
                Message::Answered(inbound) => {
                    self.network.answered();
                    self.timed(|task| task.controller.receive(inbound, now()))?;
                }
                Message::Stop(done) => return Ok(Some(done)),
            }
            taken += 1;
            if taken < MAX_BATCH {
                next = messages.try_recv().ok();
            }
        }
        Ok(None)
    }

    fn ask(
        &mut self,
        request: QuorumRequest,
        caller: oneshot::Sender<QuorumResponse>,
    ) -> Result<(), QuorumError> {
        // Who has gone away waits for no answer.
        self.callers.retain(|_, caller| !caller.is_closed());
        let token = Token(self.next_token);
        self.next_token += 1;
        self.callers.insert(token, caller);
        self.timed(|task| task.controller.receive(Inbound::Request { token, request }, now()))
    }

    /// Does something that may wait for the disk.
    fn timed<R>(&mut self, work: impl FnOnce(&mut Self) -> R) -> R {
        let began = clock::monotonic();
        let result = work(self);
        self.stood_still(clock::monotonic().since(began), "waited for the disk");
        result
    }

    fn stood_still(&mut self, ms: i64, why: &str) {
        self.controller.stood_still(ms);
        if ms >= SLOW_MS {
            tracing::warn!(ms, "the controller's thread {why}");
        }
    }

    /// Lets everybody know: the image first, so that who was answered finds in it what was done.
    pub(super) fn publish(&mut self) {
        self.publisher.publish(&self.controller);
        self.controller.settle();
        for outbound in self.controller.take_outbound() {
            match outbound {
                Outbound::Request { to, correlation, request } => self.network.send(to, correlation, request),
                Outbound::Response { token, response } => {
                    if let Some(caller) = self.callers.remove(&token) {
                        // The connection may be gone.
                        let _ = caller.send(response);
                    }
                }
            }
        }
    }

    /// A leader gives up, and sees to it that the others know before the process ends: they elect another at once.
    fn stop(mut self, messages: &Receiver<Message>) -> Result<(), ControllerError> {
        let led = self.controller.quorum.is_leader();
        self.controller.resign(now())?;
        self.publish();
        let until = Instant::now() + FAREWELL;
        while led && self.network.in_flight() > 0 {
            let Ok(message) = messages.recv_timeout(until.saturating_duration_since(Instant::now())) else {
                break;
            };
            // Whoever asks now is told that nobody is here.
            drop(self.take(message, messages)?);
            self.publish();
        }
        self.controller.quorum.close(now().wall)?;
        Ok(())
    }

    /// Snapshots and, now and then, retention; a failure is told and tried again later.
    fn keep_house(&mut self) {
        let Now { wall, monotonic } = now();
        let quorum = &mut self.controller.quorum;
        match quorum.maybe_snapshot(wall) {
            Ok(Some(id)) => {
                tracing::info!(end_offset = id.end_offset, epoch = id.epoch, "metadata snapshot written");
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "metadata snapshot failed"),
        }
        if monotonic < self.clean_due {
            return;
        }
        self.clean_due = monotonic + HOUSEKEEPING_MS;
        match quorum.clean(wall) {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "old metadata snapshots removed"),
            Err(error) => tracing::warn!(%error, "metadata retention failed"),
        }
    }
}

/// The time by both clocks.
pub(super) fn now() -> Now {
    Now { wall: clock::now().0, monotonic: clock::monotonic_ms() }
}
