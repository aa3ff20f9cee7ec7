//! Whatever happens, what is seen is what would be loaded: the state of a shard against the replay of its log.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ottla_wire::Uuid;
use proptest::prelude::*;

use super::*;
use crate::group::classic::{Join, Leaving, Protocol, State, Sync};

const CONFIG: ShardConfig = ShardConfig {
    limits: Limits {
        min_session_timeout_ms: 10,
        max_session_timeout_ms: 1_800_000,
        initial_rebalance_delay_ms: 5,
        max_size: 100,
    },
    offset_metadata_max_bytes: 8,
    offsets_retention_ms: 200,
    retention_check_interval_ms: 40,
    // A write that times out and then succeeds may be in the log alone; that is told apart in `tests`.
    commit_timeout_ms: i64::MAX / 4,
};

const GROUPS: [&str; 3] = ["a", "b", "c"];

#[derive(Debug, Clone)]
enum Event {
    Join { group: usize, member: usize, instance: bool },
    Sync { group: usize, member: usize },
    Leave { group: usize, member: usize },
    Commit { group: usize, member: Option<usize>, partition: i32, offset: i64 },
    Delete { group: usize },
    Forget { group: usize, partition: i32 },
    Pass { ms: i64 },
    Progress { records: usize },
    Disk { works: bool },
}

fn event() -> impl Strategy<Value = Event> {
    let group = 0..GROUPS.len();
    prop_oneof![
        4 => (group.clone(), 0..4_usize, prop::bool::weighted(0.4))
            .prop_map(|(group, member, instance)| Event::Join { group, member, instance }),
        4 => (group.clone(), 0..4_usize).prop_map(|(group, member)| Event::Sync { group, member }),
        1 => (group.clone(), 0..4_usize).prop_map(|(group, member)| Event::Leave { group, member }),
        1 => group.clone().prop_map(|group| Event::Delete { group }),
        1 => (group.clone(), 0..3_i32).prop_map(|(group, partition)| Event::Forget { group, partition }),
        4 => (group, prop::option::of(0..4_usize), 0..3_i32, 0..1_000_i64)
            .prop_map(|(group, member, partition, offset)| Event::Commit { group, member, partition, offset }),
        3 => (1..60_i64).prop_map(|ms| Event::Pass { ms }),
        4 => (0..6_usize).prop_map(|records| Event::Progress { records }),
        1 => prop::bool::weighted(0.7).prop_map(|works| Event::Disk { works }),
    ]
}

struct Model {
    shard: Shard,
    clock: i64,
    tokens: u64,
    log: Vec<GroupRecord>,
    /// Where appends end: the high watermark is never within one.
    ends: BTreeSet<i64>,
    high_watermark: i64,
    disk_works: bool,
    members: BTreeMap<usize, Vec<Str>>,
    asked: BTreeMap<Token, usize>,
    answered: BTreeSet<Token>,
}

impl Model {
    fn new() -> Self {
        Self {
            shard: Shard::new(CONFIG, Now { monotonic_ms: 0, wall_ms: 0 }),
            clock: 0,
            tokens: 0,
            log: Vec::new(),
            ends: BTreeSet::new(),
            high_watermark: 0,
            disk_works: true,
            members: BTreeMap::new(),
            asked: BTreeMap::new(),
            answered: BTreeSet::new(),
        }
    }

    fn now(&self) -> Now {
        Now { monotonic_ms: self.clock, wall_ms: self.clock }
    }

    fn token(&mut self, group: usize) -> Token {
        self.tokens += 1;
        self.asked.insert(Token(self.tokens), group);
        Token(self.tokens)
    }

    fn member(&self, group: usize, member: usize) -> Str {
        self.members.get(&group).and_then(|ids| ids.iter().rev().nth(member)).cloned().unwrap_or_default()
    }

