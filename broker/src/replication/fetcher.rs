//! What one connection to a leader fetches, and what the leader's answers mean. Pure: no log, no connection, no clock.
//!
//! A followed partition is asked for from where its log ends. An answer becomes a [`Command`] for its log; how that ended, and
//! where the log is then, comes back with [`Fetcher::done`]. An answer counts only for the epoch and offset it was asked with.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_log::{LeaderEpoch, Offset};
use ottla_wire::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic, ReplicaState};
use ottla_wire::messages::fetch_response::PartitionData;
use ottla_wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use ottla_wire::messages::{FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse};
use ottla_wire::{ErrorCode, Records, Uuid};
use tracing::{debug, warn};

use super::session::{Ask, Session, Turn};
use crate::clock::Millis;
use crate::partition::{FollowerPosition, LeaderBounds, TopicPartition};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

/// A partition as fetches name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FollowedKey {
    /// The topic's id.
    pub topic_id: Uuid,
    /// Index.
    pub partition: i32,
}

/// A partition that another broker leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Followed {
    /// Topic and index.
    pub name: TopicPartition,
    /// The epoch of that leader.
    pub leader_epoch: i32,
}

/// How to fetch (`replica.fetch.*`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchSettings {
    /// This broker.
    pub node_id: i32,
    /// How long a leader may wait for `min_bytes`, in ms.
    pub max_wait_ms: i32,
    /// What a leader waits for.
    pub min_bytes: i32,
    /// The most in one answer; at least one batch comes.
    pub max_bytes: i32,
    /// The most of one partition.
    pub partition_max_bytes: i32,
    /// How long a partition rests after an error, in ms.
    pub backoff_ms: i64,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Send this, [fitted](fit) to the version; then [`Fetcher::fetched`], or [`Fetcher::failed`].
    Fetch(FetchRequest),
    /// Send both; then [`Fetcher::bounded`], or [`Fetcher::failed`].
    Bounds {
        /// Asks where logs end.
        latest: ListOffsetsRequest,
        /// Asks where they begin.
        earliest: ListOffsetsRequest,
    },
    /// Nothing until then, or until something changes.
    Wait(Option<Millis>),
}

/// What is to be done to a log.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// Whose.
    pub key: FollowedKey,
    /// By its name.
    pub name: TopicPartition,
    /// The epoch under which the leader said so.
    pub leader_epoch: i32,
    /// What.
    pub action: Action,
}

/// A change of a follower's log.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Append what was fetched.
    Append {
        /// From here on.
        from: Offset,
        /// Batches, maybe none; the last may be cut off.
        records: Bytes,
        /// The leader's bounds.
        leader: LeaderBounds,
    },
    /// Cut back to what the leader has.
    Truncate {
        /// The leader's largest epoch up to the follower's last.
        epoch: LeaderEpoch,
        /// Where that ends.
        end: Offset,
    },
    /// The follower's end is not within the leader's log.
    Fit {
        /// Where that begins.
        start: Offset,
        /// Where it ends.
        end: Offset,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Fetching,
    /// After an error.
    Resting(Millis),
    /// The leader's bounds are needed.
    Lost,
    /// Something is done to the log.
    Busy,
    /// The leader is under another epoch: metadata will tell.
    Fenced,
}

#[derive(Debug)]
struct Progress {
    followed: Followed,
    position: FollowerPosition,
    told: Option<LeaderBounds>,
    state: State,
    /// Left out for now: out of sync, and others are to have the network.
    held: bool,
}

/// The partitions of one leader that are fetched together.
#[derive(Debug)]
pub struct Fetcher {
    settings: FetchSettings,
    /// Which start of this broker fetches.
    broker_epoch: i64,
    partitions: BTreeMap<FollowedKey, Progress>,
    session: Session,
    resting_until: Millis,
    /// Whether any partition is held.
    holds: bool,
}

impl Fetcher {
    /// Without partitions.
    pub fn new(settings: FetchSettings) -> Self {
        let (partitions, session) = (BTreeMap::new(), Session::default());
        let resting_until = Millis::default();
        Self { settings, broker_epoch: -1, partitions, session, resting_until, holds: false }
    }

