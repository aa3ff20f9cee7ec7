//! All partitions of this broker, as the metadata image wants them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_log::{Log, LogError, Offset, TimestampMs};
use ottla_quorum::image::{MetadataImage, PartitionImage, TopicImage, directory_id};
use ottla_wire::{Str, Uuid};
use parking_lot::{Mutex, RwLock};
use tracing::{debug, error, info};

use super::load::{self, Found, Noted};
use super::moving::{self, Moves, Resumed};
use super::names::Made;
use super::partition::{Leadership, Throttled};
use super::space::Shortage;
use super::{Checkpoints, LogDirectory, Partition, Surroundings, TopicPartition};
use crate::config::{BrokerLayers, Config, TopicConfig};
use crate::controller::Placement;
use crate::node::current_config;
use crate::quota::ReplicationQuotas;

/// The partitions hosted here. [`Partitions::apply`] is the only writer.
#[derive(Debug)]
pub struct Partitions {
    pub(super) config: Arc<Config>,
    surroundings: Arc<Surroundings>,
    directories: Vec<Arc<LogDirectory>>,
    hosted: RwLock<BTreeMap<Str, BTreeMap<i32, Arc<Partition>>>>,
    pub(super) checkpoints: Mutex<Vec<(Arc<LogDirectory>, Checkpoints)>>,
    doomed: Mutex<Vec<Doomed>>,
    pub(super) shortage: Shortage,
    /// Whose names may not be durable.
    pub(super) made: Made,
    pub(super) moves: Moves,
    /// With a single directory: what the metadata had in another one when it was opened or made here.
    elsewhere: Mutex<BTreeSet<TopicPartition>>,
}

/// A renamed log that is removed after `file.delete.delay.ms`.
#[derive(Debug)]
struct Doomed {
    log: Log,
    due: TimestampMs,
}

/// One log to open at start.
struct Job {
    name: TopicPartition,
    topic_id: Uuid,
    directory: Arc<LogDirectory>,
    surroundings: Arc<Surroundings>,
    topic: TopicConfig,
    /// Absent if the partition is not there yet.
    noted: Option<Noted>,
    /// A copy of it, in the directory that it was being moved to.
    copy: Option<Resumed>,
    leadership: Leadership,
}

impl Partitions {
    /// Opens the logs of all partitions that `image` places here, in parallel, and creates those that are missing. A
    /// directory that fails is fenced, the others go on.
    ///
    /// # Errors
    /// A disk is so full that a log which is there cannot be opened: what is noted of it must not be forgotten, so
    /// everything stays as it is.
    pub fn load(
        config: Arc<Config>,
        directories: Vec<Arc<LogDirectory>>,
        image: &MetadataImage,
        now: TimestampMs,
    ) -> Result<Arc<Self>, LogError> {
        let max_lag_ms = i64::try_from(config.replication.max_lag.as_millis()).unwrap_or(i64::MAX);
        let quotas = ReplicationQuotas::new(&config.replication);
        let surroundings = Surroundings::new(config.node_id, max_lag_ms, Arc::clone(&image.cluster))
            .with_replication_quotas(quotas);
        Self::load_in(Arc::new(surroundings), config, directories, image, now)
    }

