//! A node: its clock, its disk, and the process, if it runs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use ottla_log::checkpoint::CleanShutdown;
use ottla_log::disk::Disk;
use ottla_log::{LogError, TimestampMs};
use ottla_quorum::bootstrap::{self, Bootstrap};
use ottla_quorum::voters::VoterEndpoint;
use ottla_quorum::{ReplicaKey, Voter, VoterSet, features};
use ottla_testkit::{MemoryDisk, NodeClock};
use ottla_wire::{Str, Uuid};
use tokio::sync::Notify;

use super::Settings;
use super::broker::Broker;
use super::parcel::{Call, Caller, Reply};
use crate::broker::member::{Member, Wanted};
use crate::clock;
use crate::config::Config;
use crate::controller::simulated::SimulatedController;
use crate::controller::{BrokerRegistration, ControllerIdentity, ControllerSettings};
use crate::partition::LogDirectory;
use crate::storage::FileSystem;

pub(super) const CLUSTER: &str = "4L6g3nShT-eMCtK--X86sw";

pub(super) struct Node {
    pub(super) id: i32,
    pub(super) clock: NodeClock,
    /// The first has the metadata log.
    pub(super) disks: Vec<LogDisk>,
    /// How often it was started.
    pub(super) life: u64,
    pub(super) up: Option<Up>,
    pub(super) up_at: i64,
    /// Nobody answers for it while it is down.
    pub(super) is_silent: bool,
    pub(super) paused_until: i64,
    pub(super) full_until: i64,
    /// When it has something to do, in the world's ms.
    pub(super) due: i64,
}

/// A disk with one log directory.
pub(super) struct LogDisk {
    pub(super) disk: MemoryDisk,
    pub(super) path: PathBuf,
    /// Of the directory.
    pub(super) id: Uuid,
    generation: u8,
    /// Until when everything fails, in the world's ms; 0 where nothing does.
    pub(super) broken_until: i64,
}

pub(super) struct Up {
    pub(super) config: Arc<Config>,
    pub(super) controller: SimulatedController,
    pub(super) member: Member,
    pub(super) wanted: Wanted,
    pub(super) beating: bool,
    /// Monotonic ms.
    pub(super) beat_at: i64,
    pub(super) broker: Option<Broker>,
    pub(super) calls: BTreeMap<u64, Call>,
    pub(super) next_call: u64,
    pub(super) served: Vec<Served>,
    /// Since when it may stop, in the world's ms.
    pub(super) may_stop_since: Option<i64>,
    /// Since when its registration is gone.
    pub(super) removed_since: Option<i64>,
    /// The committed offset, and the end of the metadata log.
    pub(super) seen: (i64, i64),
}

pub(super) struct Served {
    pub(super) caller: Caller,
    /// For whom a vote is asked: epoch and candidate.
    pub(super) vote: Option<(i32, ReplicaKey)>,
    pub(super) future: Pin<Box<dyn Future<Output = Reply> + Send>>,
}

fn directory(id: i32, at: usize, generation: u8) -> Uuid {
    let mut bytes = [generation; 16];
    bytes[0] = u8::try_from(id).unwrap();
    bytes[14] = u8::try_from(at).unwrap();
    bytes[15] = 7;
    Uuid::from_bytes(bytes)
}

pub(super) fn endpoint(id: i32) -> VoterEndpoint {
    VoterEndpoint { name: "CONTROLLER".into(), host: Str::from(format!("node-{id}")), port: 9093 }
}

pub(super) fn node_of(host: &str) -> i32 {
    host.strip_prefix("node-").and_then(|id| id.parse().ok()).expect("a node of this world")
}

impl Node {
    pub(super) fn new(id: i32, settings: &Settings) -> Self {
        let mut node = Self {
            id,
            clock: NodeClock::default(),
            disks: (0..settings.directories).map(|at| LogDisk::new(id, at)).collect(),
            life: 0,
            up: None,
            up_at: 0,
            is_silent: false,
            paused_until: 0,
            full_until: 0,
            due: 0,
        };
        (0..settings.directories).for_each(|at| node.format(settings, at, true));
        node
    }

