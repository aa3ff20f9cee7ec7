//! What all partitions of a broker share about the brokers around it.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use ottla_quorum::image::ClusterImage;

use super::proposals::{IsrChanges, IsrProposals};
use crate::clock::{self, Millis};
use crate::quota::ReplicationQuotas;

/// Bytes that are copied at a time.
pub(super) const PIECE: usize = 1 << 20;
/// Threads that sync logs for themselves.
const SYNCING: usize = 8;

/// The brokers, the way to the controller, and the time.
pub struct Surroundings {
    /// This broker's id.
    pub node_id: i32,
    /// `replica.lag.time.max.ms`: after so long without everything a replica is not in sync.
    pub max_lag_ms: i64,
    /// How much catching up may take.
    pub quotas: ReplicationQuotas,
    /// What the controller is to be asked.
    pub proposals: IsrProposals,
    /// What has become of that.
    pub isr_changes: IsrChanges,
    cluster: ArcSwap<ClusterImage>,
    /// Bytes of a log that are copied at a time where it moves to another directory.
    pub(super) piece: usize,
    /// Whether logs are opened and flushed by the caller's thread alone.
    pub(super) is_one_thread: bool,
    clock: Box<dyn Fn() -> Millis + Send + Sync>,
    background: Box<dyn Fn(Work) + Send + Sync>,
}

/// What waits for a disk.
pub type Work = Box<dyn FnOnce() + Send>;

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").field("node_id", &self.node_id).finish_non_exhaustive()
    }
}

impl Surroundings {
    /// Those of the broker `node_id`.
    pub fn new(node_id: i32, max_lag_ms: i64, cluster: Arc<ClusterImage>) -> Self {
        Self {
            node_id,
            max_lag_ms,
            quotas: ReplicationQuotas::unlimited(),
            proposals: IsrProposals::default(),
            isr_changes: IsrChanges::default(),
            cluster: ArcSwap::new(cluster),
            piece: PIECE,
            is_one_thread: false,
            clock: Box::new(clock::monotonic),
            background: Box::new(on_the_blocking_pool),
        }
    }

    /// With limits to what catching up takes.
    #[must_use]
    pub fn with_replication_quotas(self, quotas: ReplicationQuotas) -> Self {
        Self { quotas, ..self }
    }

    /// With another clock.
    #[must_use]
    pub fn with_clock(self, clock: impl Fn() -> Millis + Send + Sync + 'static) -> Self {
        Self { clock: Box::new(clock), ..self }
    }

    /// Everything is done by the caller's thread, and what is copied is copied in pieces of so many bytes.
    #[cfg(test)]
    pub(crate) fn in_one_thread(self, piece: usize) -> Self {
        Self { piece, is_one_thread: true, ..self }
    }

    /// Threads that sync logs for themselves.
    pub(super) fn syncing_threads(&self) -> usize {
        if self.is_one_thread { 1 } else { SYNCING }
    }

    /// With another way to do what waits for a disk.
    #[must_use]
    pub fn with_background(self, background: impl Fn(Work) + Send + Sync + 'static) -> Self {
        Self { background: Box::new(background), ..self }
    }

    /// Does what waits for a disk, elsewhere.
    pub(super) fn spawn(&self, work: impl FnOnce() + Send + 'static) {
        (self.background)(Box::new(work));
    }

    /// The brokers as the metadata has them.
    pub fn cluster(&self) -> arc_swap::Guard<Arc<ClusterImage>> {
        self.cluster.load()
    }

    /// Takes over newer metadata; whether anything about the brokers changed.
    pub fn set_cluster(&self, cluster: &Arc<ClusterImage>) -> bool {
        let old = self.cluster.swap(Arc::clone(cluster));
        !Arc::ptr_eq(&old, cluster)
    }

    /// The time.
    pub fn now(&self) -> Millis {
        (self.clock)()
    }
}

fn on_the_blocking_pool(work: Work) {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(work)),
        // Without a runtime the caller is a thread that may wait.
        Err(_) => drop(std::thread::spawn(work)),
    }
}
