//! Asking the controller for ISRs (AlterPartition): the proposals of all partitions that this broker leads, one request at a
//! time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use ottla_wire::ErrorCode;
use ottla_wire::messages::alter_partition_request::{BrokerState, PartitionData, TopicData};
use ottla_wire::messages::{AlterPartitionRequest, AlterPartitionResponse};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::peer::AsksForIsrs;
use crate::partition::{Answer, Partition, Proposal, Surroundings};

/// From this version on the members of an ISR come with their broker epochs (KIP-903).
const BROKER_EPOCHS_FROM: i16 = 3;
/// How long to wait before something is asked again.
const AGAIN: Duration = Duration::from_millis(50);

/// A proposal and whose it is.
pub type Asked = (Arc<Partition>, Proposal);

/// Carries proposals to the controller until `stopping`. `controller` finds the active one for each request.
pub async fn propose(
    surroundings: Arc<Surroundings>,
    broker_epoch: Arc<AtomicI64>,
    mut controller: impl AsksForIsrs,
    stopping: CancellationToken,
) {
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            () = surroundings.proposals.submitted() => {}
        }
        let asked = take(&surroundings);
        if asked.is_empty() {
            continue;
        }
        let (node_id, epoch) = (surroundings.node_id, broker_epoch.load(Ordering::Acquire));
        let proposals: Vec<Asked> = asked.clone();
        let call = controller.alter_partition(move |version| request(node_id, epoch, &proposals, version));
        let response = tokio::select! {
            () = stopping.cancelled() => return,
            response = call => response,
        };
        let answers = match response {
            Ok(response) => answers(&response, asked),
            Err(error) => {
                debug!(%error, "the controller cannot be asked for ISRs");
                asked.into_iter().map(|asked| (asked, Answer::Again)).collect()
            }
        };
        let (again, final_answers): (Vec<_>, Vec<_>) =
            answers.into_iter().partition(|(_, answer)| *answer == Answer::Again);
        tell(final_answers);
        if !again.is_empty() {
            tokio::select! {
                () = stopping.cancelled() => return,
                () = tokio::time::sleep(AGAIN) => tell(again),
            }
        }
    }
}

fn tell(answers: Vec<(Asked, Answer)>) {
    for ((partition, proposal), answer) in answers {
        partition.isr_answered(&proposal, answer);
    }
}

/// What waits, of each partition that is still here the newest.
pub fn take(surroundings: &Surroundings) -> Vec<Asked> {
    let mut asked: Vec<Asked> = Vec::new();
    for (partition, proposal) in surroundings.proposals.take() {
        let Some(partition) = partition.upgrade() else { continue };
        match asked.iter_mut().find(|(other, _)| Arc::ptr_eq(other, &partition)) {
            Some(older) => older.1 = proposal,
            None => asked.push((partition, proposal)),
        }
    }
    asked
}

/// The request for these proposals.
pub fn request(node_id: i32, broker_epoch: i64, asked: &[Asked], version: i16) -> AlterPartitionRequest {
    let mut topics: Vec<TopicData> = Vec::new();
    for (partition, proposal) in asked {
        let epoch_of = |id: i32, epoch: i64| if id == node_id { broker_epoch } else { epoch };
        let member = |(id, epoch): &(i32, i64)| BrokerState {
            broker_id: *id,
            broker_epoch: epoch_of(*id, *epoch),
            ..Default::default()
        };
        let mut data = PartitionData {
            partition_index: partition.name().partition,
            leader_epoch: proposal.leader_epoch,
            partition_epoch: proposal.partition_epoch,
            ..Default::default()
        };
        if version >= BROKER_EPOCHS_FROM {
            data.new_isr_with_epochs = proposal.isr.iter().map(member).collect();
        } else {
            data.new_isr = proposal.isr.iter().map(|(id, _)| *id).collect();
        }
        let topic_id = partition.topic_id();
        match topics.iter_mut().find(|topic| topic.topic_id == topic_id) {
            Some(topic) => topic.partitions.push(data),
            None => topics.push(TopicData { topic_id, partitions: vec![data], ..Default::default() }),
        }
    }
    AlterPartitionRequest { broker_id: node_id, broker_epoch, topics, ..Default::default() }
}

/// What the controller made of each proposal. An error of the whole, or silence about one, is asked again.
pub fn answers(response: &AlterPartitionResponse, asked: Vec<Asked>) -> Vec<(Asked, Answer)> {
    if response.error_code != 0 {
        let error = ErrorCode::try_from(response.error_code).unwrap_or(ErrorCode::UnknownServerError);
        warn!(%error, "the controller refuses to change ISRs");
    }
    let answer = |asked: &Asked| {
        if response.error_code != 0 {
            return Answer::Again;
        }
        let topic = response.topics.iter().find(|topic| topic.topic_id == asked.0.topic_id());
        let index = asked.0.name().partition;
        let row = topic.and_then(|topic| topic.partitions.iter().find(|row| row.partition_index == index));
        let Some(row) = row else { return Answer::Again };
        match ErrorCode::try_from(row.error_code).unwrap_or(ErrorCode::UnknownServerError) {
            ErrorCode::None => Answer::Accepted {
                leader_epoch: row.leader_epoch,
                partition_epoch: row.partition_epoch,
                isr: row.isr.clone(),
            },
            error => refused(&asked.0, error),
        }
    };
    asked.into_iter().map(|asked| (asked.clone(), answer(&asked))).collect()
}

fn refused(partition: &Partition, error: ErrorCode) -> Answer {
    debug!(partition = %partition.name(), %error, "the controller refuses an ISR");
    match error {
        ErrorCode::OperationNotAttempted | ErrorCode::IneligibleReplica => Answer::Refused,
        ErrorCode::UnknownTopicOrPartition
        | ErrorCode::UnknownTopicId
        | ErrorCode::FencedLeaderEpoch
        | ErrorCode::InvalidUpdateVersion
        | ErrorCode::InvalidRequest
        | ErrorCode::NewLeaderElected => Answer::Overtaken,
        _ => Answer::Again,
    }
}
