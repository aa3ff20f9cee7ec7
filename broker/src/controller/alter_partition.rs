//! AlterPartition: a leader says who is in sync (KIP-497, KIP-704, KIP-903). Each partition is judged by itself.

use std::collections::BTreeSet;

use ottla_quorum::MetadataRecord;
use ottla_quorum::image::{LEADER_UNCHANGED, LeaderRecoveryState, PartitionImage, TopicImage};
use ottla_wire::messages::alter_partition_request::{BrokerState, PartitionData as Asked};
use ottla_wire::messages::alter_partition_response::{PartitionData, TopicData};
use ottla_wire::messages::{AlterPartitionRequest, AlterPartitionResponse};
use ottla_wire::{ErrorCode, Uuid};

use super::partition_change::{Election, PartitionChange};
use super::view::View;
use super::{ControllerError, Decision};

/// The first version in which members of the ISR are named with their epochs.
const FIRST_WITH_EPOCHS: i16 = 3;
/// The epoch of a broker whose epoch is not known to the leader.
const UNKNOWN_EPOCH: i64 = -1;

/// Changes ISRs as their leader asks, in `version` of the request.
///
/// # Errors
/// `STALE_BROKER_EPOCH`: another registration has taken the leader's place.
pub(crate) fn alter_partition(
    view: &View<'_>,
    request: &AlterPartitionRequest,
    version: i16,
) -> Result<Decision<AlterPartitionResponse>, ControllerError> {
    view.broker_at(request.broker_id, request.broker_epoch)?;
    let mut records = Vec::new();
    let mut changed: BTreeSet<(Uuid, i32)> = BTreeSet::new();
    let mut topics = Vec::new();
    for asked in &request.topics {
        let topic = view.image.topics.by_id(&asked.topic_id);
        let mut partitions = Vec::new();
        for partition in &asked.partitions {
            let outcome = match topic {
                None => Err(ErrorCode::UnknownTopicId),
                // The first change is not in the image yet.
                Some(_) if changed.contains(&(asked.topic_id, partition.partition_index)) => {
                    Err(ErrorCode::InvalidUpdateVersion)
                }
                Some(topic) => alter(view, topic, request.broker_id, partition, version),
            };
            partitions.push(match outcome {
                Ok(decision) => {
                    if !decision.records.is_empty() {
                        changed.insert((asked.topic_id, partition.partition_index));
                    }
                    records.extend(decision.records);
                    decision.response
                }
                Err(code) => refused(partition.partition_index, code),
            });
        }
        topics.push(TopicData { topic_id: asked.topic_id, partitions, ..Default::default() });
    }
    Ok(Decision { records, response: AlterPartitionResponse { topics, ..Default::default() } })
}

/// The answer when nothing is done.
pub(crate) fn refuse(code: ErrorCode) -> AlterPartitionResponse {
    AlterPartitionResponse { error_code: code.code(), ..Default::default() }
}

fn alter(
    view: &View<'_>,
    topic: &TopicImage,
    asking: i32,
    asked: &Asked,
    version: i16,
) -> Result<Decision<PartitionData>, ErrorCode> {
    let index = asked.partition_index;
    let partition = topic.partitions.get(&index).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    check_epochs(partition, asking, asked)?;
    let isr = wanted_isr(asked, version);
    let recovery_state = check_isr(partition, &isr, asked)?;
    if !isr.iter().all(|member| is_eligible(view, member)) {
        return Err(ErrorCode::IneligibleReplica);
    }
    let rules = view.rules(topic);
    let record = PartitionChange::of(view, topic, index, partition, rules)
        .election(Election::allowed(rules))
        .isr(isr.iter().map(|member| member.broker_id).collect())
        .recovery_state(recovery_state)
        .record();
    let Some(record) = record else { return Ok(Decision::answer(response(index, partition))) };
    let leader = record.leader;
    let after = partition.changed(&topic.name, &record).map_err(|_| ErrorCode::UnknownServerError)?;
    // A reassignment that ends here may take the leader away: it is not to go on with an epoch of its own.
    let response = if leader == asking || leader == LEADER_UNCHANGED {
        response(index, &after)
    } else {
        refused(index, ErrorCode::NewLeaderElected)
    };
    Ok(Decision { records: vec![MetadataRecord::PartitionChange(record)], response })
}

/// An epoch from the future comes from a controller that this one does not know of yet.
fn check_epochs(partition: &PartitionImage, asking: i32, asked: &Asked) -> Result<(), ErrorCode> {
    if asked.leader_epoch > partition.leader_epoch || asked.partition_epoch > partition.partition_epoch {
        Err(ErrorCode::NotController)
    } else if asked.leader_epoch < partition.leader_epoch {
        Err(ErrorCode::FencedLeaderEpoch)
    } else if asking != partition.leader {
        Err(ErrorCode::InvalidRequest)
    } else if asked.partition_epoch < partition.partition_epoch {
        Err(ErrorCode::InvalidUpdateVersion)
    } else {
        Ok(())
    }
}

fn wanted_isr(asked: &Asked, version: i16) -> Vec<BrokerState> {
    if version >= FIRST_WITH_EPOCHS {
        return asked.new_isr_with_epochs.clone();
    }
    let unknown =
        |id: &i32| BrokerState { broker_id: *id, broker_epoch: UNKNOWN_EPOCH, ..Default::default() };
    asked.new_isr.iter().map(unknown).collect()
}

/// Replicas, each once, the leader among them; while it recovers from an unclean election nobody else.
fn check_isr(
    partition: &PartitionImage,
    isr: &[BrokerState],
    asked: &Asked,
) -> Result<LeaderRecoveryState, ErrorCode> {
    let members: BTreeSet<i32> = isr.iter().map(|member| member.broker_id).collect();
    let all_replicas = members.iter().all(|id| partition.replicas.contains(id));
    if members.len() != isr.len() || !all_replicas || !members.contains(&partition.leader) {
        return Err(ErrorCode::InvalidRequest);
    }
    let state = match asked.leader_recovery_state {
        0 => LeaderRecoveryState::Recovered,
        1 => LeaderRecoveryState::Recovering,
        _ => return Err(ErrorCode::InvalidRequest),
    };
    let recovering = state == LeaderRecoveryState::Recovering;
    if recovering && (isr.len() > 1 || partition.leader_recovery_state != state) {
        return Err(ErrorCode::InvalidRequest);
    }
    Ok(state)
}

/// Whether the broker lives, as the leader knows it.
fn is_eligible(view: &View<'_>, member: &BrokerState) -> bool {
    view.image
        .active_broker(member.broker_id)
        .is_some_and(|broker| [UNKNOWN_EPOCH, broker.epoch].contains(&member.broker_epoch))
}

fn response(index: i32, partition: &PartitionImage) -> PartitionData {
    PartitionData {
        partition_index: index,
        leader_id: partition.leader,
        leader_epoch: partition.leader_epoch,
        isr: partition.isr.clone(),
        leader_recovery_state: partition.leader_recovery_state.value(),
        partition_epoch: partition.partition_epoch,
        ..Default::default()
    }
}

fn refused(index: i32, code: ErrorCode) -> PartitionData {
    PartitionData { partition_index: index, error_code: code.code(), ..Default::default() }
}
