//! Members of groups: they join, sync, send heartbeats, commit, leave or die, and look for the coordinator again whenever it
//! is another one.
//!
//! The leader of a generation gives every member an assignment that says who made it, for which generation and for whom.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_wire::{Str, Uuid};
use tokio::sync::oneshot;

use super::books::{Violation, ensure};
use super::client::TOPIC;
use super::node::Node;
use super::world::{World, below};
use crate::group::GroupError;
use crate::group::classic::{Join, Joined, Leaving, Protocol, Sync, Token};
use crate::group::placement::OFFSETS_TOPIC;
use crate::group::shard::{Commit, CommitPartition, Request, ShardAnswer};

const GROUPS: usize = 2;
/// Of each group, at most.
const MEMBERS: usize = 3;
/// How long a member waits for an answer, in ms.
const PATIENCE_MS: i64 = 10_000;

#[derive(Default)]
pub(super) struct Members {
    seats: Vec<Seat>,
    named: u64,
    asked: Vec<Asked>,
}

/// Where a member is, or may be.
struct Seat {
    group: Str,
    is_taken: bool,
    next_at: i64,
    /// What is asked now; an answer to anything else is too late.
    asking: u64,
    member: Member,
}

#[derive(Default)]
struct Member {
    /// Empty until one is given.
    id: Str,
    generation: i32,
    standing: Standing,
}

#[derive(Default)]
enum Standing {
    #[default]
    Outside,
    /// With the ids of all members where it leads.
    Joined(Vec<Str>),
    Assigned,
}

enum What {
    Join,
    Sync,
    Heartbeat,
    Commit(i64),
    Leave,
}

struct Asked {
    seat: usize,
    number: u64,
    node: i32,
    life: u64,
    /// Under which the coordinator answers.
    leader_epoch: i32,
    until: i64,
    what: What,
    answer: oneshot::Receiver<ShardAnswer>,
}

impl Members {
    fn fill(&mut self) {
        let group = |at: usize| Str::from(format!("m{}", at % GROUPS));
        let seat = |at: usize| Seat {
            group: group(at),
            is_taken: false,
            next_at: 0,
            asking: 0,
            member: Member::default(),
        };
        self.seats = (0..GROUPS * MEMBERS).map(seat).collect();
    }

    /// What is not as it has to be: of each group all members are in one generation.
    pub(super) fn lack(&self) -> Option<String> {
        let mut generations = BTreeMap::new();
        for seat in self.seats.iter().filter(|seat| seat.is_taken) {
            let (group, member) = (&seat.group, &seat.member);
            if !matches!(member.standing, Standing::Assigned) {
                return Some(format!("member {:?} of {group} has no assignment", member.id));
            }
            let known = *generations.entry(group.clone()).or_insert(member.generation);
            if known != member.generation {
                return Some(format!("{group} has members in generations {known} and {}", member.generation));
            }
        }
        None
    }
}

fn who_assigned(leader: &Str, generation: i32, member: &Str) -> Bytes {
    Bytes::from(format!("{leader}/{generation}/{member}"))
}

impl World {
    /// Lets every member do what it has to.
    pub(super) fn members_act(&mut self) -> Result<(), Violation> {
        if self.client.members.seats.is_empty() {
            self.client.members.fill();
        }
        for seat in 0..self.client.members.seats.len() {
            if self.client.members.seats[seat].next_at <= self.now {
                self.member_acts(seat)?;
            }
        }
        Ok(())
    }

    fn member_acts(&mut self, at: usize) -> Result<(), Violation> {
        let chance = self.rng.below(100);
        let next_at = self.now + 200 + below(&mut self.rng, 1_500);
        let faulty = self.faulty;
        let seat = &mut self.client.members.seats[at];
        seat.next_at = next_at;
        if !seat.is_taken {
            seat.is_taken = faulty && chance < 40;
            (seat.member, seat.asking) = (Member::default(), 0);
            return Ok(());
        }
        let what = match &seat.member.standing {
            // Without a word.
            _ if faulty && chance < 3 => {
                seat.is_taken = false;
                self.books.counters.member_deaths += 1;
                return Ok(());
            }
            Standing::Outside => What::Join,
            Standing::Joined(_) => What::Sync,
            Standing::Assigned if faulty && chance < 6 => What::Leave,
            Standing::Assigned if chance < 40 => {
                let next = self.client.offsets.entry(seat.group.clone()).or_insert(0);
                *next += 1;
                What::Commit(*next)
            }
            Standing::Assigned => What::Heartbeat,
        };
        let leader = self.books.truth.partition(OFFSETS_TOPIC, 0).map_or(-1, |state| state.leader);
        let any = self.up_and_running();
        let chosen = self.nodes.iter().position(|node| node.id == leader).filter(|_| !self.rng.one_in(5));
        match chosen.or(any) {
            Some(node) => self.member_asks(at, node, what),
            None => Ok(()),
        }
    }

