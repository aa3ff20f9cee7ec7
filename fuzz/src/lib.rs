//! What the fuzz targets share.

use bytes::Bytes;
use ottla_wire::Records;
use ottla_wire::batch::{HEADER_LEN, LOG_OVERHEAD, compute_crc};
use ottla_wire::registry::Schema;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Memory that a decoder may take for a byte of input, and for none at all: see `crates/wire/tests/malformed.rs`.
const MEMORY_PER_BYTE: u64 = 16;
const MEMORY_BASE: u64 = 64 * 1024 + 4096;
/// Where a batch has its checksum.
const CRC_OFFSET: usize = 17;

/// Reads the message in bounded memory; what can be read can be written, and stays the same from then on.
pub fn check(schema: &Schema, body: Bytes, version: i16) {
    let len = body.len() as u64;
    let memory = allocation_counter::measure(|| drop(schema.decode(body.clone(), version)));
    let bound = MEMORY_BASE + MEMORY_PER_BYTE * len;
    assert!(memory.bytes_max <= bound, "{} version {version}: {memory:?} for {len} bytes", schema.name);
    assert!(schema.settles(body, version), "{} version {version} does not settle", schema.name);
}

/// Gives every batch the checksum that it should have, so that what lies behind the checksum is tried too.
pub fn repair_checksums(mut log: &mut [u8]) {
    while let Some(length) = log.get(8..LOG_OVERHEAD) {
        let length = u32::from_be_bytes(length.try_into().expect("four bytes")) as usize;
        let size = length.saturating_add(LOG_OVERHEAD);
        if size < HEADER_LEN || size > log.len() {
            return;
        }
        let (batch, rest) = log.split_at_mut(size);
        let crc = compute_crc(batch);
        batch[CRC_OFFSET..CRC_OFFSET + 4].copy_from_slice(&crc.to_be_bytes());
        log = rest;
    }
}

/// The batches, out of the file that they may lie in.
pub fn read(records: &Records) -> Bytes {
    match records {
        Records::Bytes(bytes) => bytes.clone(),
        Records::Region(region) => {
            let mut bytes = vec![0; region.len];
            region.file.read_exact_at(&mut bytes, region.position).expect("the file is as long as it was");
            bytes.into()
        }
    }
}

/// The input's first byte, and what follows.
pub fn flags(data: &[u8]) -> Option<(u8, &[u8])> {
    data.split_first().map(|(flags, rest)| (*flags, rest))
}

/// Cuts off a piece that begins with its length in two bytes, or all that is left.
pub fn piece<'a>(data: &mut &'a [u8]) -> &'a [u8] {
    let Some((length, rest)) = data.split_at_checked(2) else { return std::mem::take(data) };
    let length = usize::from(u16::from_be_bytes([length[0], length[1]])).min(rest.len());
    let (piece, rest) = rest.split_at(length);
    *data = rest;
    piece
}

/// A directory in memory that is removed when dropped.
pub struct Scratch(tempfile::TempDir);

impl Scratch {
    /// An empty one.
    #[expect(clippy::new_without_default, reason = "it touches the file system")]
    pub fn new() -> Self {
        Self(tempfile::tempdir_in("/dev/shm").expect("a directory in /dev/shm"))
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// A directory in it.
    pub fn directory(&self, name: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir(&path).expect("an empty directory");
        path
    }

    /// Writes a file into it.
    pub fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, content).expect("space in /dev/shm");
        path
    }
}
