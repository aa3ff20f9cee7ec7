//! OffsetFetch (9).
