//! Requests: those that came, checked for cluster and partition, and those that go.

use ottla_wire::messages::{
    AddRaftVoterRequest, AddRaftVoterResponse, BeginQuorumEpochResponse, EndQuorumEpochResponse,
    FetchRequest, FetchResponse, FetchSnapshotResponse, RemoveRaftVoterResponse, UpdateRaftVoterRequest,
    UpdateRaftVoterResponse, VoteResponse, add_raft_voter_request, begin_quorum_epoch_request as begin,
    end_quorum_epoch_request as end, fetch_request, fetch_snapshot_request as fetch_snapshot,
    update_raft_voter_request, vote_request as vote,
};
use ottla_wire::{ErrorCode, Str, Uuid};

use super::{METADATA_TOPIC_ID, QuorumRequest, QuorumResponse};
use crate::METADATA_TOPIC;
use crate::raft::message::{BeginEpoch, EndEpoch, Fetch, FetchSnapshot, Leader, ReplicaKey, Request, Vote};
use crate::snapshot::SnapshotId;
use crate::voters::{Voter, VoterEndpoint};

/// What the request means, or its refusal.
pub(crate) fn decode(request: QuorumRequest, cluster_id: &Str) -> Result<Request, Box<QuorumResponse>> {
    let cluster = match &request {
        QuorumRequest::Vote(request) => &request.cluster_id,
        QuorumRequest::BeginQuorumEpoch(request) => &request.cluster_id,
        QuorumRequest::EndQuorumEpoch(request) => &request.cluster_id,
        QuorumRequest::Fetch(request) => &request.cluster_id,
        QuorumRequest::FetchSnapshot(request) => &request.cluster_id,
        QuorumRequest::AddRaftVoter(request) => &request.cluster_id,
        QuorumRequest::RemoveRaftVoter(request) => &request.cluster_id,
        QuorumRequest::UpdateRaftVoter(request) => &request.cluster_id,
    };
    if cluster.as_ref().is_some_and(|other| other != cluster_id) {
        return Err(Box::new(refuse(&request, ErrorCode::InconsistentClusterId)));
    }
    let decoded = match &request {
        QuorumRequest::Vote(request) => decode_vote(request),
        QuorumRequest::BeginQuorumEpoch(request) => decode_begin(request),
        QuorumRequest::EndQuorumEpoch(request) => decode_end(request),
        QuorumRequest::Fetch(request) => decode_fetch(request),
        QuorumRequest::FetchSnapshot(request) => decode_fetch_snapshot(request),
        QuorumRequest::AddRaftVoter(request) => Some(decode_add(request)),
        QuorumRequest::RemoveRaftVoter(request) => Some(Request::RemoveVoter {
            voter: ReplicaKey::new(request.voter_id, request.voter_directory_id),
        }),
        QuorumRequest::UpdateRaftVoter(request) => Some(decode_update(request)),
    };
    decoded.ok_or_else(|| {
        let error = match &request {
            QuorumRequest::FetchSnapshot(_) => ErrorCode::UnknownTopicOrPartition,
            _ => ErrorCode::InvalidRequest,
        };
        Box::new(refuse(&request, error))
    })
}

/// An error of the whole response.
fn refuse(request: &QuorumRequest, error: ErrorCode) -> QuorumResponse {
    let error_code = error.code();
    match request {
        QuorumRequest::Vote(_) => QuorumResponse::Vote(VoteResponse { error_code, ..Default::default() }),
        QuorumRequest::BeginQuorumEpoch(_) => {
            QuorumResponse::BeginQuorumEpoch(BeginQuorumEpochResponse { error_code, ..Default::default() })
        }
        QuorumRequest::EndQuorumEpoch(_) => {
            QuorumResponse::EndQuorumEpoch(EndQuorumEpochResponse { error_code, ..Default::default() })
        }
        QuorumRequest::Fetch(_) => {
            QuorumResponse::Fetch(Box::new(FetchResponse { error_code, ..Default::default() }))
        }
        QuorumRequest::FetchSnapshot(_) => {
            QuorumResponse::FetchSnapshot(FetchSnapshotResponse { error_code, ..Default::default() })
        }
        QuorumRequest::AddRaftVoter(_) => {
            QuorumResponse::AddRaftVoter(AddRaftVoterResponse { error_code, ..Default::default() })
        }
        QuorumRequest::RemoveRaftVoter(_) => {
            QuorumResponse::RemoveRaftVoter(RemoveRaftVoterResponse { error_code, ..Default::default() })
        }
        QuorumRequest::UpdateRaftVoter(_) => {
            QuorumResponse::UpdateRaftVoter(UpdateRaftVoterResponse { error_code, ..Default::default() })
        }
    }
}

