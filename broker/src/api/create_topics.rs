//! CreateTopics (19).
