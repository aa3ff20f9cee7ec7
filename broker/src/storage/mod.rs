//! Preparing storage: `format` and `random-uuid`.
