//! Partitions of three brokers in one thread, from a seed: leaders and followers as they are shipped, over real logs; only the
//! clock, the disks, the network and the controller are simulated. Processes are killed, disks lose what was not synced,
//! requests and answers are lost, metadata comes late, leaders move.
//!
//! Always: of two replicas everything below both high watermarks is the same, byte for byte; a leader has every record that
//! was acknowledged. Once faults stop: all replicas are in sync and equal.
//!
//! `OTTLA_REPLICATION_SEED` replays one seed, `OTTLA_REPLICATION_SEEDS` says how many are tried.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use futures::FutureExt as _;
use ottla_log::disk::Disk;
use ottla_log::{LeaderEpoch, Offset, Origin, TimestampMs};
use ottla_quorum::image::{MetadataImage, PartitionImage};
use ottla_testkit::seeds::{Told, from_environment};
use ottla_testkit::{MemoryDisk, Rng};
use ottla_wire::Uuid;
use ottla_wire::batch::{BatchBuilder, Record};
use ottla_wire::messages::{FetchRequest, FetchResponse, ListOffsetsRequest};
use ottla_wire::records::metadata::{PartitionRecord, TopicRecord};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::answers::{content, outline, values};
use super::fetcher::{Action, Command, FetchSettings, Fetcher, Followed, FollowedKey, Step};
use super::{answers, follow, isr};
use crate::clock::Millis;
use crate::config::Config;
use crate::fetch_session::Sessions;
use crate::partition::{
    Answer, LogDirectory, Partition, Partitions, RequiredAcks, Surroundings, TopicPartition, Work,
};
use crate::simulation::Broken;
use crate::storage::FileSystem;

const TOPIC: Uuid = Uuid::from_bytes([7; 16]);
const NODES: [i32; 3] = [1, 2, 3];
const PARTITIONS: i32 = 2;
const EVENTS: usize = 400;
const NOW: TimestampMs = TimestampMs(1_000_000);

mod controller;

/// What happened, all schedules together.
#[derive(Debug, Default, Clone, Copy)]
struct Counters {
    acked: usize,
    elections: usize,
    truncations: usize,
    shrinks: usize,
    growths: usize,
    kills: usize,
    lost_messages: usize,
    fits: usize,
    deletions: usize,
}

struct Up {
    partitions: Arc<Partitions>,
    image: Arc<MetadataImage>,
    broker_epoch: i64,
    fetchers: BTreeMap<i32, Fetching>,
    followed: BTreeMap<FollowedKey, (i32, Followed)>,
    sessions: Sessions,
    work: Arc<Mutex<Vec<Work>>>,
    /// What the controller answered, on its way.
    answers: Vec<(isr::Asked, Answer)>,
}

struct Fetching {
    core: Fetcher,
    flight: Flight,
}

enum Flight {
    Nothing,
    Asked(FetchRequest),
    Answered(FetchResponse),
}

struct Node {
    id: i32,
    dir: PathBuf,
    disk: MemoryDisk,
    up: Option<Up>,
}

/// An append that waits for its acknowledgement.
struct Pending {
    node: i32,
    partition: i32,
    epoch: LeaderEpoch,
    end: Offset,
    value: Bytes,
}

struct World {
    rng: Rng,
    broken: Broken,
    durable: bool,
    now: Arc<AtomicI64>,
    truth: MetadataImage,
    nodes: Vec<Node>,
    next_epoch: i64,
    next_value: u64,
    pending: Vec<Pending>,
    acked: BTreeMap<(i32, i64), Bytes>,
    counters: Counters,
}

type Failure = String;

