//! A node's broker, once it is registered: partitions, fetchers, proposals of ISRs, groups.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use futures::FutureExt as _;
use ottla_log::checkpoint::CleanShutdown;
use ottla_log::{LogError, Offset};
use ottla_quorum::image::MetadataImage;
use ottla_wire::messages::{FetchRequest, FetchResponse};
use parking_lot::Mutex;

use super::Broken;
use super::parcel::{Caller, Question, Reply};
use crate::clock::{self, Millis};
use crate::config::Config;
use crate::controller::Placement;
use crate::fetch_session::{PartitionKey, Sessions};
use crate::group::runner::simulated::Seats;
use crate::partition::{
    FutureReplica, LogDirectory, MoveError, Partition, Partitions, Surroundings, TopicPartition, Work,
};
use crate::replication::isr::{self, Asked};
use crate::replication::{
    self, Action, Command, FetchSettings, Fetcher, Followed, FollowedKey, Step, answers,
};

const MAX_LAG_MS: i64 = 4_000;
const FETCH_WAIT_MS: i64 = 500;
/// Bytes that a move copies at a time.
const PIECE: usize = 1_500;

pub(super) struct Broker {
    id: i32,
    pub(super) partitions: Arc<Partitions>,
    pub(super) image: Arc<MetadataImage>,
    pub(super) epoch: i64,
    fetchers: BTreeMap<i32, Fetching>,
    followed: BTreeMap<FollowedKey, (i32, Followed)>,
    sessions: Sessions,
    pub(super) work: Arc<Mutex<Vec<Work>>>,
    pub(super) groups: Seats,
    parked: Vec<Parked>,
    pub(super) asking: bool,
    again: Vec<Asked>,
    /// All in the node's monotonic ms.
    again_at: i64,
    pub(super) apply_at: Option<i64>,
    work_at: Option<i64>,
    shrink_at: i64,
    checkpoint_at: i64,
    retain_at: i64,
    /// The controller is to be told where partitions lie.
    tell_at: Option<i64>,
    is_telling: bool,
    /// A move between directories goes on.
    move_at: i64,
    known_offline: usize,
    /// Names of partitions that were made become durable.
    names_at: i64,
    pub(super) truncations: u64,
    pub(super) loaded: Vec<i32>,
}

struct Fetching {
    core: Fetcher,
    is_asking: bool,
    wake_at: i64,
}

struct Parked {
    caller: Caller,
    asked: answers::Asked,
    until: i64,
    stamp: i64,
}

/// What a broker wants to have sent.
#[derive(Default)]
pub(super) struct Out {
    /// To whom, for which fetcher, what.
    pub(super) fetches: Vec<(i32, Question)>,
    pub(super) isrs: Vec<Asked>,
    pub(super) places: Vec<Placement>,
    pub(super) replies: Vec<(Caller, Reply)>,
    /// What lies in another directory now, and where its log ended before and after.
    pub(super) moved: Vec<(Arc<Partition>, Offset, Offset)>,
}

fn settings(node_id: i32) -> FetchSettings {
    FetchSettings {
        node_id,
        max_wait_ms: i32::try_from(FETCH_WAIT_MS).unwrap(),
        min_bytes: 1,
        max_bytes: 100_000,
        partition_max_bytes: 4_000,
        backoff_ms: 500,
    }
}

impl Broker {
    /// Opens the logs of the image.
    pub(super) fn load(
        config: &Arc<Config>,
        directories: Vec<Arc<LogDirectory>>,
        image: Arc<MetadataImage>,
        epoch: i64,
    ) -> Result<Self, LogError> {
        let id = config.node_id;
        let work: Arc<Mutex<Vec<Work>>> = Arc::default();
        let queue = Arc::clone(&work);
        let surroundings = Surroundings::new(id, MAX_LAG_MS, Arc::clone(&image.cluster))
            .with_background(move |work| queue.lock().push(work))
            .in_one_thread(PIECE);
        let known_offline = directories.iter().filter(|directory| directory.is_offline()).count();
        let now = clock::now();
        let partitions =
            Partitions::load_in(Arc::new(surroundings), Arc::clone(config), directories, &image, now)?;
        for directory in partitions.directories().iter().filter(|directory| !directory.is_offline()) {
            CleanShutdown::remove(&**directory.disk(), directory.path())?;
        }
        let mono = clock::monotonic_ms();
        let mut broker = Self {
            id,
            partitions,
            image: Arc::clone(&image),
            epoch,
            fetchers: BTreeMap::new(),
            followed: BTreeMap::new(),
            sessions: Sessions::new(100, epoch.cast_unsigned()),
            work,
            groups: Seats::new(config),
            parked: Vec::new(),
            asking: false,
            again: Vec::new(),
            again_at: 0,
            apply_at: None,
            work_at: None,
            shrink_at: mono + MAX_LAG_MS / 2,
            checkpoint_at: mono + 5_000,
            retain_at: mono + 5_000,
            tell_at: Some(mono),
            is_telling: false,
            move_at: mono,
            known_offline,
            names_at: mono + 5,
            truncations: 0,
            loaded: Vec::new(),
        };
        broker.groups.apply(&image, &broker.partitions);
        broker.follow();
        Ok(broker)
    }

