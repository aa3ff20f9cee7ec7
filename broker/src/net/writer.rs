//! Responses onto the socket: bytes by vectored writes, log regions by `sendfile`.
//!
//! Small regions are copied behind the header, which saves a packet and two system calls; large ones go from the page
//! cache to the socket in bounded steps. What is not in the page cache is read on the blocking pool first, so that a
//! slow disk never stops a worker.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use ottla_wire::{FileRegion, Part, Parts};
use rustix::io::ReadWriteFlags;
use rustix::net::{SendAncillaryBuffer, SendFlags};
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::budget::MemoryBudget;
use crate::blocking;

/// Regions up to this size are copied, in bytes.
const COPY: usize = 16 * 1024;
/// The most that is gathered before it is sent, in bytes.
const GATHER: usize = 64 * 1024;
/// The most slices in one call.
const SLICES: usize = 64;
/// The most that one `sendfile` sends before other connections have a turn, in bytes.
const CHUNK: usize = 512 * 1024;
/// How far apart the probes for the page cache are, in bytes: as far as the system usually reads ahead.
const PROBE: usize = 128 * 1024;
/// When the memory for unsent responses runs out, a client keeps its own if it took a byte within this time.
const GRACE: Duration = Duration::from_secs(1);

/// Writes whole responses to one socket.
#[derive(Debug)]
pub(super) struct ResponseWriter {
    stall: Duration,
    budget: MemoryBudget,
    /// Memory that waits until the client takes more, in bytes.
    waiting: usize,
    /// Of the bytes gathered those that were copied from regions.
    copied: usize,
    gathered: VecDeque<Bytes>,
    size: usize,
}

impl ResponseWriter {
    /// A write that makes no progress for `stall` fails.
    pub(super) fn new(stall: Duration, budget: MemoryBudget) -> Self {
        Self { stall, budget, waiting: 0, copied: 0, gathered: VecDeque::new(), size: 0 }
    }

    /// Sends the length and then `parts`, while responses of `behind` bytes wait for their turn; returns the bytes
    /// sent.
    pub(super) async fn write(&mut self, socket: &TcpStream, parts: Parts, behind: usize) -> io::Result<u64> {
        self.waiting = parts.in_memory() + behind;
        let length = i32::try_from(parts.len()).map_err(|_| io::Error::other("response above 2 GiB"))?;
        let total = 4 + parts.len() as u64;
        self.gather(Bytes::copy_from_slice(&length.to_be_bytes()));
        for part in parts {
            match part {
                Part::Bytes(bytes) => self.gather(bytes),
                Part::Region(region) if region.len <= COPY => {
                    self.copied += region.len;
                    self.gather(load(&region).await?);
                }
                Part::Region(region) => {
                    self.flush(socket, SendFlags::MORE).await?;
                    self.send_region(socket, region).await?;
                }
            }
            if self.size >= GATHER || self.gathered.len() >= SLICES {
                self.flush(socket, SendFlags::empty()).await?;
            }
        }
        self.flush(socket, SendFlags::empty()).await?;
        Ok(total)
    }

    fn gather(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.size += bytes.len();
            self.gathered.push_back(bytes);
        }
    }

    async fn flush(&mut self, socket: &TcpStream, flags: SendFlags) -> io::Result<()> {
        while !self.gathered.is_empty() {
            let gathered = &self.gathered;
            let sent = self
                .ready(socket, self.waiting + self.copied, || {
                    let slices: Vec<IoSlice<'_>> =
                        gathered.iter().take(SLICES).map(|b| IoSlice::new(b)).collect();
                    let flags = flags | SendFlags::NOSIGNAL;
                    Ok(rustix::net::sendmsg(socket, &slices, &mut SendAncillaryBuffer::default(), flags)?)
                })
                .await?;
            self.advance(sent);
        }
        (self.size, self.copied) = (0, 0);
        Ok(())
    }

    fn advance(&mut self, mut sent: usize) {
        while let Some(front) = self.gathered.front_mut() {
            if sent < front.len() {
                front.advance(sent);
                return;
            }
            sent -= front.len();
            self.gathered.pop_front();
        }
    }

    async fn send_region(&self, socket: &TcpStream, region: FileRegion) -> io::Result<()> {
        let FileRegion { file, mut position, len } = region;
        let end = position + len as u64;
        let mut warm_until = position;
        while position < end {
            if position >= warm_until {
                warm_until = (position + CHUNK as u64).min(end);
                warm(&file, position, warm_until).await?;
            }
            let step = usize::try_from(warm_until - position).unwrap_or(CHUNK);
            let sent = self
                .ready(socket, self.waiting, || {
                    let mut from = position;
                    Ok(rustix::fs::sendfile(socket, &*file, Some(&mut from), step)?)
                })
                .await?;
            if sent == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "log truncated while it was read"));
            }
            position += sent as u64;
            tokio::task::coop::consume_budget().await;
        }
        Ok(())
    }

    /// Runs `send` when the socket takes bytes; an error when it takes none for `stall`, or for [`GRACE`] when the
    /// `memory` that waits for it is needed.
    async fn ready<R>(
        &self,
        socket: &TcpStream,
        memory: usize,
        mut send: impl FnMut() -> io::Result<R>,
    ) -> io::Result<R> {
        match socket.try_io(Interest::WRITABLE, &mut send) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            other => return other,
        }
        let unsent = self.budget.unsent(memory);
        tokio::select! {
            biased;
            sent = socket.async_io(Interest::WRITABLE, send) => sent,
            () = tokio::time::sleep(self.stall) => {
                Err(io::Error::new(io::ErrorKind::TimedOut, "client does not read"))
            }
            () = unsent.squeezed(GRACE) => {
                Err(io::Error::new(io::ErrorKind::TimedOut, "client does not read, and its responses' memory is needed"))
            }
        }
    }
}

/// A small region's bytes.
async fn load(region: &FileRegion) -> io::Result<Bytes> {
    let mut bytes = BytesMut::zeroed(region.len);
    let nowait = ReadWriteFlags::NOWAIT;
    match rustix::io::preadv2(&*region.file, &mut [IoSliceMut::new(&mut bytes)], region.position, nowait) {
        Ok(read) if read == region.len => return Ok(bytes.freeze()),
        _ => {}
    }
    let region = region.clone();
    blocking::disk_read(move || region.read()).await
}

/// Brings `from..to` into the page cache unless it seems to be there.
async fn warm(file: &Arc<std::fs::File>, from: u64, to: u64) -> io::Result<()> {
    let mut probes = (from..to).step_by(PROBE).chain(Some(to.saturating_sub(1)));
    if probes.all(|position| cached(file, position)) {
        return Ok(());
    }
    let file = Arc::clone(file);
    blocking::disk_read(move || blocking::touch(&file, from, to)).await
}

/// Whether the byte at `position` can be read without waiting; a file system that cannot say counts as yes.
fn cached(file: &std::fs::File, position: u64) -> bool {
    let mut byte = [0];
    let read = rustix::io::preadv2(file, &mut [IoSliceMut::new(&mut byte)], position, ReadWriteFlags::NOWAIT);
    !matches!(read, Err(rustix::io::Errno::AGAIN))
}
