//! CreatePartitions (37).
