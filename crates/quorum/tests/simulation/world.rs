//! The nodes, their disks, the network between them, clients and an administrator; faults for a while, then none.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use ottla_log::disk::Disk as _;
use ottla_quorum::bootstrap::{self, Bootstrap};
use ottla_quorum::testing::next_change_of_voters;
use ottla_quorum::voters::VoterEndpoint;
use ottla_quorum::{
    Correlation, Failure, Inbound, KRaftVersion, MetadataRecord, MetadataVersion, Now, Outbound, Quorum,
    QuorumConfig, QuorumRequest, QuorumResponse, ReplicaKey, Token, VersionedRecord, Voter, VoterSet,
};
use ottla_testkit::{MemoryDisk, Network, Rng, Weather};
use ottla_wire::records::metadata::TopicRecord;
use ottla_wire::{Str, Uuid};

use super::model::{Model, Violation, ensure};

/// 1970 is not now.
const EPOCH_MS: i64 = 1_700_000_000_000;
/// Faults end after so many ms; then everything has to come together.
const FAULTS_MS: i64 = 25_000;
const HEALED_MS: i64 = 30_000;
/// The network while there are faults.
const ROUGH: Weather = Weather { lost: 40, doubled: 40, slow: 30, slow_ms: 1_500, delay_ms: 10 };

/// Far more than there are in any run.
const MAX_EVENTS: u64 = 300_000;

ottla_testkit::counters! {
    /// What happened, so that a run that tests nothing is noticed.
    pub struct Counters {
        events,
        elections,
        acked,
        crashes,
        power_cuts,
        partitions,
        truncations,
        snapshot_pieces,
        new_disks,
        voter_changes,
        stops,
    }
}

impl Counters {
    pub fn all_happened(&self) -> bool {
        self.values().into_iter().all(|(_, value)| value > 0)
    }
}

struct Node {
    id: i32,
    directory_id: Uuid,
    root: PathBuf,
    disk: MemoryDisk,
    quorum: Option<Quorum>,
    up_at: i64,
    /// Committed offset and log end when it was looked at last.
    seen: (i64, i64),
    next_token: u64,
    /// Who waits for which reply: node, its name for this one, the number.
    waiting: BTreeMap<u64, Caller>,
}

#[derive(Clone, Copy)]
enum Caller {
    Node { id: i32, known_as: i32, correlation: Correlation },
    Administrator,
}

impl Node {
    fn key(&self) -> ReplicaKey {
        ReplicaKey::new(self.id, self.directory_id)
    }
}

#[derive(Clone)]
enum Parcel {
    Request { from: i32, known_as: i32, correlation: Correlation, request: QuorumRequest },
    Response { known_as: i32, correlation: Correlation, response: Result<QuorumResponse, Failure> },
}

struct World {
    rng: Rng,
    now: i64,
    kind: KRaftVersion,
    voters: VoterSet,
    nodes: Vec<Node>,
    network: Network<Parcel>,
    weather: Weather,
    next_fault: i64,
    next_client: i64,
    next_topic: u32,
    /// Appended and not known to be committed: node, epoch, offset, name.
    pending: Vec<(i32, i32, i64, String)>,
    faulty: bool,
    model: Model,
    counters: Counters,
}

/// One world from beginning to end.
pub fn run(seed: u64) -> Result<Counters, Violation> {
    let mut world = World::new(seed)?;
    world.go_on_until(FAULTS_MS)?;
    world.heal();
    world.go_on_until(FAULTS_MS + HEALED_MS)?;
    world.check_whole()?;
    world.counters.elections = world.model.elections;
    world.counters.acked = world.model.acked_count();
    Ok(world.counters)
}

fn directory(id: i32, generation: u8) -> Uuid {
    let mut bytes = [generation; 16];
    bytes[0] = u8::try_from(id).expect("few nodes");
    bytes[15] = 7;
    Uuid::from_bytes(bytes)
}

