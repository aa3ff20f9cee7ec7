//! What is sent is what arrives; what is not for this quorum is refused.

use bytes::Bytes;
use ottla_wire::messages::VoteRequest;
use ottla_wire::{ErrorCode, Message, Str, decode_exact, encode_to_bytes};

use super::*;
use crate::raft::message::{
    BeginEpoch, EndEpoch, Fetch, FetchReply, FetchSnapshot, Fetched, Leader, ReplicaKey, Reply, ReplyBody,
    Request, Response, ResponseBody, Vote,
};
use crate::snapshot::SnapshotId;
use crate::voters::{Voter, VoterEndpoint};

const CLUSTER: &str = "4L6g3nShT-eMCtK--X86sw";

fn key(id: u8) -> ReplicaKey {
    ReplicaKey::new(i32::from(id), Uuid::from_bytes([id; 16]))
}

fn endpoint() -> VoterEndpoint {
    VoterEndpoint { name: "CONTROLLER".into(), host: "h".into(), port: 9093 }
}

fn requests() -> Vec<Request> {
    let leader = Leader { id: 1, endpoints: vec![endpoint()] };
    let id = SnapshotId { end_offset: 30, epoch: 2 };
    let voter = Voter::standalone(3, Uuid::from_bytes([3; 16]), vec![endpoint()]);
    vec![
        Request::Vote(Vote {
            epoch: 5,
            replica: key(1),
            voter: Some(key(2)),
            last_epoch: 4,
            end_offset: 77,
            pre_vote: true,
        }),
        Request::BeginEpoch(BeginEpoch { epoch: 5, leader: leader.clone(), voter: Some(key(2)) }),
        Request::EndEpoch(EndEpoch { epoch: 5, leader, candidates: vec![key(2), key(3)] }),
        Request::Fetch(Fetch {
            epoch: 5,
            replica: key(1),
            offset: 9,
            last_epoch: 4,
            high_watermark: 8,
            max_wait_ms: 500,
            max_bytes: 1 << 20,
        }),
        Request::FetchSnapshot(FetchSnapshot { epoch: 5, replica: key(1), id, position: 10, max_bytes: 100 }),
        Request::AddVoter { voter: voter.clone(), timeout_ms: 7, ack_when_committed: true },
        Request::RemoveVoter { voter: key(3) },
        Request::UpdateVoter { epoch: 5, voter },
    ]
}

/// Through the codec, in the newest version.
fn on_the_wire<M: Message>(message: &M) -> M {
    let version = *M::VERSIONS.end();
    let bytes = encode_to_bytes(message, version).expect("encoded");
    decode_exact(bytes, version).expect("decoded")
}

fn through(request: QuorumRequest) -> QuorumRequest {
    match request {
        QuorumRequest::Vote(m) => QuorumRequest::Vote(on_the_wire(&m)),
        QuorumRequest::BeginQuorumEpoch(m) => QuorumRequest::BeginQuorumEpoch(on_the_wire(&m)),
        QuorumRequest::EndQuorumEpoch(m) => QuorumRequest::EndQuorumEpoch(on_the_wire(&m)),
        QuorumRequest::Fetch(m) => QuorumRequest::Fetch(Box::new(on_the_wire(&*m))),
        QuorumRequest::FetchSnapshot(m) => QuorumRequest::FetchSnapshot(on_the_wire(&m)),
        QuorumRequest::AddRaftVoter(m) => QuorumRequest::AddRaftVoter(on_the_wire(&m)),
        QuorumRequest::RemoveRaftVoter(m) => QuorumRequest::RemoveRaftVoter(on_the_wire(&m)),
        QuorumRequest::UpdateRaftVoter(m) => QuorumRequest::UpdateRaftVoter(on_the_wire(&m)),
    }
}

#[test]
fn requests_arrive_as_they_were_sent() {
    let cluster: Str = CLUSTER.into();
    for request in requests() {
        let sent = encode_request(&request, &cluster, 2);
        let arrived = decode_request(through(sent), &cluster).expect("of this cluster");
        assert_eq!(arrived, request);
    }
}

#[test]
fn another_cluster_and_other_partitions_are_refused() {
    let cluster: Str = CLUSTER.into();
    for request in requests() {
        let sent = encode_request(&request, &"another".into(), 2);
        let refusal = decode_request(sent, &cluster).expect_err("of another cluster");
        let response = decode_response(*refusal);
        assert_eq!(response.error, ErrorCode::InconsistentClusterId, "{request:?}");
    }
    let empty = QuorumRequest::Vote(VoteRequest::default());
    let refusal = decode_request(empty, &cluster).expect_err("about nothing");
    assert_eq!(decode_response(*refusal).error, ErrorCode::InvalidRequest);
    let empty = QuorumRequest::Fetch(Box::default());
    let refusal = decode_request(empty, &cluster).expect_err("about nothing");
    assert_eq!(decode_response(*refusal).error, ErrorCode::InvalidRequest);
}

#[test]
fn replies_arrive_with_leader_and_epoch() {
    let leader = Leader { id: 1, endpoints: vec![endpoint()] };
    let nameless = VoterEndpoint { name: "".into(), ..endpoint() };
    let id = SnapshotId { end_offset: 30, epoch: 2 };
    let asked = FetchSnapshot { epoch: 5, replica: key(2), id, position: 10, max_bytes: 100 };
    let bytes = Bytes::from_static(b"some batches");
    let records = Fetched::Records { records: bytes.clone(), high_watermark: 8 };
    let piece = ResponseBody::FetchSnapshot { id, size: 99, position: 10, bytes: bytes.clone() };
    let read = FetchReply::Read { offset: 9, max_bytes: 100 };
    let diverging = FetchReply::Diverging { epoch: 3, end_offset: 7 };
    for (body, expected) in [
        (ReplyBody::Vote { granted: true }, ResponseBody::Vote { granted: true }),
        (ReplyBody::BeginEpoch, ResponseBody::BeginEpoch),
        (ReplyBody::EndEpoch, ResponseBody::EndEpoch),
        (ReplyBody::Fetch(read), ResponseBody::Fetch(records)),
        (ReplyBody::Fetch(diverging), ResponseBody::Fetch(Fetched::Diverging { epoch: 3, end_offset: 7 })),
        (ReplyBody::Fetch(FetchReply::Snapshot(id)), ResponseBody::Fetch(Fetched::Snapshot(id))),
        (ReplyBody::FetchSnapshot(asked), piece),
        (ReplyBody::UpdateVoter, ResponseBody::UpdateVoter),
    ] {
        for error in [ErrorCode::None, ErrorCode::FencedLeaderEpoch] {
            let reply = Reply { error, epoch: 5, leader: Some(leader.clone()), body: body.clone() };
            let payload = Payload { bytes: bytes.clone(), size: 99, high_watermark: 8, log_start: 0 };
            let response = decode_response(encode_reply(reply, payload, &"CONTROLLER".into()));
            let leader = Some(Leader { id: 1, endpoints: vec![nameless.clone()] });
            assert_eq!(response, Response { error, epoch: 5, leader, body: expected.clone() });
        }
    }
}
