//! Groups over the wire: every version of every request, members that share, offsets that survive a restart.

use std::time::Duration;

use crate::common::{Client, TestNode};
use ottla_wire::messages::delete_groups_request::DeleteGroupsRequest;
use ottla_wire::messages::describe_groups_request::DescribeGroupsRequest;
use ottla_wire::messages::find_coordinator_request::FindCoordinatorRequest;
use ottla_wire::messages::heartbeat_request::HeartbeatRequest;
use ottla_wire::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use ottla_wire::messages::join_group_response::JoinGroupResponse;
use ottla_wire::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use ottla_wire::messages::list_groups_request::ListGroupsRequest;
use ottla_wire::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use ottla_wire::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_wire::messages::offset_delete_request::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use ottla_wire::messages::offset_fetch_request::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use ottla_wire::messages::sync_group_request::{SyncGroupRequest, SyncGroupRequestAssignment};
use ottla_wire::{ApiKey, ErrorCode, Str, Uuid};

/// Asks for the coordinator until there is one that has loaded its groups.
async fn ready(client: &mut Client, group: &str) {
    for _ in 0..200 {
        let find = FindCoordinatorRequest { key: group.into(), ..Default::default() };
        let found = client.call(&find, 0).await;
        if found.error_code == 0 {
            let fetched = fetch_all(client, group, 7).await;
            if fetched.0 == 0 {
                return;
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no coordinator for {group}");
}

async fn topic_id(client: &mut Client, topic: &str) -> Uuid {
    let topic = MetadataRequestTopic { name: Some(topic.into()), ..Default::default() };
    let request = MetadataRequest { topics: Some(vec![topic]), ..Default::default() };
    client.call(&request, 12).await.topics[0].topic_id
}

fn join(group: &str, member_id: &str, instance_id: Option<&str>) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol {
        name: "range".into(),
        metadata: vec![1, 2, 3].into(),
        ..Default::default()
    };
    JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        member_id: member_id.into(),
        group_instance_id: instance_id.map(Str::from),
        protocol_type: "consumer".into(),
        protocols: vec![protocol],
        ..Default::default()
    }
}

/// Joins in one step or two, as the version wants.
async fn join_fully(client: &mut Client, group: &str, version: i16) -> JoinGroupResponse {
    let first = client.call(&join(group, "", None), version).await;
    if first.error_code == ErrorCode::MemberIdRequired.code() {
        return client.call(&join(group, &first.member_id, None), version).await;
    }
    first
}

fn sync(group: &str, joined: &JoinGroupResponse, version: i16, assign: &[(&str, &[u8])]) -> SyncGroupRequest {
    let assignment = |(member, bytes): &(&str, &[u8])| SyncGroupRequestAssignment {
        member_id: (*member).into(),
        assignment: bytes.to_vec().into(),
        ..Default::default()
    };
    SyncGroupRequest {
        group_id: group.into(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        protocol_type: (version >= 5).then(|| "consumer".into()),
        protocol_name: (version >= 5).then(|| "range".into()),
        assignments: assign.iter().map(assignment).collect(),
        ..Default::default()
    }
}

fn heartbeat(group: &str, joined: &JoinGroupResponse) -> HeartbeatRequest {
    HeartbeatRequest {
        group_id: group.into(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        ..Default::default()
    }
}

fn leave(group: &str, member_id: &str, version: i16) -> LeaveGroupRequest {
    let member = MemberIdentity { member_id: member_id.into(), ..Default::default() };
    if version >= 3 {
        LeaveGroupRequest { group_id: group.into(), members: vec![member], ..Default::default() }
    } else {
        LeaveGroupRequest { group_id: group.into(), member_id: member_id.into(), ..Default::default() }
    }
}

async fn commit(
    client: &mut Client,
    group: &str,
    member: Option<&JoinGroupResponse>,
    topic: (&str, Uuid),
    offset: i64,
    version: i16,
) -> i16 {
    let partition = OffsetCommitRequestPartition {
        partition_index: 0,
        committed_offset: offset,
        committed_leader_epoch: 2,
        committed_metadata: Some("note".into()),
        ..Default::default()
    };
    let entry = OffsetCommitRequestTopic {
        name: if version < 10 { topic.0.into() } else { Str::default() },
        topic_id: if version < 10 { Uuid::ZERO } else { topic.1 },
        partitions: vec![partition],
        ..Default::default()
    };
    let request = OffsetCommitRequest {
        group_id: group.into(),
        generation_id_or_member_epoch: member.map_or(-1, |member| member.generation_id),
        member_id: member.map(|member| member.member_id.clone()).unwrap_or_default(),
        topics: vec![entry],
        ..Default::default()
    };
    client.call(&request, version).await.topics[0].partitions[0].error_code
}

/// The committed offset and metadata of partition 0, or the error.
async fn fetch(
    client: &mut Client,
    group: &str,
    topic: (&str, Uuid),
    version: i16,
) -> Result<(i64, String), i16> {
    if version < 8 {
        let wanted = OffsetFetchRequestTopic {
            name: topic.0.into(),
            partition_indexes: vec![0],
            ..Default::default()
        };
        let request =
            OffsetFetchRequest { group_id: group.into(), topics: Some(vec![wanted]), ..Default::default() };
        let response = client.call(&request, version).await;
        assert_eq!(response.error_code, 0);
        let partition = &response.topics[0].partitions[0];
        let found = (partition.committed_offset, partition.metadata.clone().unwrap_or_default().to_string());
        return if partition.error_code == 0 { Ok(found) } else { Err(partition.error_code) };
    }
    let wanted = OffsetFetchRequestTopics {
        name: if version < 10 { topic.0.into() } else { Str::default() },
        topic_id: if version < 10 { Uuid::ZERO } else { topic.1 },
        partition_indexes: vec![0],
        ..Default::default()
    };
    let wanted =
        OffsetFetchRequestGroup { group_id: group.into(), topics: Some(vec![wanted]), ..Default::default() };
    let request = OffsetFetchRequest { groups: vec![wanted], require_stable: true, ..Default::default() };
    let response = client.call(&request, version).await;
    assert_eq!(response.groups[0].error_code, 0);
    let partition = &response.groups[0].topics[0].partitions[0];
    let found = (partition.committed_offset, partition.metadata.clone().unwrap_or_default().to_string());
    if partition.error_code == 0 { Ok(found) } else { Err(partition.error_code) }
}

/// Error, and everything that the group has committed.
async fn fetch_all(client: &mut Client, group: &str, version: i16) -> (i16, Vec<(String, i32, i64)>) {
    let request = OffsetFetchRequest { group_id: group.into(), topics: None, ..Default::default() };
    let response = client.call(&request, version).await;
    let offsets = response.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|p| (topic.name.to_string(), p.partition_index, p.committed_offset))
    });
    (response.error_code, offsets.collect())
}

