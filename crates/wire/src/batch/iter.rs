//! Walking over the batches of a buffer.

use super::record::Records;
use super::{BatchError, BatchHeader, Compression, HEADER_LEN, LOG_OVERHEAD, MAGIC_OFFSET, compute_crc};
use bytes::Bytes;

/// One whole batch: its parsed header and all of its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Parsed header.
    pub header: BatchHeader,
    /// Header and body; exactly [`BatchHeader::size_in_bytes`].
    pub bytes: Bytes,
}

impl Batch {
    /// Parses the batch at the start of `bytes` and cuts it off there.
    ///
    /// # Errors
    /// When it is not a v2 batch or not all there.
    pub fn parse(bytes: &Bytes) -> Result<Self, BatchError> {
        let size = batch_size(bytes)?;
        if bytes.get(MAGIC_OFFSET).is_some() {
            BatchHeader::parse(bytes)?;
        }
        if bytes.len() < size {
            return Err(BatchError::Truncated { needed: size, available: bytes.len() });
        }
        Ok(Self { header: BatchHeader::parse(bytes)?, bytes: bytes.slice(..size) })
    }

    /// Compares the checksum in the header with the bytes.
    ///
    /// # Errors
    /// [`BatchError::Crc`] when they differ.
    pub fn verify_crc(&self) -> Result<(), BatchError> {
        let computed = compute_crc(&self.bytes);
        if computed == self.header.crc {
            Ok(())
        } else {
            Err(BatchError::Crc { stored: self.header.crc, computed })
        }
    }

    /// The body: records, compressed or not.
    #[must_use]
    pub fn body(&self) -> Bytes {
        self.bytes.slice(HEADER_LEN.min(self.bytes.len())..)
    }

    /// The records of an uncompressed batch.
    ///
    /// # Errors
    /// [`BatchError::Compressed`] when the body must be decompressed first; then use [`Records::new`].
    pub fn records(&self) -> Result<Records, BatchError> {
        match self.header.compression()? {
            Compression::None => Ok(Records::new(&self.header, self.body())),
            other => Err(BatchError::Compressed(other)),
        }
    }
}

/// The batches in `bytes`, in order. After the first error nothing more is returned.
#[must_use]
pub fn batches(bytes: &Bytes) -> Batches {
    Batches { rest: bytes.clone() }
}

/// Iterator made by [`batches`].
#[derive(Clone, Debug)]
pub struct Batches {
    rest: Bytes,
}

impl Batches {
    /// What has not been walked over yet: an incomplete batch at the end, after [`BatchError::Truncated`].
    #[must_use]
    pub fn remainder(&self) -> &Bytes {
        &self.rest
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let parsed = Batch::parse(&self.rest);
        match &parsed {
            Ok(batch) => self.rest = self.rest.slice(batch.bytes.len()..),
            Err(_) => self.rest = Bytes::new(),
        }
        Some(parsed)
    }
}

/// Size of the batch at the start of `bytes` as its length field says.
fn batch_size(bytes: &[u8]) -> Result<usize, BatchError> {
    let truncated = BatchError::Truncated { needed: LOG_OVERHEAD, available: bytes.len() };
    let (head, _) = bytes.split_first_chunk::<LOG_OVERHEAD>().ok_or(truncated)?;
    let [.., a, b, c, d] = *head;
    let length = i32::from_be_bytes([a, b, c, d]);
    let body = usize::try_from(length).map_err(|_| BatchError::InvalidLength(length))?;
    Ok(LOG_OVERHEAD + body)
}
