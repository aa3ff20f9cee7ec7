//! Blocks of producer ids: a broker gets a thousand at a time, and no id is ever given twice.

use ottla_quorum::MetadataRecord;
use ottla_wire::ErrorCode;
use ottla_wire::messages::AllocateProducerIdsResponse;
use ottla_wire::records::metadata::ProducerIdsRecord;

use super::view::View;
use super::{ControllerError, Decision};

/// Ids in a block.
const BLOCK_SIZE: i64 = 1000;

/// Producer ids that are this broker's to give out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerIdBlock {
    /// First id of the block.
    pub first: i64,
    /// Number of ids.
    pub len: i64,
}

/// AllocateProducerIds: takes the next block.
///
/// # Errors
/// `STALE_BROKER_EPOCH`: the broker is not registered with the epoch.
pub(crate) fn allocate(
    view: &View<'_>,
    broker_id: i32,
    broker_epoch: i64,
) -> Result<Decision<ProducerIdBlock>, ControllerError> {
    let image = view.image;
    let broker = view.broker_at(broker_id, broker_epoch)?;
    let first = image.producer_ids.next;
    let next =
        first.checked_add(BLOCK_SIZE).ok_or(ControllerError::Refused(ErrorCode::UnknownServerError))?;
    let record = ProducerIdsRecord {
        broker_id,
        broker_epoch: broker.epoch,
        next_producer_id: next,
        ..Default::default()
    };
    Ok(Decision {
        records: vec![MetadataRecord::ProducerIds(record)],
        response: ProducerIdBlock { first, len: BLOCK_SIZE },
    })
}

/// The answer to a broker.
pub(crate) fn response(result: Result<ProducerIdBlock, ControllerError>) -> AllocateProducerIdsResponse {
    match result {
        Ok(block) => AllocateProducerIdsResponse {
            producer_id_start: block.first,
            producer_id_len: i32::try_from(block.len).unwrap_or_default(),
            ..Default::default()
        },
        Err(error) => AllocateProducerIdsResponse { error_code: error.code().code(), ..Default::default() },
    }
}
