//! Producer ids for idempotent producers, out of blocks that the controller gives.

use ottla_log::ProducerId;
use tokio::sync::Mutex;

use crate::controller::{ControllerError, ControllerHandle};

/// This broker's block. Ids that are left over at a stop are never used.
#[derive(Debug, Default)]
pub struct ProducerIds {
    left: Mutex<std::ops::Range<i64>>,
}

impl ProducerIds {
    /// An id that nobody has had.
    ///
    /// # Errors
    /// The controller gives no block.
    pub async fn next(&self, controller: &ControllerHandle) -> Result<ProducerId, ControllerError> {
        let mut left = self.left.lock().await;
        if left.is_empty() {
            let block = controller.allocate_producer_ids().await?;
            *left = block.first..block.first.saturating_add(block.len);
        }
        let id = left.start;
        left.start += 1;
        Ok(ProducerId(id))
    }
}