impl World {
    fn new(seed: u64, broken: Broken) -> Self {
        let mut rng = Rng::new(seed);
        let durable = broken == Broken::CountUnsynced || rng.one_in(2);
        let mut truth = MetadataImage::empty("cluster".into());
        let topic = TopicRecord { name: "t".into(), topic_id: TOPIC, ..Default::default() };
        truth.apply(&topic.into()).unwrap();
        for partition_id in 0..PARTITIONS {
            let record = PartitionRecord {
                partition_id,
                topic_id: TOPIC,
                replicas: NODES.to_vec(),
                isr: NODES.to_vec(),
                leader: NODES[usize::try_from(partition_id).unwrap() % NODES.len()],
                leader_epoch: 0,
                partition_epoch: 0,
                directories: vec![Uuid::ZERO; NODES.len()],
                ..Default::default()
            };
            truth.apply(&record.into()).unwrap();
        }
        let node = |id| {
            let (dir, disk) = (PathBuf::from(format!("/node-{id}")), MemoryDisk::new());
            disk.create_dir_all(&dir).unwrap();
            disk.settle();
            Node { id, dir, disk, up: None }
        };
        let mut world = Self {
            rng,
            broken,
            durable,
            now: Arc::new(AtomicI64::new(1000)),
            truth,
            nodes: NODES.map(node).into(),
            next_epoch: 100,
            next_value: 0,
            pending: Vec::new(),
            acked: BTreeMap::new(),
            counters: Counters::default(),
        };
        for id in NODES {
            world.register(id, false);
        }
        for id in NODES {
            // What is made first is on disk.
            world.load(id);
            world.node(id).disk.settle();
        }
        world
    }

    fn now(&self) -> Millis {
        Millis(self.now.load(Ordering::Relaxed))
    }

    fn node(&mut self, id: i32) -> &mut Node {
        self.nodes.iter_mut().find(|node| node.id == id).unwrap()
    }

    fn up(&self, id: i32) -> Option<&Up> {
        self.nodes.iter().find(|node| node.id == id)?.up.as_ref()
    }

    fn one_up(&mut self) -> Option<i32> {
        let up: Vec<i32> = self.nodes.iter().filter(|node| node.up.is_some()).map(|node| node.id).collect();
        let at = self.rng.below(up.len());
        up.get(at).copied()
    }

    /// Starts a broker with what is on its disk and the metadata of now.
    fn load(&mut self, id: i32) {
        // Without it what is not on disk counts, although disks may forget.
        let durable = self.durable && self.broken != Broken::CountUnsynced;
        let clock = Arc::clone(&self.now);
        let image = Arc::new(self.truth.clone());
        let broker_epoch = image.cluster.brokers[&id].epoch;
        let work: Arc<Mutex<Vec<Work>>> = Arc::default();
        let queue = Arc::clone(&work);
        let surroundings = Surroundings::new(id, 10_000, Arc::clone(&image.cluster))
            .with_clock(move || Millis(clock.load(Ordering::Relaxed)))
            .with_background(move |work| queue.lock().push(work));
        let node = self.node(id);
        let path = node.dir.clone();
        let text = path.display().to_string();
        let id_text = id.to_string();
        let config = Config::from_overrides(&[
            ("log.dirs", &*text),
            ("num.recovery.threads.per.data.dir", "1"),
            ("node.id", &*id_text),
            ("min.insync.replicas", "2"),
            ("log.roll.ms", "15000"),
            ("log.flush.interval.messages", if durable { "1" } else { "1000000" }),
        ])
        .unwrap();
        let disk: Arc<dyn Disk> = Arc::new(node.disk.clone());
        let file_system = FileSystem::new(Arc::clone(&disk), &path, Some(0));
        let directory_id = Uuid::from_bytes([u8::try_from(id).unwrap(); 16]);
        let directory = LogDirectory::new(path, directory_id, disk, file_system, Arc::new(Notify::new()));
        let (config, around) = (Arc::new(config), Arc::new(surroundings));
        let partitions = Partitions::load_in(around, config, vec![directory], &image, NOW).unwrap();
        node.up = Some(Up {
            partitions,
            image,
            broker_epoch,
            fetchers: BTreeMap::new(),
            followed: BTreeMap::new(),
            sessions: Sessions::new(10, u64::try_from(id).unwrap()),
            work,
            answers: Vec::new(),
        });
        self.follow(id);
    }

    /// The process is gone; with the power, so is what was not synced.
    fn kill(&mut self, id: i32, power: bool) {
        let seed = self.rng.next_u64();
        let node = self.node(id);
        let Some(up) = node.up.take() else { return };
        up.work.lock().clear();
        drop(up);
        if power {
            node.disk.cut_power(seed);
        }
        self.pending.retain(|pending| pending.node != id);
        self.counters.kills += 1;
    }