fn is_metadata(name: &Str) -> bool {
    **name == *METADATA_TOPIC
}

fn decode_vote(request: &vote::VoteRequest) -> Option<Request> {
    let [topic] = request.topics.as_slice() else { return None };
    let [partition] = topic.partitions.as_slice() else { return None };
    let is_whole = is_metadata(&topic.topic_name)
        && partition.partition_index == 0
        && partition.last_offset >= 0
        && partition.last_offset_epoch >= 0;
    is_whole.then(|| {
        Request::Vote(Vote {
            epoch: partition.replica_epoch,
            replica: ReplicaKey::new(partition.replica_id, partition.replica_directory_id),
            voter: named(request.voter_id, partition.voter_directory_id),
            last_epoch: partition.last_offset_epoch,
            end_offset: partition.last_offset,
            pre_vote: partition.pre_vote,
        })
    })
}

fn named(id: i32, directory_id: Uuid) -> Option<ReplicaKey> {
    (id >= 0).then(|| ReplicaKey::new(id, directory_id))
}

fn decode_begin(request: &begin::BeginQuorumEpochRequest) -> Option<Request> {
    let [topic] = request.topics.as_slice() else { return None };
    let [partition] = topic.partitions.as_slice() else { return None };
    let endpoints = request.leader_endpoints.iter().map(|endpoint| VoterEndpoint {
        name: endpoint.name.clone(),
        host: endpoint.host.clone(),
        port: endpoint.port,
    });
    (is_metadata(&topic.topic_name) && partition.partition_index == 0).then(|| {
        Request::BeginEpoch(BeginEpoch {
            epoch: partition.leader_epoch,
            leader: Leader { id: partition.leader_id, endpoints: endpoints.collect() },
            voter: named(request.voter_id, partition.voter_directory_id),
        })
    })
}

fn decode_end(request: &end::EndQuorumEpochRequest) -> Option<Request> {
    let [topic] = request.topics.as_slice() else { return None };
    let [partition] = topic.partitions.as_slice() else { return None };
    let endpoints = request.leader_endpoints.iter().map(|endpoint| VoterEndpoint {
        name: endpoint.name.clone(),
        host: endpoint.host.clone(),
        port: endpoint.port,
    });
    let by_id = partition.preferred_successors.iter().map(|id| ReplicaKey::new(*id, Uuid::ZERO));
    let by_key = partition
        .preferred_candidates
        .iter()
        .map(|candidate| ReplicaKey::new(candidate.candidate_id, candidate.candidate_directory_id));
    (is_metadata(&topic.topic_name) && partition.partition_index == 0).then(|| {
        Request::EndEpoch(EndEpoch {
            epoch: partition.leader_epoch,
            leader: Leader { id: partition.leader_id, endpoints: endpoints.collect() },
            candidates: by_key.chain(by_id).collect(),
        })
    })
}

fn decode_fetch(request: &FetchRequest) -> Option<Request> {
    let [topic] = request.topics.as_slice() else { return None };
    let [partition] = topic.partitions.as_slice() else { return None };
    let is_named = is_metadata(&topic.topic) || topic.topic_id == METADATA_TOPIC_ID;
    // From version 15 on the id is in the state.
    let id = if request.replica_state.replica_id >= 0 {
        request.replica_state.replica_id
    } else {
        request.replica_id
    };
    (is_named && partition.partition == 0).then(|| {
        Request::Fetch(Fetch {
            epoch: partition.current_leader_epoch,
            replica: ReplicaKey::new(id, partition.replica_directory_id),
            offset: partition.fetch_offset,
            last_epoch: partition.last_fetched_epoch,
            high_watermark: partition.high_watermark,
            max_wait_ms: request.max_wait_ms,
            max_bytes: partition.partition_max_bytes,
        })
    })
}

fn decode_fetch_snapshot(request: &fetch_snapshot::FetchSnapshotRequest) -> Option<Request> {
    let [topic] = request.topics.as_slice() else { return None };
    let [partition] = topic.partitions.as_slice() else { return None };
    (is_metadata(&topic.name) && partition.partition == 0).then(|| {
        Request::FetchSnapshot(FetchSnapshot {
            epoch: partition.current_leader_epoch,
            replica: ReplicaKey::new(request.replica_id, partition.replica_directory_id),
            id: SnapshotId {
                end_offset: partition.snapshot_id.end_offset,
                epoch: partition.snapshot_id.epoch,
            },
            position: partition.position,
            max_bytes: request.max_bytes,
        })
    })
}