    /// The epoch under which this broker is registered.
    pub fn set_broker_epoch(&mut self, epoch: i64) {
        self.broker_epoch = epoch;
    }

    /// Fetches a partition from `position` on, or goes on under another epoch.
    pub fn follow(&mut self, key: FollowedKey, followed: Followed, position: FollowerPosition) {
        let progress = Progress { followed, position, told: None, state: State::Fetching, held: false };
        self.partitions.insert(key, progress);
    }

    /// Fetches a partition no more.
    pub fn forget(&mut self, key: &FollowedKey) {
        self.partitions.remove(key);
    }

    /// Number of partitions.
    pub fn len(&self) -> usize {
        self.partitions.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }

    /// Leaves out those partitions for now, unless they are in sync: their quota is used up (KIP-73).
    pub fn hold(&mut self, throttled: impl Fn(&TopicPartition) -> bool) {
        self.holds = false;
        for progress in self.partitions.values_mut() {
            progress.held = !progress.is_in_sync() && throttled(&progress.followed.name);
            self.holds |= progress.held;
        }
    }

    /// The quota is not used up, or not any more.
    pub fn hold_nothing(&mut self) {
        if self.holds {
            self.hold(|_| false);
        }
    }

    /// What to do next.
    pub fn step(&mut self, now: Millis) -> Step {
        if self.resting_until > now {
            return Step::Wait(Some(self.resting_until));
        }
        let mut wake = self.holds.then(|| now.plus(self.settings.backoff_ms));
        for progress in self.partitions.values_mut() {
            match progress.state {
                State::Resting(until) if until <= now => progress.state = State::Fetching,
                State::Resting(until) => wake = Some(wake.map_or(until, |wake| wake.min(until))),
                _ => {}
            }
        }
        if let Some(step) = self.bounds_step() {
            return step;
        }
        let fetching = |progress: &Progress| progress.state == State::Fetching && !progress.held;
        let ask = |progress: &Progress| Ask {
            leader_epoch: progress.followed.leader_epoch,
            position: progress.position,
        };
        let wanted = self.partitions.iter().filter(|(_, progress)| fetching(progress));
        let wanted: BTreeMap<_, _> = wanted.map(|(key, progress)| (*key, ask(progress))).collect();
        if wanted.is_empty() {
            return Step::Wait(wake);
        }
        // Who rests is fetched again in time.
        let until = wake.map_or(i64::MAX, |wake| wake.since(now));
        let max_wait_ms = i32::try_from(until)
            .map_or(self.settings.max_wait_ms, |until| until.min(self.settings.max_wait_ms));
        let turn = self.session.turn(wanted);
        Step::Fetch(self.request(turn, max_wait_ms))
    }

    fn request(&self, turn: Turn, max_wait_ms: i32) -> FetchRequest {
        let mut topics: Vec<FetchTopic> = Vec::new();
        for (key, Ask { leader_epoch, position }) in turn.asks {
            let partition = FetchPartition {
                partition: key.partition,
                current_leader_epoch: leader_epoch,
                fetch_offset: position.offset.0,
                last_fetched_epoch: position.last_epoch.0,
                log_start_offset: position.log_start.0,
                partition_max_bytes: self.settings.partition_max_bytes,
                ..Default::default()
            };
            match topics.last_mut().filter(|topic| topic.topic_id == key.topic_id) {
                Some(topic) => topic.partitions.push(partition),
                None => topics.push(FetchTopic {
                    topic_id: key.topic_id,
                    partitions: vec![partition],
                    ..Default::default()
                }),
            }
        }
        let mut forgotten: Vec<ForgottenTopic> = Vec::new();
        for key in turn.forgotten {
            match forgotten.last_mut().filter(|topic| topic.topic_id == key.topic_id) {
                Some(topic) => topic.partitions.push(key.partition),
                None => forgotten.push(ForgottenTopic {
                    topic_id: key.topic_id,
                    partitions: vec![key.partition],
                    ..Default::default()
                }),
            }
        }
        FetchRequest {
            replica_state: ReplicaState {
                replica_id: self.settings.node_id,
                replica_epoch: self.broker_epoch,
                ..Default::default()
            },
            max_wait_ms,
            min_bytes: self.settings.min_bytes,
            max_bytes: self.settings.max_bytes,
            session_id: turn.id,
            session_epoch: turn.epoch,
            topics,
            forgotten_topics_data: forgotten,
            ..Default::default()
        }
    }

