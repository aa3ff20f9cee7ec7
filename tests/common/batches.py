"""Record batches by hand, right ones and wrong ones."""

import gzip
import struct

import lz4.frame
import zstandard
from kafka import codec
from kafka.record.util import calc_crc32c, encode_varint

CODECS = {"uncompressed": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
# With levels, blocks and checksums of which no broker would think.
PACK = {
    "gzip": lambda data: gzip.compress(data, 9, mtime=1),
    "snappy": lambda data: codec.snappy_encode(data, xerial_blocksize=64),
    "lz4": lambda data: lz4.frame.compress(data, content_checksum=True),
    "zstd": lambda data: zstandard.ZstdCompressor(level=7, write_checksum=True).compress(data),
}
UNPACK = {1: codec.gzip_decode, 2: codec.snappy_decode, 3: codec.lz4_decode, 4: codec.zstd_decode}
APPEND_TIME = 8
# Bodies that were packed here: a broker that passes one on has left it as it was.
PACKED: dict[tuple[str, bytes], bytes] = {}
# Times are given, so that both brokers are sent the same bytes.
TIMESTAMP = 1_750_000_000_000


def varint(value: int) -> bytes:
    out = bytearray()
    encode_varint(value, out.append)
    return bytes(out)


def sized(data: bytes | None) -> bytes:
    return varint(-1) if data is None else varint(len(data)) + data


def record(
    value: bytes | None, key: bytes | None = None, delta: int = 0, time: int = 0, headers: bytes = varint(0), attributes: int = 0
):
    body = bytes([attributes]) + varint(time) + varint(delta) + sized(key) + sized(value) + headers
    return varint(len(body)) + body


def batch(
    *values: bytes,
    records: bytes | None = None,
    base_offset: int = 0,
    length: int | None = None,
    leader_epoch: int = -1,
    magic: int = 2,
    crc: int | None = None,
    attributes: int = 0,
    last_offset_delta: int | None = None,
    timestamp: int = TIMESTAMP,
    max_timestamp: int | None = None,
    producer: tuple[int, int, int] = (-1, -1, -1),
    count: int | None = None,
) -> bytes:
    """One batch of values (or of `records` as they are); every field of its header may be overruled."""
    body = records if records is not None else b"".join(record(value, delta=delta) for delta, value in enumerate(values))
    count = len(values) if count is None else count
    tail = struct.pack(
        ">hiqqqhii",
        attributes,
        count - 1 if last_offset_delta is None else last_offset_delta,
        timestamp,
        timestamp if max_timestamp is None else max_timestamp,
        *producer,
        count,
    )
    sealed = calc_crc32c(tail + body) if crc is None else crc
    inner = struct.pack(">ibI", leader_epoch, magic, sealed) + tail + body
    return struct.pack(">qi", base_offset, len(inner) if length is None else length) + inner


def packed(name: str, records: bytes, count: int, attributes: int = 0, max_timestamp_off: bool = False, **more) -> bytes:
    """A batch of records in a codec."""
    body = records
    if name != "uncompressed":
        body = PACKED.setdefault((name, records), PACK[name](records))
    if max_timestamp_off:
        more["max_timestamp"] = TIMESTAMP + 5000
    return batch(records=body, count=count, attributes=attributes | CODECS[name], **more)


FIELDS = ("base_offset", "length", "leader_epoch", "magic", "crc", "attributes", "last_offset_delta", "base_timestamp", "max_timestamp",
          "producer_id", "producer_epoch", "base_sequence", "count")  # fmt: skip
HEADER = struct.Struct(">qiibIhiqqqhii")


def parse(data: bytes) -> list[dict | str]:
    """What a fetch brought, batch by batch; the last one may be cut. Where the broker packed records itself, what is
    inside counts, not how small it became."""
    found: list[dict | str] = []
    while data:
        size = 12 + struct.unpack_from(">i", data, 8)[0] if len(data) >= HEADER.size else len(data) + 1
        if size > len(data):
            return [*found, "cut"]
        fields, body = dict(zip(FIELDS, HEADER.unpack_from(data))), data[HEADER.size : size]
        unpack, sealed_anew = UNPACK.get(fields["attributes"] & 7), False
        if unpack and body not in PACKED.values():
            fields["length"], body = "packed", unpack(body)
            sealed_anew = True
        if sealed_anew or fields["attributes"] & APPEND_TIME:
            fields["crc"] = fields["crc"] == calc_crc32c(data[21:size])
        found.append(fields | {"body": body.hex()})
        data = data[size:]
    return found