    /// Under which it is registered now.
    pub(super) fn set_epoch(&mut self, epoch: i64) {
        self.epoch = epoch;
        self.fetchers.values_mut().for_each(|fetching| fetching.core.set_broker_epoch(epoch));
    }

    /// Those of its directories that have failed, where there are more of them than before.
    pub(super) fn failed_directories(&mut self) -> Option<Vec<Arc<LogDirectory>>> {
        let all = self.partitions.directories().iter();
        let failed: Vec<_> = all.filter(|directory| directory.is_offline()).cloned().collect();
        let is_more = std::mem::replace(&mut self.known_offline, failed.len()) < failed.len();
        is_more.then_some(failed)
    }

    /// Lets a replica go to another directory, or stay where it is. Whether that ended a move.
    pub(super) fn move_to(&mut self, name: &TopicPartition, path: &Path) -> Result<bool, MoveError> {
        let path = path.display().to_string();
        let goes_elsewhere =
            |replica: &FutureReplica| replica.partition.name() == name && *replica.directory.path() != *path;
        let ends = self.partitions.future_replicas().iter().any(goes_elsewhere);
        self.partitions.move_to(&self.image, name, &path, clock::now())?;
        self.move_at = clock::monotonic_ms();
        Ok(ends)
    }

    fn step_a_move(&mut self, mono: i64, pause: i64, out: &mut Out) {
        match self.partitions.step_a_move() {
            Ok(step) => {
                self.move_at = mono + pause;
                let end = step.partition.log_end_offset();
                if step.is_moved {
                    out.moved.push((step.partition, step.end_before, end));
                }
            }
            Err(rest) => self.move_at = mono + rest,
        }
    }

    /// Deletes what is too old, now and then. Not in the event in which it was committed: the books would not have seen it.
    pub(super) fn retain(&mut self) {
        let mono = clock::monotonic_ms();
        if self.retain_at <= mono {
            self.retain_at = mono + 5_000;
            self.partitions.retain(clock::now());
            self.partitions.purge_files(clock::now());
        }
    }

    /// Puts newer metadata into effect.
    pub(super) fn apply(&mut self, new: Arc<MetadataImage>) {
        self.partitions.apply(&self.image, &new, clock::now());
        self.move_at = clock::monotonic_ms();
        self.names_at = self.names_at.min(self.move_at + 5);
        self.image = new;
        self.follow();
        self.groups.apply(&self.image, &self.partitions);
    }

    fn follow(&mut self) {
        let image = Arc::clone(&self.image);
        for topic in image.topics.iter() {
            for (index, state) in &topic.partitions {
                let key = FollowedKey { topic_id: topic.id, partition: *index };
                let name = TopicPartition::new(topic.name.clone(), *index);
                let here = state.replicas.contains(&self.id);
                let wanted = (here && state.leader >= 0 && state.leader != self.id).then(|| {
                    (state.leader, Followed { name: name.clone(), leader_epoch: state.leader_epoch })
                });
                if self.followed.get(&key) == wanted.as_ref() {
                    continue;
                }
                if let Some((leader, _)) = self.followed.remove(&key)
                    && let Some(fetching) = self.fetchers.get_mut(&leader)
                {
                    fetching.core.forget(&key);
                }
                let Some((leader, followed)) = wanted else { continue };
                let Some(partition) = self.partitions.get(&name) else { continue };
                let Ok(position) = partition.follower_position(clock::now()) else { continue };
                let epoch = self.epoch;
                let fetching = self.fetchers.entry(leader).or_insert_with(|| {
                    let mut core = Fetcher::new(settings(self.id));
                    core.set_broker_epoch(epoch);
                    Fetching { core, is_asking: false, wake_at: 0 }
                });
                fetching.core.follow(key, followed.clone(), position);
                fetching.wake_at = 0;
                self.followed.insert(key, (leader, followed));
            }
        }
    }

