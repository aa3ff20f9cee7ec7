//! The nodes and the network between them, one event after the other.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use ottla_quorum::{Failure, Inbound, MetadataImage, QuorumRequest, QuorumResponse, ReplicaKey};
use ottla_testkit::{Network, NodeClock, Rng, Trace, Weather};

use super::books::{Books, Violation, ensure};
use super::broker::Broker;
use super::client::Client;
use super::node::{Node, Served, Up, node_of};
use super::parcel::{Call, Caller, Kind, Parcel, Question, Reply};
use super::{Broken, Counters, EVENTS, Settings};
use crate::broker::member::Standing;
use crate::clock::{self, Millis};
use crate::partition::count_names;
use crate::replication::{PeerError, isr};

/// Between heartbeats, in ms.
const BEAT_MS: i64 = 500;
/// For how long everything may take to come together when the faults are over, in ms.
const HEALED_MS: i64 = 90_000;
/// For how long whoever runs a node looks on while another run has its place, in ms: one with the disk that was replaced.
const REMOVED_MS: i64 = 10_000;
/// Far more than there are in any run.
const MAX_EVENTS: u64 = 400_000;
/// The network while there are faults, and in worlds without any.
const ROUGH: Weather = Weather { lost: 200, doubled: 60, slow: 60, slow_ms: 800, delay_ms: 8 };

pub(super) struct World {
    pub(super) rng: Rng,
    pub(super) now: i64,
    pub(super) settings: Settings,
    pub(super) nodes: Vec<Node>,
    pub(super) network: Network<Parcel>,
    pub(super) weather: Weather,
    pub(super) books: Books,
    pub(super) client: Client,
    pub(super) trace: Trace,
    pub(super) faulty: bool,
    /// Nothing unplanned happens at first.
    pub(super) is_calm: bool,
    pub(super) next_fault: i64,
    pub(super) last_fault: i64,
}

/// An answer, for whom it is, and for whom a vote was asked.
type Answered = (Caller, Option<(i32, ReplicaKey)>, Reply);

pub(super) fn below(rng: &mut Rng, bound: usize) -> i64 {
    i64::try_from(rng.below(bound)).unwrap()
}

impl World {
    pub(super) fn new(seed: u64, broken: Broken, printed: bool) -> Result<Self, Violation> {
        let mut rng = Rng::new(seed);
        let is_calm = rng.one_in(4) && broken == Broken::Nothing;
        let nodes = if rng.one_in(3) { 4 } else { 3 };
        let durable = broken == Broken::CountUnsynced || rng.one_in(2);
        let (elr, retains) = (!rng.one_in(3), rng.one_in(3));
        let directories = 1 + rng.below(3).min(1) + usize::from(rng.one_in(4));
        let settings = Settings { voters: 3, durable, elr, retains, directories, broken };
        count_names(true);
        let mut world = Self {
            nodes: (1..=nodes).map(|id| Node::new(id, &settings)).collect(),
            now: 1_000,
            settings,
            network: Network::default(),
            weather: if is_calm { Weather::FINE } else { ROUGH },
            books: Books::new(durable, retains),
            client: Client::default(),
            trace: Trace::new(printed),
            faulty: true,
            is_calm,
            next_fault: if is_calm { 75_000 } else { 6_000 },
            last_fault: 0,
            rng,
        };
        for at in 0..world.nodes.len() {
            let drift = if world.rng.one_in(3) { below(&mut world.rng, 41) - 20 } else { 0 };
            let wall_off = below(&mut world.rng, 20_000) - 10_000;
            world.nodes[at].clock = NodeClock { drift, wall_off };
            world.start(at)?;
        }
        Ok(world)
    }

    pub(super) fn run(mut self) -> Result<(Counters, u64), Violation> {
        let outcome = self.live();
        clock::set(None);
        count_names(false);
        outcome?;
        let (lost, doubled) = self.network.lost_and_doubled();
        let counters = Counters { schedules: 1, lost, doubled, ..self.books.counters };
        Ok((counters, self.trace.digest()))
    }

