//! SyncGroup (14).
