//! Work that waits for a disk, or keeps a core for long, away from the threads that serve connections: on the blocking
//! pool, and only so much of a kind at a time, so that no kind keeps the others from it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::LazyLock;
use std::thread::available_parallelism;

use tokio::sync::Semaphore;

/// Reads of what may not be in the page cache.
static DISK_READS: Semaphore = Semaphore::const_new(8);
/// Appends of large requests: they are copying and checksums, so most cores are left to others.
static LARGE_APPENDS: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(available_parallelism().map_or(1, |cores| cores.get().div_ceil(4))));

/// Runs a read that may have to wait for a disk.
///
/// # Errors
/// The read's own, or the node is stopping.
pub async fn disk_read<R: Send + 'static>(
    read: impl FnOnce() -> io::Result<R> + Send + 'static,
) -> io::Result<R> {
    run(&DISK_READS, read).await?
}

/// Runs the append of a large request.
///
/// # Errors
/// The node is stopping.
pub async fn large_append<R: Send + 'static>(append: impl FnOnce() -> R + Send + 'static) -> io::Result<R> {
    run(&LARGE_APPENDS, append).await
}

async fn run<R: Send + 'static>(
    turns: &Semaphore,
    work: impl FnOnce() -> R + Send + 'static,
) -> io::Result<R> {
    let _turn = turns.acquire().await.map_err(io::Error::other)?;
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}

/// Reads `from..to`, so that it is in the page cache.
///
/// # Errors
/// The system's. The file's end is none.
pub fn touch(file: &File, from: u64, to: u64) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    let mut at = from;
    while at < to {
        match file.read_at(&mut buffer, at)? {
            0 => break,
            read => at += read as u64,
        }
    }
    Ok(())
}
