//! Scenarios of a whole partition: what is seen before and after the log is safe, expiry, replay.

mod admin;

use std::collections::HashMap;

use bytes::Bytes;
use ottla_wire::Uuid;

use super::*;
use crate::config::Config;
use crate::group::classic::{Join, Protocol};
use crate::group::coordinator::shard_config;

const CONFIG: ShardConfig = ShardConfig {
    limits: Limits {
        min_session_timeout_ms: 6_000,
        max_session_timeout_ms: 1_800_000,
        initial_rebalance_delay_ms: 0,
        max_size: 100,
    },
    offset_metadata_max_bytes: 8,
    offsets_retention_ms: 100_000,
    retention_check_interval_ms: 10_000,
    commit_timeout_ms: 5_000,
};

/// A shard with a log in memory.
struct World {
    shard: Shard,
    clock: i64,
    tokens: u64,
    answers: HashMap<Token, ShardAnswer>,
    log: Vec<GroupRecord>,
    refuse: Option<GroupError>,
    high_watermark: i64,
}

impl World {
    fn new() -> Self {
        Self::with(CONFIG)
    }

    /// As a broker with these settings has it.
    fn configured(settings: &[(&str, &str)]) -> Self {
        Self::with(shard_config(&Config::from_overrides(settings).unwrap()))
    }

    fn with(config: ShardConfig) -> Self {
        let shard = Shard::new(config, Now { monotonic_ms: 0, wall_ms: 0 });
        Self {
            shard,
            clock: 0,
            tokens: 0,
            answers: HashMap::new(),
            log: Vec::new(),
            refuse: None,
            high_watermark: 0,
        }
    }

    fn now(&self) -> Now {
        Now { monotonic_ms: self.clock, wall_ms: self.clock }
    }

    fn run(&mut self, event: impl FnOnce(&mut Shard, Now, &mut Commands)) {
        let now = self.now();
        let mut out = Commands::default();
        event(&mut self.shard, now, &mut out);
        while !out.answers.is_empty() || !out.appends.is_empty() {
            for (token, answer) in std::mem::take(&mut out.answers) {
                assert!(self.answers.insert(token, answer).is_none(), "{token:?} answered twice");
            }
            for append in std::mem::take(&mut out.appends) {
                let result = match self.refuse {
                    Some(error) => Err(error),
                    None => {
                        self.log.extend(append.records);
                        Ok(i64::try_from(self.log.len()).unwrap() - 1)
                    }
                };
                self.shard.on_append(append.id, result, now, &mut out);
            }
        }
    }

    fn token(&mut self) -> Token {
        self.tokens += 1;
        Token(self.tokens)
    }

    fn settle(&mut self) {
        self.high_watermark = i64::try_from(self.log.len()).unwrap();
        let high_watermark = self.high_watermark;
        self.run(|shard, now, out| shard.on_high_watermark(high_watermark, now, out));
    }

    fn advance(&mut self, ms: i64) {
        let until = self.clock + ms;
        while self.shard.next_deadline() <= until {
            self.clock = self.clock.max(self.shard.next_deadline());
            self.run(Shard::on_deadline);
        }
        self.clock = until;
    }

    fn commit(&mut self, partition: i32, offset: i64) -> Token {
        self.commit_as("", -1, partition, offset, "m", None)
    }

    fn commit_as(
        &mut self,
        member: &str,
        generation: i32,
        partition: i32,
        offset: i64,
        metadata: &str,
        retention_ms: Option<i64>,
    ) -> Token {
        let token = self.token();
        let entry = CommitPartition {
            topic: "t".into(),
            topic_id: Uuid::from_bytes([1; 16]),
            partition,
            offset,
            leader_epoch: 3,
            metadata: metadata.into(),
        };
        let commit = Commit {
            token,
            group: "g".into(),
            member_id: member.into(),
            instance_id: None,
            generation,
            retention_ms,
            knows_group_id_not_found: true,
            partitions: vec![entry],
        };
        self.run(|shard, now, out| shard.handle(Request::Commit(commit), now, out));
        token
    }