/// No delay for the first members, and sessions as short as tests.
const SETTINGS: &[(&str, &str)] =
    &[("group.initial.rebalance.delay.ms", "0"), ("group.min.session.timeout.ms", "200")];

async fn start(overrides: &[(&str, &str)]) -> TestNode {
    TestNode::start_with(&[SETTINGS, overrides].concat()).await
}

#[tokio::test]
async fn a_member_goes_through_its_life_in_every_version() {
    let node = start(&[]).await;
    let mut client = node.client().await;
    for version in 0..=9_i16 {
        let group = format!("life-{version}");
        ready(&mut client, &group).await;
        let (sync_version, other_version) = (version.min(5), version.min(4));
        let joined = join_fully(&mut client, &group, version).await;
        assert_eq!((joined.error_code, joined.generation_id), (0, 1), "version {version}");
        assert_eq!(joined.leader, joined.member_id);
        assert_eq!((joined.members.len(), &*joined.members[0].metadata), (1, &[1, 2, 3][..]));
        assert_eq!(joined.protocol_name.as_deref(), Some("range"));

        let assign = [(&*joined.member_id, &b"all"[..])];
        let synced = client.call(&sync(&group, &joined, sync_version, &assign), sync_version).await;
        assert_eq!((synced.error_code, &*synced.assignment), (0, &b"all"[..]), "version {version}");
        let beat = client.call(&heartbeat(&group, &joined), other_version).await;
        assert_eq!(beat.error_code, 0);
        let leave_version = version.min(5);
        let left = client.call(&leave(&group, &joined.member_id, leave_version), leave_version).await;
        assert_eq!(left.error_code, 0);
        let beat = client.call(&heartbeat(&group, &joined), other_version).await;
        assert_eq!(beat.error_code, ErrorCode::UnknownMemberId.code());
        let left = client.call(&leave(&group, &joined.member_id, leave_version), leave_version).await;
        let error = left.members.first().map_or(left.error_code, |member| member.error_code);
        assert_eq!(error, ErrorCode::UnknownMemberId.code());
    }
    node.stop().await;
}

