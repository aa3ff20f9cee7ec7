//! Requests off the socket: a length of four bytes, then so many bytes.

use std::io;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use tokio::net::TcpStream;

use super::budget::{MemoryBudget, Share};

/// The first read, and the most that an idle connection keeps, in bytes.
const SMALL: usize = 4 * 1024;
/// The least growth while a larger frame arrives, in bytes.
const STEP: usize = 64 * 1024;
const LENGTH: usize = 4;

/// Why no frame comes.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The peer went away in the middle of a frame.
    #[error("connection closed within a frame")]
    Half,
    /// The length is negative or above `socket.request.max.bytes`.
    #[error("frame length {length} is outside 0..={max} (socket.request.max.bytes)")]
    Length {
        /// As sent.
        length: i32,
        /// The limit.
        max: usize,
    },
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// One request's bytes and the memory budget that they hold.
#[derive(Debug)]
pub struct Frame {
    /// Header and body.
    pub bytes: Bytes,
    /// When the last byte was read.
    pub arrived: Instant,
    /// Freed when the request has been handled.
    pub share: Option<Share>,
}

/// Cuts the byte stream into frames. Memory grows with what has arrived, not with what a length promises.
#[derive(Debug)]
pub(super) struct FrameReader {
    buffer: BytesMut,
    share: Option<Share>,
    max: usize,
    budget: MemoryBudget,
}

impl FrameReader {
    pub(super) fn new(max: usize, budget: MemoryBudget) -> Self {
        Self { buffer: BytesMut::new(), share: None, max, budget }
    }

    /// The next frame, or `None` when the peer closed between two. Can be cancelled and called again.
    pub(super) async fn next(&mut self, socket: &TcpStream) -> Result<Option<Frame>, FrameError> {
        loop {
            let missing = match self.length()? {
                None => LENGTH.saturating_sub(self.buffer.len()),
                Some(length) if self.buffer.len() >= LENGTH + length => return Ok(Some(self.cut(length))),
                Some(length) => {
                    if self.share.is_none() {
                        self.share = self.budget.take(length).await;
                    }
                    (LENGTH + length).saturating_sub(self.buffer.len())
                }
            };
            if self.read(socket, missing).await? == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { Err(FrameError::Half) };
            }
        }
    }

    fn length(&self) -> Result<Option<usize>, FrameError> {
        let Some(prefix) = self.buffer.first_chunk::<LENGTH>() else { return Ok(None) };
        let length = i32::from_be_bytes(*prefix);
        match usize::try_from(length) {
            Ok(size) if size <= self.max => Ok(Some(size)),
            _ => Err(FrameError::Length { length, max: self.max }),
        }
    }

    async fn read(&mut self, socket: &TcpStream, missing: usize) -> io::Result<usize> {
        loop {
            socket.readable().await?;
            let room = if missing > SMALL { missing.min(self.buffer.len().max(STEP)) } else { SMALL };
            self.buffer.reserve(room);
            match socket.try_read_buf(&mut self.buffer) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
        }
    }

    fn cut(&mut self, length: usize) -> Frame {
        let mut bytes = self.buffer.split_to(LENGTH + length).freeze();
        bytes::Buf::advance(&mut bytes, LENGTH);
        if self.buffer.is_empty() && self.buffer.capacity() + length > SMALL {
            // The frame keeps its memory; an idle connection keeps none.
            self.buffer = BytesMut::new();
        }
        Frame { bytes, arrived: Instant::now(), share: self.share.take() }
    }
}
