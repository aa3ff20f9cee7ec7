//! What a node knows of the cluster's metadata, and, while it is the active controller, of the brokers. Neither threads
//! nor clock: its owner ([`super::task`]) brings jobs, messages of other nodes and the time.
//!
//! Whoever asks for a change is answered when the quorum has committed it, in the epoch in which it was decided: an
//! active controller that loses its leadership meanwhile says that it is none, be it committed or not.

use std::collections::VecDeque;

use ottla_quorum::{
    Inbound, MetadataImage, MetadataVersion, Now, Outbound, Quorum, QuorumError, VersionedRecord, standstill,
};

use super::brokers::Brokers;
use super::permits::{self, Permits, Verdict, VoterState};
use super::settings::ControllerSettings;
use super::upkeep::Upkeep;
use super::view::View;
use super::{ControllerError, Decision, controller_registration};

/// Something to do. It answers by itself, or says who is to be told when what it has decided is committed.
pub(super) type Job = Box<dyn FnOnce(&mut Controller) -> Option<Answer> + Send>;

/// Told that everything decided so far is committed, or that this controller cannot know any more.
pub(super) type Answer = Box<dyn FnOnce(Result<(), ControllerError>) + Send>;

/// Who waits for a commit.
struct Waiting {
    epoch: i32,
    end: i64,
    answer: Answer,
}

/// A node's metadata, and its decisions while it is the active controller.
pub(super) struct Controller {
    pub(super) quorum: Quorum,
    pub(super) settings: ControllerSettings,
    /// What is known of brokers and not written down.
    pub(super) brokers: Brokers,
    pub(super) permits: Permits,
    upkeep: Upkeep,
    /// The last epoch in which this node became the active controller.
    active_epoch: i32,
    waiting: VecDeque<Waiting>,
    pub(super) now: Now,
    /// Milliseconds that do not count for the quorum, see [`Controller::stood_still`].
    still: i64,
}

impl Controller {
    /// Around an open quorum. A lone voter is the active controller at once.
    pub(super) fn new(quorum: Quorum, settings: ControllerSettings, now: Now) -> Result<Self, QuorumError> {
        let session = &settings.config.quorum.session_timeout;
        let brokers = Brokers::new(i64::try_from(session.as_millis()).unwrap_or(i64::MAX));
        let permits = Permits::new(permits::LEASE_MS, 1, now.monotonic);
        let upkeep = Upkeep::new(&settings.config.elections, now.monotonic);
        let waiting = VecDeque::new();
        let mut controller =
            Self { quorum, settings, brokers, permits, upkeep, active_epoch: -1, waiting, now, still: 0 };
        controller.activate_if_elected()?;
        Ok(controller)
    }

    /// The image with everything that was decided so far.
    pub(super) fn image(&self) -> &MetadataImage {
        self.quorum.image()
    }

    /// Whether this node is the active controller.
    pub(super) fn is_active(&self) -> bool {
        self.quorum.is_active() && self.active_epoch == self.quorum.epoch()
    }

    /// # Errors
    /// Another node is the active controller, or nobody is.
    pub(super) fn check_active(&self) -> Result<(), ControllerError> {
        if self.is_active() { Ok(()) } else { Err(ControllerError::Quorum(QuorumError::NotLeader)) }
    }

    /// Appends a decision's records at the versions of the finalised level.
    pub(super) fn write<R>(&mut self, decision: Decision<R>) -> Result<R, QuorumError> {
        self.quorum.append(&self.at_level(decision.records), self.now.wall)?;
        Ok(decision.response)
    }

    /// As [`Controller::write`] for any number of records, of which a crash may leave only the first.
    pub(super) fn write_all<R>(&mut self, decision: Decision<R>) -> Result<R, QuorumError> {
        self.quorum.append_all(&self.at_level(decision.records), self.now.wall)?;
        Ok(decision.response)
    }

    fn at_level(&self, records: Vec<ottla_quorum::MetadataRecord>) -> Vec<VersionedRecord> {
        let level = self.image().metadata_version().unwrap_or(MetadataVersion::LATEST);
        records.into_iter().map(|record| record.at(level)).collect()
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
        let status = self.quorum.status();
        let caught_up = |id: i32| {
            let voter = status.replicas.iter().find(|it| it.is_voter && it.key.id == id);
            voter.is_some_and(|it| it.log_end_offset >= status.high_watermark)
        };
        let known = |voter: &ottla_quorum::Voter| VoterState { id: voter.id, caught_up: caught_up(voter.id) };
        let voters: Vec<VoterState> = status.voters.iter().map(known).collect();
        let view = View::new(self.quorum.image(), &self.settings.config);
        self.permits.ask(&view, &voters, node, self.now.monotonic)
    }

