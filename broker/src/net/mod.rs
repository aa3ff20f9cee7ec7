//! Sockets: listeners, frames, ordered responses, memory budget.