fn endpoint(id: i32) -> VoterEndpoint {
    VoterEndpoint { name: "CONTROLLER".into(), host: Str::from(format!("node-{id}")), port: 9093 }
}

fn node_of(host: &str) -> i32 {
    host.strip_prefix("node-").and_then(|id| id.parse().ok()).expect("a node of this world")
}

impl World {
    fn new(seed: u64) -> Result<Self, Violation> {
        let mut rng = Rng::new(seed);
        let kind = if rng.one_in(5) { KRaftVersion::Static } else { KRaftVersion::Dynamic };
        let count = [3, 3, 3, 5, 1, 2, 4][rng.below(7)];
        let observers = i32::from(rng.one_in(3));
        let ids = 1..=count + observers;
        let voters = (1..=count).fold(VoterSet::default(), |set, id| {
            let directory = if kind == KRaftVersion::Static { Uuid::ZERO } else { directory(id, 1) };
            set.with(Voter::standalone(id, directory, vec![endpoint(id)]))
        });
        let nodes = ids.map(|id| {
            let root = PathBuf::from(format!("/node-{id}"));
            let first = (kind == KRaftVersion::Dynamic && id <= count).then_some(&voters);
            Node {
                id,
                directory_id: directory(id, 1),
                disk: format(&root, first),
                root,
                quorum: None,
                up_at: 0,
                seen: (-1, 0),
                next_token: 0,
                waiting: BTreeMap::new(),
            }
        });
        let mut world = Self {
            nodes: nodes.collect(),
            rng,
            now: 0,
            kind,
            voters,
            network: Network::default(),
            weather: ROUGH,
            next_fault: 3_000,
            next_client: 100,
            next_topic: 0,
            pending: Vec::new(),
            faulty: true,
            model: Model::default(),
            counters: Counters::default(),
        };
        for at in 0..world.nodes.len() {
            world.start(at)?;
        }
        Ok(world)
    }

    fn clock(&self) -> Now {
        Now { wall: EPOCH_MS + self.now, monotonic: self.now }
    }

    fn config(&self, at: usize) -> QuorumConfig {
        let node = &self.nodes[at];
        let cluster = "4L6g3nShT-eMCtK--X86sw".into();
        let base = QuorumConfig::new(node.root.clone(), node.id, node.directory_id, cluster);
        QuorumConfig {
            static_voters: (self.kind == KRaftVersion::Static).then(|| self.voters.clone()),
            endpoints: vec![endpoint(node.id)],
            bootstrap_servers: self.nodes.iter().map(|node| (endpoint(node.id).host, 9093)).collect(),
            segment_bytes: 3000,
            snapshot_bytes: 1500,
            retention_bytes: 4000,
            ..base
        }
    }

    fn start(&mut self, at: usize) -> Result<(), Violation> {
        let config = self.config(at);
        let disk = Arc::new(self.nodes[at].disk.clone());
        let quorum = Quorum::open(config, disk, self.clock());
        let id = self.nodes[at].id;
        let quorum = quorum.map_err(|error| format!("node {id} does not start: {error}"))?;
        let node = &mut self.nodes[at];
        node.seen = (-1, quorum.next_offset());
        node.quorum = Some(quorum);
        node.waiting.clear();
        self.after(at)
    }

    fn go_on_until(&mut self, end: i64) -> Result<(), Violation> {
        loop {
            let mut next = self.network.next_at().min(self.next_client);
            if self.faulty {
                next = next.min(self.next_fault);
            }
            for node in &self.nodes {
                next = next.min(match &node.quorum {
                    Some(quorum) => quorum.next_deadline(),
                    None => node.up_at,
                });
            }
            self.now = next.max(self.now);
            if self.now >= end {
                self.now = end;
                return Ok(());
            }
            self.counters.events += 1;
            ensure(self.counters.events < MAX_EVENTS, || format!("time stands still at {}", self.now))?;
            self.step()?;
        }
    }

