//! LeaveGroup (13).
