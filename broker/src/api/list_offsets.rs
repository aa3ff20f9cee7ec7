//! ListOffsets (2).