    /// Asks where the leader's logs begin and end that were asked outside of.
    fn bounds_step(&self) -> Option<Step> {
        let lost = self.partitions.values().filter(|progress| progress.state == State::Lost);
        let mut topics: Vec<ListOffsetsTopic> = Vec::new();
        for progress in lost {
            let Followed { name, leader_epoch } = &progress.followed;
            let partition = ListOffsetsPartition {
                partition_index: name.partition,
                current_leader_epoch: *leader_epoch,
                timestamp: LATEST,
                ..Default::default()
            };
            match topics.iter_mut().find(|topic| topic.name == name.topic) {
                Some(topic) => topic.partitions.push(partition),
                None => topics.push(ListOffsetsTopic {
                    name: name.topic.clone(),
                    partitions: vec![partition],
                    ..Default::default()
                }),
            }
        }
        if topics.is_empty() {
            return None;
        }
        let latest = ListOffsetsRequest {
            replica_id: self.settings.node_id,
            topics,
            timeout_ms: self.settings.max_wait_ms,
            ..Default::default()
        };
        let mut earliest = latest.clone();
        let asked = earliest.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
        asked.for_each(|partition| partition.timestamp = EARLIEST);
        Some(Step::Bounds { latest, earliest })
    }

    /// There is no answer: the session is begun anew, after a rest.
    pub fn failed(&mut self, now: Millis) {
        self.session.failed();
        self.resting_until = now.plus(self.settings.backoff_ms);
    }

    /// The answer to a fetch: what is to be done to the logs. Each command is to be followed by [`Fetcher::done`].
    pub fn fetched(&mut self, response: FetchResponse, now: Millis) -> Vec<Command> {
        let error = ErrorCode::try_from(response.error_code).unwrap_or(ErrorCode::UnknownServerError);
        if !self.session.answered(error, response.session_id) {
            debug!(%error, "fetch refused");
            let about_session = [
                ErrorCode::FetchSessionIdNotFound,
                ErrorCode::InvalidFetchSessionEpoch,
                ErrorCode::FetchSessionTopicIdError,
            ];
            if !about_session.contains(&error) {
                self.resting_until = now.plus(self.settings.backoff_ms);
            }
            return Vec::new();
        }
        let mut commands = Vec::new();
        for topic in response.responses {
            for data in topic.partitions {
                let key = FollowedKey { topic_id: topic.topic_id, partition: data.partition_index };
                commands.extend(self.row(key, data, now));
            }
        }
        commands
    }

    fn row(&mut self, key: FollowedKey, data: PartitionData, now: Millis) -> Option<Command> {
        let asked = self.session.asked(&key)?;
        let progress = self.partitions.get_mut(&key)?;
        let is_current = progress.state == State::Fetching
            && progress.followed.leader_epoch == asked.leader_epoch
            && progress.position == asked.position;
        if !is_current {
            self.session.unheard(key);
            return None;
        }
        let error = ErrorCode::try_from(data.error_code).unwrap_or(ErrorCode::UnknownServerError);
        if error != ErrorCode::None {
            progress.refused(error, now.plus(self.settings.backoff_ms));
            return None;
        }
        let action = progress.digest(data)?;
        if matches!(action, Action::Truncate { .. }) {
            // What the leader says of its bounds counts only when the histories are one.
            self.session.unheard(key);
        }
        progress.state = State::Busy;
        let Followed { name, leader_epoch } = progress.followed.clone();
        Some(Command { key, name, leader_epoch, action })
    }

