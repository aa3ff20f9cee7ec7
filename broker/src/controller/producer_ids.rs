//! Blocks of producer ids: a broker gets a thousand at a time, and no id is ever given twice.

use ottla_quorum::{MetadataImage, MetadataRecord};
use ottla_wire::ErrorCode;
use ottla_wire::records::metadata::ProducerIdsRecord;

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

/// Takes the next block.
pub(crate) fn allocate(
    image: &MetadataImage,
    broker_id: i32,
) -> Result<Decision<ProducerIdBlock>, ControllerError> {
    let broker = image.broker(broker_id).ok_or(ControllerError::Refused(ErrorCode::BrokerIdNotRegistered))?;
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