    fn live(&mut self) -> Result<(), Violation> {
        let faults_end = |world: &Self| world.books.counters.events >= EVENTS && world.now >= 20_000;
        while !faults_end(self) {
            self.step()?;
        }
        self.heal();
        let until = self.now + HEALED_MS;
        loop {
            for _ in 0..20 {
                self.step()?;
            }
            match self.lacks() {
                None => return Ok(()),
                Some(lack) => ensure(self.now < until, || format!("does not come together: {lack}"))?,
            }
        }
    }

    /// The one thing that is due first.
    fn step(&mut self) -> Result<(), Violation> {
        let mut next = self.network.next_at().min(self.client.next_at);
        if self.faulty {
            next = next.min(self.next_fault);
        }
        next = self.nodes.iter().map(Node::next_at).fold(next, i64::min);
        self.now = next.max(self.now);
        self.books.counters.events += 1;
        ensure(self.books.counters.events < MAX_EVENTS, || format!("time stands still at {}", self.now))?;
        if let Some((to, parcel)) = self.network.take(self.now) {
            return self.deliver(to, parcel);
        }
        if let Some(at) = self.nodes.iter().position(|node| node.next_at() <= self.now) {
            self.trace.note(self.now, &[1, self.nodes[at].id.into()], || format!("node {} wakes", at + 1));
            let node = &mut self.nodes[at];
            node.set_clock(self.now);
            let Some(up) = &mut node.up else { return self.start(at) };
            if let Some(broker) = &mut up.broker {
                broker.retain();
            }
            return self.touch(at);
        }
        if self.now >= self.client.next_at {
            return self.client();
        }
        if self.faulty && self.now >= self.next_fault {
            return self.fault();
        }
        Ok(())
    }

    pub(super) fn start(&mut self, at: usize) -> Result<(), Violation> {
        let (settings, now) = (self.settings, self.now);
        let node = &mut self.nodes[at];
        let id = node.id;
        self.books.started(id);
        if let Err(error) = node.start(&settings, now) {
            ensure(node.is_ailing(), || format!("node {id} does not start: {error}"))?;
            node.up_at = now + 500;
            return Ok(());
        }
        self.trace.note(now, &[2, id.into()], || format!("node {id} starts"));
        self.touch(at)
    }

    /// Lets a node do what it has to, sends what it has to say, and looks at it.
    pub(super) fn touch(&mut self, at: usize) -> Result<(), Violation> {
        self.nodes[at].set_clock(self.now);
        self.expire(at);
        let Some(up) = &mut self.nodes[at].up else { return Ok(()) };
        let mut replies = poll(&mut up.served);
        let stepped = up.controller.step();
        replies.extend(poll(&mut up.served));
        if let Err(error) = stepped {
            let node = &self.nodes[at];
            ensure(node.is_ailing(), || format!("node {}: {error}", node.id))?;
            self.kill(at, false, 500);
            return Ok(());
        }
        self.send_requests_of_the_quorum(at);
        self.join(at)?;
        self.serve(at, &mut replies)?;
        for (caller, vote, reply) in replies {
            if let (Some((epoch, candidate)), Reply::Quorum(response)) = (vote, &reply)
                && grants(response)
            {
                self.books.voted(self.nodes[at].key(), epoch, candidate)?;
            }
            self.answer(at, caller, reply);
        }
        self.hear_back(at)?;
        self.check(at)?;
        let node = &mut self.nodes[at];
        if let Some(up) = &node.up {
            let by_calls = up.calls.values().map(|call| call.deadline).min().unwrap_or(i64::MAX);
            node.due = node.clock.when(up.next_deadline()).max(self.now + 1).min(by_calls);
        }
        Ok(())
    }

    fn send_requests_of_the_quorum(&mut self, at: usize) {
        let Some(up) = &mut self.nodes[at].up else { return };
        for (to, correlation, request) in up.controller.take_sent() {
            let is_snapshot = matches!(request, QuorumRequest::FetchSnapshot(_));
            self.books.counters.snapshots += u64::from(is_snapshot);
            let kind = Kind::Quorum { known_as: to.id, correlation };
            self.ask(at, node_of(&to.host), kind, Question::Quorum(Box::new(request)));
        }
    }