    /// The answers to questions for bounds.
    pub fn bounded(
        &mut self,
        latest: &ListOffsetsResponse,
        earliest: &ListOffsetsResponse,
        now: Millis,
    ) -> Vec<Command> {
        let find = |response: &ListOffsetsResponse, name: &TopicPartition| {
            let topic = response.topics.iter().find(|topic| topic.name == name.topic)?;
            let found = topic.partitions.iter().find(|it| it.partition_index == name.partition)?;
            (found.error_code == 0 && found.offset >= 0).then_some(Offset(found.offset))
        };
        let until = now.plus(self.settings.backoff_ms);
        let mut commands = Vec::new();
        for (key, progress) in self.partitions.iter_mut().filter(|(_, it)| it.state == State::Lost) {
            let Followed { name, leader_epoch } = progress.followed.clone();
            match (find(earliest, &name), find(latest, &name)) {
                (Some(start), Some(end)) => {
                    progress.state = State::Busy;
                    let action = Action::Fit { start, end };
                    commands.push(Command { key: *key, name, leader_epoch, action });
                }
                _ => progress.state = State::Resting(until),
            }
        }
        commands
    }

    /// What a command came to: where the log goes on, `None` if it failed.
    pub fn done(&mut self, command: &Command, position: Option<FollowerPosition>, now: Millis) {
        let Some(progress) = self.partitions.get_mut(&command.key) else { return };
        if progress.followed.leader_epoch != command.leader_epoch || progress.state != State::Busy {
            return;
        }
        let until = now.plus(self.settings.backoff_ms);
        let moved = position.is_some_and(|position| position != progress.position);
        let rests = match command.action {
            Action::Append { .. } => position.is_none(),
            // To ask the same again at once would bring the same answer.
            Action::Truncate { .. } | Action::Fit { .. } => !moved,
        };
        progress.state = if rests { State::Resting(until) } else { State::Fetching };
        if let Some(position) = position {
            progress.position = position;
        } else {
            progress.told = None;
            self.session.unheard(command.key);
        }
    }
}

impl Progress {
    /// As far as the leader has told.
    fn is_in_sync(&self) -> bool {
        self.told.is_some_and(|leader| self.position.offset >= leader.high_watermark)
    }

    fn refused(&mut self, error: ErrorCode, until: Millis) {
        let partition = &self.followed.name;
        self.state = match error {
            ErrorCode::OffsetOutOfRange => State::Lost,
            ErrorCode::FencedLeaderEpoch => State::Fenced,
            // One of both sides has not heard yet of what the other knows.
            ErrorCode::NotLeaderOrFollower
            | ErrorCode::UnknownLeaderEpoch
            | ErrorCode::UnknownTopicId
            | ErrorCode::UnknownTopicOrPartition
            | ErrorCode::InconsistentTopicId => {
                debug!(%partition, %error, "the leader refuses a fetch");
                State::Resting(until)
            }
            _ => {
                warn!(%partition, %error, "the leader refuses a fetch");
                State::Resting(until)
            }
        };
        self.told = None;
    }

    fn digest(&mut self, data: PartitionData) -> Option<Action> {
        if data.diverging_epoch.epoch >= 0 && data.diverging_epoch.end_offset >= 0 {
            let (epoch, end) =
                (LeaderEpoch(data.diverging_epoch.epoch), Offset(data.diverging_epoch.end_offset));
            return Some(Action::Truncate { epoch, end });
        }
        let leader = LeaderBounds {
            high_watermark: Offset(data.high_watermark),
            log_start: Offset(data.log_start_offset),
        };
        let records = match data.records {
            Some(Records::Bytes(records)) => records,
            _ => Bytes::new(),
        };
        if records.is_empty() && self.told == Some(leader) {
            return None;
        }
        self.told = Some(leader);
        Some(Action::Append { from: self.position.offset, records, leader })
    }
}

/// The request as its version has it: before version 15 the follower is named elsewhere, and without its broker epoch.
pub fn fit(request: FetchRequest, version: i16) -> FetchRequest {
    if version >= 15 {
        return request;
    }
    let replica_id = request.replica_state.replica_id;
    FetchRequest { replica_id, replica_state: ReplicaState::default(), ..request }
}

#[cfg(test)]
#[path = "fetcher_tests.rs"]
mod tests;