    fn member_asks(&mut self, at: usize, node_at: usize, what: What) -> Result<(), Violation> {
        let now = self.now;
        let members = &mut self.client.members;
        members.named += 1;
        let (seat, number) = (&mut members.seats[at], members.named);
        let node = &mut self.nodes[node_at];
        node.set_clock(now);
        let Some(broker) = running(node, now) else { return Ok(()) };
        let Some(leader_epoch) = broker.groups.leader_epoch(&seat.group) else { return Ok(()) };
        let group = seat.group.clone();
        let asked = broker.groups.ask(&group, |token| seat.request(&what, number, token));
        let Ok(answer) = asked else { return Ok(()) };
        seat.asking = number;
        if matches!(what, What::Join | What::Sync) {
            seat.next_at = now + PATIENCE_MS;
        }
        if matches!(what, What::Leave) {
            seat.is_taken = false;
        }
        let (id, life, until) = (node.id, node.life, now + PATIENCE_MS);
        members.asked.push(Asked { seat: at, number, node: id, life, leader_epoch, until, what, answer });
        self.touch(node_at)
    }

    /// Looks what the coordinator on a node has answered.
    pub(super) fn members_hear(&mut self, at: usize) -> Result<(), Violation> {
        let (id, life, is_up) = (self.nodes[at].id, self.nodes[at].life, self.nodes[at].up.is_some());
        let mut next = 0;
        while let Some(asked) = self.client.members.asked.get_mut(next) {
            let is_lost = asked.until < self.now || (asked.node == id && (asked.life != life || !is_up));
            let answer = match is_lost {
                true => None,
                false if asked.node != id => {
                    next += 1;
                    continue;
                }
                false => match asked.answer.try_recv() {
                    Err(oneshot::error::TryRecvError::Empty) => {
                        next += 1;
                        continue;
                    }
                    other => other.ok(),
                },
            };
            let asked = self.client.members.asked.swap_remove(next);
            self.member_hears(&asked, answer)?;
        }
        Ok(())
    }

    fn member_hears(&mut self, asked: &Asked, answer: Option<ShardAnswer>) -> Result<(), Violation> {
        let now = self.now;
        let seat = &mut self.client.members.seats[asked.seat];
        let is_current = seat.is_taken && seat.asking == asked.number;
        if is_current {
            seat.next_at = seat.next_at.min(now + 50 + below(&mut self.rng, 400));
        }
        let group = seat.group.clone();
        let Some(answer) = answer else { return Ok(()) };
        let error = refusal(&answer);
        if error.is_none() {
            self.books.coordinates(asked.node, asked.leader_epoch)?;
        }
        if let (What::Leave, None) = (&asked.what, error) {
            self.books.counters.departures += 1;
        }
        if let (What::Commit(offset), None) = (&asked.what, error) {
            self.books.counters.member_commits += 1;
            self.books.committed(group, *offset);
            return Ok(());
        }
        if !is_current {
            return Ok(());
        }
        match answer {
            ShardAnswer::Join(Ok(joined)) => {
                self.books.led(&group, asked.leader_epoch, &joined)?;
                seat.member.join(joined);
            }
            ShardAnswer::Join(Err(refused)) if refused.error == GroupError::MemberIdRequired => {
                seat.member.id = refused.member_id;
            }
            ShardAnswer::Sync(Ok(synced)) => {
                seat.member.standing = Standing::Assigned;
                let member = &seat.member;
                self.books.assigned(&group, member.generation, &member.id, &synced.assignment)?;
            }
            _ => seat.member.refused(error),
        }
        Ok(())
    }
}

/// The node's broker, where it can be asked.
fn running(node: &mut Node, now: i64) -> Option<&mut super::broker::Broker> {
    if node.paused_until > now {
        return None;
    }
    node.up.as_mut()?.broker.as_mut()
}

fn refusal(answer: &ShardAnswer) -> Option<GroupError> {
    match answer {
        ShardAnswer::Join(answer) => answer.as_ref().err().map(|refused| refused.error),
        ShardAnswer::Sync(answer) => answer.as_ref().err().copied(),
        ShardAnswer::Heartbeat(answer) => answer.err(),
        ShardAnswer::Leave(Ok(fates)) | ShardAnswer::Commit(Ok(fates)) => {
            fates.iter().find_map(|it| it.err())
        }
        ShardAnswer::Leave(Err(error)) | ShardAnswer::Commit(Err(error)) => Some(*error),
        _ => None,
    }
}

