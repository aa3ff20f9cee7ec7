//! Three nodes of which each is not let run for seconds again and again: they find a leader all the same.

use std::collections::VecDeque;

use super::message::{Fetched, Response, ResponseBody};
use super::tests::{FakeLog, raft_of, sends};
use super::*;
use crate::standstill::uncounted;

/// A thread runs for up to so many ms at once.
const AWAKE_MS: i64 = 60;
/// One way over the network.
const WAY_MS: i64 = 1;
/// Sleeps for longer than any run.
const GONE_MS: i64 = 1 << 40;
/// A machine that is worse than this for so long is not waited for.
const GIVEN_UP_MS: i64 = 600_000;

/// A node, and how its machine treats it.
struct Node {
    raft: Raft,
    log: FakeLog,
    inbox: VecDeque<(i64, Event)>,
    /// It runs until then, or stands still until then.
    until: i64,
    is_awake: bool,
    /// Time in which it stood still, which its owner does not count.
    still: i64,
    /// Who waits for its replies: token, node, number.
    callers: Vec<(u64, i32, Correlation)>,
}

struct World {
    nodes: Vec<Node>,
    now: i64,
    chance: Random,
    longest_sleep: [i64; 3],
    next_token: u64,
}

impl World {
    fn new(seed: u64, longest_sleep: [i64; 3]) -> Self {
        let ids = [1, 2, 3];
        let election = Election { epoch: 4, ..Election::NONE };
        let node = |id: i32| Node {
            raft: raft_of(id, &ids, election, seed.wrapping_mul(31) ^ u64::try_from(id).expect("positive")),
            log: FakeLog::of(&[(4, 0)], 10),
            inbox: VecDeque::new(),
            until: 0,
            is_awake: false,
            still: 0,
            callers: Vec::new(),
        };
        let nodes = ids.into_iter().map(node).collect();
        Self { nodes, now: 0, chance: Random(seed), longest_sleep, next_token: 0 }
    }

    /// How much of the next 200 s there is an active leader, in percent.
    fn share_led(&mut self) -> i64 {
        let mut active = 0;
        for _ in 0..200_000 {
            self.tick();
            active += i64::from(self.is_led());
        }
        active / 2_000
    }

    fn is_led(&self) -> bool {
        self.nodes.iter().any(|node| node.raft.is_active_leader())
    }

    fn tick(&mut self) {
        self.now += 1;
        for at in 0..self.nodes.len() {
            self.run(at);
        }
    }

    /// When a leader has committed a record of its epoch, or that it was given up.
    fn until_led(&mut self) -> i64 {
        while self.now < GIVEN_UP_MS && !self.is_led() {
            self.tick();
        }
        self.now
    }

    fn run(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        if self.now >= node.until {
            node.is_awake = !node.is_awake;
            let longest = if node.is_awake { AWAKE_MS } else { self.longest_sleep[at] };
            let time = self.chance.below(longest) + 1;
            node.until = self.now + time;
            node.still += if node.is_awake { 0 } else { uncounted(time) };
        }
        if !node.is_awake {
            return;
        }
        let now = self.now;
        while let Some((_, event)) = self.nodes[at].inbox.pop_front_if(|(due, _)| *due <= now) {
            self.handle(at, event);
        }
        let node = &self.nodes[at];
        if self.now - node.still >= node.raft.next_deadline() {
            self.handle(at, Event::Tick);
        }
    }