    /// The same with surroundings of one's own.
    ///
    /// # Errors
    /// As [`Partitions::load`].
    pub fn load_in(
        surroundings: Arc<Surroundings>,
        config: Arc<Config>,
        directories: Vec<Arc<LogDirectory>>,
        image: &MetadataImage,
        now: TimestampMs,
    ) -> Result<Arc<Self>, LogError> {
        let now_configured = current_config(&config, image);
        surroundings.quotas.limit(&now_configured.replication);
        cordon(&directories, &now_configured);
        let mut found: Vec<Found> = Vec::new();
        for directory in directories.iter().filter(|directory| !directory.is_offline()) {
            match Found::look(directory) {
                Ok(look) => found.push(look),
                Err(error) => directory.fence(&error.to_string()),
            }
        }
        let jobs = jobs(&config, &surroundings, &directories, &mut found, image);
        let created = |job: &&Job| job.noted.is_none();
        let created: Vec<_> =
            jobs.iter().filter(created).map(|job| (Arc::clone(&job.directory), job.name.clone())).collect();
        let per_directory = usize::try_from(now_configured.log.recovery_threads).unwrap_or(1).max(1);
        // First: a partition of a new topic is made where that of an older one of the same name may be.
        for found in &mut found {
            found.set_strays_aside();
        }
        let mut opened = Vec::new();
        let mut lacking = false;
        let threads = if surroundings.is_one_thread { 1 } else { per_directory * directories.len() };
        for outcome in open_all(jobs, threads, now) {
            match outcome {
                Opened::Log(partition, copy) => opened.push((partition, copy)),
                Opened::NoSpaceForNew => lacking = true,
                Opened::NoSpace(error) => return Err(error),
            }
        }
        let left = found.iter_mut().flat_map(Found::take_left).collect();
        let checkpoints = found.into_iter().map(|found| (found.directory, found.checkpoints)).collect();
        let partitions = Self {
            config,
            surroundings,
            directories,
            hosted: RwLock::default(),
            checkpoints: Mutex::new(checkpoints),
            doomed: Mutex::default(),
            shortage: Shortage::default(),
            made: Made::default(),
            moves: Moves::leaving(left),
            elsewhere: Mutex::default(),
        };
        if lacking {
            partitions.shortage.note();
        }
        let node_id = partitions.config.node_id;
        for (partition, copy) in opened {
            let name = partition.name();
            let state = image.partition(&name.topic, name.partition);
            partitions.insert(Arc::clone(&partition), state.map(|state| &**state));
            if let Some(copy) = copy {
                partitions.moves.resume(image, node_id, &partition, copy);
            }
        }
        for (directory, name) in &created {
            partitions.forget_older(directory, name);
        }
        Ok(Arc::new(partitions))
    }

    /// The partition, if it is hosted here.
    pub fn get(&self, name: &TopicPartition) -> Option<Arc<Partition>> {
        self.find(&name.topic, name.partition)
    }

    /// The partition, if it is hosted here.
    pub fn find(&self, topic: &str, partition: i32) -> Option<Arc<Partition>> {
        self.hosted.read().get(topic)?.get(&partition).cloned()
    }

    /// All partitions hosted here.
    pub fn all(&self) -> Vec<Arc<Partition>> {
        self.hosted.read().values().flat_map(|topic| topic.values().cloned()).collect()
    }

    /// What the partitions share.
    pub fn surroundings(&self) -> &Arc<Surroundings> {
        &self.surroundings
    }

    /// Lets leaders propose ISRs without replicas that lag too long.
    pub fn shrink_isrs(&self) {
        self.all().iter().for_each(Partition::shrink_isr);
    }

    /// The log directories.
    pub fn directories(&self) -> &[Arc<LogDirectory>] {
        &self.directories
    }

    /// Makes this broker's partitions those of `new`; only what differs from `old` is touched. Does file I/O.
    pub fn apply(&self, old: &MetadataImage, new: &MetadataImage, now: TimestampMs) {
        let brokers_changed = self.surroundings.set_cluster(&new.cluster);
        let layers_changed = old.configs.default_broker() != new.configs.default_broker()
            || old.configs.broker(self.config.node_id) != new.configs.broker(self.config.node_id);
        if layers_changed {
            cordon(&self.directories, &current_config(&self.config, new));
        }
        let mut renamed = Vec::new();
        for topic in old.topics.iter() {
            let kept = new.topics.by_name(&topic.name).is_some_and(|now| now.id == topic.id);
            if !kept {
                self.delete_topic(topic, &mut renamed, now);
            }
        }
        // What is made from here on is not to be found beside what is deleted after a power cut.
        renamed.iter().for_each(|directory| directory.sync_names());
        for topic in new.topics.iter() {
            let before = old.topics.by_name(&topic.name).filter(|before| before.id == topic.id);
            let moved = before.is_none_or(|before| !Arc::ptr_eq(before, topic));
            let reconfigured =
                layers_changed || old.configs.topic(&topic.name) != new.configs.topic(&topic.name);
            if moved || reconfigured {
                let is_new = |index: i32| before.is_none_or(|before| !before.partitions.contains_key(&index));
                self.apply_topic(new, topic, &is_new, reconfigured, now);
            }
        }
        self.moves.note_places(new, self.config.node_id);
        if brokers_changed {
            self.all().iter().for_each(|partition| partition.look_again());
        }
    }