    // What brokers do.

    /// Puts the newest metadata into effect.
    fn apply(&mut self, id: i32) {
        let new = Arc::new(self.truth.clone());
        let Some(up) = self.node(id).up.as_mut() else { return };
        up.partitions.apply(&up.image, &new, NOW);
        up.image = new;
        self.follow(id);
    }

    fn follow(&mut self, id: i32) {
        let Some(up) = self.node(id).up.as_mut() else { return };
        let topic = Arc::clone(up.image.topics.by_name("t").unwrap());
        for (index, state) in &topic.partitions {
            let key = FollowedKey { topic_id: TOPIC, partition: *index };
            let name = TopicPartition::new("t", *index);
            let wanted = (state.leader >= 0 && state.leader != id)
                .then(|| (state.leader, Followed { name: name.clone(), leader_epoch: state.leader_epoch }));
            if up.followed.get(&key) == wanted.as_ref() {
                continue;
            }
            if let Some((leader, _)) = up.followed.remove(&key)
                && let Some(fetching) = up.fetchers.get_mut(&leader)
            {
                fetching.core.forget(&key);
            }
            let Some((leader, followed)) = wanted else { continue };
            let Some(partition) = up.partitions.get(&name) else { continue };
            let Ok(position) = partition.follower_position(NOW) else { continue };
            let epoch = up.broker_epoch;
            let fetching = up.fetchers.entry(leader).or_insert_with(|| {
                let mut core = Fetcher::new(settings(id));
                core.set_broker_epoch(epoch);
                Fetching { core, flight: Flight::Nothing }
            });
            fetching.core.follow(key, followed.clone(), position);
            up.followed.insert(key, (leader, followed));
        }
    }

    fn produce(&mut self, id: i32) {
        let index = i32::try_from(self.rng.below(2)).unwrap();
        let records = self.rng.below(3) + 1;
        self.next_value += 1;
        let value = Bytes::from(format!("{}-{}", self.next_value, "x".repeat(self.rng.below(200))));
        let Some(partition) = self.up(id).and_then(|up| up.partitions.find("t", index)) else { return };
        let now = TimestampMs(NOW.0 + self.now().0);
        let mut batch = BatchBuilder::new(0);
        for _ in 0..records {
            batch.push(Record { timestamp: now.0, value: Some(value.clone()), ..Record::default() });
        }
        let appended = partition.append(batch.build(), Origin::Client, RequiredAcks::All, now);
        let Ok(appended) = appended else { return };
        let end = Offset(appended.last_offset.0 + 1);
        let pending = Pending { node: id, partition: index, epoch: appended.leader_epoch, end, value };
        if self.broken == Broken::AckAtOwnEnd {
            self.acked.insert((index, end.0 - 1), pending.value);
        } else {
            self.pending.push(pending);
        }
    }

    fn acknowledge(&mut self) {
        for pending in std::mem::take(&mut self.pending) {
            let partition = self.up(pending.node).and_then(|up| up.partitions.find("t", pending.partition));
            let Some(partition) = partition else { continue };
            match partition.wait_committed_under(pending.epoch, pending.end).now_or_never() {
                None => self.pending.push(pending),
                Some(Ok(())) => {
                    self.counters.acked += 1;
                    self.acked.insert((pending.partition, pending.end.0 - 1), pending.value);
                }
                Some(Err(_)) => {}
            }
        }
    }

    /// One step of one of a broker's fetchers. What is sent may be lost.
    fn fetch(&mut self, id: i32, losses: bool) {
        let lost = losses && self.rng.one_in(12);
        let now = self.now();
        let at = self.rng.below(NODES.len());
        let Some(up) = self.node(id).up.as_mut() else { return };
        let Some(leader) = up.fetchers.keys().copied().nth(at % up.fetchers.len().max(1)) else { return };
        let Some(fetching) = up.fetchers.get_mut(&leader) else { return };
        let flight = std::mem::replace(&mut fetching.flight, Flight::Nothing);
        if lost && !matches!(flight, Flight::Nothing) {
            fetching.core.failed(now);
            self.counters.lost_messages += 1;
            return;
        }
        let next = match flight {
            Flight::Nothing => match fetching.core.step(now) {
                Step::Fetch(request) => Flight::Asked(request),
                Step::Bounds { latest, earliest } => {
                    self.bounds(id, leader, &latest, &earliest);
                    return;
                }
                Step::Wait(_) => Flight::Nothing,
            },
            Flight::Asked(request) => match self.serve(leader, request) {
                Some(response) => Flight::Answered(response),
                None => {
                    let fetching = self.node(id).up.as_mut().unwrap().fetchers.get_mut(&leader).unwrap();
                    fetching.core.failed(now);
                    return;
                }
            },
            Flight::Answered(response) => {
                let commands = fetching.core.fetched(response, now);
                self.carry_out(id, leader, commands);
                return;
            }
        };
        self.node(id).up.as_mut().unwrap().fetchers.get_mut(&leader).unwrap().flight = next;
    }

