//! JoinGroup (11).