    /// `is_new` says of a partition whether it was not in the metadata before.
    fn apply_topic(
        &self,
        image: &MetadataImage,
        topic: &TopicImage,
        is_new: &dyn Fn(i32) -> bool,
        reconfigured: bool,
        now: TimestampMs,
    ) {
        let config = topic_config(&self.config, image, &topic.name);
        let (mut created, mut renamed) = (0, Vec::new());
        for (index, state) in &topic.partitions {
            let name = TopicPartition::new(topic.name.clone(), *index);
            let hosted = self.get(&name).filter(|partition| partition.topic_id() == topic.id);
            let here = state.replicas.contains(&self.config.node_id);
            let leadership = leadership(&self.config, (*index, state), &config);
            match hosted {
                Some(partition) if here => {
                    if reconfigured {
                        partition.update_config(config.log.clone());
                    }
                    partition.set_leadership(leadership);
                }
                Some(_) => self.delete(&name, &mut renamed, now),
                None if here && (is_new(*index) || !self.may_lie_offline(&name, state)) => {
                    let made = self.create(name, topic.id, state, &config, leadership, now);
                    created += usize::from(made);
                }
                None => {}
            }
        }
        renamed.iter().for_each(|directory| directory.sync_names());
        if created > 0 {
            info!(topic = %topic.name, partitions = created, "partitions created");
        }
    }

    fn create(
        &self,
        name: TopicPartition,
        topic_id: Uuid,
        state: &PartitionImage,
        config: &TopicConfig,
        leadership: Leadership,
        now: TimestampMs,
    ) -> bool {
        let preferred = self.moves.take_preferred(&name);
        let Some(directory) = preferred.or_else(|| self.choose_directory(state)) else {
            error!(partition = %name, "no log directory is online");
            return false;
        };
        if !self.forget_older(&directory, &name) {
            return false;
        }
        match load::create(&directory, &name, topic_id, config.log.clone(), now) {
            Ok(log) => {
                debug!(partition = %name, directory = %directory.path().display(), "partition created");
                let surroundings = Arc::clone(&self.surroundings);
                let start = Offset::ZERO;
                let partition =
                    Partition::new(name, topic_id, directory, surroundings, log, leadership, start);
                self.made.note(Arc::clone(&partition));
                self.insert(partition, Some(state));
                true
            }
            Err(error) => {
                if error.is_no_space() {
                    self.shortage.note();
                }
                directory.judge(&name, &error);
                false
            }
        }
    }

    /// Creates what could not be created for want of space.
    pub fn create_missing(&self, image: &MetadataImage, now: TimestampMs) {
        if self.shortage.take() {
            for topic in image.topics.iter() {
                self.apply_topic(image, topic, &|_| false, false, now);
            }
        }
    }

    /// What the checkpoints tell of a partition that is only now created is about an older topic of the same name. After
    /// a crash the records of the new one would seem to lie before the old one's start. False if that cannot be had now.
    pub(super) fn forget_older(&self, directory: &Arc<LogDirectory>, name: &TopicPartition) -> bool {
        let tell = || {
            let all = self.checkpoints.lock();
            all.iter().any(|(of, checkpoints)| Arc::ptr_eq(of, directory) && checkpoints.tell_of(name))
        };
        if !tell() {
            return true;
        }
        let written = self.checkpoint_all();
        if !tell() {
            return true;
        }
        match written {
            Err(error) if error.is_no_space() => {
                error!(partition = %name, %error, "not created: the disk is full");
                self.shortage.note();
            }
            _ => directory.fence(&format!("the checkpoints of an older {name} cannot be replaced")),
        }
        false
    }

    /// Whether a partition that is not hosted may lie in a directory that cannot be read. To make it anew elsewhere would
    /// lose what is in it.
    fn may_lie_offline(&self, name: &TopicPartition, state: &PartitionImage) -> bool {
        let any_offline = || self.directories.iter().any(|directory| directory.is_offline());
        if self.moves.is_left(name) || (any_offline() && counts(state, self.config.node_id)) {
            return true;
        }
        let assigned = state.directory_of(self.config.node_id);
        let online =
            |directory: &Arc<LogDirectory>| !directory.is_offline() && Some(directory.id()) == assigned;
        !self.directories.iter().any(online)
            && (any_offline() || counts_elsewhere(state, self.config.node_id))
    }