    pub(super) fn key(&self) -> ReplicaKey {
        ReplicaKey::new(self.id, self.directory())
    }

    /// Of the directory with the metadata log.
    pub(super) fn directory(&self) -> Uuid {
        self.disks[0].id
    }

    /// Whether errors of disks are to be expected.
    pub(super) fn is_ailing(&self) -> bool {
        self.full_until > 0 || self.disks.iter().any(LogDisk::is_broken)
    }

    /// The disks that have a directory of the partition's name.
    pub(super) fn disks_with(&self, name: &str) -> Vec<usize> {
        let has = |at: &usize| self.disks[*at].has(name);
        (0..self.disks.len()).filter(has).collect()
    }

    /// A new disk in the place of one.
    pub(super) fn replace_disk(&mut self, settings: &Settings, at: usize) {
        let disk = &mut self.disks[at];
        disk.generation += 1;
        disk.id = directory(self.id, at, disk.generation);
        disk.broken_until = 0;
        self.format(settings, at, false);
    }

    /// An empty disk, as `kafka-storage format` leaves it.
    fn format(&mut self, settings: &Settings, at: usize, first: bool) {
        let (disk, root) = (MemoryDisk::new(), self.disks[at].path.clone());
        self.disks[at].disk = disk.clone();
        disk.create_dir_all(&root).unwrap();
        if at > 0 {
            return disk.settle();
        }
        let mut records = Bootstrap::default();
        if settings.elr {
            records.records.push(bootstrap::feature_level(features::ELIGIBLE_LEADER_REPLICAS, 1));
        }
        bootstrap::write(&disk, &root, &records, 1).unwrap();
        if first && self.id <= settings.voters {
            let voter = |id| Voter::standalone(id, directory(id, 0, 1), vec![endpoint(id)]);
            let voters = (1..=settings.voters).fold(VoterSet::default(), |set, id| set.with(voter(id)));
            bootstrap::write_first_voters(&disk, &root, &voters, 1).unwrap();
        }
        disk.settle();
    }

    /// Lets the clocks of this thread be this node's.
    pub(super) fn set_clock(&self, now: i64) {
        clock::set(Some((TimestampMs(self.clock.wall(now)), self.clock.monotonic(now))));
    }

    /// The process starts.
    pub(super) fn start(&mut self, settings: &Settings, now: i64) -> Result<(), String> {
        self.life += 1;
        self.set_clock(now);
        let config = Arc::new(self.config(settings));
        let mut incarnation = [9; 16];
        incarnation[0] = u8::try_from(self.id).unwrap();
        incarnation[8..].copy_from_slice(&self.life.to_be_bytes());
        let incarnation_id = Uuid::from_bytes(incarnation);
        let identity =
            ControllerIdentity { cluster_id: CLUSTER.into(), directory_id: self.directory(), incarnation_id };
        let previous_epoch = self.previous_epoch().map_err(|error| error.to_string())?;
        let registration = BrokerRegistration {
            id: self.id,
            incarnation_id,
            endpoints: BrokerRegistration::endpoints(&config.advertised_listeners),
            rack: None,
            log_dirs: self.disks.iter().filter(|disk| !disk.is_broken()).map(|disk| disk.id).collect(),
            previous_epoch,
        };
        let of_controller = ControllerSettings { config: Arc::clone(&config), identity };
        let disk = Arc::new(self.disks[0].disk.clone());
        let controller = SimulatedController::open(of_controller, disk).map_err(|error| error.to_string())?;
        let seen = (-1, controller.quorum().next_offset());
        self.up = Some(Up {
            config,
            controller,
            member: Member::new(registration.request(CLUSTER.into())),
            wanted: Wanted::default(),
            beating: false,
            beat_at: 0,
            broker: None,
            calls: BTreeMap::new(),
            next_call: 0,
            served: Vec::new(),
            may_stop_since: None,
            removed_since: None,
            seen,
        });
        (self.due, self.is_silent) = (now, false);
        Ok(())
    }