    fn run(&mut self, act: impl FnOnce(&mut Shard, Now, &mut Commands)) -> Result<(), TestCaseError> {
        let now = self.now();
        let mut out = Commands::default();
        act(&mut self.shard, now, &mut out);
        while !out.answers.is_empty() || !out.appends.is_empty() {
            for (token, answer) in std::mem::take(&mut out.answers) {
                prop_assert!(
                    self.asked.contains_key(&token) && self.answered.insert(token),
                    "{token:?} answered twice"
                );
                if let ShardAnswer::Join(Ok(joined)) = answer {
                    let ids = self.members.entry(self.asked[&token]).or_default();
                    ids.retain(|id| *id != joined.member_id);
                    ids.push(joined.member_id);
                }
            }
            for append in std::mem::take(&mut out.appends) {
                let result = if self.disk_works {
                    self.log.extend(append.records);
                    self.ends.insert(i64::try_from(self.log.len()).unwrap());
                    Ok(i64::try_from(self.log.len()).unwrap() - 1)
                } else {
                    Err(GroupError::CoordinatorNotAvailable)
                };
                self.shard.on_append(append.id, result, now, &mut out);
            }
        }
        Ok(())
    }

    fn request(&mut self, request: Request) -> Result<(), TestCaseError> {
        self.run(|shard, now, out| shard.handle(request, now, out))
    }

    fn step(&mut self, event: &Event) -> Result<(), TestCaseError> {
        match event {
            Event::Join { group, member, instance } => {
                let (token, member_id) = (self.token(*group), self.member(*group, *member));
                let held = self.instance_of(*group, &member_id);
                let fresh = instance
                    .then(|| Str::from(format!("i{member}")))
                    .filter(|_| member_id.is_empty() || *member == 3);
                let member_id = if fresh.is_some() { Str::default() } else { member_id };
                let join = Join {
                    token,
                    member_id,
                    fresh_member_id: format!("m{}", token.0).into(),
                    instance_id: fresh.or(held),
                    client_id: "c".into(),
                    client_host: "/h".into(),
                    protocol_type: "consumer".into(),
                    protocols: vec![Protocol { name: "range".into(), metadata: Bytes::from_static(b"m") }],
                    session_timeout_ms: 100,
                    rebalance_timeout_ms: 50,
                    requires_known_member_id: false,
                    supports_skip_assignment: true,
                    reason: None,
                };
                self.request(Request::Join { group: GROUPS[*group].into(), join })
            }
            Event::Sync { group, member } => {
                let (token, member_id) = (self.token(*group), self.member(*group, *member));
                let found = self.shard.groups().find(|found| &**found.id() == GROUPS[*group]);
                let (generation, ids) =
                    found.map_or((0, Vec::new()), |found| (found.generation(), found.roster().ids()));
                let assignments =
                    ids.into_iter().map(|id| (id, Bytes::from(format!("x{generation}")))).collect();
                let instance_id = self.instance_of(*group, &member_id);
                let sync = Sync {
                    token,
                    member_id,
                    instance_id,
                    generation,
                    protocol_type: None,
                    protocol_name: None,
                    assignments,
                };
                self.request(Request::Sync { group: GROUPS[*group].into(), sync })
            }
            Event::Leave { group, member } => {
                let (token, member_id) = (self.token(*group), self.member(*group, *member));
                let instance_id = self.instance_of(*group, &member_id);
                let leaving = vec![Leaving { member_id, instance_id }];
                self.request(Request::Leave { token, group: GROUPS[*group].into(), leaving })
            }
            Event::Commit { group, member, partition, offset } => {
                let token = self.token(*group);
                let member_id = member.map(|member| self.member(*group, member)).unwrap_or_default();
                let found = self.shard.groups().find(|found| &**found.id() == GROUPS[*group]);
                let generation =
                    if member.is_some() { found.map_or(-1, ClassicGroup::generation) } else { -1 };
                let entry = CommitPartition {
                    topic: "t".into(),
                    topic_id: Uuid::ZERO,
                    partition: *partition,
                    offset: *offset,
                    leader_epoch: -1,
                    metadata: Str::default(),
                };
                let instance_id = self.instance_of(*group, &member_id);
                let group = GROUPS[*group].into();
                let commit = Commit {
                    token,
                    group,
                    member_id,
                    instance_id,
                    generation,
                    retention_ms: None,
                    knows_group_id_not_found: true,
                    partitions: vec![entry],
                };
                self.request(Request::Commit(commit))
            }
            Event::Delete { group } => {
                let token = self.token(*group);
                self.request(Request::Delete { token, group: GROUPS[*group].into() })
            }
            Event::Forget { group, partition } => {
                let token = self.token(*group);
                let partitions = vec![("t".into(), *partition)];
                self.request(Request::DeleteOffsets { token, group: GROUPS[*group].into(), partitions })
            }
            Event::Pass { ms } => {
                self.clock += ms;
                self.run(Shard::on_deadline)
            }
            Event::Progress { records } => {
                let most = self.high_watermark + i64::try_from(*records).unwrap();
                self.high_watermark = self.ends.range(..=most).last().copied().unwrap_or(0);
                let high_watermark = self.high_watermark;
                self.run(|shard, now, out| shard.on_high_watermark(high_watermark, now, out))
            }
            Event::Disk { works } => {
                self.disk_works = *works;
                Ok(())
            }
        }
    }