    fn fetch(&mut self, partition: i32, require_stable: bool) -> Token {
        let token = self.token();
        let topic = WantedTopic { name: "t".into(), topic_id: Uuid::ZERO, partitions: vec![partition] };
        let fetch = Fetch { token, group: "g".into(), topics: Some(vec![topic]), require_stable };
        self.run(|shard, now, out| shard.handle(Request::Fetch(fetch), now, out));
        token
    }

    fn fetched(&self, token: Token) -> Option<i64> {
        match &self.answers[&token] {
            ShardAnswer::Fetch(Ok(topics)) => match &topics[0].partitions[0].1 {
                FetchedOffset::Committed(offset) => Some(offset.offset),
                FetchedOffset::Absent => None,
                FetchedOffset::Unstable => panic!("unstable"),
            },
            other => panic!("{other:?}"),
        }
    }

    fn offset(&mut self, partition: i32) -> Option<i64> {
        let token = self.fetch(partition, false);
        self.fetched(token)
    }

    fn commit_answer(&self, token: Token) -> Option<Result<(), GroupError>> {
        match self.answers.get(&token) {
            Some(ShardAnswer::Commit(Ok(fates))) => Some(fates[0]),
            Some(ShardAnswer::Commit(Err(error))) => Some(Err(*error)),
            None => None,
            other => panic!("{other:?}"),
        }
    }

    /// A member alone in a stable group.
    fn member(&mut self) -> (Str, i32) {
        let token = self.token();
        let join = Join {
            token,
            member_id: Str::default(),
            fresh_member_id: format!("m{}", token.0).into(),
            instance_id: None,
            client_id: "c".into(),
            client_host: "/h".into(),
            protocol_type: "consumer".into(),
            protocols: vec![Protocol { name: "range".into(), metadata: subscription("t") }],
            session_timeout_ms: 60_000,
            rebalance_timeout_ms: 60_000,
            requires_known_member_id: false,
            supports_skip_assignment: false,
            reason: None,
        };
        self.run(|shard, now, out| shard.handle(Request::Join { group: "g".into(), join }, now, out));
        self.advance(1);
        let ShardAnswer::Join(Ok(joined)) = self.answers[&token].clone() else { panic!("not joined") };
        let sync = super::super::classic::Sync {
            token: self.token(),
            member_id: joined.member_id.clone(),
            instance_id: None,
            generation: joined.generation,
            protocol_type: None,
            protocol_name: None,
            assignments: BTreeMap::from([(joined.member_id.clone(), Bytes::from_static(b"a"))]),
        };
        self.run(|shard, now, out| shard.handle(Request::Sync { group: "g".into(), sync }, now, out));
        self.settle();
        (joined.member_id, joined.generation)
    }

    fn reloaded(&self) -> Shard {
        let mut shard = Shard::new(CONFIG, self.now());
        for (offset, record) in self.log.iter().enumerate() {
            let (key, value) = record.encode().unwrap();
            let record = GroupRecord::decode(Some(key), value).unwrap();
            shard.replay(record, i64::try_from(offset).unwrap(), None, self.now());
        }
        shard.on_loaded(self.now(), &mut Commands::default());
        shard
    }
}

fn subscription(topic: &str) -> Bytes {
    let mut bytes = vec![0, 0, 0, 0, 0, 1, 0, u8::try_from(topic.len()).unwrap()];
    bytes.extend(topic.as_bytes());
    bytes.extend([255; 4]);
    bytes.into()
}

#[test]
fn a_commit_is_seen_when_the_high_watermark_has_passed_it() {
    let mut world = World::new();
    let commit = world.commit(0, 42);
    assert_eq!((world.commit_answer(commit), world.offset(0)), (None, None));
    let patient = world.fetch(0, true);
    assert!(!world.answers.contains_key(&patient), "a stable read waits for the commit before it");
    world.settle();
    assert_eq!((world.commit_answer(commit), world.offset(0)), (Some(Ok(())), Some(42)));
    assert_eq!(world.fetched(patient), Some(42));
}

#[test]
fn a_commit_that_is_not_written_leaves_no_trace() {
    let mut world = World::new();
    world.commit(0, 1);
    world.settle();
    world.refuse = Some(GroupError::NotCoordinator);
    let commit = world.commit(0, 2);
    assert_eq!(
        (world.commit_answer(commit), world.offset(0)),
        (Some(Err(GroupError::NotCoordinator)), Some(1))
    );
}