fn decode_add(request: &AddRaftVoterRequest) -> Request {
    let endpoints = request.listeners.iter().map(|listener| VoterEndpoint {
        name: listener.name.clone(),
        host: listener.host.clone(),
        port: listener.port,
    });
    let voter = Voter::standalone(request.voter_id, request.voter_directory_id, endpoints.collect());
    Request::AddVoter {
        voter,
        timeout_ms: request.timeout_ms,
        ack_when_committed: request.ack_when_committed,
    }
}

fn decode_update(request: &UpdateRaftVoterRequest) -> Request {
    let endpoints = request.listeners.iter().map(|listener| VoterEndpoint {
        name: listener.name.clone(),
        host: listener.host.clone(),
        port: listener.port,
    });
    let versions = &request.kraft_version_feature;
    let voter = Voter {
        id: request.voter_id,
        directory_id: request.voter_directory_id,
        endpoints: endpoints.collect(),
        kraft_versions: (versions.min_supported_version, versions.max_supported_version),
    };
    Request::UpdateVoter { epoch: request.current_leader_epoch, voter }
}

/// The request as it is sent to the node `to`.
pub(crate) fn encode(request: &Request, cluster_id: &Str, to: i32) -> QuorumRequest {
    let cluster_id = Some(cluster_id.clone());
    match request {
        Request::Vote(vote) => encode_vote(vote, cluster_id, to),
        Request::BeginEpoch(begin) => encode_begin(begin, cluster_id, to),
        Request::EndEpoch(end) => encode_end(end, cluster_id),
        Request::Fetch(fetch) => encode_fetch(fetch, cluster_id),
        Request::FetchSnapshot(fetch) => encode_fetch_snapshot(fetch, cluster_id),
        Request::AddVoter { voter, timeout_ms, ack_when_committed } => {
            QuorumRequest::AddRaftVoter(AddRaftVoterRequest {
                cluster_id,
                timeout_ms: *timeout_ms,
                voter_id: voter.id,
                voter_directory_id: voter.directory_id,
                listeners: voter
                    .endpoints
                    .iter()
                    .map(|endpoint| add_raft_voter_request::Listener {
                        name: endpoint.name.clone(),
                        host: endpoint.host.clone(),
                        port: endpoint.port,
                        ..Default::default()
                    })
                    .collect(),
                ack_when_committed: *ack_when_committed,
                ..Default::default()
            })
        }
        Request::RemoveVoter { voter } => {
            QuorumRequest::RemoveRaftVoter(ottla_wire::messages::RemoveRaftVoterRequest {
                cluster_id,
                voter_id: voter.id,
                voter_directory_id: voter.directory_id,
                ..Default::default()
            })
        }
        Request::UpdateVoter { epoch, voter } => encode_update(*epoch, voter, cluster_id),
    }
}

fn encode_vote(asked: &Vote, cluster_id: Option<Str>, to: i32) -> QuorumRequest {
    let partition = vote::PartitionData {
        partition_index: 0,
        replica_epoch: asked.epoch,
        replica_id: asked.replica.id,
        replica_directory_id: asked.replica.directory_id,
        voter_directory_id: asked.voter.map_or(Uuid::ZERO, |voter| voter.directory_id),
        last_offset_epoch: asked.last_epoch,
        last_offset: asked.end_offset,
        pre_vote: asked.pre_vote,
        ..Default::default()
    };
    let topic = vote::TopicData {
        topic_name: METADATA_TOPIC.into(),
        partitions: vec![partition],
        ..Default::default()
    };
    QuorumRequest::Vote(vote::VoteRequest {
        cluster_id,
        voter_id: to.max(-1),
        topics: vec![topic],
        ..Default::default()
    })
}

fn encode_begin(told: &BeginEpoch, cluster_id: Option<Str>, to: i32) -> QuorumRequest {
    let partition = begin::PartitionData {
        partition_index: 0,
        voter_directory_id: told.voter.map_or(Uuid::ZERO, |voter| voter.directory_id),
        leader_id: told.leader.id,
        leader_epoch: told.epoch,
        ..Default::default()
    };
    let topic = begin::TopicData {
        topic_name: METADATA_TOPIC.into(),
        partitions: vec![partition],
        ..Default::default()
    };
    let endpoint = |endpoint: &VoterEndpoint| begin::LeaderEndpoint {
        name: endpoint.name.clone(),
        host: endpoint.host.clone(),
        port: endpoint.port,
        ..Default::default()
    };
    QuorumRequest::BeginQuorumEpoch(begin::BeginQuorumEpochRequest {
        cluster_id,
        voter_id: to.max(-1),
        topics: vec![topic],
        leader_endpoints: told.leader.endpoints.iter().map(endpoint).collect(),
        ..Default::default()
    })
}

