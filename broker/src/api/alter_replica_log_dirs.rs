//! AlterReplicaLogDirs (34): moves replicas between the directories of this node (KIP-113). The answer says that a move has begun;
//! DescribeLogDirs tells how far it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_wire::messages::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult,
};
use ottla_wire::messages::{AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse};
use ottla_wire::{ErrorCode, Str};
use tracing::warn;

use super::RequestContext;
use crate::broker::Broker;
use crate::clock;
use crate::partition::TopicPartition;
use crate::security::{Operation, Resource};

/// Where the partitions are to go. Of one that is named twice the last place counts.
type Wanted = BTreeMap<Str, BTreeMap<i32, Str>>;

/// Begins the moves, or notes where partitions are to be made that are not here.
pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: AlterReplicaLogDirsRequest,
) -> AlterReplicaLogDirsResponse {
    let mut wanted = Wanted::new();
    for directory in request.dirs {
        // As Kafka, which answers for partitions, not for topics.
        for topic in directory.topics.into_iter().filter(|topic| !topic.partitions.is_empty()) {
            let places = topic.partitions.into_iter().map(|index| (index, directory.path.clone()));
            wanted.entry(topic.name).or_default().extend(places);
        }
    }
    if !broker.allows(context, Operation::Alter, Resource::Cluster) {
        return response(wanted, |_, _, _| ErrorCode::ClusterAuthorizationFailed);
    }
    let broker = Arc::clone(broker);
    let begin = move || {
        let image = broker.image();
        response(wanted, |topic, index, path| {
            let name = TopicPartition::new(topic.clone(), index);
            match broker.partitions.move_to(&image, &name, path, clock::now()) {
                Ok(()) => ErrorCode::None,
                Err(error) => {
                    warn!(partition = %name, to = path, %error, "partition is not moved");
                    error.code()
                }
            }
        })
    };
    // A panic is told in the log; the client sees that nothing is known of its moves.
    tokio::task::spawn_blocking(begin).await.unwrap_or_default()
}

fn response(wanted: Wanted, outcome: impl Fn(&Str, i32, &str) -> ErrorCode) -> AlterReplicaLogDirsResponse {
    let topic = |(topic_name, places): (Str, BTreeMap<i32, Str>)| {
        let row = |(partition_index, path): (i32, Str)| AlterReplicaLogDirPartitionResult {
            partition_index,
            error_code: outcome(&topic_name, partition_index, &path).code(),
            ..Default::default()
        };
        let partitions = places.into_iter().map(row).collect();
        AlterReplicaLogDirTopicResult { topic_name, partitions, ..Default::default() }
    };
    AlterReplicaLogDirsResponse { results: wanted.into_iter().map(topic).collect(), ..Default::default() }
}