    /// The node's membership: registration, heartbeats, the start and the end of its broker.
    fn join(&mut self, at: usize) -> Result<(), Violation> {
        let mono = clock::monotonic_ms();
        let node = &mut self.nodes[at];
        let (id, ailing) = (node.id, node.is_ailing());
        let directories = node.log_directories();
        let Some(up) = &mut node.up else { return Ok(()) };
        let image = up.controller.handle().image();
        if up.member.registers_again(image.broker(id).map(|broker| &**broker)) {
            up.beat_at = mono;
        }
        let epoch = up.member.epoch();
        if let Some(broker) = up.broker.as_mut().filter(|_| epoch >= 0) {
            broker.set_epoch(epoch);
        }
        if up.broker.is_none() && epoch >= 0 && image.offset() >= epoch && !up.wanted.stop {
            match Broker::load(&up.config, directories, image, epoch) {
                Ok(broker) => {
                    self.books.counters.resumed_moves += broker.partitions.future_replicas().len() as u64;
                    up.broker = Some(broker);
                }
                Err(error) => {
                    ensure(ailing, || format!("node {id} cannot load: {error}"))?;
                    self.kill(at, false, 500);
                    return Ok(());
                }
            }
            up.wanted.serve = true;
            up.beat_at = mono;
            return self.check_places(at);
        }
        if up.member.standing() == Standing::MayStop {
            return self.leave(at);
        }
        ensure(!matches!(up.member.standing(), Standing::Refused(_)), || format!("node {id} is refused"))?;
        let is_over = up.member.standing() == Standing::Removed;
        if is_over && self.now - *up.removed_since.get_or_insert(self.now) > REMOVED_MS {
            self.kill(at, false, 100);
            return Ok(());
        }
        if up.beating || up.beat_at > mono {
            return Ok(());
        }
        let leader = up.controller.handle().leader().borrow().id;
        let Some(leader) = leader.filter(|_| !is_over) else {
            up.beat_at = mono + if is_over { REMOVED_MS } else { 100 };
            return Ok(());
        };
        up.beating = true;
        let (kind, question) = if epoch < 0 {
            (Kind::Register, Question::Register(Box::new(up.member.registration())))
        } else {
            let offset = up.broker.as_ref().map_or(-1, |broker| broker.image.offset());
            let beat = up.member.heartbeat(&up.wanted, offset);
            (Kind::Beat(up.wanted.clone()), Question::Beat(Box::new(beat)))
        };
        self.ask(at, leader, kind, question);
        Ok(())
    }

    /// The end of a planned stop.
    fn leave(&mut self, at: usize) -> Result<(), Violation> {
        let (now, id) = (self.now, self.nodes[at].id);
        let Some(up) = &mut self.nodes[at].up else { return Ok(()) };
        let since = *up.may_stop_since.get_or_insert(now);
        up.beat_at = clock::monotonic_ms() + 50;
        let known = up.broker.as_ref().is_none_or(|broker| broker.image.active_broker(id).is_none());
        if !known && now - since < 1_000 {
            return Ok(());
        }
        if let Some(broker) = &up.broker {
            broker.partitions.close(broker.epoch, 1, clock::now());
        }
        let resigned = up.controller.resign();
        self.send_requests_of_the_quorum(at);
        let down = 100 + below(&mut self.rng, 3_000);
        let node = &mut self.nodes[at];
        let ailing = node.is_ailing();
        let Some(up) = node.up.take() else { return Ok(()) };
        let closed = resigned.and_then(|()| up.controller.close());
        (node.up_at, node.due) = (now + down, i64::MAX);
        self.books.counters.stops += 1;
        self.trace.note(now, &[3, id.into()], || format!("node {id} has stopped"));
        ensure(ailing || closed.is_ok(), || format!("node {id} does not close: {closed:?}"))
    }

