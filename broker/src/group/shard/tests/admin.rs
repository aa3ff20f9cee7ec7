//! Groups listed, described and removed.

use super::*;
use crate::group::classic::{Leaving, State};

impl World {
    fn ask(&mut self, request: impl FnOnce(Token) -> Request) -> Token {
        let token = self.token();
        let request = request(token);
        self.run(|shard, now, out| shard.handle(request, now, out));
        token
    }

    fn delete(&mut self) -> Token {
        self.ask(|token| Request::Delete { token, group: "g".into() })
    }

    fn deleted(&self, token: Token) -> Option<Result<(), GroupError>> {
        match self.answers.get(&token) {
            Some(ShardAnswer::Delete(answer)) => Some(*answer),
            None => None,
            other => panic!("{other:?}"),
        }
    }

    fn forget(&mut self, partitions: &[(&str, i32)]) -> Token {
        let partitions =
            partitions.iter().map(|(topic, partition)| (Str::from(*topic), *partition)).collect();
        self.ask(|token| Request::DeleteOffsets { token, group: "g".into(), partitions })
    }

    fn forgotten(&self, token: Token) -> Result<Vec<Result<(), GroupError>>, GroupError> {
        match &self.answers[&token] {
            ShardAnswer::DeleteOffsets(answer) => answer.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn leave(&mut self, member: &Str) {
        let leaving = vec![Leaving { member_id: member.clone(), instance_id: None }];
        self.ask(|token| Request::Leave { token, group: "g".into(), leaving });
    }

    fn list(&mut self, states: &[&str], without_classic: bool) -> Vec<ListedGroup> {
        let states = states.iter().map(|state| (*state).to_owned()).collect();
        let token = self.ask(|token| Request::List { token, filter: ListFilter { states, without_classic } });
        let ShardAnswer::List(listed) = self.answers[&token].clone() else { panic!("no list") };
        listed
    }

    fn describe(&mut self, group: &str) -> Option<DescribedGroup> {
        let token = self.ask(|token| Request::Describe { token, group: group.into() });
        let ShardAnswer::Describe(described) = self.answers[&token].clone() else { panic!("not described") };
        described
    }

    /// Somebody else joins, whose answer waits.
    fn joins(&mut self, session_timeout_ms: i32, protocol_type: &str) -> Token {
        let join = |token: Token| Join {
            token,
            member_id: Str::default(),
            fresh_member_id: format!("m{}", token.0).into(),
            instance_id: Some("i".into()),
            client_id: "c".into(),
            client_host: "/h".into(),
            protocol_type: protocol_type.into(),
            protocols: vec![Protocol { name: "range".into(), metadata: subscription("t") }],
            session_timeout_ms,
            rebalance_timeout_ms: 60_000,
            requires_known_member_id: false,
            supports_skip_assignment: false,
            reason: None,
        };
        self.ask(|token| Request::Join { group: "g".into(), join: join(token) })
    }
}

#[test]
fn only_an_empty_group_is_deleted_and_its_offsets_go_with_it() {
    let mut world = World::new();
    let unknown = world.delete();
    assert_eq!(world.deleted(unknown), Some(Err(GroupError::GroupIdNotFound)));
    let (member, generation) = world.member();
    world.commit_as(&member, generation, 0, 10, "", None);
    world.settle();
    let refused = world.delete();
    assert_eq!(world.deleted(refused), Some(Err(GroupError::NonEmptyGroup)));
    world.leave(&member);
    world.settle();
    let deleted = world.delete();
    assert_eq!(world.deleted(deleted), None, "not before the tombstones are safe");
    assert_eq!((world.offset(0), world.shard.groups().count()), (Some(10), 1));
    world.settle();
    assert_eq!(world.deleted(deleted), Some(Ok(())));
    assert_eq!((world.offset(0), world.shard.groups().count()), (None, 0));
    assert_eq!(world.reloaded().groups().count(), 0);
}

#[test]
fn a_deletion_that_is_not_written_changes_nothing() {
    let mut world = World::new();
    world.commit(0, 1);
    world.settle();
    world.refuse = Some(GroupError::NotCoordinator);
    let (group, offset) = (world.delete(), world.forget(&[("t", 0)]));
    assert_eq!(world.deleted(group), Some(Err(GroupError::NotCoordinator)));
    assert_eq!(world.forgotten(offset), Err(GroupError::NotCoordinator));
    assert_eq!((world.offset(0), world.list(&[], false).len()), (Some(1), 1));
}

#[test]
fn a_deletion_that_takes_too_long_is_refused_but_counts_once_it_is_safe() {
    let mut world = World::new();
    world.commit(0, 1);
    world.settle();
    let (offset, group) = (world.forget(&[("t", 0)]), world.delete());
    world.advance(5_000);
    assert_eq!(world.forgotten(offset), Err(GroupError::CoordinatorNotAvailable));
    assert_eq!(world.deleted(group), Some(Err(GroupError::CoordinatorNotAvailable)));
    assert_eq!(world.offset(0), Some(1));
    world.settle();
    assert_eq!((world.offset(0), world.shard.groups().count()), (None, 0));
}

#[test]
fn commits_before_a_deletion_go_with_it_and_later_ones_stay() {
    let mut world = World::new();
    world.commit(0, 1);
    world.settle();
    let before = world.commit(1, 2);
    let deleted = world.delete();
    let after = world.commit(2, 3);
    world.settle();
    assert_eq!((world.commit_answer(before), world.commit_answer(after)), (Some(Ok(())), Some(Ok(()))));
    assert_eq!(world.deleted(deleted), Some(Ok(())));
    assert_eq!([0, 1, 2].map(|partition| world.offset(partition)), [None, None, Some(3)]);
    let loaded = world.reloaded();
    let (group, topic) = (Str::from("g"), Str::from("t"));
    assert_eq!(
        [0, 1, 2].map(|partition| loaded.committed(&group, &topic, partition).is_some()),
        [false, false, true]
    );
}

#[test]
fn who_joins_while_a_group_is_deleted_stays() {
    let mut world = World::new();
    let (member, _) = world.member();
    world.leave(&member);
    world.settle();
    let deleted = world.delete();
    let joining = world.joins(60_000, "consumer");
    world.settle();
    assert_eq!(world.deleted(deleted), Some(Ok(())));
    world.advance(1);
    let ShardAnswer::Join(Ok(joined)) = world.answers[&joining].clone() else { panic!("not joined") };
    assert_eq!(world.list(&["completingrebalance"], false).len(), 1);
    assert_eq!(world.reloaded().groups().count(), 0, "nothing of the new generation is written yet");
    let sync = super::super::super::classic::Sync {
        token: world.token(),
        member_id: joined.member_id.clone(),
        instance_id: Some("i".into()),
        generation: joined.generation,
        protocol_type: None,
        protocol_name: None,
        assignments: BTreeMap::new(),
    };
    world.run(|shard, now, out| shard.handle(Request::Sync { group: "g".into(), sync }, now, out));
    world.settle();
    assert_eq!(world.reloaded().groups().next().map(ClassicGroup::state), Some(State::Stable));
}

#[test]
fn a_group_with_very_many_offsets_goes_in_several_appends() {
    let mut world = World::new();
    for partition in 0..1_234 {
        world.commit(partition, 1);
    }
    world.settle();
    let deleted = world.delete();
    world.settle();
    assert_eq!(world.deleted(deleted), Some(Ok(())));
    assert_eq!((world.shard.groups().count(), world.reloaded().groups().count()), (0, 0));
}

#[test]
fn offsets_of_topics_that_are_consumed_are_kept() {
    let mut world = World::new();
    let unknown = world.forget(&[("t", 0)]);
    assert_eq!(world.forgotten(unknown), Err(GroupError::GroupIdNotFound));
    let (member, generation) = world.member();
    world.commit_as(&member, generation, 0, 10, "", None);
    world.settle();
    let mixed = world.forget(&[("t", 0), ("other", 0)]);
    assert_eq!(world.forgotten(mixed), Ok(vec![Err(GroupError::GroupSubscribedToTopic), Ok(())]));
    assert_eq!(world.offset(0), Some(10));
    world.leave(&member);
    world.settle();
    let twice = world.forget(&[("t", 0), ("t", 0), ("t", 1)]);
    world.settle();
    assert_eq!(world.forgotten(twice), Ok(vec![Ok(()); 3]));
    assert_eq!((world.offset(0), world.reloaded().committed(&"g".into(), &"t".into(), 0)), (None, None));
}

#[test]
fn what_others_than_consumers_use_is_not_known_so_nothing_goes() {
    let mut world = World::new();
    world.joins(60_000, "connect");
    let refused = world.forget(&[("t", 0)]);
    assert_eq!(world.forgotten(refused), Err(GroupError::NonEmptyGroup));
}

#[test]
fn groups_are_listed_by_state_and_type() {
    let mut world = World::new();
    world.commit(0, 1);
    world.settle();
    let simple = ListedGroup { id: "g".into(), protocol_type: None, state: State::Empty };
    assert_eq!(world.list(&[], false), [simple]);
    world.member();
    let stable = ListedGroup { id: "g".into(), protocol_type: Some("consumer".into()), state: State::Stable };
    assert_eq!(world.list(&["stable", "dead"], false), [stable]);
    assert_eq!((world.list(&["empty"], false), world.list(&[], true)), (vec![], vec![]));
}

#[test]
fn a_description_has_the_protocol_while_the_group_is_stable() {
    let mut world = World::new();
    assert_eq!(world.describe("g"), None);
    let (member, _) = world.member();
    let stable = world.describe("g").unwrap();
    assert_eq!((stable.state, stable.protocol_name.as_deref()), (State::Stable, Some("range")));
    let expected = DescribedMember {
        member_id: member,
        instance_id: None,
        client_id: "c".into(),
        client_host: "/h".into(),
        metadata: subscription("t"),
        assignment: Bytes::from_static(b"a"),
    };
    assert_eq!(stable.members, [expected]);
    world.joins(60_000, "consumer");
    let moving = world.describe("g").unwrap();
    assert_eq!((moving.state, moving.protocol_name), (State::PreparingRebalance, None));
    assert!(moving.members.len() == 2 && moving.members.iter().all(|member| member.metadata.is_empty()));
}

#[test]
fn what_is_refused_leaves_no_group_behind() {
    let mut world = World::new();
    let token = world.joins(1, "consumer");
    assert!(
        matches!(&world.answers[&token], ShardAnswer::Join(Err(refused)) if refused.error == GroupError::InvalidSessionTimeout)
    );
    world.refuse = Some(GroupError::NotCoordinator);
    world.commit(0, 1);
    assert_eq!(world.list(&[], false), []);
}

#[test]
fn a_commit_on_its_way_saves_an_offset_from_expiry_and_goes_with_its_topic() {
    let mut world = World::new();
    world.commit(0, 1);
    world.settle();
    world.advance(109_000);
    let renewed = world.commit(0, 2);
    world.advance(2_000);
    world.settle();
    assert_eq!((world.commit_answer(renewed), world.offset(0)), (Some(Ok(())), Some(2)));
    world.commit(1, 2);
    let topics = [("t".into(), Uuid::from_bytes([1; 16]))];
    world.run(|shard, now, out| shard.on_topics_deleted(&topics, now, out));
    world.settle();
    assert_eq!((world.offset(0), world.offset(1)), (None, None));
}