    fn handle(&mut self, at: usize, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let node = &mut self.nodes[at];
            let commands = node.raft.handle(event, self.now - node.still, &node.log);
            for (to, correlation, request) in sends(&commands) {
                self.ask(at, to, correlation, request);
            }
            events.extend(commands.into_iter().filter_map(|command| self.execute(at, command)));
        }
    }

    fn ask(&mut self, from: usize, to: i32, correlation: Correlation, request: Request) {
        let from = self.nodes[from].raft.local().id;
        // Of the servers to begin with nobody is there.
        let Some(node) = self.nodes.iter_mut().find(|node| node.raft.local().id == to) else {
            return;
        };
        self.next_token += 1;
        node.callers.push((self.next_token, from, correlation));
        let event = Event::Request { token: Token(self.next_token), request };
        node.inbox.push_back((self.now + WAY_MS, event));
    }

    fn execute(&mut self, at: usize, command: Command) -> Option<Event> {
        let log = &mut self.nodes[at].log;
        match command {
            Command::AppendLeaderChange { epoch, .. } => {
                let offset = log.end;
                log.append(epoch, 1);
                log.flushed = log.end;
                Some(Event::EpochStarted { offset })
            }
            Command::TruncateTo { offset } => {
                log.truncate(offset);
                Some(Event::LogChanged { high_watermark: -1 })
            }
            Command::AppendFetched { records, high_watermark } => {
                for epoch in records.chunks_exact(4) {
                    log.append(i32::from_be_bytes(epoch.try_into().expect("four bytes")), 1);
                }
                log.flushed = log.end;
                Some(Event::LogChanged { high_watermark })
            }
            Command::Reply { token, reply } => {
                self.answer(at, token, reply);
                None
            }
            _ => None,
        }
    }

    fn answer(&mut self, at: usize, token: Token, reply: Reply) {
        let node = &mut self.nodes[at];
        let found = node.callers.iter().position(|(known, ..)| *known == token.0).expect("asked");
        let (_, to, correlation) = node.callers.swap_remove(found);
        let high_watermark = node.raft.high_watermark().unwrap_or(-1);
        let nothing = Fetched::Records { records: Bytes::new(), high_watermark: -1 };
        let body = match reply.body {
            ReplyBody::Vote { granted } => ResponseBody::Vote { granted },
            ReplyBody::BeginEpoch => ResponseBody::BeginEpoch,
            ReplyBody::EndEpoch => ResponseBody::EndEpoch,
            ReplyBody::Fetch(FetchReply::Read { offset, .. }) => {
                let records =
                    (offset..node.log.end).flat_map(|at| node.log.epoch_at(at).to_be_bytes()).collect();
                ResponseBody::Fetch(Fetched::Records { records, high_watermark })
            }
            ReplyBody::Fetch(FetchReply::Diverging { epoch, end_offset }) => {
                ResponseBody::Fetch(Fetched::Diverging { epoch, end_offset })
            }
            _ => ResponseBody::Fetch(nothing),
        };
        let from = node.raft.local().id;
        let response = Response { error: reply.error, epoch: reply.epoch, leader: reply.leader, body };
        let asker = self.nodes.iter_mut().find(|node| node.raft.local().id == to).expect("a node");
        asker.inbox.push_back((self.now + WAY_MS, Event::Response { from, correlation, response }));
    }
}

/// The longest time to an active leader, in ms, of 200 seeds with threads that sleep for up to so many ms at once.
fn slowest(longest_sleep: [i64; 3]) -> i64 {
    let mut times: Vec<i64> = (0..200).map(|seed| World::new(seed, longest_sleep).until_led()).collect();
    times.sort_unstable();
    println!(
        "asleep for up to {longest_sleep:?} ms: p50 {} ms, p99 {} ms, max {} ms",
        times[100], times[198], times[199]
    );
    times[199]
}

#[test]
fn who_is_let_run_elects_as_fast_as_ever() {
    assert!(slowest([1; 3]) < 4_000);
    assert!(slowest([1, 1, GONE_MS]) < 5_000);
}

#[test]
fn threads_that_are_not_let_run_for_seconds_find_a_leader() {
    for (longest_sleep, bound) in [(2_000, 25_000), (4_000, 50_000), (8_000, 100_000)] {
        assert!(slowest([longest_sleep; 3]) < bound, "all starve");
    }
    assert!(slowest([1, 8_000, 8_000]) < 35_000, "the others starve");
    assert!(slowest([1_000, 1_000, GONE_MS]) < 35_000, "one is gone, and the others' votes are split");
}

#[test]
fn who_leads_threads_that_are_not_let_run_leads_on() {
    for seed in 0..10 {
        let mut world = World::new(seed, [4_000; 3]);
        world.until_led();
        let share = world.share_led();
        assert!(share > 90, "seed {seed}: {share} percent");
    }
}
