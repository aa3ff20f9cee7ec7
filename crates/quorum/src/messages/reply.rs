//! Replies of this node as Kafka's responses.

use bytes::Bytes;
use ottla_wire::messages::{
    AddRaftVoterResponse, RemoveRaftVoterResponse, UpdateRaftVoterResponse,
    begin_quorum_epoch_response as begin, end_quorum_epoch_response as end, fetch_response as fetch,
    fetch_snapshot_response as fetch_snapshot, update_raft_voter_response as update, vote_response as vote,
};
use ottla_wire::{Records, Str};

use super::{METADATA_TOPIC_ID, QuorumResponse};
use crate::METADATA_TOPIC;
use crate::raft::message::{FetchReply, FetchSnapshot, Leader, Reply, ReplyBody};
use crate::voters::VoterEndpoint;

/// What the log adds to a reply.
#[derive(Clone, Debug, Default)]
pub(crate) struct Payload {
    /// Batches, or a piece of a snapshot.
    pub bytes: Bytes,
    /// Size of the snapshot.
    pub size: i64,
    /// High watermark, -1 if it is not known.
    pub high_watermark: i64,
    /// Start of the log.
    pub log_start: i64,
}

/// The response to a request, with what was read for it. `listener` is the one that the nodes use among themselves.
pub(crate) fn encode(reply: Reply, payload: Payload, listener: &Str) -> QuorumResponse {
    let error_code = reply.error.code();
    let leader_id = reply.leader.as_ref().map_or(-1, |leader| leader.id);
    let leader_epoch = reply.epoch;
    let endpoint = reply.leader.as_ref().and_then(|leader| endpoint_of(leader, listener));
    let topic_name = Str::from(METADATA_TOPIC);
    match reply.body {
        ReplyBody::Vote { granted } => {
            let partition = vote::PartitionData {
                error_code,
                leader_id,
                leader_epoch,
                vote_granted: granted,
                ..Default::default()
            };
            let topics =
                vec![vote::TopicData { topic_name, partitions: vec![partition], ..Default::default() }];
            let node_endpoints = endpoint.into_iter().map(|(node_id, host, port)| vote::NodeEndpoint {
                node_id,
                host,
                port,
                ..Default::default()
            });
            QuorumResponse::Vote(vote::VoteResponse {
                topics,
                node_endpoints: node_endpoints.collect(),
                ..Default::default()
            })
        }
        ReplyBody::BeginEpoch => {
            let partition =
                begin::PartitionData { error_code, leader_id, leader_epoch, ..Default::default() };
            let topics =
                vec![begin::TopicData { topic_name, partitions: vec![partition], ..Default::default() }];
            let node_endpoints = endpoint.into_iter().map(|(node_id, host, port)| begin::NodeEndpoint {
                node_id,
                host,
                port,
                ..Default::default()
            });
            QuorumResponse::BeginQuorumEpoch(begin::BeginQuorumEpochResponse {
                topics,
                node_endpoints: node_endpoints.collect(),
                ..Default::default()
            })
        }
        ReplyBody::EndEpoch => {
            let partition = end::PartitionData { error_code, leader_id, leader_epoch, ..Default::default() };
            let topics =
                vec![end::TopicData { topic_name, partitions: vec![partition], ..Default::default() }];
            let node_endpoints = endpoint.into_iter().map(|(node_id, host, port)| end::NodeEndpoint {
                node_id,
                host,
                port,
                ..Default::default()
            });
            QuorumResponse::EndQuorumEpoch(end::EndQuorumEpochResponse {
                topics,
                node_endpoints: node_endpoints.collect(),
                ..Default::default()
            })
        }
        ReplyBody::Fetch(body) => {
            let partition = fetch::PartitionData {
                error_code,
                current_leader: fetch::LeaderIdAndEpoch { leader_id, leader_epoch, ..Default::default() },
                ..fetch_partition(body, payload)
            };
            QuorumResponse::Fetch(Box::new(fetch_response(partition, endpoint)))
        }
        ReplyBody::FetchSnapshot(asked) => {
            let partition = fetch_snapshot::PartitionSnapshot {
                error_code,
                current_leader: fetch_snapshot::LeaderIdAndEpoch {
                    leader_id,
                    leader_epoch,
                    ..Default::default()
                },
                ..snapshot_partition(asked, payload)
            };
            QuorumResponse::FetchSnapshot(snapshot_response(partition, endpoint))
        }
        ReplyBody::AddVoter { message } => QuorumResponse::AddRaftVoter(AddRaftVoterResponse {
            error_code,
            error_message: message.map(Str::from),
            ..Default::default()
        }),
        ReplyBody::RemoveVoter { message } => QuorumResponse::RemoveRaftVoter(RemoveRaftVoterResponse {
            error_code,
            error_message: message.map(Str::from),
            ..Default::default()
        }),
        ReplyBody::UpdateVoter => {
            let (host, port) = endpoint.map_or((Str::from(""), 0), |(_, host, port)| (host, i32::from(port)));
            QuorumResponse::UpdateRaftVoter(UpdateRaftVoterResponse {
                error_code,
                current_leader: update::CurrentLeader {
                    leader_id,
                    leader_epoch,
                    host,
                    port,
                    ..Default::default()
                },
                ..Default::default()
            })
        }
    }
}

