//! Snappy in xerial's framing: a 16-byte header, then blocks of a 4-byte big-endian length and raw snappy.
//!
//! A body without the header is one raw block, as some clients send it.

use std::io::{self, ErrorKind, Read};

const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const VERSION: i32 = 1;
const HEADER_LEN: usize = 16;
const BLOCK_LEN: usize = 32 * 1024;

/// A snappy element of 3 bytes copies at most 64: a block that claims more than this many times its size lies.
const MAX_RATIO: usize = 22;

/// Streams the blocks' contents.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    framed: bool,
    block: Vec<u8>,
    read: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(body: &'a [u8]) -> Self {
        let framed = body.len() >= HEADER_LEN && body.starts_with(&MAGIC);
        let rest = if framed { body.get(HEADER_LEN..).unwrap_or_default() } else { body };
        Self { rest, framed, block: Vec::new(), read: 0 }
    }

    fn next_block(&mut self) -> io::Result<bool> {
        if self.rest.is_empty() {
            return Ok(false);
        }
        let packed = if self.framed { self.take_frame()? } else { std::mem::take(&mut self.rest) };
        let claimed = snap::raw::decompress_len(packed)?;
        if claimed > packed.len().saturating_mul(MAX_RATIO) {
            return Err(io::Error::new(ErrorKind::InvalidData, "block claims an impossible size"));
        }
        self.block.resize(claimed, 0);
        snap::raw::Decoder::new().decompress(packed, &mut self.block)?;
        self.read = 0;
        Ok(true)
    }

    fn take_frame(&mut self) -> io::Result<&'a [u8]> {
        // Concatenated streams repeat the header.
        if let Some(rest) = self.rest.strip_prefix(&MAGIC) {
            self.rest = rest.get(HEADER_LEN - MAGIC.len()..).ok_or(ErrorKind::UnexpectedEof)?;
        }
        let (len, rest) = self.rest.split_first_chunk::<4>().ok_or(ErrorKind::UnexpectedEof)?;
        let len = usize::try_from(i32::from_be_bytes(*len)).map_err(|_| ErrorKind::InvalidData)?;
        let (packed, rest) = rest.split_at_checked(len).ok_or(ErrorKind::UnexpectedEof)?;
        self.rest = rest;
        Ok(packed)
    }
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.read == self.block.len() {
            if !self.next_block()? {
                return Ok(0);
            }
        }
        let ready = self.block.get(self.read..).unwrap_or_default();
        let n = ready.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(ready) {
            *to = *from;
        }
        self.read += n;
        Ok(n)
    }
}

/// Frames of 32 KiB, as Java's encoder makes them.
pub(super) fn compress(body: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(HEADER_LEN + body.len() / 2);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_be_bytes());
    out.extend_from_slice(&VERSION.to_be_bytes());
    let mut encoder = snap::raw::Encoder::new();
    for block in body.chunks(BLOCK_LEN) {
        let packed = encoder.compress_vec(block)?;
        let len = u32::try_from(packed.len()).map_err(io::Error::other)?;
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(&packed);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raw_block_without_framing_is_read_too() {
        let raw = snap::raw::Encoder::new().compress_vec(&[5; 1000]).unwrap();
        let mut out = Vec::new();
        Reader::new(&raw).read_to_end(&mut out).unwrap();
        assert_eq!(out, [5; 1000]);
    }

    #[test]
    fn a_block_that_claims_too_much_is_not_allocated() {
        let mut body = MAGIC.to_vec();
        body.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 6]);
        body.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0]);
        assert!(Reader::new(&body).read_to_end(&mut Vec::new()).is_err());
    }
}