    /// The one thing that is due first.
    fn step(&mut self) -> Result<(), Violation> {
        if let Some((to, parcel)) = self.network.take(self.now) {
            return self.deliver(to, parcel);
        }
        for at in 0..self.nodes.len() {
            let (due, is_up) = match &self.nodes[at].quorum {
                Some(quorum) => (quorum.next_deadline(), true),
                None => (self.nodes[at].up_at, false),
            };
            if due <= self.now {
                let clock = self.clock();
                return if is_up { self.with(at, |quorum| quorum.tick(clock)) } else { self.start(at) };
            }
        }
        if self.now >= self.next_client {
            self.next_client = self.now + 1 + below(&mut self.rng, 150);
            return self.client();
        }
        if self.faulty && self.now >= self.next_fault {
            self.next_fault = self.now + 1 + below(&mut self.rng, 1_500);
            return self.fault();
        }
        Ok(())
    }

    fn with(
        &mut self,
        at: usize,
        act: impl FnOnce(&mut Quorum) -> Result<(), ottla_quorum::QuorumError>,
    ) -> Result<(), Violation> {
        let node = &mut self.nodes[at];
        let Some(quorum) = &mut node.quorum else { return Ok(()) };
        act(quorum).map_err(|error| format!("node {}: {error}", node.id))?;
        self.after(at)
    }

    /// Sends what a node has to say, and looks at it.
    fn after(&mut self, at: usize) -> Result<(), Violation> {
        let node = &mut self.nodes[at];
        let (id, key) = (node.id, node.key());
        let Some(quorum) = &mut node.quorum else { return Ok(()) };
        let outbound = quorum.take_outbound();
        if quorum.next_offset() < node.seen.1 {
            self.counters.truncations += 1;
        }
        node.seen = (self.model.check(key, quorum, node.seen.0)?, quorum.next_offset());
        self.acknowledge(at);
        for message in outbound {
            match message {
                Outbound::Request { to, correlation, request } => {
                    self.counters.snapshot_pieces +=
                        u64::from(matches!(request, QuorumRequest::FetchSnapshot(_)));
                    let target = node_of(&to.host);
                    self.send(
                        id,
                        target,
                        Parcel::Request { from: id, known_as: to.id, correlation, request },
                    );
                }
                Outbound::Response { token, response } => self.respond(at, token, response)?,
            }
        }
        Ok(())
    }

    fn respond(&mut self, at: usize, token: Token, response: QuorumResponse) -> Result<(), Violation> {
        let id = self.nodes[at].id;
        match self.nodes[at].waiting.remove(&token.0) {
            Some(Caller::Node { id: to, known_as, correlation }) => {
                self.send(id, to, Parcel::Response { known_as, correlation, response: Ok(response) });
                Ok(())
            }
            Some(Caller::Administrator) => {
                let (QuorumResponse::AddRaftVoter(ottla_wire::messages::AddRaftVoterResponse {
                    error_code,
                    ..
                })
                | QuorumResponse::RemoveRaftVoter(ottla_wire::messages::RemoveRaftVoterResponse {
                    error_code,
                    ..
                })) = response
                else {
                    return Err(format!("node {id} answers an administrator with {response:?}"));
                };
                self.counters.voter_changes += u64::from(error_code == 0);
                Ok(())
            }
            None => Err(format!("node {id} answers what nobody asked")),
        }
    }

    /// Counts what the active leader knows to be committed as acknowledged.
    fn acknowledge(&mut self, at: usize) {
        let node = &self.nodes[at];
        let Some(quorum) = node.quorum.as_ref().filter(|quorum| quorum.is_active()) else { return };
        let (id, epoch, high_watermark) = (node.id, quorum.epoch(), quorum.high_watermark());
        let is_done = |(by, of, offset, _): &(i32, i32, i64, String)| {
            *by == id && *of == epoch && *offset < high_watermark
        };
        let (done, waiting) = std::mem::take(&mut self.pending).into_iter().partition(is_done);
        self.pending = waiting;
        let done: Vec<_> = done;
        for (_, _, offset, name) in done {
            self.model.acked(name, offset);
        }
    }

