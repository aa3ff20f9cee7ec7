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
mod service;
mod slots;
mod timed;
mod writer;

use std::time::Duration;

use crate::config::Network;

pub use budget::{MemoryBudget, Share};
pub use connection::{Answer, Lifetime, Payer, Peer, Response};
pub use frame::{Frame, FrameError};
pub use limits::{ConnectionLimits, UnknownHost};
pub use listener::{BindError, Listener};
pub use service::{Handling, Service};
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

impl SocketOptions {
    /// As configured.
    pub fn of(network: &Network) -> Self {
        let size = |bytes: Option<i32>| bytes.and_then(|bytes| usize::try_from(bytes).ok());
        Self {
            max_request_bytes: size(Some(network.max_request_bytes)).unwrap_or(0),
            send_buffer_bytes: size(network.send_buffer_bytes),
            receive_buffer_bytes: size(network.receive_buffer_bytes),
            backlog: u32::try_from(network.backlog).unwrap_or(50),
            max_idle: network.max_idle.unwrap_or(Duration::from_secs(365 * 24 * 3600)),
        }
    }
}
