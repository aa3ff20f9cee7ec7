//! The active controller of this node and the handle by which the broker asks it.