#[test]
fn a_commit_that_takes_too_long_is_refused_but_counts_once_it_is_safe() {
    let mut world = World::new();
    let commit = world.commit(0, 7);
    let patient = world.fetch(0, true);
    world.advance(5_000);
    assert_eq!(world.commit_answer(commit), Some(Err(GroupError::CoordinatorNotAvailable)));
    assert_eq!(world.answers[&patient], ShardAnswer::Fetch(Err(GroupError::CoordinatorNotAvailable)));
    assert_eq!(world.offset(0), None);
    world.settle();
    assert_eq!(world.offset(0), Some(7));
}

#[test]
fn a_commit_waits_for_replicas_as_long_as_configured() {
    for (settings, waits) in [(&[][..], true), (&[("offsets.commit.timeout.ms", "4000")], false)] {
        let mut world = World::configured(settings);
        let commit = world.commit(0, 7);
        world.advance(4_500);
        assert_eq!(world.commit_answer(commit).is_none(), waits, "{settings:?}");
        world.advance(500);
        assert_eq!(world.commit_answer(commit), Some(Err(GroupError::CoordinatorNotAvailable)));
    }
}

#[test]
fn offsets_expire_when_and_as_often_as_configured() {
    const MINUTE: i64 = 60_000;
    for (settings, kept, gone) in [
        (&[][..], (7 * 24 * 60 - 1) * MINUTE, (7 * 24 * 60 + 10) * MINUTE),
        (&[("offsets.retention.minutes", "1")], 9 * MINUTE, 10 * MINUTE),
        (
            &[("offsets.retention.minutes", "1"), ("offsets.retention.check.interval.ms", "2000")],
            59_000,
            62_000,
        ),
    ] {
        let mut world = World::configured(settings);
        world.commit(0, 1);
        world.settle();
        world.advance(kept);
        world.settle();
        assert_eq!(world.offset(0), Some(1), "{settings:?}");
        world.advance(gone - kept);
        world.settle();
        assert_eq!(world.offset(0), None, "{settings:?}");
    }
}

#[test]
fn commits_of_members_are_checked_and_metadata_is_bounded() {
    let mut world = World::new();
    let unknown = world.commit_as("m", 1, 0, 1, "", None);
    assert_eq!(world.commit_answer(unknown), Some(Err(GroupError::GroupIdNotFound)));
    let (member, generation) = world.member();
    let stale = world.commit_as(&member, generation - 1, 0, 1, "", None);
    assert_eq!(world.commit_answer(stale), Some(Err(GroupError::IllegalGeneration)));
    let long = world.commit_as(&member, generation, 0, 1, "123456789", None);
    assert_eq!(world.commit_answer(long), Some(Err(GroupError::OffsetMetadataTooLarge)));
    let good = world.commit_as(&member, generation, 0, 1, "12345678", None);
    world.settle();
    assert_eq!(world.commit_answer(good), Some(Ok(())));
    let outsider = world.commit(0, 5);
    assert_eq!(world.commit_answer(outsider), Some(Err(GroupError::UnknownMemberId)));
}

#[test]
fn what_is_in_the_log_comes_back() {
    let mut world = World::new();
    let (member, generation) = world.member();
    world.commit_as(&member, generation, 0, 10, "x", None);
    world.commit_as(&member, generation, 1, 11, "y", None);
    world.settle();
    world.shard = world.reloaded();
    assert_eq!((world.offset(0), world.offset(1)), (Some(10), Some(11)));
    let group = world.shard.groups().next().unwrap().clone();
    assert_eq!((group.generation(), group.roster().ids()), (generation, vec![member.clone()]));
    let more = world.commit_as(&member, generation, 0, 12, "", None);
    world.settle();
    assert_eq!((world.commit_answer(more), world.offset(0)), (Some(Ok(())), Some(12)));
}

#[test]
fn offsets_expire_when_their_group_has_been_empty_for_the_retention() {
    let mut world = World::new();
    let (member, generation) = world.member();
    world.commit_as(&member, generation, 0, 10, "", None);
    world.settle();
    world.advance(59_000);
    let leaving = vec![crate::group::classic::Leaving { member_id: member, instance_id: None }];
    let token = world.token();
    world.run(|shard, now, out| shard.handle(Request::Leave { token, group: "g".into(), leaving }, now, out));
    world.settle();
    world.advance(99_000);
    world.settle();
    assert_eq!(world.offset(0), Some(10), "99 s after the group became empty");
    world.advance(11_000);
    world.settle();
    assert_eq!(world.offset(0), None);
    world.advance(10_000);
    world.settle();
    assert_eq!(world.shard.groups().count(), 0);
    assert_eq!(world.reloaded().groups().count(), 0, "the log says so too");
}