#[tokio::test]
async fn offsets_are_stored_and_told_in_every_version_and_survive_a_restart() {
    let node = start(&[]).await;
    let mut client = node.client().await;
    client.create_topic("t", 2, &[]).await;
    let topic = ("t", topic_id(&mut client, "t").await);
    for version in 2..=10_i16 {
        let group = format!("offsets-{version}");
        ready(&mut client, &group).await;
        assert_eq!(fetch(&mut client, &group, topic, version).await, Ok((-1, String::new())));
        assert_eq!(commit(&mut client, &group, None, topic, 100 + i64::from(version), version).await, 0);
        for reading in 1..=10 {
            let found = fetch(&mut client, &group, topic, reading).await;
            assert_eq!(
                found,
                Ok((100 + i64::from(version), "note".to_owned())),
                "written {version}, read {reading}"
            );
        }
    }
    let node = node.restart(SETTINGS).await;
    let mut client = node.client().await;
    for version in 2..=10_i16 {
        let group = format!("offsets-{version}");
        ready(&mut client, &group).await;
        let found = fetch_all(&mut client, &group, 7).await;
        assert_eq!(found, (0, vec![("t".to_owned(), 0, 100 + i64::from(version))]));
    }
    node.stop().await;
}

#[tokio::test]
async fn a_stable_group_survives_a_restart() {
    let node = start(&[]).await;
    let mut client = node.client().await;
    client.create_topic("t", 1, &[]).await;
    let topic = ("t", topic_id(&mut client, "t").await);
    ready(&mut client, "g").await;
    let joined = join_fully(&mut client, "g", 9).await;
    client.call(&sync("g", &joined, 5, &[(&joined.member_id, b"mine")]), 5).await;
    assert_eq!(commit(&mut client, "g", Some(&joined), topic, 5, 9).await, 0);
    let node = node.restart(SETTINGS).await;
    let mut client = node.client().await;
    ready(&mut client, "g").await;
    assert_eq!(client.call(&heartbeat("g", &joined), 4).await.error_code, 0);
    let again = client.call(&sync("g", &joined, 5, &[]), 5).await;
    assert_eq!((again.error_code, &*again.assignment), (0, &b"mine"[..]));
    assert_eq!(commit(&mut client, "g", Some(&joined), topic, 6, 9).await, 0);
    assert_eq!(fetch(&mut client, "g", topic, 9).await, Ok((6, "note".to_owned())));
    node.stop().await;
}

#[tokio::test]
async fn two_members_share_and_one_takes_over() {
    let node = start(&[("group.initial.rebalance.delay.ms", "300")]).await;
    let (mut one, mut two) = (node.client().await, node.client().await);
    ready(&mut one, "g").await;
    let (first, second) = tokio::join!(join_fully(&mut one, "g", 9), join_fully(&mut two, "g", 9));
    assert_eq!((first.error_code, second.error_code), (0, 0));
    assert_eq!((first.generation_id, second.generation_id), (1, 1));
    let leads = first.leader == first.member_id;
    let (leader, follower) = if leads { (&first, &second) } else { (&second, &first) };
    let (leading, following) = if leads { (&mut one, &mut two) } else { (&mut two, &mut one) };
    assert_eq!((leader.members.len(), follower.members.len()), (2, 0));

    following.send(&sync("g", follower, 5, &[]), 5).await;
    let assign = [(&*leader.member_id, &b"L"[..]), (&*follower.member_id, &b"F"[..])];
    let synced = leading.call(&sync("g", leader, 5, &assign), 5).await;
    let (_, other) = following.receive::<SyncGroupRequest>(5).await;
    assert_eq!((&*synced.assignment, &*other.assignment), (&b"L"[..], &b"F"[..]));

    leading.call(&leave("g", &leader.member_id, 5), 5).await;
    let beat = following.call(&heartbeat("g", follower), 4).await;
    assert_eq!(beat.error_code, ErrorCode::RebalanceInProgress.code());
    let alone = following.call(&join("g", &follower.member_id, None), 9).await;
    assert_eq!((alone.error_code, alone.generation_id, &alone.leader), (0, 2, &follower.member_id));
    node.stop().await;
}

