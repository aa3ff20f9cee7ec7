"""Record batches by hand, right ones and wrong ones."""

import struct

from kafka.record.util import calc_crc32c, encode_varint

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


FIELDS = ("base_offset", "length", "leader_epoch", "magic", "crc", "attributes", "last_offset_delta", "base_timestamp", "max_timestamp",
          "producer_id", "producer_epoch", "base_sequence", "count")  # fmt: skip
HEADER = struct.Struct(">qiibIhiqqqhii")


def parse(data: bytes) -> list[dict | str]:
    """What a fetch brought, batch by batch; the last one may be cut."""
    found: list[dict | str] = []
    while data:
        size = 12 + struct.unpack_from(">i", data, 8)[0] if len(data) >= HEADER.size else len(data) + 1
        if size > len(data):
            return [*found, "cut"]
        found.append(dict(zip(FIELDS, HEADER.unpack_from(data))) | {"body": data[HEADER.size : size].hex()})
        data = data[size:]
    return found
