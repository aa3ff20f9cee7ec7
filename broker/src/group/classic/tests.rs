//! Scenarios of single groups, told event by event.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use super::*;

pub(super) const LIMITS: Limits = Limits {
    min_session_timeout_ms: 6_000,
    max_session_timeout_ms: 1_800_000,
    initial_rebalance_delay_ms: 3_000,
    max_size: 1_000,
};

/// A group with a clock; answers are kept by token.
struct World {
    group: ClassicGroup,
    limits: Limits,
    clock: i64,
    tokens: u64,
    answers: HashMap<Token, Answer>,
    writes: Vec<GroupWrite>,
}

impl World {
    fn new() -> Self {
        let group = ClassicGroup::new("g".into(), Now { monotonic_ms: 0, wall_ms: 1_000_000 });
        Self { group, limits: LIMITS, clock: 0, tokens: 0, answers: HashMap::new(), writes: Vec::new() }
    }

    fn now(&self) -> Now {
        Now { monotonic_ms: self.clock, wall_ms: 1_000_000 + self.clock }
    }

    fn absorb(&mut self, out: Effects) {
        for (token, answer) in out.answers {
            assert!(self.answers.insert(token, answer).is_none(), "{token:?} answered twice");
        }
        self.writes.extend(out.writes);
    }

    fn request(&mut self, member_id: &str) -> Join {
        self.tokens += 1;
        Join {
            token: Token(self.tokens),
            member_id: member_id.into(),
            fresh_member_id: format!("m{}", self.tokens).into(),
            instance_id: None,
            client_id: "c".into(),
            client_host: "/127.0.0.1".into(),
            protocol_type: "consumer".into(),
            protocols: vec![protocol("range", "x")],
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 60_000,
            requires_known_member_id: false,
            supports_skip_assignment: true,
            reason: None,
        }
    }

    fn join_with(&mut self, join: Join) -> Token {
        let token = join.token;
        let mut out = Effects::default();
        self.group.join(join, &self.limits, self.now(), &mut out);
        self.absorb(out);
        token
    }

    fn join(&mut self, member_id: &str) -> Token {
        let join = self.request(member_id);
        self.join_with(join)
    }

    fn join_static(&mut self, member_id: &str, instance_id: &str) -> Token {
        let mut join = self.request(member_id);
        join.instance_id = Some(instance_id.into());
        self.join_with(join)
    }

    fn sync(&mut self, joined: &Joined, assignments: &[(&str, &str)]) -> Token {
        self.sync_as(&joined.member_id.clone(), joined.generation, assignments)
    }

    fn sync_as(&mut self, member_id: &str, generation: i32, assignments: &[(&str, &str)]) -> Token {
        self.tokens += 1;
        let token = Token(self.tokens);
        let assignments: BTreeMap<Str, Bytes> = assignments
            .iter()
            .map(|(id, bytes)| (Str::from(*id), Bytes::copy_from_slice(bytes.as_bytes())))
            .collect();
        let sync = Sync {
            token,
            member_id: member_id.into(),
            instance_id: None,
            generation,
            protocol_type: None,
            protocol_name: None,
            assignments,
        };
        let mut out = Effects::default();
        self.group.sync(sync, &mut out);
        self.absorb(out);
        token
    }

    fn leave(&mut self, member_id: &str, instance_id: Option<&str>) -> Vec<Result<(), GroupError>> {
        let leaving = [Leaving { member_id: member_id.into(), instance_id: instance_id.map(Str::from) }];
        let mut out = Effects::default();
        let fates = self.group.leave(&leaving, &self.limits, self.now(), &mut out).unwrap();
        self.absorb(out);
        fates
    }

    fn heartbeat(&mut self, joined: &Joined) -> Result<(), GroupError> {
        let from = Identity { member_id: &joined.member_id, instance_id: None };
        self.group.heartbeat(from, joined.generation, self.now())
    }

    fn advance(&mut self, ms: i64) {
        let until = self.clock + ms;
        while let Some(deadline) = self.group.next_deadline().filter(|deadline| *deadline <= until) {
            self.clock = self.clock.max(deadline);
            let mut out = Effects::default();
            self.group.on_deadline(&self.limits, self.now(), &mut out);
            self.absorb(out);
        }
        self.clock = until;
    }

