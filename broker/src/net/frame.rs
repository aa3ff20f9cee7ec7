//! Requests off the socket: a length of four bytes, then so many bytes.

use std::io;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::future::BoxFuture;
use memmap2::MmapMut;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::budget::{FREE, MemoryBudget, Share};

/// The least that is read at once, in bytes.
const SMALL: usize = 4 * 1024;
const LENGTH: usize = 4;
/// Frames from this size on get pages of their own, which go back to the system with them, in bytes.
const MAPPED: usize = 1024 * 1024;
/// The most that one frame reads before others have a turn, in bytes.
const TURN: usize = 256 * 1024;
/// While others wait for memory, a frame that holds some must bring [`PROGRESS`] bytes in each such time.
const WINDOW: Duration = Duration::from_secs(5);
/// 64 KiB a second.
const PROGRESS: usize = 5 * 64 * 1024;
/// The window of a frame that was not read for a while through no fault of its sender, at least.
const RESUMED: Duration = Duration::from_secs(1);

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
    /// It came too slowly while others waited for the memory that it held.
    #[error(
        "{arrived} of {length} bytes arrived and no more, while others wait for memory (queued.max.request.bytes)"
    )]
    Stalled {
        /// Bytes that are there.
        arrived: usize,
        /// Bytes in all.
        length: usize,
    },
    /// The socket failed, or the system has no memory.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// One request's bytes and the memory budget that they hold.
#[derive(Debug)]
pub struct Frame {
    /// Header and body.
    pub bytes: Bytes,
    /// When the last byte was read.
    pub arrived: std::time::Instant,
    /// Freed when the request has been handled.
    pub share: Option<Share>,
}

/// Cuts the byte stream into frames.
///
/// Memory grows with what has arrived, not with what a length promises: the first [`FREE`] bytes of a frame are read
/// without asking; then it waits for memory for all of it, and gets that at once and exactly.
pub(super) struct FrameReader {
    buffer: BytesMut,
    large: Option<LargeFrame>,
    taking: Option<BoxFuture<'static, Share>>,
    max: usize,
    budget: MemoryBudget,
}

impl FrameReader {
    pub(super) fn new(max: usize, budget: MemoryBudget) -> Self {
        Self { buffer: BytesMut::new(), large: None, taking: None, max, budget }
    }