fn endpoint_of(leader: &Leader, listener: &Str) -> Option<(i32, Str, u16)> {
    let named = |endpoint: &&VoterEndpoint| endpoint.name == *listener;
    let endpoint = leader.endpoints.iter().find(named).or_else(|| leader.endpoints.first())?;
    Some((leader.id, endpoint.host.clone(), endpoint.port))
}

fn fetch_partition(body: FetchReply, payload: Payload) -> fetch::PartitionData {
    let mut partition = fetch::PartitionData {
        high_watermark: payload.high_watermark,
        last_stable_offset: payload.high_watermark,
        log_start_offset: payload.log_start,
        aborted_transactions: None,
        records: Some(Records::from(payload.bytes)),
        ..Default::default()
    };
    match body {
        FetchReply::Nothing | FetchReply::Read { .. } => {}
        FetchReply::Diverging { epoch, end_offset } => {
            partition.diverging_epoch = fetch::EpochEndOffset { epoch, end_offset, ..Default::default() };
        }
        FetchReply::Snapshot(id) => {
            partition.snapshot_id =
                fetch::SnapshotId { end_offset: id.end_offset, epoch: id.epoch, ..Default::default() };
        }
    }
    partition
}

fn fetch_response(
    partition: fetch::PartitionData,
    endpoint: Option<(i32, Str, u16)>,
) -> fetch::FetchResponse {
    let node_endpoints = endpoint.into_iter().map(|(node_id, host, port)| fetch::NodeEndpoint {
        node_id,
        host,
        port: i32::from(port),
        ..Default::default()
    });
    fetch::FetchResponse {
        responses: vec![fetch::FetchableTopicResponse {
            topic: Str::from(METADATA_TOPIC),
            topic_id: METADATA_TOPIC_ID,
            partitions: vec![partition],
            ..Default::default()
        }],
        node_endpoints: node_endpoints.collect(),
        ..Default::default()
    }
}

fn snapshot_partition(asked: FetchSnapshot, payload: Payload) -> fetch_snapshot::PartitionSnapshot {
    fetch_snapshot::PartitionSnapshot {
        snapshot_id: fetch_snapshot::SnapshotId {
            end_offset: asked.id.end_offset,
            epoch: asked.id.epoch,
            ..Default::default()
        },
        size: payload.size,
        position: asked.position,
        unaligned_records: Some(Records::from(payload.bytes)),
        ..Default::default()
    }
}

fn snapshot_response(
    partition: fetch_snapshot::PartitionSnapshot,
    endpoint: Option<(i32, Str, u16)>,
) -> fetch_snapshot::FetchSnapshotResponse {
    let node_endpoints = endpoint.into_iter().map(|(node_id, host, port)| fetch_snapshot::NodeEndpoint {
        node_id,
        host,
        port,
        ..Default::default()
    });
    fetch_snapshot::FetchSnapshotResponse {
        topics: vec![fetch_snapshot::TopicSnapshot {
            name: Str::from(METADATA_TOPIC),
            partitions: vec![partition],
            ..Default::default()
        }],
        node_endpoints: node_endpoints.collect(),
        ..Default::default()
    }
}
