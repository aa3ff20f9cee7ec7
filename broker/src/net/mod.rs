//! Sockets: listeners, frames, ordered responses, memory budget.
//!
//! One task per connection. A frame is handled after the one before it (so appends keep their order), responses go
//! out strictly in request order, and only what waits for replication is overtaken by the next frame's handling. A
//! client that does not read stops being read from: nothing queues up beyond `connection::MAX_PIPELINED` answers.

mod budget;
mod connection;
mod frame;
mod limits;
mod listener;
mod slots;
mod timed;
mod writer;

use std::time::Duration;

pub use budget::{MemoryBudget, Share};
pub use connection::{Answer, Payer, Peer, Response};
pub use frame::{Frame, FrameError};
pub use limits::{ConnectionLimits, UnknownHost};
pub use listener::{BindError, Listener};
pub use slots::ConnectionSlots;
pub use timed::timed;

/// Socket and frame limits of one listener, in bytes unless said otherwise.
#[derive(Debug, Clone)]
pub struct SocketOptions {
    /// `socket.request.max.bytes`.
    pub max_request_bytes: usize,
    /// `socket.send.buffer.bytes`; `None` leaves it to the system.
    pub send_buffer_bytes: Option<usize>,
    /// `socket.receive.buffer.bytes`; `None` leaves it to the system.
    pub receive_buffer_bytes: Option<usize>,
    /// `socket.listen.backlog.size`.
    pub backlog: u32,
    /// `connections.max.idle.ms`; also how long a write may stand still.
    pub max_idle: Duration,
}
