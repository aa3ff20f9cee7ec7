"""Requests made by hand, where a client's own caches, retries and checks would be in the way."""

import socket
import struct

from kafka.record.default_records import DefaultRecordBatchBuilder
from nodes import exchange


def batch(*values: bytes) -> bytes:
    """A record batch (v2), uncompressed."""
    builder = DefaultRecordBatchBuilder(
        magic=2, compression_type=0, is_transactional=False, producer_id=-1, producer_epoch=-1, base_sequence=-1,
        batch_size=1 << 20,
    )  # fmt: skip
    for offset, value in enumerate(values):
        builder.append(offset, timestamp=1_700_000_000_000, key=None, value=value, headers=[])
    return bytes(builder.build())


def string(text: str | None) -> bytes:
    return struct.pack(">h", -1) if text is None else struct.pack(">h", len(text)) + text.encode()


def header(api_key: int, version: int, correlation: int = 1) -> bytes:
    return struct.pack(">hhi", api_key, version, correlation) + string("by-hand")


def produce_request(topic: str, records: bytes, acks: int = -1, partition: int = 0) -> bytes:
    """Produce v3."""
    return (
        header(0, 3) + string(None) + struct.pack(">hii", acks, 5000, 1) + string(topic)
        + struct.pack(">iii", 1, partition, len(records)) + records
    )  # fmt: skip


def produce(port: int, topic: str, records: bytes, acks: int = -1, partition: int = 0) -> tuple[int, int]:
    """Error code and base offset."""
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.settimeout(10)
        answer = exchange(connection, produce_request(topic, records, acks, partition))
    at = 4 + 4 + 2 + len(topic) + 4 + 4  # correlation, topics, name, partitions, index
    return struct.unpack(">hq", answer[at : at + 10])