    /// The next frame, or `None` when the peer closed between two. Can be cancelled and called again.
    pub(super) async fn next(&mut self, socket: &TcpStream) -> Result<Option<Frame>, FrameError> {
        loop {
            if let Some(large) = &mut self.large {
                large.fill(socket, &self.budget).await?;
                return Ok(self.large.take().map(LargeFrame::freeze));
            }
            let read = match self.length()? {
                None => self.read(socket, LENGTH, LENGTH).await?,
                Some(length) if self.buffer.len() >= LENGTH + length => return Ok(Some(self.cut(length))),
                Some(length) if length > FREE && self.buffer.len() >= LENGTH + FREE => {
                    self.grow(length).await?;
                    continue;
                }
                Some(length) if length < MAPPED => {
                    self.read(socket, LENGTH + length.min(FREE), LENGTH + length).await?
                }
                Some(_) => self.read(socket, LENGTH + FREE, LENGTH + FREE).await?,
            };
            if read == 0 {
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

    /// Gets memory for the whole frame. Its place in the queue outlasts a cancellation.
    async fn grow(&mut self, length: usize) -> io::Result<()> {
        let taking = self.taking.get_or_insert_with(|| Box::pin(self.budget.take(length)));
        let share = taking.await;
        self.taking = None;
        self.large = Some(LargeFrame::new(std::mem::take(&mut self.buffer), length, share)?);
        Ok(())
    }

    /// Reads until the buffer holds `until` bytes or a little more, with room for `space` in the end. Space that is
    /// not filled is no memory yet.
    async fn read(&mut self, socket: &TcpStream, until: usize, space: usize) -> io::Result<usize> {
        loop {
            socket.readable().await?;
            let have = self.buffer.len();
            let room = until.saturating_sub(have).max(SMALL);
            self.buffer.reserve(space.saturating_sub(have).max(room));
            match socket.try_read_buf(&mut (&mut self.buffer).limit(room)) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
        }
    }

    fn cut(&mut self, length: usize) -> Frame {
        let mut bytes = self.buffer.split_to(LENGTH + length).freeze();
        bytes::Buf::advance(&mut bytes, LENGTH);
        if self.buffer.is_empty() {
            // The frame keeps its memory; an idle connection keeps none.
            self.buffer = BytesMut::new();
        }
        Frame { bytes, arrived: std::time::Instant::now(), share: None }
    }
}

/// A frame that has memory of its own, partly there.
struct LargeFrame {
    memory: Memory,
    /// Of the whole, without the four bytes before it.
    length: usize,
    share: Share,
    /// Until when [`PROGRESS`] bytes must have come.
    deadline: Instant,
    progress: usize,
}

enum Memory {
    /// The frame behind its length.
    Heap(BytesMut),
    /// Pages, of which so many bytes are filled.
    Pages(MmapMut, usize),
}

impl LargeFrame {
    /// From what was read before, its length included; less than the whole.
    fn new(beginning: BytesMut, length: usize, share: Share) -> io::Result<Self> {
        let memory = if length < MAPPED {
            Memory::Heap(beginning)
        } else {
            let mut pages = MmapMut::map_anon(length)?;
            let read = beginning.get(LENGTH..).unwrap_or_default();
            pages.get_mut(..read.len()).unwrap_or_default().copy_from_slice(read);
            Memory::Pages(pages, read.len())
        };
        Ok(Self { memory, length, share, deadline: Instant::now() + WINDOW, progress: 0 })
    }

    fn filled(&self) -> usize {
        match &self.memory {
            Memory::Heap(bytes) => bytes.len().saturating_sub(LENGTH),
            Memory::Pages(_, filled) => *filled,
        }
    }

    /// Reads to the end of the frame and not beyond.
    async fn fill(&mut self, socket: &TcpStream, budget: &MemoryBudget) -> Result<(), FrameError> {
        self.deadline = self.deadline.max(Instant::now() + RESUMED);
        let mut turn = 0;
        while self.filled() < self.length {
            match self.try_read(socket) {
                Ok(0) => return Err(FrameError::Half),
                Ok(read) => {
                    self.progress += read;
                    turn += read;
                    if turn >= TURN {
                        turn = 0;
                        tokio::task::yield_now().await;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    tokio::select! {
                        ready = socket.readable() => ready?,
                        () = self.stalled(budget) => {
                            return Err(FrameError::Stalled { arrived: self.filled(), length: self.length });
                        }
                    }
                }
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    fn try_read(&mut self, socket: &TcpStream) -> io::Result<usize> {
        let missing = self.length - self.filled();
        match &mut self.memory {
            Memory::Heap(bytes) => socket.try_read_buf(&mut bytes.limit(missing)),
            Memory::Pages(pages, filled) => {
                let read = socket.try_read(pages.get_mut(*filled..).unwrap_or_default())?;
                *filled += read;
                Ok(read)
            }
        }
    }

    /// Returns when too little came and others wait.
    async fn stalled(&mut self, budget: &MemoryBudget) {
        loop {
            tokio::time::sleep_until(self.deadline).await;
            if self.progress < PROGRESS {
                return budget.contended().await;
            }
            self.deadline = Instant::now() + WINDOW;
            self.progress = 0;
        }
    }

    fn freeze(self) -> Frame {
        let bytes = match self.memory {
            Memory::Heap(bytes) => bytes.freeze().split_off(LENGTH),
            Memory::Pages(pages, _) => Bytes::from_owner(pages),
        };
        Frame { bytes, arrived: std::time::Instant::now(), share: Some(self.share) }
    }
}