    fn carry_out(&mut self, id: i32, leader: i32, commands: Vec<Command>) {
        let (now, broken) = (self.now(), self.broken);
        let mut counters = self.counters;
        let up = self.node(id).up.as_mut().unwrap();
        let fetching = up.fetchers.get_mut(&leader).unwrap();
        let mut todo = Vec::new();
        for command in commands {
            match command.action {
                Action::Truncate { .. } if broken == Broken::NoTruncation => {
                    let partition = up.partitions.get(&command.name).unwrap();
                    let mut position = partition.follower_position(NOW).unwrap();
                    position.last_epoch = LeaderEpoch::NONE;
                    fetching.core.done(&command, Some(position), now);
                }
                Action::Truncate { .. } => {
                    counters.truncations += 1;
                    todo.push(command);
                }
                Action::Fit { .. } => {
                    counters.fits += 1;
                    todo.push(command);
                }
                Action::Append { .. } => todo.push(command),
            }
        }
        for (command, position) in follow::carry_out(&up.partitions, todo, NOW) {
            fetching.core.done(&command, position, now);
        }
        self.counters = counters;
    }

    fn serve(&self, leader: i32, request: FetchRequest) -> Option<FetchResponse> {
        let up = self.up(leader)?;
        Some(answers::fetch(&up.partitions, &up.sessions, request))
    }

    fn bounds(&mut self, id: i32, leader: i32, latest: &ListOffsetsRequest, earliest: &ListOffsetsRequest) {
        let now = self.now();
        let answer = |request| Some(answers::list_offsets(&self.up(leader)?.partitions, request));
        let both = answer(latest).zip(answer(earliest));
        let fetching = self.node(id).up.as_mut().unwrap().fetchers.get_mut(&leader).unwrap();
        match both {
            Some((latest, earliest)) => {
                let commands = fetching.core.bounded(&latest, &earliest, now);
                self.carry_out(id, leader, commands);
            }
            None => fetching.core.failed(now),
        }
    }

    /// Brings a broker's proposals to the controller. The request may be lost, or the answer.
    fn propose(&mut self, id: i32, losses: bool) {
        let Some(up) = self.node(id).up.as_mut() else { return };
        let answers = std::mem::take(&mut up.answers);
        let asked = if answers.is_empty() { isr::take(up.partitions.surroundings()) } else { Vec::new() };
        for ((partition, proposal), answer) in answers {
            partition.isr_answered(&proposal, answer);
        }
        if asked.is_empty() {
            return;
        }
        let request = isr::request(id, up.broker_epoch, &asked, 3);
        let (unsent, unheard) = (losses && self.rng.one_in(6), losses && self.rng.one_in(6));
        let again = |asked: Vec<isr::Asked>| asked.into_iter().map(|one| (one, Answer::Again)).collect();
        let answers: Vec<_> = if unsent {
            again(asked)
        } else {
            let response = self.alter(&request);
            if unheard { again(asked) } else { isr::answers(&response, asked) }
        };
        self.node(id).up.as_mut().unwrap().answers = answers;
    }

    fn sync(&mut self, id: i32) {
        let Some(up) = self.up(id) else { return };
        let work = std::mem::take(&mut *up.work.lock());
        work.into_iter().for_each(|work| work());
    }

