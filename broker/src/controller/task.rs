//! The thread that owns the quorum: jobs in, one sync for all that wait, then image and answers out.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use ottla_quorum::{MetadataImage, MetadataVersion, Now, Quorum, QuorumError, Voter};
use tokio::sync::watch;

use super::brokers::Brokers;
use super::permits::{self, Permits, Verdict, VoterState};
use super::settings::ControllerSettings;
use super::upkeep::Upkeep;
use super::view::View;
use super::{ControllerError, Decision, controller_registration};
use crate::clock;

/// Jobs that share a sync at most.
const MAX_BATCH: usize = 128;
/// Time between looks at snapshots and retention.
const HOUSEKEEPING: Duration = Duration::from_secs(10);

/// Something to do with the quorum. What it returns is run after the commit, and not at all if that fails.
pub(super) type Job = Box<dyn FnOnce(&mut Task) -> Box<dyn FnOnce() + Send> + Send>;

/// A message to the thread.
pub(super) enum Message {
    /// A job.
    Run(Job),
    /// Close the log and end.
    Stop(Stop),
}

/// Told how the end went.
pub(super) type Stop = Box<dyn FnOnce(Result<(), ControllerError>) + Send>;

/// Where the image is published.
pub(super) struct Publisher {
    pub(super) current: Arc<ArcSwap<MetadataImage>>,
    pub(super) changes: watch::Sender<Arc<MetadataImage>>,
}

impl Publisher {
    fn publish(&self, image: &MetadataImage) {
        if self.current.load().provenance == image.provenance {
            return;
        }
        let image = Arc::new(image.clone());
        self.current.store(Arc::clone(&image));
        self.changes.send_replace(image);
    }
}

/// The controller's state.
pub(super) struct Task {
    pub(super) quorum: Quorum,
    pub(super) settings: ControllerSettings,
    /// What is known of brokers and not written down.
    pub(super) brokers: Brokers,
    pub(super) permits: Permits,
    upkeep: Upkeep,
    publisher: Publisher,
    cleaned: Instant,
}

impl Task {
    /// Publishes the first image and registers the controller, which is committed with whatever is done first: nobody
    /// waits for it.
    pub(super) fn begin(
        quorum: Quorum,
        settings: ControllerSettings,
        publisher: Publisher,
    ) -> Result<Self, QuorumError> {
        let session = &settings.config.quorum.session_timeout;
        let mut brokers = Brokers::new(i64::try_from(session.as_millis()).unwrap_or(i64::MAX));
        let now = clock::monotonic_ms();
        brokers.activate(quorum.image(), now);
        let permits = Permits::new(permits::LEASE_MS, 1, now);
        let upkeep = Upkeep::new(&settings.config.elections, now);
        let mut task =
            Self { quorum, settings, brokers, permits, upkeep, publisher, cleaned: Instant::now() };
        task.publisher.publish(task.quorum.committed_image());
        let request = controller_registration::request(&task.settings);
        // Older levels know of no registration.
        if let Ok(registered) = controller_registration::register(task.image(), &request) {
            task.write(registered)?;
        }
        Ok(task)
    }

    /// The image with everything that was decided so far.
    pub(super) fn image(&self) -> &MetadataImage {
        self.quorum.image()
    }

    /// Appends a decision's records at the versions of the finalised level.
    pub(super) fn write<R>(&mut self, decision: Decision<R>) -> Result<R, QuorumError> {
        let level = self.image().metadata_version().unwrap_or(MetadataVersion::LATEST);
        let records: Vec<_> = decision.records.into_iter().map(|record| record.at(level)).collect();
        self.quorum.append(&records, now_ms())?;
        Ok(decision.response)
    }

    /// As [`Task::write`] for any number of records, of which a crash may leave only the first.
    pub(super) fn write_all<R>(&mut self, decision: Decision<R>) -> Result<R, QuorumError> {
        let level = self.image().metadata_version().unwrap_or(MetadataVersion::LATEST);
        let records: Vec<_> = decision.records.into_iter().map(|record| record.at(level)).collect();
        self.quorum.append_all(&records, now_ms())?;
        Ok(decision.response)
    }

