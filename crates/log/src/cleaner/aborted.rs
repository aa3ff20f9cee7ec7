//! Which batches belong to transactions that were aborted.

use crate::log::AbortedTxn;
use crate::types::Offset;
use ottla_wire::batch::BatchHeader;
use std::collections::HashMap;

/// The aborted transactions of a log, from its segments' indexes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Aborted(HashMap<i64, Vec<(Offset, Offset)>>);

impl Aborted {
    /// Adds the transactions of a segment; segments come in order.
    pub(crate) fn add(&mut self, txns: &[AbortedTxn]) {
        for txn in txns {
            self.0.entry(txn.producer_id).or_default().push((txn.first_offset, txn.last_offset));
        }
    }

    /// Whether a batch was written by one of them.
    pub(crate) fn wrote(&self, batch: &BatchHeader) -> bool {
        if !batch.is_transactional() || batch.is_control() {
            return false;
        }
        let offset = Offset(batch.base_offset);
        let Some(ranges) = self.0.get(&batch.producer_id) else { return false };
        // One transaction of a producer ends before its next one begins.
        let at = ranges.partition_point(|(_, marker)| *marker < offset);
        ranges.get(at).is_some_and(|(first, _)| *first <= offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_wire::batch::{BatchBuilder, Record};

    #[test]
    fn a_batch_is_aborted_between_its_transactions_first_offset_and_its_marker() {
        let txn = |first: i64, last: i64| AbortedTxn {
            producer_id: 7,
            first_offset: Offset(first),
            last_offset: Offset(last),
            last_stable_offset: Offset(last + 1),
        };
        let mut aborted = Aborted::default();
        aborted.add(&[txn(10, 20), txn(30, 40)]);
        let wrote = |pid, offset, transactional| {
            let mut batch = BatchBuilder::new(offset).producer(pid, 0, 0).transactional(transactional);
            batch.push(Record::default());
            aborted.wrote(&BatchHeader::parse(&batch.build()).unwrap())
        };
        let found: Vec<_> = (0..50).filter(|offset| wrote(7, *offset, true)).collect();
        assert_eq!(found, (10..=20).chain(30..=40).collect::<Vec<_>>());
        assert!(!wrote(8, 15, true) && !wrote(7, 15, false));
    }
}
