//! Responses of other nodes. One that has not the form that it must have counts as an error that says nothing.

use bytes::Bytes;
use ottla_wire::messages::{FetchResponse, FetchSnapshotResponse};
use ottla_wire::{ErrorCode, Records, Str};

use super::QuorumResponse;
use crate::raft::message::{Fetched, Leader, Response, ResponseBody};
use crate::snapshot::SnapshotId;
use crate::voters::VoterEndpoint;

/// What the response says.
pub(crate) fn decode(response: QuorumResponse) -> Response {
    match response {
        QuorumResponse::Vote(response) => {
            let partition = response.topics.first().and_then(|topic| topic.partitions.first());
            let Some(partition) = partition.filter(|_| response.error_code == 0) else {
                return error_alone(response.error_code, ResponseBody::Vote { granted: false });
            };
            let node = |id| {
                let node = response.node_endpoints.iter().find(|node| node.node_id == id)?;
                Some((node.host.clone(), node.port))
            };
            Response {
                error: code(partition.error_code),
                epoch: partition.leader_epoch,
                leader: leader(partition.leader_id, node),
                body: ResponseBody::Vote { granted: partition.vote_granted },
            }
        }
        QuorumResponse::BeginQuorumEpoch(response) => {
            let partition = response.topics.first().and_then(|topic| topic.partitions.first());
            let Some(partition) = partition.filter(|_| response.error_code == 0) else {
                return error_alone(response.error_code, ResponseBody::BeginEpoch);
            };
            let node = |id| {
                let node = response.node_endpoints.iter().find(|node| node.node_id == id)?;
                Some((node.host.clone(), node.port))
            };
            Response {
                error: code(partition.error_code),
                epoch: partition.leader_epoch,
                leader: leader(partition.leader_id, node),
                body: ResponseBody::BeginEpoch,
            }
        }
        QuorumResponse::EndQuorumEpoch(response) => {
            let partition = response.topics.first().and_then(|topic| topic.partitions.first());
            let Some(partition) = partition.filter(|_| response.error_code == 0) else {
                return error_alone(response.error_code, ResponseBody::EndEpoch);
            };
            let node = |id| {
                let node = response.node_endpoints.iter().find(|node| node.node_id == id)?;
                Some((node.host.clone(), node.port))
            };
            Response {
                error: code(partition.error_code),
                epoch: partition.leader_epoch,
                leader: leader(partition.leader_id, node),
                body: ResponseBody::EndEpoch,
            }
        }
        QuorumResponse::Fetch(response) => decode_fetch(*response),
        QuorumResponse::FetchSnapshot(response) => decode_snapshot(response),
        QuorumResponse::UpdateRaftVoter(response) => {
            let current = &response.current_leader;
            let port = u16::try_from(current.port).ok();
            Response {
                error: code(response.error_code),
                epoch: current.leader_epoch,
                leader: leader(current.leader_id, |_| Some((current.host.clone(), port?))),
                body: ResponseBody::UpdateVoter,
            }
        }
        QuorumResponse::AddRaftVoter(response) => error_alone(response.error_code, ResponseBody::UpdateVoter),
        QuorumResponse::RemoveRaftVoter(response) => {
            error_alone(response.error_code, ResponseBody::UpdateVoter)
        }
    }
}

fn decode_fetch(response: FetchResponse) -> Response {
    let nothing = Fetched::Records { records: Bytes::new(), high_watermark: -1 };
    let partition = response.responses.first().and_then(|topic| topic.partitions.first());
    let Some(partition) = partition.filter(|_| response.error_code == 0) else {
        return error_alone(response.error_code, ResponseBody::Fetch(nothing));
    };
    let node = |id| {
        let node = response.node_endpoints.iter().find(|node| node.node_id == id)?;
        Some((node.host.clone(), u16::try_from(node.port).ok()?))
    };
    let (diverging, snapshot) = (&partition.diverging_epoch, &partition.snapshot_id);
    let fetched = if diverging.epoch >= 0 && diverging.end_offset >= 0 {
        Fetched::Diverging { epoch: diverging.epoch, end_offset: diverging.end_offset }
    } else if snapshot.end_offset >= 0 && snapshot.epoch >= 0 {
        Fetched::Snapshot(SnapshotId { end_offset: snapshot.end_offset, epoch: snapshot.epoch })
    } else {
        Fetched::Records {
            records: bytes(partition.records.as_ref()),
            high_watermark: partition.high_watermark,
        }
    };
    Response {
        error: code(partition.error_code),
        epoch: partition.current_leader.leader_epoch,
        leader: leader(partition.current_leader.leader_id, node),
        body: ResponseBody::Fetch(fetched),
    }
}

fn decode_snapshot(response: FetchSnapshotResponse) -> Response {
    let partition = response.topics.first().and_then(|topic| topic.partitions.first());
    let Some(partition) = partition.filter(|_| response.error_code == 0) else {
        let id = SnapshotId { end_offset: -1, epoch: -1 };
        let body = ResponseBody::FetchSnapshot { id, size: 0, position: 0, bytes: Bytes::new() };
        return error_alone(response.error_code, body);
    };
    let node = |id| {
        let node = response.node_endpoints.iter().find(|node| node.node_id == id)?;
        Some((node.host.clone(), node.port))
    };
    let id = SnapshotId { end_offset: partition.snapshot_id.end_offset, epoch: partition.snapshot_id.epoch };
    Response {
        error: code(partition.error_code),
        epoch: partition.current_leader.leader_epoch,
        leader: leader(partition.current_leader.leader_id, node),
        body: ResponseBody::FetchSnapshot {
            id,
            size: partition.size,
            position: partition.position,
            bytes: bytes(partition.unaligned_records.as_ref()),
        },
    }
}

fn bytes(records: Option<&Records>) -> Bytes {
    records.and_then(Records::as_bytes).cloned().unwrap_or_default()
}

fn error_alone(error_code: i16, body: ResponseBody) -> Response {
    let error = if error_code == 0 { ErrorCode::UnknownServerError } else { code(error_code) };
    Response { error, epoch: -1, leader: None, body }
}

fn code(code: i16) -> ErrorCode {
    ErrorCode::try_from(code).unwrap_or(ErrorCode::UnknownServerError)
}

fn leader(id: i32, node: impl FnOnce(i32) -> Option<(Str, u16)>) -> Option<Leader> {
    (id >= 0).then(|| {
        let endpoint = node(id).filter(|(host, port)| !host.is_empty() && *port > 0);
        let endpoints = endpoint.map(|(host, port)| VoterEndpoint { name: Str::from(""), host, port });
        Leader { id, endpoints: endpoints.into_iter().collect() }
    })
}