    /// The directory that the image names, or the emptiest one that is online: those that are not cordoned before those that are,
    /// then those with room.
    fn choose_directory(&self, state: &PartitionImage) -> Option<Arc<LogDirectory>> {
        let assigned = state.directory_of(self.config.node_id);
        let online = || self.directories.iter().filter(|directory| !directory.is_offline());
        let named = online().find(|directory| Some(directory.id()) == assigned);
        let order = |directory: &Arc<LogDirectory>| {
            (directory.is_cordoned(), directory.file_system().is_low(), directory.hosted())
        };
        named.or_else(|| online().min_by_key(|directory| order(directory))).cloned()
    }

    fn insert(&self, partition: Arc<Partition>, state: Option<&PartitionImage>) {
        let name = partition.name().clone();
        let directory = partition.directory();
        directory.took();
        self.hosted.write().entry(name.topic.clone()).or_default().insert(name.partition, partition);
        let assigned = state.and_then(|state| state.directory_of(self.config.node_id));
        if self.directories.len() < 2 && is_named(assigned) && assigned != Some(directory.id()) {
            self.elsewhere.lock().insert(name);
        }
    }

    fn delete_topic(&self, topic: &TopicImage, renamed: &mut Vec<Arc<LogDirectory>>, now: TimestampMs) {
        for index in topic.partitions.keys() {
            self.delete(&TopicPartition::new(topic.name.clone(), *index), renamed, now);
        }
        info!(topic = %topic.name, "topic deleted");
    }

    /// Takes a partition away: waiters learn of it, the directory is renamed, and removed later. The new name is durable
    /// once the directories in `renamed` are synced.
    fn delete(&self, name: &TopicPartition, renamed: &mut Vec<Arc<LogDirectory>>, now: TimestampMs) {
        let mut hosted = self.hosted.write();
        let Some(topic) = hosted.get_mut(&name.topic) else { return };
        let Some(partition) = topic.remove(&name.partition) else { return };
        if topic.is_empty() {
            hosted.remove(&name.topic);
        }
        drop(hosted);
        renamed.extend(self.end_move(name, now));
        let directory = partition.directory();
        directory.gave();
        let Some(log) = partition.close() else { return };
        let known = renamed.iter().any(|known| Arc::ptr_eq(known, &directory));
        if self.retire(log, &directory, name, now) && !known {
            renamed.push(directory);
        }
    }

    /// Gives a log the name under which it is removed later; whether it has it now.
    pub(super) fn retire(
        &self,
        mut log: Log,
        directory: &LogDirectory,
        name: &TopicPartition,
        now: TimestampMs,
    ) -> bool {
        match log.rename_for_delete(&load::unique()) {
            Ok(path) => {
                debug!(partition = %name, path = %path.display(), "log deleted");
                self.doom(log, now);
                true
            }
            Err(error) => {
                directory.judge(name, &error);
                false
            }
        }
    }

    /// Removes a log that has its name for it, after `file.delete.delay.ms`.
    pub(super) fn doom(&self, log: Log, now: TimestampMs) {
        let due = TimestampMs(now.0.saturating_add(log.config().file_delete_delay_ms));
        self.doomed.lock().push(Doomed { log, due });
    }

    /// Removes the directories of deleted partitions whose delay is over.
    pub(super) fn purge(&self, now: TimestampMs) {
        let due: Vec<Doomed> = self.doomed.lock().extract_if(.., |doomed| doomed.due <= now).collect();
        for doomed in due {
            let path = doomed.log.dir().to_owned();
            match doomed.log.delete() {
                Ok(()) => debug!(path = %path.display(), "deleted partition removed"),
                Err(error) => error!(path = %path.display(), %error, "cannot remove a deleted partition"),
            }
        }
    }