    fn send(&mut self, from: i32, to: i32, parcel: Parcel) {
        let (network, rng) = (&mut self.network, &mut self.rng);
        if matches!(parcel, Parcel::Request { .. }) {
            network.send_maybe_twice(rng, &self.weather, self.now, (from, to), parcel);
        } else {
            network.send(rng, &self.weather, self.now, (from, to), parcel);
        }
    }

    fn deliver(&mut self, to: i32, parcel: Parcel) -> Result<(), Violation> {
        let at = usize::try_from(to - 1).expect("ids from 1");
        let clock = self.clock();
        if self.nodes[at].quorum.is_none() {
            if let Parcel::Request { from, known_as, correlation, .. } = parcel {
                let gone = Parcel::Response { known_as, correlation, response: Err(Failure::Disconnected) };
                self.send(to, from, gone);
            }
            return Ok(());
        }
        match parcel {
            Parcel::Request { from, known_as, correlation, request } => {
                let caller = Caller::Node { id: from, known_as, correlation };
                let vote = asked_vote(&request);
                let token = self.token(at, caller);
                self.with_vote(at, vote, |quorum| quorum.receive(Inbound::Request { token, request }, clock))
            }
            Parcel::Response { known_as, correlation, response } => {
                let inbound = match response {
                    Ok(response) => Inbound::Response { from: known_as, correlation, response },
                    Err(failure) => Inbound::Failed { from: known_as, correlation, failure },
                };
                self.with(at, |quorum| quorum.receive(inbound, clock))
            }
        }
    }

    /// As `with`, and notes the vote if one was granted.
    fn with_vote(
        &mut self,
        at: usize,
        vote: Option<(i32, ReplicaKey)>,
        act: impl FnOnce(&mut Quorum) -> Result<(), ottla_quorum::QuorumError>,
    ) -> Result<(), Violation> {
        let node = &mut self.nodes[at];
        let key = node.key();
        let Some(quorum) = &mut node.quorum else { return Ok(()) };
        act(quorum).map_err(|error| format!("node {}: {error}", node.id))?;
        let outbound = quorum.take_outbound();
        if let Some((epoch, candidate)) = vote
            && outbound.iter().any(grants)
        {
            self.model.voted(key, epoch, candidate)?;
        }
        for message in outbound {
            match message {
                Outbound::Request { to, correlation, request } => {
                    let parcel = Parcel::Request { from: key.id, known_as: to.id, correlation, request };
                    self.send(key.id, node_of(&to.host), parcel);
                }
                Outbound::Response { token, response } => self.respond(at, token, response)?,
            }
        }
        self.after(at)
    }

    fn token(&mut self, at: usize, caller: Caller) -> Token {
        let node = &mut self.nodes[at];
        node.next_token += 1;
        node.waiting.insert(node.next_token, caller);
        Token(node.next_token)
    }

    /// Appends through an active controller, if there is one; some of them are deposed and do not know.
    fn client(&mut self) -> Result<(), Violation> {
        let active: Vec<usize> = (0..self.nodes.len())
            .filter(|at| self.nodes[*at].quorum.as_ref().is_some_and(Quorum::is_active))
            .collect();
        if active.is_empty() {
            return Ok(());
        }
        let at = active[self.rng.below(active.len())];
        if self.rng.one_in(4) {
            return self.keep_house();
        }
        if self.rng.one_in(6) {
            return self.administer(at);
        }
        let (id, wall) = (self.nodes[at].id, EPOCH_MS + self.now);
        for _ in 0..=self.rng.below(3) {
            self.next_topic += 1;
            let name = format!("topic-{}", self.next_topic);
            let Some(quorum) = &mut self.nodes[at].quorum else { return Ok(()) };
            let offset = quorum.append(&[topic(&name, self.next_topic)], wall);
            let offset = offset.map_err(|error| format!("node {id}: {error}"))?;
            self.pending.push((id, quorum.epoch(), offset, name));
        }
        self.with(at, |quorum| quorum.commit(wall))
    }