    /// Decides about brokers and partitions.
    pub(super) fn decide<R>(
        &mut self,
        decide: impl FnOnce(&View<'_>, &mut Brokers, i64) -> Result<Decision<R>, ControllerError>,
    ) -> Result<Decision<R>, ControllerError> {
        let next_offset = self.quorum.next_offset();
        let view = View::new(self.quorum.image(), &self.settings.config);
        decide(&view, &mut self.brokers, next_offset)
    }

    /// Whether the node may stop now.
    pub(super) fn ask_permit(&mut self, node: i32) -> Verdict {
        let leader = self.settings.config.node_id;
        // A quorum that leads alone knows of no other voter how far it is.
        let known = |voter: &Voter| VoterState { id: voter.id, caught_up: voter.id == leader };
        let voters: Vec<VoterState> = self.quorum.status().voters.iter().map(known).collect();
        let view = View::new(self.quorum.image(), &self.settings.config);
        self.permits.ask(&view, &voters, node, clock::monotonic_ms())
    }

    /// Does what is due without being asked.
    fn run_upkeep(&mut self) -> Result<(), QuorumError> {
        let now = clock::monotonic_ms();
        if now < self.upkeep.next_due(&self.brokers) {
            return Ok(());
        }
        let view = View::new(self.quorum.image(), &self.settings.config);
        let records = self.upkeep.run(&view, &mut self.brokers, now);
        if records.is_empty() {
            return Ok(());
        }
        self.write_all(Decision { records, response: () })?;
        self.commit()
    }

    /// How long to wait for messages.
    fn patience(&self) -> Duration {
        let due = self.upkeep.next_due(&self.brokers).saturating_sub(clock::monotonic_ms());
        Duration::from_millis(u64::try_from(due).unwrap_or_default()).min(HOUSEKEEPING)
    }

    fn commit(&mut self) -> Result<(), QuorumError> {
        self.quorum.commit(now_ms())?;
        self.publisher.publish(self.quorum.committed_image());
        Ok(())
    }

    /// Runs jobs until it is told to stop, nobody is left to ask, or the log fails.
    pub(super) fn run(mut self, messages: &Receiver<Message>) {
        loop {
            let (done, asked) = match messages.recv_timeout(self.patience()) {
                Ok(first) => match self.run_batch(first, messages) {
                    Ok(asked) => (Ok(()), asked),
                    Err(error) => (Err(error), None),
                },
                Err(RecvTimeoutError::Timeout) => (self.commit(), None),
                Err(RecvTimeoutError::Disconnected) => {
                    let nobody: Stop = Box::new(|_| ());
                    (Ok(()), Some(nobody))
                }
            };
            // What has arrived counts before anybody is found to be silent.
            if let Err(error) = done.and_then(|()| self.run_upkeep()) {
                tracing::error!(%error, "metadata log failed, the controller stops");
                return;
            }
            self.keep_house();
            if let Some(stopped) = asked {
                stopped(self.quorum.close(now_ms()).map_err(ControllerError::from));
                return;
            }
        }
    }

    /// Runs everything that waits, commits, and answers.
    fn run_batch(
        &mut self,
        first: Message,
        messages: &Receiver<Message>,
    ) -> Result<Option<Stop>, QuorumError> {
        let mut answers = Vec::new();
        let mut next = Some(first);
        let mut stop = None;
        while let Some(message) = next.take() {
            match message {
                Message::Run(job) => answers.push(job(self)),
                Message::Stop(done) => {
                    stop = Some(done);
                    break;
                }
            }
            if answers.len() < MAX_BATCH {
                next = messages.try_recv().ok();
            }
        }
        self.commit()?;
        for answer in answers {
            answer();
        }
        Ok(stop)
    }

    /// Snapshots and, now and then, retention; a failure is told and tried again later.
    fn keep_house(&mut self) {
        let now = now_ms();
        match self.quorum.maybe_snapshot(now) {
            Ok(Some(id)) => {
                tracing::info!(end_offset = id.end_offset, epoch = id.epoch, "metadata snapshot written");
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "metadata snapshot failed"),
        }
        if self.cleaned.elapsed() < HOUSEKEEPING {
            return;
        }
        self.cleaned = Instant::now();
        match self.quorum.clean(now) {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "old metadata snapshots removed"),
            Err(error) => tracing::warn!(%error, "metadata retention failed"),
        }
    }
}

/// The time in milliseconds since 1970.
pub(super) fn now_ms() -> i64 {
    clock::now().0
}

/// The time by both clocks.
pub(super) fn now() -> Now {
    Now { wall: now_ms(), monotonic: clock::monotonic_ms() }
}