    fn delete_records(&mut self, id: i32) {
        let index = i32::try_from(self.rng.below(2)).unwrap();
        let back = i64::try_from(self.rng.below(40)).unwrap();
        let Some(partition) = self.up(id).and_then(|up| up.partitions.find("t", index)) else { return };
        let before = Offset(partition.high_watermark().0.saturating_sub(back).max(0));
        self.counters.deletions += usize::from(partition.delete_records(Some(before)).is_ok());
    }

    fn pass_time(&mut self, ms: usize) {
        self.now.fetch_add(i64::try_from(self.rng.below(ms)).unwrap(), Ordering::Relaxed);
    }

    fn trace(&self, what: &str) {
        if std::env::var("OTTLA_REPLICATION_TRACE").is_err() {
            return;
        }
        let line = |(index, state): (i32, PartitionImage)| {
            let log = |node: &Node| {
                let partition = node.up.as_ref()?.partitions.find("t", index)?;
                let (start, end) = (partition.log_start_offset(), partition.log_end_offset());
                let (high, leads) = (partition.high_watermark(), partition.leadership());
                let role = if leads.here { "L" } else { "f" };
                Some(format!("{}{role}{}:{start}-{high}-{end}", node.id, leads.epoch))
            };
            let logs: Vec<_> = self.nodes.iter().filter_map(log).collect();
            format!("[{} e{} isr {:?} {}]", state.leader, state.leader_epoch, state.isr, logs.join(" "))
        };
        let lines: Vec<_> = self.states().into_iter().map(line).collect();
        println!("{what}: {}", lines.join(" "));
    }

    fn event(&mut self) {
        let Some(id) = self.one_up() else { return self.bring_back() };
        let kind = self.rng.below(100);
        self.trace(&format!("broker {id}, {kind}"));
        match kind {
            0..=24 => self.produce(id),
            25..=63 => self.fetch(id, true),
            64..=71 => self.sync(id),
            72..=79 => self.apply(id),
            80..=85 => self.propose(id, true),
            86..=87 => self.node(id).up.as_ref().unwrap().partitions.shrink_isrs(),
            88..=90 => self.pass_time(6_000),
            91 => self.move_leader(),
            92 => {
                if self.rng.one_in(2) {
                    let power = self.durable && self.rng.one_in(2);
                    self.kill(id, power);
                }
            }
            93..=94 => self.notice(),
            95..=97 => self.bring_back(),
            98 => self.delete_records(id),
            _ => {
                // All at once.
                if self.rng.one_in(10) {
                    let power = self.durable;
                    NODES.into_iter().for_each(|id| self.kill(id, power));
                }
            }
        }
    }

    /// Starts one that is down: fenced, under a new epoch; it serves when it has the metadata.
    fn bring_back(&mut self) {
        let down: Vec<i32> = NODES.into_iter().filter(|id| self.up(*id).is_none()).collect();
        let at = self.rng.below(down.len());
        if let Some(id) = down.get(at).copied() {
            self.fence(id);
            self.register(id, true);
            self.load(id);
        }
        for id in NODES {
            if self.up(id).is_some() && !self.active(id) && self.rng.one_in(2) {
                self.unfence(id);
            }
        }
    }

    // What must hold.

    fn check(&self) -> Result<(), Failure> {
        for index in 0..PARTITIONS {
            let logs: Vec<_> = self
                .nodes
                .iter()
                .filter_map(|node| Some((node.id, node.up.as_ref()?.partitions.find("t", index)?)))
                .collect();
            for (at, (id, partition)) in logs.iter().enumerate() {
                for (other_id, other) in logs.iter().skip(at + 1) {
                    let end = partition.high_watermark().min(other.high_watermark());
                    let start = partition.log_start_offset().max(other.log_start_offset());
                    let (ours, theirs) = (content(partition, start, end), content(other, start, end));
                    if ours != theirs {
                        let (ours, theirs) = (outline(&ours), outline(&theirs));
                        return Err(format!(
                            "partition {index}: brokers {id} and {other_id} differ in {start}..{end}: {ours} {theirs}"
                        ));
                    }
                }
            }
            let state = self.truth.partition("t", index).unwrap();
            let leads = |(_, partition): &&(i32, Arc<Partition>)| {
                let leadership = partition.leadership();
                leadership.here && leadership.epoch == state.leader_epoch
            };
            if let Some((id, leader)) = logs.iter().find(leads) {
                self.check_acked(index, *id, leader)?;
            }
        }
        Ok(())
    }