    /// Where partitions lie, or are about to, that `image` has elsewhere or nowhere. With a single directory there is nothing to
    /// tell, unless it took the place of another.
    pub fn misplaced(&self, image: &MetadataImage) -> Vec<Placement> {
        let noted = |partition: &Partition| {
            let name = partition.name();
            image.partition(&name.topic, name.partition)?.directory_of(self.config.node_id)
        };
        let placement = |partition: &Arc<Partition>| {
            let (name, noted) = (partition.name(), noted(partition)?);
            let lies = self.moves.place_of(partition, noted);
            (noted != lies).then(|| (partition.topic_id(), name.partition, lies))
        };
        if self.directories.len() > 1 {
            return self.all().iter().filter_map(placement).collect();
        }
        let mut elsewhere = self.elsewhere.lock();
        let untold = |partition: Arc<Partition>| noted(&partition) != Some(partition.directory().id());
        elsewhere.retain(|name| self.get(name).is_some_and(untold));
        elsewhere.iter().filter_map(|name| placement(&self.get(name)?)).collect()
    }

    /// Ids of the directories that get no new partitions.
    pub fn cordoned(&self) -> BTreeSet<Uuid> {
        let cordoned = self.directories.iter().filter(|directory| directory.is_cordoned());
        // One that failed before it was known has none.
        cordoned.map(|directory| directory.id()).filter(|id| !id.is_zero()).collect()
    }

    /// Wakes up everybody who waits for partitions of fenced directories.
    pub fn directories_failed(&self) {
        self.forget_impossible_moves();
        for partition in self.all().iter().filter(|partition| partition.directory().is_offline()) {
            partition.directory_failed();
        }
    }
}

fn cordon(directories: &[Arc<LogDirectory>], config: &Config) {
    for directory in directories {
        let cordoned = config.cordoned_log_dirs.iter().any(|path| path == directory.path());
        directory.set_cordoned(cordoned);
    }
}

fn topic_config(config: &Config, image: &MetadataImage, topic: &str) -> TopicConfig {
    let (broker, cluster) = (image.configs.broker(config.node_id), image.configs.default_broker());
    let layers = BrokerLayers { broker: &*broker, cluster: &*cluster, fixed: &config.settings };
    TopicConfig::resolve(&layers, &*image.configs.topic(topic))
}

fn leadership(config: &Config, (index, state): (i32, &PartitionImage), topic: &TopicConfig) -> Leadership {
    let named = |replicas: &[String]| replicas.iter().any(|replica| names(replica, index, config.node_id));
    Leadership {
        leader: state.leader,
        here: state.leader == config.node_id,
        epoch: state.leader_epoch,
        partition_epoch: state.partition_epoch,
        isr: state.isr.clone(),
        replicas: state.replicas.clone(),
        min_isr: usize::try_from(topic.min_insync_replicas).unwrap_or(1),
        flushed: topic.log.flush_messages == 1,
        throttled: Throttled {
            leading: named(&topic.leader_throttled_replicas),
            following: named(&topic.follower_throttled_replicas),
        },
    }
}

/// Whether an entry of `*.replication.throttled.replicas` (`*` or `partition:broker`) is about this replica.
fn names(entry: &str, partition: i32, broker: i32) -> bool {
    let is = |text: &str, number: i32| text.parse() == Ok(number);
    entry == "*" || entry.split_once(':').is_some_and(|(of, on)| is(of, partition) && is(on, broker))
}

/// Whether a replica is assigned to one particular directory.
fn is_named(assigned: Option<Uuid>) -> bool {
    assigned.is_some_and(|id| ![directory_id::UNASSIGNED, directory_id::MIGRATING].contains(&id))
}

/// Whether this replica is one that leads, or may, with what it has.
fn counts(state: &PartitionImage, id: i32) -> bool {
    [&state.isr, &state.elr, &state.last_known_elr].iter().any(|replicas| replicas.contains(&id))
}

/// Whether this replica is in sync with what it has in a directory that is not here. Made anew it would count as having it;
/// one that is not in sync is made anew where its disk was replaced.
fn counts_elsewhere(state: &PartitionImage, id: i32) -> bool {
    is_named(state.directory_of(id)) && state.isr.contains(&id)
}

