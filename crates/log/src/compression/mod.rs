//! Kafka's codecs over record bodies, with a bound on what comes out.
//!
//! Reading is streamed: [`reader`] gives the decompressed bytes piece by piece, so that a batch can be validated in a
//! few KiB of memory however well it was compressed.

mod snappy;

use crate::config::CompressionLevels;
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};
use ottla_wire::batch::BatchError;
pub use ottla_wire::batch::Compression;
use std::io::{self, ErrorKind, Read, Write};

/// Largest zstd window that is accepted (2^27 = 128 MiB, zstd's own default); it is only touched as far as filled.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// Why a body could not be (de)compressed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompressionError {
    /// More comes out than is allowed.
    #[error("decompressed records exceed {0} bytes")]
    TooLarge(usize),
    /// The body is not what the codec makes.
    #[error("cannot decompress {codec}: {source}", codec = .codec.name())]
    Corrupt {
        /// The codec that the attributes name.
        codec: Compression,
        /// What it says.
        source: io::Error,
    },
    /// The encoder failed.
    #[error("cannot compress {codec}: {source}", codec = .codec.name())]
    Encode {
        /// The codec.
        codec: Compression,
        /// What it says.
        source: io::Error,
    },
    /// The batch around it is not valid.
    #[error(transparent)]
    Batch(#[from] BatchError),
}

/// A reader of the decompressed body that fails with [`ErrorKind::FileTooLarge`] after `max` bytes.
///
/// # Errors
/// When the codec cannot start.
pub fn reader<'a>(compression: Compression, body: &'a [u8], max: usize) -> io::Result<impl Read + 'a> {
    let inner: Box<dyn Read + 'a> = match compression {
        Compression::None => Box::new(body),
        // No frame at all is no damage: there is nothing in it.
        Compression::Zstd if body.is_empty() => Box::new(body),
        Compression::Gzip => Box::new(MultiGzDecoder::new(body)),
        Compression::Snappy => Box::new(snappy::Reader::new(body)),
        Compression::Lz4 => Box::new(FrameDecoder::new(body)),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(body)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            Box::new(decoder)
        }
    };
    Ok(Bounded { inner, left: max })
}

/// The whole decompressed body. Memory grows with what is really there, not with what a header claims.
///
/// # Errors
/// When the body is damaged or gives more than `max` bytes.
pub fn decompress_bounded(
    compression: Compression,
    body: &Bytes,
    max: usize,
) -> Result<Bytes, CompressionError> {
    if compression == Compression::None {
        return Ok(body.clone());
    }
    let corrupt = |source: io::Error| decode_error(compression, source, max);
    let mut out = Vec::new();
    reader(compression, body, max).map_err(corrupt)?.read_to_end(&mut out).map_err(corrupt)?;
    Ok(out.into())
}

/// Sorts an error that a [`reader`] gave.
pub(crate) fn decode_error(codec: Compression, source: io::Error, max: usize) -> CompressionError {
    if source.kind() == ErrorKind::FileTooLarge {
        CompressionError::TooLarge(max)
    } else {
        CompressionError::Corrupt { codec, source }
    }
}

/// Compresses a body as Kafka's clients do.
///
/// # Errors
/// When the encoder fails, e.g. for a level out of range.
pub fn compress(
    compression: Compression,
    levels: CompressionLevels,
    body: &[u8],
) -> Result<Vec<u8>, CompressionError> {
    let encoded = match compression {
        Compression::None => Ok(body.to_vec()),
        Compression::Gzip => gzip(levels.gzip, body),
        Compression::Snappy => snappy::compress(body),
        Compression::Lz4 => lz4(body),
        // In one piece: the encoder takes memory for what there is, not for the window of its level.
        Compression::Zstd => zstd::bulk::compress(body, levels.zstd),
    };
    encoded.map_err(|source| CompressionError::Encode { codec: compression, source })
}

fn gzip(level: i32, body: &[u8]) -> io::Result<Vec<u8>> {
    let level =
        u32::try_from(level).map_or_else(|_| flate2::Compression::default(), flate2::Compression::new);
    let mut encoder = GzEncoder::new(Vec::new(), level);
    encoder.write_all(body)?;
    encoder.finish()
}

/// Kafka's reader wants independent blocks.
fn lz4(body: &[u8]) -> io::Result<Vec<u8>> {
    let info = FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(BlockMode::Independent);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(body)?;
    encoder.finish().map_err(io::Error::other)
}

struct Bounded<R> {
    inner: R,
    left: usize,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(n).ok_or_else(|| io::Error::from(ErrorKind::FileTooLarge))?;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        (0..200_000u32).flat_map(|i| (i / 7).to_le_bytes()).collect()
    }

    #[test]
    fn every_codec_round_trips() {
        let body = sample();
        for codec in Compression::ALL {
            let packed = Bytes::from(compress(codec, CompressionLevels::default(), &body).unwrap());
            assert_eq!(decompress_bounded(codec, &packed, body.len()).unwrap(), body, "{codec:?}");
        }
    }

    #[test]
    fn output_is_bounded() {
        let body = vec![0; 10 << 20];
        for codec in Compression::ALL.into_iter().skip(1) {
            let packed = Bytes::from(compress(codec, CompressionLevels::default(), &body).unwrap());
            assert!(packed.len() < body.len() / 15, "{codec:?}");
            let result = decompress_bounded(codec, &packed, 1 << 20);
            assert!(matches!(result, Err(CompressionError::TooLarge(_))), "{codec:?}: {result:?}");
        }
    }

    #[test]
    fn damaged_bodies_are_errors_not_panics() {
        let body = sample();
        for codec in Compression::ALL.into_iter().skip(1) {
            let packed = compress(codec, CompressionLevels::default(), &body).unwrap();
            assert!(
                decompress_bounded(codec, &packed[..packed.len() / 2].to_vec().into(), 1 << 30).is_err(),
                "{codec:?}"
            );
            let mut state = 1u64;
            for _ in 0..200 {
                let mut bad = packed.clone();
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(3);
                let at = usize::try_from(state >> 40).unwrap() % 64.min(bad.len());
                bad[at] ^= u8::try_from(state >> 20 & 0xff).unwrap() | 1;
                if let Ok(out) = decompress_bounded(codec, &bad.into(), body.len() * 2) {
                    assert!(out.len() <= body.len() * 2);
                }
            }
        }
    }
}