    fn check_acked(&self, index: i32, id: i32, leader: &Arc<Partition>) -> Result<(), Failure> {
        let start = leader.log_start_offset();
        let has = values(leader);
        for ((_, offset), value) in self.acked.range((index, start.0)..(index + 1, i64::MIN)) {
            if has.get(offset) != Some(value) {
                let end = leader.log_end_offset();
                return Err(format!("partition {index}: leader {id} ({start}..{end}) lacks acked {offset}"));
            }
        }
        Ok(())
    }

    /// No more faults: everything comes back, catches up and is in sync.
    fn heal(&mut self) -> Result<(), Failure> {
        self.broken = if self.broken == Broken::NoTruncation { self.broken } else { Broken::Nothing };
        for _ in 0..400 {
            self.bring_back();
            self.notice();
            for id in NODES {
                self.apply(id);
                (0..9).for_each(|_| self.fetch(id, false));
                self.sync(id);
                self.propose(id, false);
            }
            self.acknowledge();
            self.trace("heal");
            self.check()?;
            self.pass_time(500);
            if self.is_whole() {
                return self.check();
            }
        }
        Err(format!("not whole again: {:?}", self.states()))
    }

    fn is_whole(&self) -> bool {
        self.states().iter().all(|(index, state)| {
            let logs: Vec<_> = NODES
                .into_iter()
                .filter_map(|id| self.up(id)?.partitions.find("t", *index))
                .map(|partition| (partition.high_watermark(), partition.log_end_offset()))
                .collect();
            let ends: BTreeSet<_> = logs.iter().flat_map(|(high, end)| [*high, *end]).collect();
            state.isr.len() == NODES.len() && logs.len() == NODES.len() && ends.len() == 1
        })
    }

    fn run(&mut self) -> Result<(), Failure> {
        for event in 0..EVENTS {
            self.event();
            self.acknowledge();
            self.check().map_err(|failure| format!("event {event}: {failure}"))?;
        }
        self.heal()
    }
}

fn settings(node_id: i32) -> FetchSettings {
    FetchSettings {
        node_id,
        max_wait_ms: 500,
        min_bytes: 1,
        max_bytes: 10_000,
        partition_max_bytes: 2_000,
        backoff_ms: 1000,
    }
}

#[test]
fn nothing_acknowledged_is_lost_and_replicas_are_equal_up_to_the_high_watermark() {
    let mut all = Counters::default();
    for seed in from_environment("OTTLA_REPLICATION", 0, 100) {
        let _told = Told("OTTLA_REPLICATION_SEED", seed);
        let mut world = World::new(seed, Broken::Nothing);
        if let Err(failure) = world.run() {
            panic!("OTTLA_REPLICATION_SEED={seed}: {failure}");
        }
        let one = world.counters;
        all.acked += one.acked;
        all.elections += one.elections;
        all.truncations += one.truncations;
        all.shrinks += one.shrinks;
        all.growths += one.growths;
        all.kills += one.kills;
        all.lost_messages += one.lost_messages;
        all.fits += one.fits;
        all.deletions += one.deletions;
    }
    println!("{all:?}");
    if std::env::var("OTTLA_REPLICATION_SEED").is_err() {
        let counts = [all.acked, all.elections, all.truncations, all.shrinks, all.growths, all.kills];
        assert!(counts.into_iter().all(|count| count > 0), "{all:?}");
        assert!(all.lost_messages > 0 && all.deletions > 0, "{all:?}");
    }
}

/// How many schedules it takes to find a broken rule.
fn found_after(broken: Broken) -> u64 {
    for seed in 0..1000 {
        if let Err(failure) = World::new(seed, broken).run() {
            println!("{broken:?}: seed {seed}: {failure}");
            return seed + 1;
        }
    }
    panic!("{broken:?} is not found within 1000 schedules");
}

#[test]
fn broken_rules_are_found() {
    for broken in [Broken::AckAtOwnEnd, Broken::NoTruncation, Broken::CountUnsynced] {
        println!("{broken:?}: {} schedules", found_after(broken));
    }
}
