//! What runs beside the requests: following the metadata, and watching for failures.

use std::sync::Arc;

use tokio::sync::Notify;
use tracing::{error, warn};

use super::Broker;
use crate::clock;

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
        tell_placements(&broker).await;
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = broker.partitions.space_returned() => create_missing(&broker).await,
            () = broker.stopping.cancelled() => return,
        }
    }
}

/// Tells the controller in which directories partitions were put.
async fn tell_placements(broker: &Broker) {
    let misplaced = broker.partitions.misplaced(&broker.image());
    if misplaced.is_empty() {
        return;
    }
    if let Err(error) = broker.controller.assign_directories(misplaced).await {
        warn!(%error, "the controller does not know yet where partitions lie");
    }
}

/// Tells the controller which directories are left.
async fn tell_directories(broker: &Broker) {
    let online = broker.partitions.directories().iter().filter(|directory| !directory.is_offline());
    let online = online.map(|directory| directory.id()).collect();
    if let Err(error) = broker.controller.fail_directories(online).await {
        warn!(%error, "the controller does not know yet of a failed directory");
    }
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
        tell_directories(&broker).await;
    }
}
