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
use tokio::sync::Semaphore;

/// Regions up to this size are copied, in bytes.
const COPY: usize = 16 * 1024;
/// The most that is gathered before it is sent, in bytes.
const GATHER: usize = 256 * 1024;
/// The most slices in one call.
const SLICES: usize = 64;
/// The most that one `sendfile` sends before other connections have a turn, in bytes.
const CHUNK: usize = 512 * 1024;
/// Cold reads at a time, all connections together.
static COLD_READS: Semaphore = Semaphore::const_new(8);

/// Writes whole responses to one socket.
#[derive(Debug)]
pub(super) struct ResponseWriter {
    stall: Duration,
    gathered: VecDeque<Bytes>,
    size: usize,
}

impl ResponseWriter {
    /// A write that makes no progress for `stall` fails.
    pub(super) fn new(stall: Duration) -> Self {
        Self { stall, gathered: VecDeque::new(), size: 0 }
    }

    /// Sends the length and then `parts`; returns the bytes sent.
    pub(super) async fn write(&mut self, socket: &TcpStream, parts: Parts) -> io::Result<u64> {
        let length = i32::try_from(parts.len()).map_err(|_| io::Error::other("response above 2 GiB"))?;
        let total = 4 + parts.len() as u64;
        self.gather(Bytes::copy_from_slice(&length.to_be_bytes()));
        for part in parts {
            match part {
                Part::Bytes(bytes) => self.gather(bytes),
                Part::Region(region) if region.len <= COPY => self.gather(load(&region).await?),
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
            let sent = ready(socket, self.stall, || {
                let slices: Vec<IoSlice<'_>> =
                    gathered.iter().take(SLICES).map(|b| IoSlice::new(b)).collect();
                let flags = flags | SendFlags::NOSIGNAL;
                Ok(rustix::net::sendmsg(socket, &slices, &mut SendAncillaryBuffer::default(), flags)?)
            })
            .await?;
            self.advance(sent);
        }
        self.size = 0;
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
            let sent = ready(socket, self.stall, || {
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
}

/// Runs `send` when the socket takes bytes; an error when it takes none for `stall`.
async fn ready<R>(
    socket: &TcpStream,
    stall: Duration,
    mut send: impl FnMut() -> io::Result<R>,
) -> io::Result<R> {
    match socket.try_io(Interest::WRITABLE, &mut send) {
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
        other => return other,
    }
    match tokio::time::timeout(stall, socket.async_io(Interest::WRITABLE, send)).await {
        Ok(result) => result,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "client does not read")),
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
    let (file, position) = (Arc::clone(&region.file), region.position);
    blocking(move || {
        std::os::unix::fs::FileExt::read_exact_at(&*file, &mut bytes, position)?;
        Ok(bytes.freeze())
    })
    .await
}

/// Brings `from..to` into the page cache unless both of its ends are there.
async fn warm(file: &Arc<std::fs::File>, from: u64, to: u64) -> io::Result<()> {
    if cached(file, from) && cached(file, to.saturating_sub(1)) {
        return Ok(());
    }
    let file = Arc::clone(file);
    blocking(move || {
        let mut buffer = vec![0; 64 * 1024];
        let mut at = from;
        while at < to {
            match std::os::unix::fs::FileExt::read_at(&*file, &mut buffer, at)? {
                0 => break,
                read => at += read as u64,
            }
        }
        Ok(())
    })
    .await
}

/// Whether the byte at `position` can be read without waiting; a file system that cannot say counts as yes.
fn cached(file: &std::fs::File, position: u64) -> bool {
    let mut byte = [0];
    let read = rustix::io::preadv2(file, &mut [IoSliceMut::new(&mut byte)], position, ReadWriteFlags::NOWAIT);
    !matches!(read, Err(rustix::io::Errno::AGAIN))
}

async fn blocking<R: Send + 'static>(read: impl FnOnce() -> io::Result<R> + Send + 'static) -> io::Result<R> {
    let _turn = COLD_READS.acquire().await.map_err(io::Error::other)?;
    tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?
}