    /// Does what is due.
    pub(super) fn turn(&mut self, newest: &Arc<MetadataImage>, slow: (i64, i64)) -> Out {
        let (mono, mut out) = (clock::monotonic_ms(), Out::default());
        if newest.offset() > self.image.offset() && self.apply_at.is_none() {
            self.apply_at = Some(mono + slow.0);
        }
        if self.apply_at.is_some_and(|at| at <= mono) {
            self.apply_at = None;
            self.apply(Arc::clone(newest));
            self.tell_at = self.tell_at.or(Some(mono));
        }
        if self.shrink_at <= mono {
            self.shrink_at = mono + MAX_LAG_MS / 2;
            self.partitions.shrink_isrs();
        }
        if self.checkpoint_at <= mono {
            self.checkpoint_at = mono + 5_000;
            drop(self.partitions.checkpoint_all());
        }
        if self.work_at.is_some_and(|at| at <= mono) {
            self.work_at = None;
            let work = std::mem::take(&mut *self.work.lock());
            work.into_iter().for_each(|work| work());
        }
        if self.work_at.is_none() && !self.work.lock().is_empty() {
            self.work_at = Some(mono + slow.1);
        }
        if self.again_at <= mono {
            for (partition, proposal) in std::mem::take(&mut self.again) {
                partition.isr_answered(&proposal, crate::partition::Answer::Again);
            }
        }
        if !self.asking && self.again.is_empty() {
            out.isrs = isr::take(self.partitions.surroundings());
            self.asking = !out.isrs.is_empty();
        }
        if self.names_at <= mono {
            self.names_at = i64::MAX;
            self.partitions.settle_names();
        }
        if self.move_at <= mono {
            self.step_a_move(mono, 2 * slow.1, &mut out);
        }
        if self.partitions.places_changed().now_or_never().is_some() {
            self.tell_at = self.tell_at.or(Some(mono));
        }
        if !self.is_telling && self.tell_at.is_some_and(|at| at <= mono) {
            out.places = self.partitions.misplaced(&self.image);
            (self.tell_at, self.is_telling) = (None, !out.places.is_empty());
        }
        self.fetch(mono, &mut out);
        self.loaded.extend(self.groups.turn());
        self.answer_parked(mono, &mut out);
        out
    }

    /// When [`Broker::turn`] has something to do by itself.
    pub(super) fn next_deadline(&self) -> i64 {
        let mut due = self.shrink_at.min(self.checkpoint_at).min(self.groups.next_deadline());
        due = due.min(self.move_at).min(self.names_at);
        let tell_at = self.tell_at.filter(|_| !self.is_telling);
        due = self.apply_at.into_iter().chain(self.work_at).chain(tell_at).fold(due, i64::min);
        if !self.again.is_empty() {
            due = due.min(self.again_at);
        }
        let idle = self.fetchers.values().filter(|fetching| !fetching.is_asking);
        due = idle.map(|fetching| fetching.wake_at).fold(due, i64::min);
        self.parked.iter().map(|parked| parked.until).fold(due, i64::min)
    }

    fn fetch(&mut self, mono: i64, out: &mut Out) {
        for (leader, fetching) in &mut self.fetchers {
            if fetching.is_asking || fetching.wake_at > mono {
                continue;
            }
            let question = match fetching.core.step(Millis(mono)) {
                Step::Fetch(request) => Question::Fetch(Box::new(request)),
                Step::Bounds { latest, earliest } => Question::Bounds(Box::new((latest, earliest))),
                Step::Wait(until) => {
                    fetching.wake_at = until.map_or(i64::MAX, |until| until.0.max(mono + 1));
                    continue;
                }
            };
            fetching.is_asking = true;
            out.fetches.push((*leader, question));
        }
    }