    /// Runs a job at this time.
    pub(super) fn run(&mut self, job: Job, now: Now) {
        self.now = now;
        if let Some(answer) = job(self) {
            let (epoch, end) = (self.quorum.epoch(), self.quorum.next_offset());
            self.waiting.push_back(Waiting { epoch, end, answer });
        }
    }

    /// Something came from another node.
    pub(super) fn receive(&mut self, inbound: Inbound, now: Now) -> Result<(), QuorumError> {
        self.now = now;
        self.quorum.receive(inbound, self.quorum_time(now))?;
        self.activate_if_elected()
    }

    /// The owner could not look for so many milliseconds: the disk was waited for, or the system did not let it run. Nobody
    /// could be heard, so that no deadline of the quorum comes much nearer by it: see [`standstill`].
    pub(super) fn stood_still(&mut self, ms: i64) {
        self.still = self.still.saturating_add(standstill::uncounted(ms));
    }

    fn quorum_time(&self, now: Now) -> Now {
        Now { monotonic: now.monotonic - self.still, ..now }
    }

    /// When [`Controller::turn`] has something to do by itself, in monotonic ms.
    pub(super) fn next_deadline(&self) -> i64 {
        let quorum = self.quorum.next_deadline().saturating_add(self.still);
        if self.is_active() { quorum.min(self.upkeep.next_due(&self.brokers)) } else { quorum }
    }

    /// Does what is due: the quorum's part, and what was decided becomes durable. Jobs and messages that have arrived are
    /// to be run before: what has arrived counts before anybody is found to be silent.
    pub(super) fn turn(&mut self, now: Now) -> Result<(), QuorumError> {
        self.now = now;
        let quorum_time = self.quorum_time(now);
        if quorum_time.monotonic >= self.quorum.next_deadline() {
            self.quorum.tick(quorum_time)?;
        }
        self.activate_if_elected()?;
        self.run_upkeep()?;
        self.quorum.commit(now.wall)?;
        self.activate_if_elected()
    }

    /// Gives the leadership up; what is to be sent then comes out of [`Controller::take_outbound`].
    pub(super) fn resign(&mut self, now: Now) -> Result<(), QuorumError> {
        self.now = now;
        self.quorum.resign(self.quorum_time(now))
    }

    /// What is to be sent to other nodes.
    pub(super) fn take_outbound(&mut self) -> Vec<Outbound> {
        self.quorum.take_outbound()
    }

    /// Answers who waited for what is committed now, or cannot be any more. After the image is published.
    pub(super) fn settle(&mut self) {
        let (epoch, committed) = (self.quorum.epoch(), self.quorum.high_watermark());
        let leads = self.quorum.is_leader();
        while let Some(first) = self.waiting.front() {
            let overtaken = !leads || first.epoch != epoch;
            if !overtaken && first.end > committed {
                return;
            }
            if let Some(Waiting { answer, .. }) = self.waiting.pop_front() {
                answer(if overtaken { Err(QuorumError::NotLeader.into()) } else { Ok(()) });
            }
        }
    }

    /// Begins to be the active controller where it has become that.
    fn activate_if_elected(&mut self) -> Result<(), QuorumError> {
        if !self.quorum.is_active() || self.active_epoch == self.quorum.epoch() {
            return Ok(());
        }
        self.active_epoch = self.quorum.epoch();
        let now = self.now.monotonic;
        self.brokers.activate(self.quorum.image(), now);
        self.permits = Permits::new(permits::LEASE_MS, 1, now);
        self.upkeep = Upkeep::new(&self.settings.config.elections, now);
        tracing::info!(epoch = self.active_epoch, "this node is the active controller");
        // Committed with whatever comes next: nobody waits for it. Older levels know of no registration.
        if !controller_registration::is_registered(self.image(), &self.settings) {
            let request = controller_registration::request(&self.settings);
            if let Ok(registered) = controller_registration::register(self.image(), &request) {
                tolerate_no_space(self.write(registered))?;
            }
        }
        Ok(())
    }

    /// Does what is due without being asked.
    fn run_upkeep(&mut self) -> Result<(), QuorumError> {
        let now = self.now.monotonic;
        if !self.is_active() || now < self.upkeep.next_due(&self.brokers) {
            return Ok(());
        }
        self.quorum.fetching().for_each(|id| self.brokers.fetches(id));
        let view = View::new(self.quorum.image(), &self.settings.config);
        let before = self.brokers.clone();
        let records = self.upkeep.run(&view, &mut self.brokers, now);
        if !records.is_empty() && !tolerate_no_space(self.write_all(Decision { records, response: () }))? {
            self.brokers.take_back(before);
        }
        Ok(())
    }
}

/// Whether it was written. A full disk is no reason to end: what is due is tried again.
fn tolerate_no_space(written: Result<(), QuorumError>) -> Result<bool, QuorumError> {
    match written {
        Err(error) if error.is_no_space() => {
            tracing::warn!(%error, "the controller has no space to write what is due");
            Ok(false)
        }
        other => other.map(|()| true),
    }
}
