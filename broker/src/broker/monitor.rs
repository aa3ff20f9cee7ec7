//! What runs beside the requests: following the metadata, and watching for failures.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ottla_wire::messages::AssignReplicasToDirsRequest;
use ottla_wire::messages::assign_replicas_to_dirs_request::{DirectoryData, PartitionData, TopicData};
use ottla_wire::{ErrorCode, Uuid};
use tokio::sync::Notify;
use tracing::{error, warn};

use super::Broker;
use crate::clock;
use crate::controller::{ControllerChannel, Placement};

/// Between two attempts to tell the controller something.
const AGAIN: Duration = Duration::from_secs(1);

/// Puts every new image into effect, one after the other; a burst is taken as one.
pub(super) async fn follow_metadata(broker: Arc<Broker>) {
    let mut changes = broker.controller.image_changes();
    loop {
        let image = Arc::clone(&changes.borrow_and_update());
        if image.offset() > broker.image().offset() {
            let applying = Arc::clone(&broker);
            if tokio::task::spawn_blocking(move || applying.apply(image)).await.is_err() {
                error!("applying metadata panicked");
                return;
            }
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = broker.partitions.space_returned() => create_missing(&broker).await,
            () = broker.stopping.cancelled() => return,
        }
    }
}

/// Tells the controller of every new partition in which directory it was put.
pub(super) async fn follow_placements(broker: Arc<Broker>) {
    let (mut applied, mut channel) = (broker.applied.subscribe(), broker.channel.clone());
    let follow = async {
        loop {
            applied.mark_unchanged();
            if !tell_placements(&broker, &mut channel).await {
                channel.pause(AGAIN).await;
            } else {
                tokio::select! {
                    changed = applied.changed() => if changed.is_err() { return },
                    () = broker.partitions.places_changed() => {}
                }
            }
        }
    };
    tokio::select! {
        () = broker.stopping.cancelled() => {}
        () = follow => {}
    }
}

/// Tells the controller in which directories partitions were put. Whether it knows.
async fn tell_placements(broker: &Broker, channel: &mut ControllerChannel) -> bool {
    let misplaced = broker.partitions.misplaced(&broker.image());
    if misplaced.is_empty() {
        return true;
    }
    let epoch = broker.lifecycle.epoch().load(Ordering::Acquire);
    let request = assignment(broker.node_id, epoch, &misplaced);
    let error = match channel.call(move |_| request).await {
        Ok(response) if response.error_code == 0 => return true,
        Ok(response) => ErrorCode::try_from(response.error_code).unwrap_or_default().to_string(),
        Err(error) => error.to_string(),
    };
    warn!(error, "the controller does not know yet where partitions lie");
    false
}

/// AssignReplicasToDirs for these places.
pub(crate) fn assignment(
    broker_id: i32,
    broker_epoch: i64,
    places: &[Placement],
) -> AssignReplicasToDirsRequest {
    let mut by_directory: BTreeMap<Uuid, BTreeMap<Uuid, Vec<PartitionData>>> = BTreeMap::new();
    for (topic_id, partition_index, directory) in places {
        let partition = PartitionData { partition_index: *partition_index, ..Default::default() };
        by_directory.entry(*directory).or_default().entry(*topic_id).or_default().push(partition);
    }
    let topic = |(topic_id, partitions)| TopicData { topic_id, partitions, ..Default::default() };
    let directory = |(id, topics): (Uuid, BTreeMap<_, _>)| DirectoryData {
        id,
        topics: topics.into_iter().map(topic).collect(),
        ..Default::default()
    };
    let directories = by_directory.into_iter().map(directory).collect();
    AssignReplicasToDirsRequest { broker_id, broker_epoch, directories, ..Default::default() }
}

/// On this task and no other, as everything that creates partitions.
async fn create_missing(broker: &Arc<Broker>) {
    let creating = Arc::clone(broker);
    let create = move || creating.partitions.create_missing(&creating.image(), clock::now());
    if tokio::task::spawn_blocking(create).await.is_err() {
        error!("creating partitions panicked");
    }
}

/// Returns when the node cannot go on: its controller stopped by itself, or the last log directory or the one with the
/// metadata was fenced.
pub(super) async fn watch_health(broker: Arc<Broker>, failures: Arc<Notify>) {
    loop {
        tokio::select! {
            () = broker.controller.stopped() => {
                error!("the controller of this node has failed");
                return;
            }
            () = failures.notified() => {}
        }
        broker.partitions.directories_failed();
        let directories = broker.partitions.directories();
        let metadata = &broker.config.metadata_log_dir;
        if directories.iter().any(|directory| directory.is_offline() && directory.path() == metadata) {
            error!(directory = %metadata.display(), "the directory of the metadata log has failed");
            return;
        }
        if directories.iter().all(|directory| directory.is_offline()) {
            error!("every log directory has failed");
            return;
        }
        let lost = directories.iter().filter(|directory| directory.is_offline());
        broker.lifecycle.lose_directories(lost.map(|directory| directory.id()));
    }
}