    /// An answer of a leader, or `None` where there is none.
    pub(super) fn fetched(&mut self, leader: i32, reply: Option<Reply>, broken: Broken) {
        let now = Millis(clock::monotonic_ms());
        let Some(fetching) = self.fetchers.get_mut(&leader) else { return };
        (fetching.is_asking, fetching.wake_at) = (false, 0);
        let commands = match reply {
            Some(Reply::Fetched(response)) => fetching.core.fetched(*response, now),
            Some(Reply::Bounds(both)) => fetching.core.bounded(&both.0, &both.1, now),
            _ => {
                fetching.core.failed(now);
                return;
            }
        };
        for command in commands {
            self.carry_out(leader, command, now, broken);
        }
    }

    /// One after the other, so that no threads are used.
    fn carry_out(&mut self, leader: i32, command: Command, now: Millis, broken: Broken) {
        let is_cut = matches!(command.action, Action::Truncate { .. });
        self.truncations += u64::from(is_cut);
        let outcomes = if is_cut && broken == Broken::NoTruncation {
            let partition = self.partitions.get(&command.name);
            let mut position = partition.and_then(|it| it.follower_position(clock::now()).ok());
            if let Some(position) = &mut position {
                position.last_epoch = ottla_log::LeaderEpoch::NONE;
            }
            vec![(command, position)]
        } else {
            replication::carry_out(&self.partitions, vec![command], clock::now())
        };
        let Some(fetching) = self.fetchers.get_mut(&leader) else { return };
        for (command, position) in outcomes {
            fetching.core.done(&command, position, now);
        }
    }

    /// Whether the controller knows where partitions lie.
    pub(super) fn placed(&mut self, known: bool) {
        self.is_telling = false;
        if !known {
            self.tell_at = Some(clock::monotonic_ms() + 500);
        }
    }

    /// What the controller made of proposals; `None` where it was not heard.
    pub(super) fn isrs_answered(&mut self, asked: Vec<Asked>, reply: Option<Reply>) {
        self.asking = false;
        let Some(Reply::Isrs(response)) = reply else {
            self.again.extend(asked);
            self.again_at = clock::monotonic_ms() + 50;
            return;
        };
        for ((partition, proposal), answer) in isr::answers(&response, asked) {
            if answer == crate::partition::Answer::Again {
                self.again.push((partition, proposal));
                self.again_at = clock::monotonic_ms() + 50;
            } else {
                partition.isr_answered(&proposal, answer);
            }
        }
    }

    /// A follower's fetch: the answer, unless it waits here.
    pub(super) fn serve(&mut self, caller: Caller, request: FetchRequest) -> Option<Reply> {
        let max_wait = i64::from(request.max_wait_ms);
        let asked = match answers::begin(&self.sessions, request) {
            Ok(asked) => asked,
            Err(refusal) => return Some(Reply::Fetched(Box::new(refusal))),
        };
        let mono = clock::monotonic_ms();
        let rows = answers::look(|key| self.find(key), &asked, Some(Millis(mono)));
        if answers::is_enough(&rows) || max_wait == 0 {
            return Some(fetched(answers::finish(&self.sessions, asked, rows)));
        }
        let stamp = self.stamp(&asked);
        self.parked.push(Parked { caller, asked, until: mono + max_wait, stamp });
        None
    }

    fn answer_parked(&mut self, mono: i64, out: &mut Out) {
        let mut at = 0;
        while let Some(parked) = self.parked.get(at) {
            if parked.until > mono && parked.stamp == self.stamp(&parked.asked) {
                at += 1;
                continue;
            }
            let parked = self.parked.remove(at);
            let rows = answers::look(|key| self.find(key), &parked.asked, None);
            out.replies.push((parked.caller, fetched(answers::finish(&self.sessions, parked.asked, rows))));
        }
    }

    /// Another number when one of the logs has more, or is led otherwise.
    fn stamp(&self, asked: &answers::Asked) -> i64 {
        let of = |partition: Arc<Partition>| {
            let leadership = partition.leadership();
            partition.log_end_offset().0
                + (i64::from(leadership.epoch) << 32)
                + (i64::from(leadership.here) << 31)
        };
        asked.wanted.iter().filter_map(|wanted| self.find(&wanted.key)).map(of).sum()
    }

    fn find(&self, key: &PartitionKey) -> Option<Arc<Partition>> {
        let topic = self.image.topics.by_id(&key.topic_id)?;
        self.partitions.find(&topic.name, key.partition)
    }
}

fn fetched(response: FetchResponse) -> Reply {
    Reply::Fetched(Box::new(response))
}
