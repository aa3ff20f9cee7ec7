//! A graceful stop.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::Node;
use crate::clock;

/// How long to wait for metadata in which this broker leads nothing.
const TOLD: Duration = Duration::from_secs(1);
/// How long requests in hand may take to finish.
pub(super) const DRAIN: Duration = Duration::from_secs(5);

impl Node {
    /// Stops: others take over what is led here, requests in hand are answered, everything is flushed and marked as clean.
    pub async fn stop(self) {
        let began = Instant::now();
        info!("broker stopping");
        self.broker.ready.store(false, Ordering::Release);
        // Served on until others lead: clients are told who.
        self.broker.lifecycle.leave().await;
        // What is led here is given up here too: whoever waits for replicas is told, and keeps no connection.
        let id = self.broker.node_id;
        let left = self.broker.until(|image| image.active_broker(id).is_none());
        if tokio::time::timeout(TOLD, left).await.is_err() {
            warn!("the metadata does not say yet that this broker has left");
        }
        self.broker.stopping.cancel();
        self.broker.groups.stop();
        self.broker.replication.stop();
        self.connections.close();
        if tokio::time::timeout(DRAIN, self.connections.wait()).await.is_err() {
            warn!(connections = self.connections.len(), "connections did not finish in time");
        }
        self.tasks.close();
        if tokio::time::timeout(DRAIN, self.tasks.wait()).await.is_err() {
            warn!("background tasks did not finish in time");
        }
        let epoch = self.broker.lifecycle.epoch().load(Ordering::Acquire);
        let partitions = self.broker.partitions.clone();
        let per_directory = usize::try_from(self.broker.current_config().log.recovery_threads).unwrap_or(1);
        let threads = per_directory * partitions.directories().len();
        let cleaner = self.broker.cleaner.clone();
        let close = move || {
            cleaner.stop();
            partitions.close(epoch, threads, clock::now());
        };
        if tokio::task::spawn_blocking(close).await.is_err() {
            warn!("closing the logs panicked");
        }
        // Others lead the quorum from here on; who asks here is told so.
        if let Err(error) = self.broker.controller.stop().await {
            warn!(%error, "controller not stopped cleanly");
        }
        self.server.stop().await;
        info!(took = ?began.elapsed(), "broker stopped");
    }
}