#[tokio::test]
async fn a_member_that_stops_its_heartbeats_is_removed() {
    let node = start(&[]).await;
    let mut client = node.client().await;
    ready(&mut client, "g").await;
    let mut short = join("g", "", None);
    short.session_timeout_ms = 200;
    let first = client.call(&short, 9).await;
    short.member_id = first.member_id.clone();
    let joined = client.call(&short, 9).await;
    client.call(&sync("g", &joined, 5, &[]), 5).await;
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        if client.call(&heartbeat("g", &joined), 4).await.error_code == ErrorCode::UnknownMemberId.code() {
            node.stop().await;
            return;
        }
    }
    panic!("still there");
}

#[tokio::test]
async fn a_static_member_comes_back_to_its_place() {
    let node = start(&[]).await;
    let mut client = node.client().await;
    ready(&mut client, "g").await;
    let joined = client.call(&join("g", "", Some("i")), 9).await;
    assert_eq!(joined.error_code, 0);
    client.call(&sync("g", &joined, 5, &[(&joined.member_id, b"kept")]), 5).await;
    let back = client.call(&join("g", "", Some("i")), 9).await;
    assert_eq!((back.error_code, back.generation_id, back.skip_assignment), (0, 1, true));
    assert_ne!(back.member_id, joined.member_id);
    let synced = client.call(&sync("g", &back, 5, &[]), 5).await;
    assert_eq!((synced.error_code, &*synced.assignment), (0, &b"kept"[..]));
    let mut fenced = heartbeat("g", &joined);
    fenced.group_instance_id = Some("i".into());
    assert_eq!(client.call(&fenced, 4).await.error_code, ErrorCode::FencedInstanceId.code());
    node.stop().await;
}

#[tokio::test]
async fn coordinators_are_found_in_every_version_and_nonsense_is_refused() {
    let node = start(&[]).await;
    let mut client = node.client().await;
    ready(&mut client, "g").await;
    let port = i32::from(node.address.port());
    for version in 0..=6_i16 {
        let mut find = FindCoordinatorRequest::default();
        if version < 4 {
            find.key = "g".into();
        } else {
            find.coordinator_keys = vec!["g".into(), "other".into()];
        }
        let found = client.call(&find, version).await;
        if version < 4 {
            assert_eq!((found.error_code, found.port), (0, port));
        } else {
            let keys: Vec<_> = found.coordinators.iter().map(|c| (&*c.key, c.error_code, c.port)).collect();
            assert_eq!(keys, [("g", 0, port), ("other", 0, port)]);
        }
    }
    let share =
        FindCoordinatorRequest { key_type: 2, coordinator_keys: vec!["g:x:0".into()], ..Default::default() };
    assert_eq!(client.call(&share, 6).await.coordinators[0].error_code, ErrorCode::InvalidRequest.code());

    assert_eq!(client.call(&join("", "", None), 9).await.error_code, ErrorCode::InvalidGroupId.code());
    let mut short = join("g", "", None);
    short.session_timeout_ms = 1;
    assert_eq!(client.call(&short, 9).await.error_code, ErrorCode::InvalidSessionTimeout.code());
    let unnamed = SyncGroupRequest { group_id: "g".into(), ..Default::default() };
    assert_eq!(client.call(&unnamed, 5).await.error_code, ErrorCode::InconsistentGroupProtocol.code());
    let nowhere = ("nowhere", Uuid::from_bytes([9; 16]));
    let unknown = ErrorCode::UnknownTopicOrPartition.code();
    assert_eq!(commit(&mut client, "g", None, nowhere, 1, 9).await, unknown);
    assert_eq!(commit(&mut client, "g", None, nowhere, 1, 10).await, ErrorCode::UnknownTopicId.code());
    assert_eq!(fetch(&mut client, "g", nowhere, 10).await, Err(ErrorCode::UnknownTopicId.code()));
    assert_eq!(fetch(&mut client, "g", nowhere, 9).await, Ok((-1, String::new())));
    assert!(ApiKey::JoinGroup.latest_version() >= 9);
    node.stop().await;
}