    /// The node's broker.
    fn serve(&mut self, at: usize, replies: &mut Vec<Answered>) -> Result<(), Violation> {
        let slow = (below(&mut self.rng, 30), 1 + below(&mut self.rng, 15));
        let node = &mut self.nodes[at];
        let (id, ailing) = (node.id, node.is_ailing());
        let Some(up) = &mut node.up else { return Ok(()) };
        let newest = up.controller.handle().image();
        let leader = up.controller.handle().leader().borrow().id;
        let Some(broker) = &mut up.broker else { return Ok(()) };
        let before = broker.image.offset();
        let out = broker.turn(&newest, slow);
        if let Some(failed) = broker.failed_directories() {
            ensure(ailing, || format!("node {id} fences a directory"))?;
            broker.partitions.directories_failed();
            let is_over = failed.iter().any(|directory| directory.path() == up.config.metadata_log_dir);
            up.wanted.offline.extend(failed.iter().map(|directory| directory.id()));
            up.beat_at = 0;
            if is_over {
                self.kill(at, false, 500);
                return Ok(());
            }
        }
        self.books.counters.truncations += std::mem::take(&mut broker.truncations);
        let leaving = |it: &ottla_quorum::image::BrokerImage| it.in_controlled_shutdown && !it.fenced;
        if broker.image.offset() != before && broker.image.cluster.brokers.values().any(|it| leaving(it)) {
            up.beat_at = 0;
        }
        replies.extend(out.replies.into_iter().map(|(caller, reply)| (caller, None, reply)));
        if !out.isrs.is_empty() {
            match leader {
                None => broker.isrs_answered(out.isrs, None),
                Some(leader) => {
                    let request = isr::request(id, broker.epoch, &out.isrs, 3);
                    self.ask(at, leader, Kind::Isrs(out.isrs), Question::Isrs(Box::new(request)));
                }
            }
        }
        if !out.places.is_empty() {
            match (leader, self.nodes[at].up.as_mut().and_then(|up| up.broker.as_mut())) {
                (Some(leader), Some(broker)) => {
                    let request = crate::broker::monitor::assignment(id, broker.epoch, &out.places);
                    self.ask(at, leader, Kind::Places, Question::Places(Box::new(request)));
                }
                (_, Some(broker)) => broker.placed(false),
                _ => {}
            }
        }
        for (partition, before, after) in out.moved {
            let name = partition.name().clone();
            self.books.counters.moves += 1;
            self.trace.note(self.now, &[14, id.into()], || format!("{name} has moved on {id}"));
            ensure(after >= before, || {
                format!("{name} on {id} ended at {before}, and at {after} once moved")
            })?;
            self.books.looks_anew(id, &name);
            self.check_places(at)?;
        }
        for (leader, question) in out.fetches {
            let kind = match question {
                Question::Fetch(_) => Kind::Fetch(leader),
                _ => Kind::Bounds(leader),
            };
            self.ask(at, leader, kind, question);
        }
        Ok(())
    }

    /// Sends a question.
    fn ask(&mut self, at: usize, to: i32, kind: Kind, question: Question) {
        let node = &mut self.nodes[at];
        let (from, life) = (node.id, node.life);
        let Some(up) = &mut node.up else { return };
        up.next_call += 1;
        let caller = Caller { node: from, life, call: up.next_call };
        up.calls.insert(up.next_call, Call { kind, to, deadline: self.now + question.patience() });
        let parcel = Parcel::Ask(caller, question);
        if from == to {
            self.network.post(self.now + 1, to, parcel);
        } else {
            let way = (from, to);
            self.network.send_maybe_twice(&mut self.rng, &self.weather, self.now, way, parcel);
        }
    }

    fn answer(&mut self, at: usize, caller: Caller, reply: Reply) {
        let (from, to) = (self.nodes[at].id, caller.node);
        let parcel = Parcel::Answer(caller, reply);
        if from == to {
            self.network.post(self.now + 1, to, parcel);
        } else {
            self.network.send(&mut self.rng, &self.weather, self.now, (from, to), parcel);
        }
    }

    fn deliver(&mut self, to: i32, parcel: Parcel) -> Result<(), Violation> {
        let at = usize::try_from(to - 1).unwrap();
        let node = &self.nodes[at];
        if node.up.is_some() && node.paused_until > self.now {
            self.network.post(node.paused_until, to, parcel);
            return Ok(());
        }
        node.set_clock(self.now);
        match parcel {
            Parcel::Ask(caller, question) => {
                let numbers = [4, to.into(), caller.node.into()];
                self.trace
                    .note(self.now, &numbers, || format!("{} asks {to}: {}", caller.node, question.name()));
                if node.up.is_none() {
                    if !node.is_silent {
                        self.answer(at, caller, Reply::Broken);
                    }
                    return Ok(());
                }
                self.take_question(at, caller, question);
            }
            Parcel::Answer(caller, reply) => {
                self.trace.note(self.now, &[5, to.into()], || format!("{to} is answered"));
                if caller.life == node.life {
                    self.take_answer(at, caller.call, reply, Failure::Disconnected);
                }
            }
            Parcel::Gone(id, epoch) => {
                let Some(up) = &mut self.nodes[at].up else { return Ok(()) };
                let handle = up.controller.handle().clone();
                let since = clock::monotonic_ms();
                let future = async move {
                    drop(handle.broker_gone(id, epoch, since).await);
                    Reply::Broken
                };
                let nobody = Caller { node: to, life: 0, call: 0 };
                up.served.push(Served { caller: nobody, vote: None, future: Box::pin(future) });
            }
        }
        self.touch(at)
    }