fn encode_end(told: &EndEpoch, cluster_id: Option<Str>) -> QuorumRequest {
    let candidate = |key: &ReplicaKey| end::ReplicaInfo {
        candidate_id: key.id,
        candidate_directory_id: key.directory_id,
        ..Default::default()
    };
    let partition = end::PartitionData {
        partition_index: 0,
        leader_id: told.leader.id,
        leader_epoch: told.epoch,
        preferred_candidates: told.candidates.iter().map(candidate).collect(),
        ..Default::default()
    };
    let topic = end::TopicData {
        topic_name: METADATA_TOPIC.into(),
        partitions: vec![partition],
        ..Default::default()
    };
    let endpoint = |endpoint: &VoterEndpoint| end::LeaderEndpoint {
        name: endpoint.name.clone(),
        host: endpoint.host.clone(),
        port: endpoint.port,
        ..Default::default()
    };
    QuorumRequest::EndQuorumEpoch(end::EndQuorumEpochRequest {
        cluster_id,
        topics: vec![topic],
        leader_endpoints: told.leader.endpoints.iter().map(endpoint).collect(),
        ..Default::default()
    })
}

fn encode_fetch(fetch: &Fetch, cluster_id: Option<Str>) -> QuorumRequest {
    let partition = fetch_request::FetchPartition {
        partition: 0,
        current_leader_epoch: fetch.epoch,
        fetch_offset: fetch.offset,
        last_fetched_epoch: fetch.last_epoch,
        partition_max_bytes: fetch.max_bytes,
        replica_directory_id: fetch.replica.directory_id,
        high_watermark: fetch.high_watermark,
        ..Default::default()
    };
    let topic = fetch_request::FetchTopic {
        topic: METADATA_TOPIC.into(),
        topic_id: METADATA_TOPIC_ID,
        partitions: vec![partition],
        ..Default::default()
    };
    let replica_state =
        fetch_request::ReplicaState { replica_id: fetch.replica.id, replica_epoch: -1, ..Default::default() };
    QuorumRequest::Fetch(Box::new(FetchRequest {
        cluster_id,
        replica_state,
        max_wait_ms: fetch.max_wait_ms,
        max_bytes: fetch.max_bytes,
        topics: vec![topic],
        ..Default::default()
    }))
}

fn encode_fetch_snapshot(fetch: &FetchSnapshot, cluster_id: Option<Str>) -> QuorumRequest {
    let partition = fetch_snapshot::PartitionSnapshot {
        partition: 0,
        current_leader_epoch: fetch.epoch,
        snapshot_id: fetch_snapshot::SnapshotId {
            end_offset: fetch.id.end_offset,
            epoch: fetch.id.epoch,
            ..Default::default()
        },
        position: fetch.position,
        replica_directory_id: fetch.replica.directory_id,
        ..Default::default()
    };
    let topic = fetch_snapshot::TopicSnapshot {
        name: METADATA_TOPIC.into(),
        partitions: vec![partition],
        ..Default::default()
    };
    QuorumRequest::FetchSnapshot(fetch_snapshot::FetchSnapshotRequest {
        cluster_id,
        replica_id: fetch.replica.id,
        max_bytes: fetch.max_bytes,
        topics: vec![topic],
        ..Default::default()
    })
}

fn encode_update(epoch: i32, voter: &Voter, cluster_id: Option<Str>) -> QuorumRequest {
    let listener = |endpoint: &VoterEndpoint| update_raft_voter_request::Listener {
        name: endpoint.name.clone(),
        host: endpoint.host.clone(),
        port: endpoint.port,
        ..Default::default()
    };
    QuorumRequest::UpdateRaftVoter(UpdateRaftVoterRequest {
        cluster_id,
        current_leader_epoch: epoch,
        voter_id: voter.id,
        voter_directory_id: voter.directory_id,
        listeners: voter.endpoints.iter().map(listener).collect(),
        kraft_version_feature: update_raft_voter_request::KRaftVersionFeature {
            min_supported_version: voter.kraft_versions.0,
            max_supported_version: voter.kraft_versions.1,
            ..Default::default()
        },
        ..Default::default()
    })
}
