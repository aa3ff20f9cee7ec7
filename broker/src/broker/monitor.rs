//! What runs beside the requests: following the metadata, and watching for failures.

use std::sync::Arc;

use tokio::sync::Notify;
use tracing::error;

use super::Broker;

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
            () = broker.stopping.cancelled() => return,
        }
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
    }
}