impl Seat {
    fn request(&self, what: &What, number: u64, token: Token) -> Request {
        let (group, member) = (self.group.clone(), &self.member);
        let (member_id, generation) = (member.id.clone(), member.generation);
        match what {
            What::Join => Request::Join { group, join: member.joining(number, token) },
            What::Sync => Request::Sync { group, sync: member.syncing(token) },
            What::Heartbeat => Request::Heartbeat { token, group, member_id, instance_id: None, generation },
            What::Leave => {
                Request::Leave { token, group, leaving: vec![Leaving { member_id, instance_id: None }] }
            }
            What::Commit(offset) => Request::Commit(Commit {
                token,
                group,
                member_id,
                instance_id: None,
                generation,
                retention_ms: None,
                knows_group_id_not_found: true,
                partitions: vec![CommitPartition {
                    topic: TOPIC.into(),
                    topic_id: Uuid::from_bytes([7; 16]),
                    partition: 0,
                    offset: *offset,
                    leader_epoch: -1,
                    metadata: Str::default(),
                }],
            }),
        }
    }
}

impl Member {
    fn joining(&self, number: u64, token: Token) -> Join {
        Join {
            token,
            member_id: self.id.clone(),
            fresh_member_id: Str::from(format!("member-{number}")),
            instance_id: None,
            client_id: "client".into(),
            client_host: "/127.0.0.1".into(),
            protocol_type: "consumer".into(),
            protocols: vec![Protocol { name: "range".into(), metadata: Bytes::new() }],
            session_timeout_ms: 8_000,
            rebalance_timeout_ms: 6_000,
            requires_known_member_id: true,
            supports_skip_assignment: true,
            reason: None,
        }
    }

    fn join(&mut self, joined: Joined) {
        self.id = joined.member_id;
        self.generation = joined.generation;
        self.standing = Standing::Joined(joined.members.into_iter().map(|it| it.member_id).collect());
    }

    fn syncing(&self, token: Token) -> Sync {
        let all = match &self.standing {
            Standing::Joined(all) => all.as_slice(),
            _ => &[],
        };
        let assignment = |member: &Str| (member.clone(), who_assigned(&self.id, self.generation, member));
        Sync {
            token,
            member_id: self.id.clone(),
            instance_id: None,
            generation: self.generation,
            protocol_type: None,
            protocol_name: None,
            assignments: all.iter().map(assignment).collect(),
        }
    }

    /// What it makes of an error, as clients do.
    fn refused(&mut self, error: Option<GroupError>) {
        match error {
            Some(GroupError::UnknownMemberId) => *self = Self::default(),
            Some(GroupError::RebalanceInProgress | GroupError::IllegalGeneration) => {
                self.standing = Standing::Outside;
            }
            _ => {}
        }
    }
}

/// What is known of groups with members.
#[derive(Default)]
pub(super) struct Generations {
    /// Who coordinates, by the epoch under which `__consumer_offsets` is led.
    coordinators: BTreeMap<i32, i32>,
    /// Who leads a generation, by that epoch: nothing of it is written down before it is assigned.
    led: BTreeMap<(Str, i32, i32), Str>,
    /// Whose assignments a generation has.
    assigned: BTreeMap<(Str, i32), Str>,
}

impl super::books::Books {
    /// A coordinator has answered under this epoch of the partition's leader.
    fn coordinates(&mut self, node: i32, leader_epoch: i32) -> Result<(), Violation> {
        let known = *self.generations.coordinators.entry(leader_epoch).or_insert(node);
        ensure(known == node, || format!("{known} and {node} coordinate in epoch {leader_epoch}"))
    }

    /// A member was told who leads its generation.
    fn led(&mut self, group: &Str, leader_epoch: i32, joined: &Joined) -> Result<(), Violation> {
        let key = (group.clone(), leader_epoch, joined.generation);
        let known = self.generations.led.entry(key).or_insert_with(|| joined.leader.clone());
        ensure(*known == joined.leader, || {
            format!("generation {} of {group} is led by {known} and {}", joined.generation, joined.leader)
        })?;
        let leads = joined.leader == joined.member_id;
        ensure(leads != joined.members.is_empty(), || {
            format!(
                "{} of {group} is told of {} members, {} leads",
                joined.member_id,
                joined.members.len(),
                known
            )
        })
    }

    /// A member was told its assignment.
    fn assigned(
        &mut self,
        group: &Str,
        generation: i32,
        member: &Str,
        found: &Bytes,
    ) -> Result<(), Violation> {
        if self.is_void(OFFSETS_TOPIC) {
            return Ok(());
        }
        let text = String::from_utf8_lossy(found);
        let maker = text.split('/').next().unwrap_or_default();
        let known = self.generations.assigned.entry((group.clone(), generation)).or_insert_with(|| {
            self.counters.generations += 1;
            Str::from(maker)
        });
        let is_right = *found == who_assigned(known, generation, member);
        ensure(is_right, || {
            format!("{member} of {group} gets {text:?} in {generation}, which {known} has assigned")
        })
    }
}
