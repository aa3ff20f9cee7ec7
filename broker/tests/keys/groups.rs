//! Groups and their offsets.

use std::time::{Duration, Instant};

use ottla_wire::messages::join_group_request::JoinGroupRequestProtocol;
use ottla_wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use ottla_wire::messages::{
    FindCoordinatorRequest, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, MetadataRequest,
    OffsetCommitRequest,
};
use ottla_wire::{ErrorCode, Str};

use crate::common::{Client, PATIENCE, TestNode};

/// Joins in two steps; tries again while the coordinator is not there.
async fn join(client: &mut Client, group: &str, session_timeout_ms: i32) -> JoinGroupResponse {
    let protocol = JoinGroupRequestProtocol { name: "range".into(), ..Default::default() };
    let mut request = JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms,
        rebalance_timeout_ms: 10_000,
        protocol_type: "consumer".into(),
        protocols: vec![protocol],
        ..Default::default()
    };
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        let answer = client.call(&request, 7).await;
        match ErrorCode::try_from(answer.error_code).unwrap() {
            ErrorCode::MemberIdRequired => request.member_id = answer.member_id,
            ErrorCode::NotCoordinator | ErrorCode::CoordinatorLoadInProgress => {
                let find = FindCoordinatorRequest { key: group.into(), ..Default::default() };
                client.call(&find, 0).await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            _ => return answer,
        }
    }
    panic!("no coordinator");
}

const AT_ONCE: (&str, &str) = ("group.initial.rebalance.delay.ms", "0");

#[tokio::test(flavor = "multi_thread")]
async fn a_session_timeout_is_within_the_configured_bounds() {
    for (settings, timeout, accepted) in [
        (&[][..], 5_999, false),
        (&[("group.min.session.timeout.ms", "5999")], 5_999, true),
        (&[], 60_000, true),
        (&[("group.max.session.timeout.ms", "59999")], 60_000, false),
    ] {
        let node = TestNode::start_with(&[settings, &[AT_ONCE]].concat()).await;
        let code = join(&mut node.client().await, "g", timeout).await.error_code;
        let expected = if accepted { ErrorCode::None } else { ErrorCode::InvalidSessionTimeout };
        assert_eq!(code, expected.code(), "{settings:?} {timeout}");
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_group_waits_for_members_as_long_as_configured() {
    for (delay, at_least, at_most) in [("0", 0, 1_400), ("1500", 1_400, 20_000)] {
        let node = TestNode::start_with(&[("group.initial.rebalance.delay.ms", delay)]).await;
        let mut client = node.client().await;
        // A refused join: now the coordinator is there.
        join(&mut client, "g", 1).await;
        let began = Instant::now();
        assert_eq!(join(&mut client, "g", 10_000).await.error_code, 0);
        let took = began.elapsed().as_millis();
        assert!((at_least..at_most).contains(&took), "{delay}: {took} ms");
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_has_at_most_the_configured_members() {
    for (settings, refused) in [(&[][..], false), (&[("group.max.size", "1")], true)] {
        let node = TestNode::start_with(&[settings, &[AT_ONCE]].concat()).await;
        let mut first = node.client().await;
        let joined = join(&mut first, "g", 10_000).await;
        let (mut second, keep) = (node.client().await, node);
        let second = tokio::spawn(async move { join(&mut second, "g", 10_000).await.error_code });
        if refused {
            assert_eq!(second.await.unwrap(), ErrorCode::GroupMaxSizeReached.code());
        } else {
            until_rebalance(&mut first, &joined).await;
            second.abort();
        }
        keep.stop().await;
    }
}

/// Returns when the group has begun to take in another member.
async fn until_rebalance(client: &mut Client, joined: &JoinGroupResponse) {
    let request = HeartbeatRequest {
        group_id: "g".into(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        ..Default::default()
    };
    let began = Instant::now();
    while client.call(&request, 4).await.error_code != ErrorCode::RebalanceInProgress.code() {
        assert!(began.elapsed() < PATIENCE, "no rebalance");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metadata_of_an_offset_is_at_most_as_long_as_configured() {
    for (settings, expected) in [
        (&[][..], ErrorCode::None),
        (&[("offset.metadata.max.bytes", "3")], ErrorCode::OffsetMetadataTooLarge),
    ] {
        let node = TestNode::start_with(&[settings, &[AT_ONCE]].concat()).await;
        let mut client = node.client().await;
        client.create_topic("t", 1, &[]).await;
        let joined = join(&mut client, "g", 1).await;
        assert_eq!(joined.error_code, ErrorCode::InvalidSessionTimeout.code(), "the coordinator is there");
        let partition =
            OffsetCommitRequestPartition { committed_metadata: Some("note".into()), ..Default::default() };
        let topic =
            OffsetCommitRequestTopic { name: "t".into(), partitions: vec![partition], ..Default::default() };
        let request = OffsetCommitRequest {
            group_id: "g".into(),
            generation_id_or_member_epoch: -1,
            topics: vec![topic],
            ..Default::default()
        };
        let answer = client.call(&request, 8).await;
        assert_eq!(answer.topics[0].partitions[0].error_code, expected.code(), "{settings:?}");
        node.stop().await;
    }
}

/// Partitions of the offsets topic, replicas of its first one, and whether it could be made at all.
async fn offsets_topic(settings: &[(&str, &str)]) -> Option<(usize, usize)> {
    let node = TestNode::start_with(settings).await;
    let mut client = node.client().await;
    let find = FindCoordinatorRequest { key: "g".into(), ..Default::default() };
    let topic = ottla_wire::messages::metadata_request::MetadataRequestTopic {
        name: Some(Str::from("__consumer_offsets")),
        ..Default::default()
    };
    let metadata = MetadataRequest { topics: Some(vec![topic]), ..Default::default() };
    let mut made = None;
    for _ in 0..20 {
        client.call(&find, 0).await;
        let topic = client.call(&metadata, 8).await.topics.remove(0);
        if topic.error_code == 0 {
            made = Some((topic.partitions.len(), topic.partitions[0].replica_nodes.len()));
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    node.stop().await;
    made
}

#[tokio::test(flavor = "multi_thread")]
async fn the_offsets_topic_is_made_as_configured() {
    assert_eq!(offsets_topic(&[]).await, Some((3, 1)));
    assert_eq!(offsets_topic(&[("offsets.topic.num.partitions", "5")]).await, Some((5, 1)));
    assert_eq!(offsets_topic(&[("offsets.topic.replication.factor", "2")]).await, None, "there is one node");
}
