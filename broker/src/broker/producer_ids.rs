//! Producer ids for idempotent producers, out of blocks that the controller gives.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use ottla_log::ProducerId;
use ottla_wire::ErrorCode;
use ottla_wire::messages::AllocateProducerIdsRequest;
use tokio::sync::Mutex;

use crate::controller::ControllerChannel;
use crate::replication::PeerError;

/// This broker's block. Ids that are left over at a stop are never used.
#[derive(Debug)]
pub struct ProducerIds {
    node_id: i32,
    broker_epoch: Arc<AtomicI64>,
    source: Mutex<(Range<i64>, ControllerChannel)>,
}

impl ProducerIds {
    /// Blocks come through `channel`, for the broker in this epoch.
    pub fn new(node_id: i32, broker_epoch: Arc<AtomicI64>, channel: ControllerChannel) -> Self {
        Self { node_id, broker_epoch, source: Mutex::new((0..0, channel)) }
    }

    /// An id that nobody has had.
    ///
    /// # Errors
    /// The controller gives no block.
    pub async fn next(&self) -> Result<ProducerId, PeerError> {
        let mut source = self.source.lock().await;
        let (left, channel) = &mut *source;
        if left.is_empty() {
            let (broker_id, broker_epoch) = (self.node_id, self.broker_epoch.load(Ordering::Acquire));
            let request = AllocateProducerIdsRequest { broker_id, broker_epoch, ..Default::default() };
            let block = channel.call(move |_| request).await?;
            match ErrorCode::try_from(block.error_code).unwrap_or(ErrorCode::UnknownServerError) {
                ErrorCode::None => {
                    let first = block.producer_id_start;
                    *left = first..first.saturating_add(i64::from(block.producer_id_len));
                }
                error => return Err(PeerError(error.to_string())),
            }
        }
        let id = left.next().ok_or_else(|| PeerError("the controller gave no ids".to_owned()))?;
        Ok(ProducerId(id))
    }
}