    fn instance_of(&self, group: usize, member_id: &Str) -> Option<Str> {
        let found = self.shard.groups().find(|found| &**found.id() == GROUPS[group])?;
        found.roster().get(member_id)?.instance_id.clone()
    }

    /// The state of who would take over now: the log up to the high watermark.
    fn replayed(&self) -> Shard {
        let mut shard = Shard::new(CONFIG, self.now());
        let safe = usize::try_from(self.high_watermark).unwrap();
        for (offset, record) in self.log.iter().take(safe).enumerate() {
            let (key, value) = record.encode().unwrap();
            shard.replay(
                GroupRecord::decode(Some(key), value).unwrap(),
                i64::try_from(offset).unwrap(),
                None,
                self.now(),
            );
        }
        shard
    }

    /// Committed offsets are exactly those of the safe log, at any time.
    fn check_offsets(&self) -> Result<(), TestCaseError> {
        let replayed = self.replayed();
        for group in GROUPS {
            for partition in 0..3 {
                let (group, topic) = (Str::from(group), Str::from("t"));
                let (seen, safe) = (
                    self.shard.committed(&group, &topic, partition),
                    replayed.committed(&group, &topic, partition),
                );
                prop_assert_eq!(seen, safe);
            }
        }
        Ok(())
    }

    /// Once nothing is in flight, a stable group is stable with the same members for whoever takes over.
    fn check_groups(&self) -> Result<(), TestCaseError> {
        let replayed = self.replayed();
        for group in self.shard.groups().filter(|group| group.state() == State::Stable) {
            let loaded = replayed.groups().find(|loaded| loaded.id() == group.id());
            let Some(loaded) = loaded else {
                return Err(TestCaseError::fail(format!("{} is not in the log", group.id())));
            };
            let members = |group: &ClassicGroup| -> Vec<_> {
                let assigned = group.roster().iter();
                assigned
                    .map(|member| (member.id.clone(), member.instance_id.clone(), member.assignment.clone()))
                    .collect()
            };
            prop_assert_eq!(members(group), members(loaded));
            prop_assert_eq!(group.generation(), loaded.generation());
            prop_assert_eq!(group.roster().leader(), loaded.roster().leader());
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn what_is_seen_is_what_would_be_loaded(events in prop::collection::vec(event(), 1..150)) {
        let mut model = Model::new();
        for event in &events {
            model.step(event)?;
            model.check_offsets()?;
        }
        model.step(&Event::Progress { records: 1_000_000 })?;
        model.check_offsets()?;
        model.check_groups()?;
        // Everybody goes silent: all requests are answered, and what nobody uses is forgotten here and in the log.
        model.step(&Event::Disk { works: true })?;
        for _ in 0..60 {
            model.step(&Event::Pass { ms: 50 })?;
            model.step(&Event::Progress { records: 1_000_000 })?;
        }
        prop_assert_eq!(model.asked.len(), model.answered.len());
        prop_assert_eq!(model.shard.groups().count(), 0);
        let mut loaded = model.replayed();
        loaded.on_loaded(model.now(), &mut Commands::default());
        prop_assert_eq!(loaded.groups().count(), 0);
    }
}