/// What is to be opened, and where: in the directory that has it, else in the one that the image names, else in the
/// emptiest; nowhere if it may lie in a directory that cannot be read.
fn jobs(
    config: &Arc<Config>,
    surroundings: &Arc<Surroundings>,
    directories: &[Arc<LogDirectory>],
    found: &mut [Found],
    image: &MetadataImage,
) -> Vec<Job> {
    let mut jobs = Vec::new();
    for topic in image.topics.iter() {
        let resolved = topic_config(config, image, &topic.name);
        for (index, state) in &topic.partitions {
            if !state.replicas.contains(&config.node_id) {
                continue;
            }
            let name = TopicPartition::new(topic.name.clone(), *index);
            let assigned = state.directory_of(config.node_id);
            let at_hand = !directories.iter().any(|directory| directory.is_offline());
            let has = moving::current(found, &name, topic.id, assigned, at_hand);
            let named = || found.iter().position(|found| Some(found.directory.id()) == assigned);
            let lost = || !at_hand || counts_elsewhere(state, config.node_id);
            let order = |found: &Found| (found.directory.is_cordoned(), found.len());
            let emptiest = || (0..found.len()).min_by_key(|at| found.get(*at).map(order));
            // The log may lie where nothing can be read, wherever the metadata has it: a move that has begun, or one that was taken
            // back and the controller has not heard of that.
            let has_copy = || found.iter().any(|found| found.has_copy(&name, topic.id));
            let moves = || !at_hand && (counts(state, config.node_id) || has_copy());
            let anew =
                || if moves() { None } else { named().or_else(|| if lost() { None } else { emptiest() }) };
            let place = has.or_else(anew);
            let copy = has.and_then(|at| moving::resumed(found, &name, topic.id, at, assigned));
            let Some(found) = place.and_then(|at| found.get(at)) else {
                error!(partition = %name, "its log directory is offline");
                found.iter_mut().for_each(|found| found.leave(&name));
                continue;
            };
            found.directory.will_open();
            jobs.push(Job {
                topic_id: topic.id,
                directory: Arc::clone(&found.directory),
                surroundings: Arc::clone(surroundings),
                topic: resolved.clone(),
                noted: has.map(|_| found.noted(&name)),
                copy,
                leadership: leadership(config, (*index, state), &resolved),
                name,
            });
        }
    }
    jobs
}

/// What became of a job.
enum Opened {
    /// With a copy that is still to be filled.
    Log(Arc<Partition>, Option<(Arc<LogDirectory>, Box<Log>)>),
    /// It was to be created, and may be later.
    NoSpaceForNew,
    NoSpace(LogError),
}

fn open_all(jobs: Vec<Job>, threads: usize, now: TimestampMs) -> Vec<Opened> {
    let threads = threads.min(jobs.len());
    let queue = Mutex::new(jobs.into_iter());
    let work = || {
        let next = || queue.lock().next();
        let run = |job: Job| {
            let directory = Arc::clone(&job.directory);
            let opened = job.run(now);
            directory.has_opened();
            opened
        };
        std::iter::from_fn(next).filter_map(run).collect::<Vec<_>>()
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut opened = work();
        for worker in workers {
            match worker.join() {
                Ok(partitions) => opened.extend(partitions),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        opened
    })
}

impl Job {
    fn run(self, now: TimestampMs) -> Option<Opened> {
        let Self { name, topic_id, directory, surroundings, topic, noted, copy, leadership } = self;
        let is_new = noted.is_none();
        let Noted { opening, high_watermark, cleaned_up_to } = noted.unwrap_or_default();
        if directory.is_offline() {
            return None;
        }
        let config = topic.log.clone();
        let opened = match is_new {
            true => load::create(&directory, &name, topic_id, topic.log, now),
            false => load::open(&directory, &name, topic_id, topic.log, opening, now),
        };
        match opened {
            Ok(log) => {
                let copy = copy.and_then(|copy| copy.open(&name, topic_id, config, now));
                let (at, around) = (high_watermark, surroundings);
                let partition = Partition::new(name, topic_id, directory, around, log, leadership, at);
                if let Some(end) = cleaned_up_to {
                    partition.set_cleaned_up_to(end);
                }
                Some(Opened::Log(partition, copy))
            }
            Err(error) if error.is_no_space() => {
                error!(partition = %name, %error, "disk full");
                Some(if is_new { Opened::NoSpaceForNew } else { Opened::NoSpace(error) })
            }
            Err(error @ LogError::Corrupt { .. }) => {
                error!(partition = %name, %error, "partition cannot be opened");
                directory.fence(&error.to_string());
                None
            }
            Err(error) => {
                directory.fence(&error.to_string());
                None
            }
        }
    }
}