    fn take_question(&mut self, at: usize, caller: Caller, question: Question) {
        let Some(up) = &mut self.nodes[at].up else { return };
        let handle = up.controller.handle().clone();
        let vote = asked_vote(&question);
        let future: Pin<Box<dyn Future<Output = Reply> + Send>> = match question {
            Question::Quorum(request) => Box::pin(async move {
                let response = handle.quorum_request(*request).await;
                response.map_or(Reply::Broken, |response| Reply::Quorum(Box::new(response)))
            }),
            Question::Register(request) => {
                Box::pin(
                    async move { Reply::Registered(Box::new(handle.broker_registration(*request, 4).await)) },
                )
            }
            Question::Beat(request) => {
                let arrived = clock::monotonic_ms();
                Box::pin(
                    async move { Reply::Beaten(Box::new(handle.broker_heartbeat(*request, arrived).await)) },
                )
            }
            Question::Isrs(request) => {
                Box::pin(async move { Reply::Isrs(Box::new(handle.alter_partition(*request, 3).await)) })
            }
            Question::Places(request) => Box::pin(async move {
                Reply::Placed(handle.assign_replicas_to_dirs(*request).await.error_code == 0)
            }),
            Question::Fetch(request) => {
                let Some(broker) = &mut up.broker else { return self.answer(at, caller, Reply::Broken) };
                if let Some(reply) = broker.serve(caller, *request) {
                    self.answer(at, caller, reply);
                }
                return;
            }
            Question::Bounds(both) => {
                let Some(broker) = &up.broker else { return self.answer(at, caller, Reply::Broken) };
                let answer = |request| crate::replication::answers::list_offsets(&broker.partitions, request);
                let reply = Reply::Bounds(Box::new((answer(&both.0), answer(&both.1))));
                return self.answer(at, caller, reply);
            }
        };
        up.served.push(Served { caller, vote, future });
    }

    fn take_answer(&mut self, at: usize, call: u64, reply: Reply, failure: Failure) {
        let broken = self.settings.broken;
        let Some(up) = &mut self.nodes[at].up else { return };
        let Some(Call { kind, .. }) = up.calls.remove(&call) else { return };
        let (mono, gone) = (Millis(clock::monotonic_ms()), || PeerError("gone".into()));
        let reply = Some(reply).filter(|reply| !matches!(reply, Reply::Broken));
        match kind {
            Kind::Quorum { known_as: from, correlation } => up.controller.answered(match reply {
                Some(Reply::Quorum(response)) => Inbound::Response { from, correlation, response: *response },
                _ => Inbound::Failed { from, correlation, failure },
            }),
            Kind::Register => {
                let answer = match reply {
                    Some(Reply::Registered(response)) => Ok(*response),
                    _ => Err(gone()),
                };
                let standing = up.member.registered(answer, &up.wanted, mono);
                up.beating = false;
                up.beat_at = mono.0 + if standing == Standing::Unregistered { 100 } else { 20 };
            }
            Kind::Beat(wanted) => {
                let answer = match reply {
                    Some(Reply::Beaten(response)) => Ok(*response),
                    _ => Err(gone()),
                };
                up.member.beaten(answer, &wanted, mono);
                up.beating = false;
                let interval = std::time::Duration::from_millis(BEAT_MS.unsigned_abs());
                let pause = up.member.pause(&up.wanted, interval).as_millis();
                up.beat_at = mono.0 + i64::try_from(pause).unwrap();
            }
            Kind::Isrs(asked) => {
                if let Some(broker) = &mut up.broker {
                    broker.isrs_answered(asked, reply);
                }
            }
            Kind::Places => {
                if let Some(broker) = &mut up.broker {
                    broker.placed(matches!(reply, Some(Reply::Placed(true))));
                }
            }
            Kind::Fetch(leader) | Kind::Bounds(leader) => {
                if let Some(broker) = &mut up.broker {
                    broker.fetched(leader, reply, broken);
                }
            }
        }
    }