    fn write_all(&mut self, result: Result<(), GroupError>) -> Vec<GroupSnapshot> {
        let mut written = Vec::new();
        for write in std::mem::take(&mut self.writes) {
            let mut out = Effects::default();
            self.group.on_written(write.intent, result, &self.limits, self.now(), &mut out);
            self.absorb(out);
            written.push(write.snapshot);
        }
        written
    }

    fn joined(&self, token: Token) -> Joined {
        match self.answers.get(&token) {
            Some(Answer::Join(Ok(joined))) => joined.clone(),
            other => panic!("{token:?} has {other:?}"),
        }
    }

    fn join_error(&self, token: Token) -> GroupError {
        match self.answers.get(&token) {
            Some(Answer::Join(Err(refused))) => refused.error,
            other => panic!("{token:?} has {other:?}"),
        }
    }

    fn synced(&self, token: Token) -> Result<Bytes, GroupError> {
        match self.answers.get(&token) {
            Some(Answer::Sync(answer)) => answer.clone().map(|synced| synced.assignment),
            other => panic!("{token:?} has {other:?}"),
        }
    }

    fn parked(&self, token: Token) -> bool {
        !self.answers.contains_key(&token)
    }

    /// Two members in a stable group: the leader and a follower.
    fn stable_pair(&mut self) -> (Joined, Joined) {
        let (a, b) = (self.join(""), self.join(""));
        self.settle(a, b)
    }

    fn settle(&mut self, a: Token, b: Token) -> (Joined, Joined) {
        self.advance(7_000);
        let (a, b) = (self.joined(a), self.joined(b));
        let (leader, follower) = if a.leader == a.member_id { (a, b) } else { (b, a) };
        let second = self.sync(&follower, &[]);
        let first = self.sync(&leader, &[(&leader.member_id, "L"), (&follower.member_id, "F")]);
        assert!(self.parked(first) && self.parked(second), "no answer before the assignment is written");
        self.write_all(Ok(()));
        assert_eq!(self.synced(first), Ok(Bytes::from_static(b"L")));
        assert_eq!(self.synced(second), Ok(Bytes::from_static(b"F")));
        assert_eq!(self.group.state(), State::Stable);
        (leader, follower)
    }
}

pub(super) fn protocol(name: &str, metadata: &str) -> Protocol {
    Protocol { name: name.into(), metadata: Bytes::copy_from_slice(metadata.as_bytes()) }
}