#[test]
fn offsets_of_a_group_without_members_expire_by_their_own_age_or_wish() {
    let mut world = World::new();
    world.commit(0, 1);
    world.commit_as("", -1, 1, 2, "", Some(30_000));
    world.settle();
    world.advance(60_000);
    world.settle();
    assert_eq!((world.offset(0), world.offset(1)), (Some(1), None));
    world.commit(0, 3);
    world.settle();
    world.advance(60_000);
    world.settle();
    assert_eq!(world.offset(0), Some(3), "committed again");
}

#[test]
fn a_failed_expiry_is_tried_again() {
    let mut world = World::new();
    world.commit(0, 1);
    world.settle();
    world.refuse = Some(GroupError::CoordinatorNotAvailable);
    world.advance(120_000);
    assert_eq!(world.offset(0), Some(1));
    world.refuse = None;
    world.advance(10_000);
    world.settle();
    assert_eq!(world.offset(0), None);
}

#[test]
fn the_offsets_of_a_deleted_topic_go_with_it() {
    let mut world = World::new();
    world.commit(0, 1);
    world.settle();
    let other = [("t".into(), Uuid::from_bytes([2; 16]))];
    world.run(|shard, now, out| shard.on_topics_deleted(&other, now, out));
    world.settle();
    assert_eq!(world.offset(0), Some(1), "another topic of that name");
    let this = [("t".into(), Uuid::from_bytes([1; 16]))];
    world.run(|shard, now, out| shard.on_topics_deleted(&this, now, out));
    world.settle();
    assert_eq!(world.offset(0), None);
}

#[test]
fn closing_answers_everybody_who_waits() {
    let mut world = World::new();
    world.member();
    let commit = world.commit_as("m1", 1, 0, 1, "", None);
    let join = world.token();
    let request = Join {
        token: join,
        member_id: Str::default(),
        fresh_member_id: "late".into(),
        instance_id: None,
        client_id: "c".into(),
        client_host: "/h".into(),
        protocol_type: "consumer".into(),
        protocols: vec![Protocol { name: "range".into(), metadata: Bytes::new() }],
        session_timeout_ms: 60_000,
        rebalance_timeout_ms: 60_000,
        requires_known_member_id: false,
        supports_skip_assignment: false,
        reason: None,
    };
    world.run(|shard, now, out| shard.handle(Request::Join { group: "g".into(), join: request }, now, out));
    let mut out = Commands::default();
    let empty = Shard::new(CONFIG, world.now());
    let shard = std::mem::replace(&mut world.shard, empty);
    shard.close(GroupError::NotCoordinator, world.now(), &mut out);
    let tokens: Vec<Token> = out.answers.iter().map(|(token, _)| *token).collect();
    assert!(tokens.contains(&commit) && tokens.contains(&join), "{tokens:?}");
}

#[test]
fn requests_about_unknown_groups_are_refused() {
    let mut world = World::new();
    let token = world.token();
    let group = Str::from("nowhere");
    let heartbeat = Request::Heartbeat {
        token,
        group: group.clone(),
        member_id: "m".into(),
        instance_id: None,
        generation: 1,
    };
    world.run(|shard, now, out| shard.handle(heartbeat, now, out));
    assert_eq!(world.answers[&token], ShardAnswer::Heartbeat(Err(GroupError::UnknownMemberId)));
    let token = world.token();
    let leaving = vec![crate::group::classic::Leaving { member_id: "m".into(), instance_id: None }];
    world.run(|shard, now, out| shard.handle(Request::Leave { token, group, leaving }, now, out));
    assert_eq!(world.answers[&token], ShardAnswer::Leave(Ok(vec![Err(GroupError::UnknownMemberId)])));
    assert_eq!(world.offset(0), None);
    assert_eq!(world.shard.groups().count(), 0);
}
