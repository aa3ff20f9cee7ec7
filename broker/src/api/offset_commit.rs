//! OffsetCommit (8).