#[test]
fn a_dynamic_member_of_a_new_client_joins_in_two_steps() {
    let mut world = World::new();
    let mut join = world.request("");
    join.requires_known_member_id = true;
    let token = world.join_with(join);
    let id = match &world.answers[&token] {
        Answer::Join(Err(refused)) if refused.error == GroupError::MemberIdRequired => {
            refused.member_id.clone()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(world.group.state(), State::Empty);
    assert!(!world.group.is_vacant());
    let token = world.join(&id);
    world.advance(2_999);
    assert!(world.parked(token), "the first rebalance waits for others");
    world.advance(4_001);
    let joined = world.joined(token);
    assert_eq!((joined.generation, &joined.leader, joined.members.len()), (1, &id, 1));
}

#[test]
fn an_id_that_is_never_used_is_forgotten() {
    let mut world = World::new();
    let mut join = world.request("");
    join.requires_known_member_id = true;
    world.join_with(join);
    world.advance(10_000);
    assert!(world.group.is_vacant());
    let token = world.join("m1");
    assert_eq!(world.join_error(token), GroupError::UnknownMemberId);
}

#[test]
fn the_initial_delay_is_extended_for_each_newcomer_up_to_the_rebalance_timeout() {
    let mut world = World::new();
    let mut tokens = Vec::new();
    for _ in 0..3 {
        let mut join = world.request("");
        join.rebalance_timeout_ms = 7_000;
        tokens.push(world.join_with(join));
        world.advance(2_000);
    }
    // Joined at 0, 2 and 4 s: 3 s, extended to 6 s, extended by what is left of 7 s.
    assert!(tokens.iter().all(|token| world.parked(*token)));
    world.advance(2_000);
    let generations: Vec<i32> = tokens.iter().map(|token| world.joined(*token).generation).collect();
    assert_eq!(generations, [1, 1, 1]);
}

#[test]
fn two_members_share_and_a_third_makes_them_join_again() {
    let mut world = World::new();
    let (leader, follower) = world.stable_pair();
    assert_eq!((leader.members.len(), follower.members.len()), (2, 0));
    assert_eq!(world.heartbeat(&follower), Ok(()));

    let third = world.join("");
    assert_eq!(world.heartbeat(&follower), Err(GroupError::RebalanceInProgress));
    let first = world.join(&leader.member_id);
    assert!(world.parked(third) && world.parked(first));
    let second = world.join(&follower.member_id);
    for token in [first, second, third] {
        assert_eq!(world.joined(token).generation, 2);
    }
    assert_eq!(world.heartbeat(&follower), Err(GroupError::IllegalGeneration));
}

#[test]
fn who_does_not_rejoin_in_time_is_removed() {
    let mut world = World::new();
    let (leader, follower) = world.stable_pair();
    let again = world.join(&leader.member_id);
    for _ in 0..12 {
        world.advance(5_000);
        let _ = world.heartbeat(&follower);
    }
    assert_eq!(world.joined(again).members.len(), 1);
    let late = world.join(&follower.member_id);
    assert_eq!(world.join_error(late), GroupError::UnknownMemberId);
}

#[test]
fn a_silent_member_expires_and_the_others_rebalance() {
    let mut world = World::new();
    let (leader, follower) = world.stable_pair();
    world.advance(6_000);
    assert_eq!(world.heartbeat(&leader), Ok(()));
    world.advance(6_000);
    assert_eq!(world.heartbeat(&follower), Err(GroupError::UnknownMemberId));
    assert_eq!(world.heartbeat(&leader), Err(GroupError::RebalanceInProgress));
    let again = world.join(&leader.member_id);
    assert_eq!(world.joined(again).generation, 2);
}

#[test]
fn a_follower_that_rejoins_unchanged_keeps_the_generation_and_a_leader_does_not() {
    let mut world = World::new();
    let (leader, follower) = world.stable_pair();
    let token = world.join(&follower.member_id);
    assert_eq!(world.joined(token).generation, 1);
    assert_eq!(world.group.state(), State::Stable);

    let mut changed = world.request(&follower.member_id);
    changed.protocols = vec![protocol("range", "y")];
    let changed = world.join_with(changed);
    assert!(world.parked(changed));
    let token = world.join(&leader.member_id);
    assert_eq!((world.joined(token).generation, world.joined(changed).generation), (2, 2));

    let token = world.sync_as(&leader.member_id, 2, &[]);
    world.write_all(Ok(()));
    assert_eq!(world.synced(token), Ok(Bytes::new()));
    let token = world.join(&leader.member_id);
    assert!(world.parked(token));
    assert_eq!(world.group.state(), State::PreparingRebalance);
}

#[test]
fn a_failed_write_of_the_assignment_leads_to_another_round() {
    let mut world = World::new();
    let (a, b) = (world.join(""), world.join(""));
    world.advance(7_000);
    let (a, b) = (world.joined(a), world.joined(b));
    let (leader, follower) = if a.leader == a.member_id { (a, b) } else { (b, a) };
    let waiting = world.sync(&follower, &[]);
    let token = world.sync(&leader, &[(&leader.member_id, "L")]);
    world.write_all(Err(GroupError::CoordinatorNotAvailable));
    assert_eq!(world.synced(token), Err(GroupError::CoordinatorNotAvailable));
    assert_eq!(world.synced(waiting), Err(GroupError::CoordinatorNotAvailable));
    assert_eq!(world.group.state(), State::PreparingRebalance);
    assert!(world.group.roster().iter().all(|member| member.assignment.is_empty()));
}

#[test]
fn an_assignment_written_too_late_changes_nothing() {
    let mut world = World::new();
    let (a, b) = (world.join(""), world.join(""));
    world.advance(7_000);
    let (a, b) = (world.joined(a), world.joined(b));
    let (leader, follower) = if a.leader == a.member_id { (a, b) } else { (b, a) };
    let token = world.sync(&leader, &[(&leader.member_id, "L")]);
    world.leave(&follower.member_id, None);
    assert_eq!(world.synced(token), Err(GroupError::RebalanceInProgress));
    world.write_all(Ok(()));
    assert_eq!(world.group.state(), State::PreparingRebalance);
}

#[test]
fn who_does_not_sync_in_time_is_removed() {
    let mut world = World::new();
    let (a, b) = (world.join(""), world.join(""));
    world.advance(7_000);
    let (a, b) = (world.joined(a), world.joined(b));
    let (leader, follower) = if a.leader == a.member_id { (a, b) } else { (b, a) };
    let token = world.sync(&follower, &[]);
    for _ in 0..12 {
        world.advance(5_000);
        let _ = world.heartbeat(&leader);
    }
    assert_eq!(world.synced(token), Err(GroupError::RebalanceInProgress));
    assert!(!world.group.roster().contains(&leader.member_id));
}

#[test]
fn sync_checks_generation_protocol_and_state() {
    let mut world = World::new();
    let (leader, follower) = world.stable_pair();
    let token = world.sync_as(&follower.member_id, 7, &[]);
    assert_eq!(world.synced(token), Err(GroupError::IllegalGeneration));
    let token = world.sync_as("nobody", 1, &[]);
    assert_eq!(world.synced(token), Err(GroupError::UnknownMemberId));
    let mut out = Effects::default();
    let sync = Sync {
        token: Token(900),
        member_id: follower.member_id.clone(),
        instance_id: None,
        generation: 1,
        protocol_type: Some("connect".into()),
        protocol_name: Some("range".into()),
        assignments: BTreeMap::new(),
    };
    world.group.sync(sync, &mut out);
    world.absorb(out);
    assert_eq!(world.synced(Token(900)), Err(GroupError::InconsistentGroupProtocol));
    world.join(&leader.member_id);
    let token = world.sync_as(&follower.member_id, 1, &[]);
    assert_eq!(world.synced(token), Err(GroupError::RebalanceInProgress));
}

#[test]
fn the_protocol_is_voted_for_among_those_that_all_support() {
    let mut world = World::new();
    let offers = [["a", "b", "c"], ["c", "b", "x"], ["b", "c", "y"]];
    let mut tokens = Vec::new();
    for offer in offers {
        let mut join = world.request("");
        join.protocols = offer.iter().map(|name| protocol(name, name)).collect();
        tokens.push(world.join_with(join));
    }
    let mut stranger = world.request("");
    stranger.protocols = vec![protocol("a", "")];
    let stranger = world.join_with(stranger);
    assert_eq!(world.join_error(stranger), GroupError::InconsistentGroupProtocol);
    world.advance(6_000);
    assert_eq!(world.joined(tokens[0]).protocol_name.as_deref(), Some("b"));
    let leader = tokens
        .iter()
        .map(|token| world.joined(*token))
        .find(|joined| joined.leader == joined.member_id)
        .unwrap();
    assert!(leader.members.iter().all(|member| member.metadata == "b"));
}

#[test]
fn another_protocol_type_or_none_is_refused() {
    let mut world = World::new();
    let mut join = world.request("");
    join.protocols = Vec::new();
    let token = world.join_with(join);
    assert_eq!(world.join_error(token), GroupError::InconsistentGroupProtocol);
    world.join("");
    let mut join = world.request("");
    join.protocol_type = "connect".into();
    let token = world.join_with(join);
    assert_eq!(world.join_error(token), GroupError::InconsistentGroupProtocol);
}

#[test]
fn session_timeouts_and_size_are_bounded() {
    let mut world = World::new();
    for timeout in [5_999, 1_800_001, -1] {
        let mut join = world.request("");
        join.session_timeout_ms = timeout;
        let token = world.join_with(join);
        assert_eq!(world.join_error(token), GroupError::InvalidSessionTimeout);
    }
    world.limits.max_size = 2;
    let (leader, _) = world.stable_pair();
    let token = world.join("");
    assert_eq!(world.join_error(token), GroupError::GroupMaxSizeReached);
    assert_eq!(world.heartbeat(&leader), Ok(()));
}

#[test]
fn the_last_to_leave_empties_the_group_and_the_record_says_so() {
    let mut world = World::new();
    let (leader, follower) = world.stable_pair();
    assert_eq!(world.leave("nobody", None), [Err(GroupError::UnknownMemberId)]);
    assert_eq!(world.leave(&leader.member_id, None), [Ok(())]);
    assert_eq!(world.group.roster().leader(), Some(&follower.member_id));
    assert_eq!(world.leave(&follower.member_id, None), [Ok(())]);
    assert_eq!(world.group.state(), State::Empty);
    let written = world.write_all(Ok(()));
    assert_eq!((written[0].generation, written[0].members.len(), &written[0].leader), (2, 0, &None));
    assert_eq!(written[0].protocol_type.as_deref(), Some("consumer"));
}

#[test]
fn a_static_member_returns_without_a_rebalance_and_fences_its_former_self() {
    let mut world = World::new();
    let (a, b) = (world.join_static("", "one"), world.join_static("", "two"));
    let (leader, follower) = world.settle(a, b);
    let instance = world.group.roster().get(&follower.member_id).unwrap().instance_id.clone().unwrap();

    let token = world.join_static("", &instance);
    assert!(world.parked(token), "answered only when the new id is written");
    let written = world.write_all(Ok(()));
    assert_eq!(
        written[0]
            .members
            .iter()
            .find(|member| member.instance_id.as_ref() == Some(&instance))
            .unwrap()
            .assignment,
        "F"
    );
    let back = world.joined(token);
    assert_eq!((back.generation, &back.leader), (1, &leader.member_id));
    assert_ne!(back.member_id, follower.member_id);
    assert_eq!(world.group.state(), State::Stable);
    let token = world.sync(&back, &[]);
    assert_eq!(world.synced(token), Ok(Bytes::from_static(b"F")));

    let old = Identity { member_id: &follower.member_id, instance_id: Some(&instance) };
    let now = world.now();
    assert_eq!(world.group.heartbeat(old, 1, now), Err(GroupError::FencedInstanceId));
    assert_eq!(world.group.check_commit(old, 1, now), Err(GroupError::FencedInstanceId));
    let fenced = world.join_static(&follower.member_id, &instance);
    assert_eq!(world.join_error(fenced), GroupError::FencedInstanceId);
    assert_eq!(world.leave(&follower.member_id, Some(&instance)), [Err(GroupError::FencedInstanceId)]);
    assert_eq!(world.leave("", Some(&instance)), [Ok(())]);
}

#[test]
fn a_static_leader_returns_and_is_told_not_to_assign() {
    let mut world = World::new();
    let (a, b) = (world.join_static("", "one"), world.join_static("", "two"));
    let (leader, _) = world.settle(a, b);
    let instance = world.group.roster().get(&leader.member_id).unwrap().instance_id.clone().unwrap();
    let token = world.join_static("", &instance);
    world.write_all(Ok(()));
    let back = world.joined(token);
    assert!(back.skip_assignment && back.leader == back.member_id && back.members.len() == 2);

    let mut old_client = world.request("");
    old_client.instance_id = Some(instance);
    old_client.supports_skip_assignment = false;
    let token = world.join_with(old_client);
    world.write_all(Ok(()));
    let again = world.joined(token);
    assert!(!again.skip_assignment && again.leader == back.member_id && again.members.is_empty());
}

#[test]
fn a_static_replacement_that_is_not_written_is_undone() {
    let mut world = World::new();
    let (a, b) = (world.join_static("", "one"), world.join_static("", "two"));
    let (_, follower) = world.settle(a, b);
    let before = world.group.roster().get(&follower.member_id).cloned().unwrap();
    let instance = before.instance_id.clone().unwrap();
    let token = world.join_static("", &instance);
    world.write_all(Err(GroupError::NotCoordinator));
    assert_eq!(world.join_error(token), GroupError::NotCoordinator);
    assert_eq!(world.group.roster().get(&follower.member_id), Some(&before));
    assert_eq!(world.group.roster().static_member(&instance), Some(&follower.member_id));
    assert_eq!(world.heartbeat(&follower), Ok(()));
}

#[test]
fn a_static_member_that_changes_the_protocol_causes_a_rebalance() {
    let mut world = World::new();
    let (a, b) = (world.join_static("", "one"), world.join_static("", "two"));
    for token in [a, b] {
        assert!(world.parked(token));
    }
    world.settle(a, b);
    let mut join = world.request("");
    join.instance_id = Some("one".into());
    join.protocols = vec![protocol("roundrobin", "x"), protocol("range", "x")];
    world.join_with(join);
    // "range" is still all that both support.
    assert_eq!(world.group.state(), State::Stable);
    world.write_all(Ok(()));
    let mut join = world.request("");
    join.instance_id = Some("two".into());
    join.protocols = vec![protocol("roundrobin", "x"), protocol("range", "x")];
    let token = world.join_with(join);
    assert_eq!(world.group.state(), State::PreparingRebalance);
    assert!(world.parked(token));
}

#[test]
fn a_static_member_may_be_away_for_its_session_but_not_longer() {
    let mut world = World::new();
    let (a, b) = (world.join_static("", "one"), world.join_static("", "two"));
    let (leader, follower) = world.settle(a, b);
    world.leave("", Some("nobody"));
    world.advance(9_000);
    assert_eq!(world.heartbeat(&leader), Ok(()));
    assert_eq!(world.group.state(), State::Stable);
    world.advance(2_000);
    assert!(!world.group.roster().contains(&follower.member_id));
    assert_eq!(world.group.state(), State::PreparingRebalance);
}

#[test]
fn commits_are_fenced_by_member_and_generation() {
    let mut world = World::new();
    let nobody = Str::default();
    let stranger = Identity { member_id: &nobody, instance_id: None };
    let now = world.now();
    assert_eq!(world.group.check_commit(stranger, -1, now), Ok(()), "nobody is in the group");
    let (leader, follower) = world.stable_pair();
    let now = world.now();
    assert_eq!(world.group.check_commit(stranger, -1, now), Err(GroupError::UnknownMemberId));
    let member = Identity { member_id: &leader.member_id, instance_id: None };
    assert_eq!(world.group.check_commit(member, 0, now), Err(GroupError::IllegalGeneration));
    assert_eq!(world.group.check_commit(member, 1, now), Ok(()));

    world.join(&leader.member_id);
    assert_eq!(world.group.check_commit(member, 1, now), Ok(()), "while the others join, it may commit");
    world.join(&follower.member_id);
    assert_eq!(world.group.state(), State::CompletingRebalance);
    assert_eq!(world.group.check_commit(member, 2, now), Err(GroupError::RebalanceInProgress));
}

#[test]
fn a_group_comes_back_from_its_record() {
    let mut world = World::new();
    let (leader, follower) = world.stable_pair();
    let snapshot = world.group.snapshot(|member| member.assignment.clone());
    let mut group = ClassicGroup::from_snapshot("g".into(), snapshot.clone());
    assert_eq!(group.snapshot(|member| member.assignment.clone()), snapshot);
    assert_eq!((group.state(), group.generation()), (State::Stable, 1));
    let mut out = Effects::default();
    group.on_loaded(&LIMITS, world.now(), &mut out);
    let from = Identity { member_id: &follower.member_id, instance_id: None };
    assert_eq!(group.heartbeat(from, 1, world.now()), Ok(()));
    let later = Now { monotonic_ms: world.clock + 10_000, ..world.now() };
    group.on_deadline(&LIMITS, later, &mut out);
    assert!(!group.roster().contains(&leader.member_id));
}

#[test]
fn retention_is_counted_as_the_group_uses_its_offsets() {
    let mut world = World::new();
    assert_eq!(world.group.retention_start(5), Some(5), "a group that only stores offsets");
    let (leader, follower) = world.stable_pair();
    assert_eq!(world.group.retention_start(5), None, "the subscription cannot be read");
    world.leave(&leader.member_id, None);
    world.leave(&follower.member_id, None);
    assert_eq!(world.group.retention_start(5), Some(1_007_000));
}