    fn keep_house(&mut self) -> Result<(), Violation> {
        let wall = EPOCH_MS + self.now;
        for at in 0..self.nodes.len() {
            self.with(at, |quorum| {
                quorum.maybe_snapshot(wall)?;
                quorum.clean(wall).map(|_| ())
            })?;
        }
        Ok(())
    }

    /// Makes the replicas with a new disk voters again: the old one goes, the new one comes.
    fn administer(&mut self, at: usize) -> Result<(), Violation> {
        if self.kind == KRaftVersion::Static {
            return Ok(());
        }
        let Some(quorum) = &self.nodes[at].quorum else { return Ok(()) };
        let voters = quorum.status().voters;
        let change = |node: &Node| {
            next_change_of_voters(&voters, ReplicaKey::new(node.id, node.directory_id), endpoint(node.id))
        };
        let Some(request) = self.nodes.iter().find_map(change) else { return Ok(()) };
        let clock = self.clock();
        let token = self.token(at, Caller::Administrator);
        self.with(at, |quorum| quorum.receive(Inbound::Request { token, request }, clock))
    }

    fn fault(&mut self) -> Result<(), Violation> {
        let at = self.rng.below(self.nodes.len());
        match self.rng.below(8) {
            0 | 1 => self.crash(at, false),
            2 | 3 => self.crash(at, true),
            4 => {
                self.counters.partitions += 1;
                for other in 0..self.nodes.len() {
                    let (a, b) = (self.nodes[at].id, self.nodes[other].id);
                    if a != b && !self.rng.one_in(3) {
                        self.network.cut(a, b);
                    }
                    if a != b && !self.rng.one_in(3) {
                        self.network.cut(b, a);
                    }
                }
                Ok(())
            }
            5 => {
                self.network.heal();
                Ok(())
            }
            6 => self.replace_disk(at),
            _ => self.stop(at),
        }
    }

    /// The process dies; with the power goes what was not synced.
    fn crash(&mut self, at: usize, power: bool) -> Result<(), Violation> {
        let down = 50 + below(&mut self.rng, 4_000);
        let lost = self.rng.next_u64();
        let node = &mut self.nodes[at];
        if node.quorum.take().is_none() {
            return Ok(());
        }
        node.up_at = self.now + down;
        self.counters.crashes += 1;
        if power {
            self.counters.power_cuts += 1;
            node.disk.cut_power(lost);
        }
        Ok(())
    }

    /// An orderly stop: a leader says goodbye.
    fn stop(&mut self, at: usize) -> Result<(), Violation> {
        let clock = self.clock();
        self.with(at, |quorum| quorum.resign(clock))?;
        let down = 20 + below(&mut self.rng, 1_000);
        let node = &mut self.nodes[at];
        let Some(quorum) = node.quorum.take() else { return Ok(()) };
        node.up_at = self.now + down;
        self.counters.stops += 1;
        quorum.close(EPOCH_MS + self.now).map_err(|error| format!("node {} does not close: {error}", node.id))
    }

    /// A node comes back with an empty disk, under a new directory id: one at a time, and only where the voters that are
    /// left are a majority that has everything.
    fn replace_disk(&mut self, at: usize) -> Result<(), Violation> {
        let leader =
            self.nodes.iter().filter_map(|node| node.quorum.as_ref()).find(|quorum| quorum.is_active());
        let Some(leader) = leader.filter(|_| self.kind == KRaftVersion::Dynamic) else { return Ok(()) };
        let status = leader.status();
        let all_vote = self.nodes.iter().all(|node| {
            status.voters.iter().any(|voter| (voter.id, voter.directory_id) == (node.id, node.directory_id))
        });
        let is_settled = status.high_watermark == status.log_end_offset;
        if !all_vote || !is_settled || self.nodes.len() < 3 {
            return Ok(());
        }
        self.counters.new_disks += 1;
        let generation = u8::try_from(self.counters.new_disks + 1).unwrap_or(99);
        let node = &mut self.nodes[at];
        node.quorum = None;
        node.directory_id = directory(node.id, generation);
        node.root = node.root.with_file_name(format!("node-{}-{generation}", node.id));
        node.disk = format(&node.root, None);
        node.up_at = self.now + 100;
        Ok(())
    }