#[tokio::test]
async fn offsets_of_a_deleted_topic_are_forgotten() {
    use ottla_wire::messages::delete_topics_request::DeleteTopicsRequest;

    let node = start(&[]).await;
    let mut client = node.client().await;
    client.create_topic("t", 1, &[]).await;
    let topic = ("t", topic_id(&mut client, "t").await);
    ready(&mut client, "g").await;
    assert_eq!(commit(&mut client, "g", None, topic, 7, 9).await, 0);
    let delete =
        DeleteTopicsRequest { topic_names: vec!["t".into()], timeout_ms: 10_000, ..Default::default() };
    assert_eq!(client.call(&delete, 5).await.responses[0].error_code, 0);
    for _ in 0..200 {
        if fetch_all(&mut client, "g", 7).await == (0, Vec::new()) {
            node.stop().await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn administrators_see_and_remove_groups_in_every_version() {
    let node = TestNode::start_with(&[("group.initial.rebalance.delay.ms", "0")]).await;
    let mut client = node.client().await;
    client.create_topic("t", 1, &[]).await;
    let id = topic_id(&mut client, "t").await;
    ready(&mut client, "live").await;
    let joined = join_fully(&mut client, "live", 9).await;
    let member = (&*joined.member_id, &b"mine"[..]);
    assert_eq!(client.call(&sync("live", &joined, 5, &[member]), 5).await.error_code, 0);

    for version in ApiKey::ListGroups.versions() {
        let mut request = ListGroupsRequest::default();
        if version >= 4 {
            request.states_filter = vec!["sTABLE".into(), "Dead".into()];
        }
        if version >= 5 {
            request.types_filter = vec!["Classic".into()];
        }
        let listed = client.call(&request, version).await;
        let ids: Vec<&str> = listed.groups.iter().map(|group| &*group.group_id).collect();
        assert_eq!((listed.error_code, ids), (0, vec!["live"]), "version {version}");
        assert_eq!(&*listed.groups[0].group_state, if version >= 4 { "Stable" } else { "" });
    }
    for version in ApiKey::DescribeGroups.versions() {
        let request = DescribeGroupsRequest {
            groups: vec!["live".into(), "nobody".into()],
            include_authorized_operations: version >= 3,
            ..Default::default()
        };
        let described = client.call(&request, version).await.groups;
        let [live, nobody] = &described[..] else { panic!("{described:?}") };
        assert_eq!((&*live.group_state, &*live.protocol_data), ("Stable", "range"), "version {version}");
        assert_eq!(
            (&live.members[0].member_metadata[..], &live.members[0].member_assignment[..]),
            (&[1, 2, 3][..], &b"mine"[..])
        );
        assert_eq!(live.authorized_operations != i32::MIN, version >= 3);
        let unknown = if version >= 6 { ErrorCode::GroupIdNotFound } else { ErrorCode::None };
        assert_eq!((&*nobody.group_state, nobody.error_code), ("Dead", unknown.code()), "version {version}");
    }
    for version in ApiKey::DeleteGroups.versions() {
        assert_eq!(commit(&mut client, "simple", None, ("t", id), 5, 9).await, 0);
        let names = vec!["live".into(), "simple".into(), "nobody".into(), "simple".into()];
        let request = DeleteGroupsRequest { groups_names: names, ..Default::default() };
        let deleted = client.call(&request, version).await;
        let fates: Vec<i16> = deleted.results.iter().map(|result| result.error_code).collect();
        assert_eq!(fates, [ErrorCode::NonEmptyGroup.code(), 0, ErrorCode::GroupIdNotFound.code()]);
    }
    assert_eq!(commit(&mut client, "simple", None, ("t", id), 5, 9).await, 0);
    let partition = |partition_index| OffsetDeleteRequestPartition { partition_index };
    let topic = |name: &str, partitions: &[i32]| OffsetDeleteRequestTopic {
        name: name.into(),
        partitions: partitions.iter().copied().map(partition).collect(),
    };
    let topics = vec![topic("t", &[0, 7]), topic("nowhere", &[0]), topic("t", &[])];
    let request = OffsetDeleteRequest { group_id: "simple".into(), topics };
    let forgotten = client.call(&request, 0).await;
    let fates: Vec<i16> = forgotten
        .topics
        .iter()
        .flat_map(|topic| &topic.partitions)
        .map(|partition| partition.error_code)
        .collect();
    let unknown = ErrorCode::UnknownTopicOrPartition.code();
    assert_eq!((forgotten.error_code, fates), (0, vec![0, unknown, unknown]));
    assert_eq!(forgotten.topics.len(), 2, "nothing is said of what nothing is asked about");
    node.stop().await;
}
