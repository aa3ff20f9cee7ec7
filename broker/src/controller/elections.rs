//! Elections that somebody asks for (ElectLeaders, KIP-460), and those that the controller holds by itself now and then:
//! leadership goes back to the preferred replicas, and where configured a partition that nobody may lead gets a leader
//! that may lack acked records.

use ottla_quorum::MetadataRecord;
use ottla_quorum::image::{NO_LEADER, PartitionImage, TopicImage};
use ottla_wire::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use ottla_wire::messages::{ElectLeadersRequest, ElectLeadersResponse};
use ottla_wire::{ErrorCode, Str};

use super::partition_change::{Election, PartitionChange};
use super::view::View;
use super::{Decision, TopicError};

/// Elections that one request may ask for in all, as in Kafka.
const MAX_ELECTIONS: usize = 10_000;
/// Elections that the controller holds at a time.
pub(crate) const MAX_AT_ONCE: usize = 1000;

const PREFERRED: i8 = 0;
const UNCLEAN: i8 = 1;

/// Elects leaders of the partitions that the request names, or of all that need it.
pub(crate) fn elect_leaders(
    view: &View<'_>,
    request: &ElectLeadersRequest,
) -> Decision<ElectLeadersResponse> {
    let election = match request.election_type {
        PREFERRED => Election::Preferred,
        UNCLEAN => Election::Unclean,
        _ => return Decision::answer(refuse(ErrorCode::InvalidRequest)),
    };
    let mut records = Vec::new();
    let replica_election_results = match &request.topic_partitions {
        None => elect_all(view, election, &mut records),
        Some(topics) => topics
            .iter()
            .map(|asked| {
                let elect = |index: &i32| {
                    let outcome = elect(view, &asked.topic, *index, election);
                    result(*index, outcome.map(|record| records.push(record)).err())
                };
                let partition_result = asked.partitions.iter().map(elect).collect();
                ReplicaElectionResult { topic: asked.topic.clone(), partition_result, ..Default::default() }
            })
            .collect(),
    };
    if records.len() > MAX_ELECTIONS {
        return Decision::answer(refuse(ErrorCode::PolicyViolation));
    }
    // Asked for twice, a partition is elected for once.
    let mut held = std::collections::BTreeSet::new();
    records.retain(|record| match record {
        MetadataRecord::PartitionChange(change) => held.insert((change.topic_id, change.partition_id)),
        _ => true,
    });
    let response = ElectLeadersResponse { replica_election_results, ..Default::default() };
    Decision { records, response }
}

/// The answer when nothing is done.
pub(crate) fn refuse(code: ErrorCode) -> ElectLeadersResponse {
    ElectLeadersResponse { error_code: code.code(), ..Default::default() }
}

/// Partitions that are led by another than the preferred replica, as far as that one may lead; no more than
/// [`MAX_AT_ONCE`] of them.
pub(crate) fn rebalance(view: &View<'_>) -> Vec<MetadataRecord> {
    let imbalanced = |_: &TopicImage, partition: &PartitionImage| {
        partition.preferred_leader().is_some_and(|preferred| {
            preferred != partition.leader && view.image.active_broker(preferred).is_some()
        })
    };
    hold(view, Election::Preferred, imbalanced)
}

/// Partitions without leader that are configured to get any; no more than [`MAX_AT_ONCE`] of them.
pub(crate) fn elect_uncleanly(view: &View<'_>) -> Vec<MetadataRecord> {
    let leaderless = |topic: &TopicImage, partition: &PartitionImage| {
        partition.leader == NO_LEADER && view.rules(topic).unclean
    };
    hold(view, Election::Unclean, leaderless)
}

fn hold(
    view: &View<'_>,
    election: Election,
    wanted: impl Fn(&TopicImage, &PartitionImage) -> bool,
) -> Vec<MetadataRecord> {
    let all =
        view.image.topics.iter().flat_map(|topic| {
            topic.partitions.iter().map(move |(index, partition)| (topic, *index, partition))
        });
    all.filter(|(topic, _, partition)| wanted(topic, partition))
        .filter_map(|(topic, index, partition)| {
            let change = PartitionChange::of(view, topic, index, partition, view.rules(topic));
            change.election(election).record()
        })
        .map(MetadataRecord::PartitionChange)
        .take(MAX_AT_ONCE)
        .collect()
}

fn elect_all(
    view: &View<'_>,
    election: Election,
    records: &mut Vec<MetadataRecord>,
) -> Vec<ReplicaElectionResult> {
    let mut results = Vec::new();
    for topic in view.image.topics.iter() {
        let mut partition_result = Vec::new();
        for index in topic.partitions.keys() {
            match elect(view, &topic.name, *index, election) {
                Ok(record) => {
                    records.push(record);
                    partition_result.push(result(*index, None));
                }
                Err(error) if error.code == ErrorCode::ElectionNotNeeded => {}
                Err(error) => partition_result.push(result(*index, Some(error))),
            }
        }
        results.push(ReplicaElectionResult {
            topic: topic.name.clone(),
            partition_result,
            ..Default::default()
        });
    }
    results
}

fn elect(view: &View<'_>, topic: &str, index: i32, election: Election) -> Result<MetadataRecord, TopicError> {
    let refused = |code: ErrorCode| TopicError::from(code);
    let unknown = |what: String| TopicError::new(ErrorCode::UnknownTopicOrPartition, what);
    let found =
        view.image.topics.by_name(topic).ok_or_else(|| unknown(format!("No such topic as {topic}")))?;
    let partition = found
        .partitions
        .get(&index)
        .ok_or_else(|| unknown(format!("No such partition as {topic}-{index}")))?;
    let needless = match election {
        Election::Preferred => partition.preferred_leader() == Some(partition.leader),
        _ => partition.leader != NO_LEADER,
    };
    if needless {
        return Err(refused(ErrorCode::ElectionNotNeeded));
    }
    let change = PartitionChange::of(view, found, index, partition, view.rules(found));
    let unavailable = match election {
        Election::Preferred => ErrorCode::PreferredLeaderNotAvailable,
        _ => ErrorCode::EligibleLeadersNotAvailable,
    };
    let record = change.election(election).record().ok_or_else(|| refused(unavailable))?;
    Ok(MetadataRecord::PartitionChange(record))
}

fn result(index: i32, error: Option<TopicError>) -> PartitionResult {
    let (code, message): (_, Option<Str>) = match error {
        Some(error) => (error.code, Some(error.message)),
        None => (ErrorCode::None, None),
    };
    PartitionResult {
        partition_id: index,
        error_code: code.code(),
        error_message: message,
        ..Default::default()
    }
}