    /// Whether the directory is on a disk that works.
    pub(super) fn works(&self, directory: &LogDirectory) -> bool {
        !directory.is_offline()
            && self.disks.iter().any(|disk| disk.path == directory.path() && !disk.is_broken())
    }

    /// Under which all directories were closed in order.
    fn previous_epoch(&self) -> Result<i64, LogError> {
        let mut epochs = Vec::new();
        for disk in &self.disks {
            let mark = if disk.is_broken() { None } else { CleanShutdown::read(&disk.disk, &disk.path)? };
            epochs.push(mark.map_or(-1, |mark| mark.broker_epoch));
        }
        epochs.dedup();
        Ok(if let [same] = epochs.as_slice() { *same } else { -1 })
    }

    /// The log directories, as a start finds them.
    pub(super) fn log_directories(&self) -> Vec<Arc<LogDirectory>> {
        let failures = Arc::new(Notify::new());
        let found = |of: &LogDisk| {
            let disk: Arc<dyn Disk> = Arc::new(of.disk.clone());
            let file_system = FileSystem::new(Arc::clone(&disk), &of.path, Some(0));
            let (path, failures) = (of.path.clone(), Arc::clone(&failures));
            match of.is_broken() {
                true => LogDirectory::failed(path, disk, file_system, failures),
                false => LogDirectory::new(path, of.id, disk, file_system, failures),
            }
        };
        self.disks.iter().map(found).collect()
    }

    fn config(&self, settings: &Settings) -> Config {
        let paths: Vec<String> = self.disks.iter().map(|disk| disk.path.display().to_string()).collect();
        let (id, paths) = (self.id.to_string(), paths.join(","));
        let is_voter = self.id <= settings.voters;
        let servers: Vec<String> = (1..=settings.voters).map(|id| format!("node-{id}:9093")).collect();
        let servers = servers.join(",");
        let mut listeners = format!("PLAINTEXT://node-{id}:9092");
        if is_voter {
            listeners += &format!(",CONTROLLER://node-{id}:9093");
        }
        let durable = settings.durable && settings.broken != super::Broken::CountUnsynced;
        let overrides = [
            ("process.roles", if is_voter { "broker,controller" } else { "broker" }),
            ("node.id", &*id),
            ("log.dirs", &*paths),
            ("listeners", &*listeners),
            ("controller.listener.names", "CONTROLLER"),
            ("controller.quorum.bootstrap.servers", &*servers),
            ("min.insync.replicas", "2"),
            ("log.roll.ms", "15000"),
            ("num.recovery.threads.per.data.dir", "1"),
            ("group.initial.rebalance.delay.ms", "500"),
            ("leader.imbalance.check.interval.seconds", "10"),
            ("log.flush.interval.messages", if durable { "1" } else { "1000000" }),
        ];
        Config::from_overrides(&overrides).expect("a valid configuration")
    }
}

impl LogDisk {
    fn new(id: i32, at: usize) -> Self {
        let path = PathBuf::from(if at == 0 { format!("/node-{id}") } else { format!("/node-{id}-{at}") });
        let id = directory(id, at, 1);
        Self { disk: MemoryDisk::new(), path, id, generation: 1, broken_until: 0 }
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken_until > 0
    }

    /// Nothing works for a while.
    pub(super) fn fail(&mut self, until: i64) {
        self.broken_until = until;
        self.disk.set_broken(true);
    }

    /// What it had is there again.
    pub(super) fn mend(&mut self) {
        self.broken_until = 0;
        self.disk.set_broken(false);
    }

    /// Whether it has a directory of that name. Of a broken one nobody knows.
    fn has(&self, name: &str) -> bool {
        self.disk.len(&self.path.join(name)).is_ok_and(|len| len.is_some())
    }
}

impl Up {
    /// When something is to be done by itself, in monotonic ms.
    pub(super) fn next_deadline(&self) -> i64 {
        let mut due = self.controller.next_deadline();
        if !self.beating {
            due = due.min(self.beat_at);
        }
        self.broker.as_ref().map_or(due, |broker| due.min(broker.next_deadline()))
    }
}
