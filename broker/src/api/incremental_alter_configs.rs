//! IncrementalAlterConfigs (44).