    /// Gives up waiting.
    fn expire(&mut self, at: usize) {
        let Some(up) = &self.nodes[at].up else { return };
        let over = up.calls.iter().filter(|(_, call)| call.deadline <= self.now).map(|(call, _)| *call);
        for call in over.collect::<Vec<_>>() {
            self.take_answer(at, call, Reply::Broken, Failure::TimedOut);
        }
    }

    /// Of each partition that is hosted there is one whole log, where it is said to lie.
    fn check_places(&self, at: usize) -> Result<(), Violation> {
        let node = &self.nodes[at];
        let Some(broker) = node.up.as_ref().and_then(|up| up.broker.as_ref()) else { return Ok(()) };
        for partition in broker.partitions.all() {
            let (name, directory) = (partition.name(), partition.directory());
            if !node.works(&directory) {
                continue;
            }
            let places = node.disks_with(&name.to_string());
            let is_right = places.iter().map(|at| &*node.disks[*at].path).eq([directory.path()]);
            ensure(is_right, || {
                format!("{name} on {}: logs on {places:?}, not in {}", node.id, directory.path().display())
            })?;
        }
        Ok(())
    }

    fn check(&mut self, at: usize) -> Result<(), Violation> {
        let node = &mut self.nodes[at];
        let Some(up) = &mut node.up else { return Ok(()) };
        let (quorum, books) = (up.controller.quorum(), &mut self.books);
        let end = quorum.next_offset();
        books.counters.truncations += u64::from(end < up.seen.1);
        let before = self.trace.is_printed().then(|| books.truth.clone());
        up.seen = (books.check_quorum(node.id, quorum, up.seen.0)?, end);
        if let Some(before) = before.filter(|before| before.offset() < books.truth.offset()) {
            print_changes(&before, &books.truth);
        }
        let node = &self.nodes[at];
        if let Some(broker) = node.up.as_ref().and_then(|up| up.broker.as_ref()) {
            let all = broker.partitions.all().into_iter();
            for partition in all.filter(|partition| node.works(&partition.directory())) {
                books.check_partition(node.id, &partition)?;
            }
        }
        self.check_groups(at)
    }
}

impl Node {
    pub(super) fn next_at(&self) -> i64 {
        if self.up.is_some() { self.due.max(self.paused_until) } else { self.up_at }
    }
}

/// Partitions that are otherwise in newer metadata.
fn print_changes(old: &MetadataImage, new: &MetadataImage) {
    for topic in new.topics.iter() {
        for (index, state) in &topic.partitions {
            if old.partition(&topic.name, *index) != Some(state) {
                println!("        {}-{index}: {state:?}", topic.name);
            }
        }
    }
}

/// What has come to its end.
fn poll(served: &mut Vec<Served>) -> Vec<Answered> {
    let mut done = Vec::new();
    let mut at = 0;
    while let Some(waiting) = served.get_mut(at) {
        match waiting.future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => at += 1,
            Poll::Ready(reply) => {
                let Served { caller, vote, .. } = served.remove(at);
                if caller.life > 0 {
                    done.push((caller, vote, reply));
                }
            }
        }
    }
    done
}

fn asked_vote(question: &Question) -> Option<(i32, ReplicaKey)> {
    let Question::Quorum(request) = question else { return None };
    let QuorumRequest::Vote(request) = &**request else { return None };
    let partition = request.topics.first()?.partitions.first()?;
    let key = ReplicaKey::new(partition.replica_id, partition.replica_directory_id);
    (!partition.pre_vote).then_some((partition.replica_epoch, key))
}

fn grants(response: &QuorumResponse) -> bool {
    let QuorumResponse::Vote(response) = response else { return false };
    response.topics.iter().flat_map(|topic| &topic.partitions).any(|partition| partition.vote_granted)
}

impl Up {
    pub(super) fn serves(&self) -> bool {
        self.member.standing() == Standing::Serving && self.broker.is_some()
    }
}