    fn heal(&mut self) {
        self.faulty = false;
        self.weather = Weather::FINE;
        self.network.heal();
        for node in &mut self.nodes {
            node.up_at = node.up_at.min(self.now + 10);
        }
    }

    /// After the faults: somebody leads, everybody has everything.
    fn check_whole(&mut self) -> Result<(), Violation> {
        self.next_client = i64::MAX;
        self.go_on_until(FAULTS_MS + HEALED_MS + 5_000)?;
        let quorums = || self.nodes.iter().filter_map(|node| Some((node.id, node.quorum.as_ref()?)));
        let leaders: Vec<_> = quorums().filter(|(_, quorum)| quorum.is_active()).collect();
        let [(leader_id, leader)] = leaders.as_slice() else {
            let who: Vec<_> =
                quorums().map(|(id, q)| (id, q.epoch(), q.leader_id(), q.next_offset())).collect();
            return Err(format!("{} leaders after the faults: {who:?}", leaders.len()));
        };
        let end = leader.next_offset();
        ensure(leader.high_watermark() == end, || {
            format!("{} of {end} are committed", leader.high_watermark())
        })?;
        for (id, quorum) in quorums() {
            let offset = quorum.committed_image().offset();
            ensure(offset + 1 == end, || format!("node {id} has {} of {end}", offset + 1))?;
            let address = endpoint(*leader_id);
            ensure(quorum.leader_address() == Some((address.host, address.port)), || {
                format!("node {id} would ask {:?} for node {leader_id}", quorum.leader_address())
            })?;
        }
        let all = quorums().count();
        ensure(all == self.nodes.len(), || format!("{all} of {} nodes run", self.nodes.len()))?;
        if self.kind == KRaftVersion::Dynamic {
            let voters = leader.status().voters;
            ensure(voters.len() == self.nodes.len(), || format!("voters are {voters:?}"))?;
        }
        Ok(())
    }
}

fn format(root: &std::path::Path, voters: Option<&VoterSet>) -> MemoryDisk {
    let disk = MemoryDisk::new();
    disk.create_dir_all(root).expect("made");
    bootstrap::write(&disk, root, &Bootstrap::default(), EPOCH_MS).expect("written");
    if let Some(voters) = voters {
        bootstrap::write_first_voters(&disk, root, voters, EPOCH_MS).expect("written");
    }
    disk.settle();
    disk
}

fn topic(name: &str, number: u32) -> VersionedRecord {
    let mut id = [1; 16];
    id[12..].copy_from_slice(&number.to_be_bytes());
    let record = TopicRecord { name: Str::from(name), topic_id: Uuid::from_bytes(id), ..Default::default() };
    MetadataRecord::from(record).at(MetadataVersion::LATEST)
}

fn asked_vote(request: &QuorumRequest) -> Option<(i32, ReplicaKey)> {
    let QuorumRequest::Vote(request) = request else { return None };
    let partition = request.topics.first()?.partitions.first()?;
    let key = ReplicaKey::new(partition.replica_id, partition.replica_directory_id);
    (!partition.pre_vote).then_some((partition.replica_epoch, key))
}

fn grants(message: &Outbound) -> bool {
    let Outbound::Response { response: QuorumResponse::Vote(response), .. } = message else { return false };
    response.topics.iter().flat_map(|topic| &topic.partitions).any(|partition| partition.vote_granted)
}

fn below(rng: &mut Rng, bound: usize) -> i64 {
    i64::try_from(rng.below(bound)).unwrap_or_default()
}
