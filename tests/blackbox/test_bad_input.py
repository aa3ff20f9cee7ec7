"""What broken or hostile clients send: the right error or a closed connection, and nobody else is harmed."""

import socket
import struct

import pytest
import raw
from nodes import exchange


@pytest.fixture
def topic(bootstrap, admin, name):
    from confluent_kafka.admin import NewTopic

    admin.create_topics([NewTopic(name, 1, 1)])[name].result(20)
    return name


@pytest.fixture
def connection(node):
    with socket.create_connection(("127.0.0.1", node.port), 5) as connection:
        connection.settimeout(10)
        yield connection


@pytest.fixture(autouse=True)
def still_well(node, topic):
    """Whatever happened: the process is the same, others are served, memory has not grown."""
    before = node.rss_kib()
    yield
    assert node.process.poll() is None
    assert raw.produce(node.port, topic, raw.batch(b"still here"))[0] == 0
    assert node.rss_kib() < before + 64 * 1024


def closed(connection) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(struct.pack(">i", 0x7FFFFFFF) + b"x" * 100, id="giant frame"),
        pytest.param(struct.pack(">i", -1) + b"x" * 100, id="negative frame"),
        pytest.param(struct.pack(">i", 4) + b"\x00\x03\x00\x01", id="frame shorter than a header"),
        pytest.param(struct.pack(">i", 14) + struct.pack(">hhih", 999, 0, 1, -1) + b"1234", id="unknown API"),
        pytest.param(struct.pack(">i", 14) + struct.pack(">hhih", 3, 99, 1, -1) + b"1234", id="unknown version"),
        pytest.param(struct.pack(">i", 14) + struct.pack(">hhihi", 3, 1, 1, -1, 0x7FFFFFFF), id="giant array"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n", id="HTTP"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 500, id="TLS"),
    ],
)
def test_nonsense_closes_the_connection(connection, sent):
    connection.sendall(sent)
    assert closed(connection)


def test_half_a_frame_then_silence_then_gone(node):
    for _ in range(50):
        with socket.create_connection(("127.0.0.1", node.port), 5) as connection:
            connection.sendall(struct.pack(">i", 100_000) + b"half")


def test_api_versions_of_an_unknown_version_is_answered_in_version_0(connection):
    answer = exchange(connection, struct.pack(">hhih", 18, 99, 7, -1) + b"\x00")
    correlation, error, count = struct.unpack(">ihi", answer[:10])
    assert (correlation, error) == (7, 35)
    assert count > 0


def test_batches_that_are_not_what_they_say(node, topic):
    good = raw.batch(b"value")
    corrupt_message, unsupported_for_message_format, invalid_record, message_too_large = 2, 43, 87, 10
    flipped = good[:-1] + bytes([good[-1] ^ 1])
    assert raw.produce(node.port, topic, flipped)[0] == corrupt_message
    cut = good[:-3]
    assert raw.produce(node.port, topic, cut)[0] in (corrupt_message, invalid_record)
    old_magic = good[:16] + b"\x01" + good[17:]
    assert raw.produce(node.port, topic, old_magic)[0] in (
        corrupt_message,
        invalid_record,
        unsupported_for_message_format,
    )
    assert raw.produce(node.port, topic, raw.batch(b"x" * 2_000_000))[0] == message_too_large
    assert raw.produce(node.port, topic, good)[0] == 0


def test_a_client_that_never_reads_is_left_behind(node, topic):
    big = raw.batch(b"x" * 500_000)
    for _ in range(20):
        assert raw.produce(node.port, topic, big)[0] == 0
    fetch = (
        raw.header(1, 4) + struct.pack(">iiiib", -1, 0, 0, 0x7FFFFFF0, 0) + struct.pack(">i", 1) + raw.string(topic)
        + struct.pack(">iiqi", 1, 0, 0, 10_000_000)
    )  # fmt: skip
    connections = [socket.create_connection(("127.0.0.1", node.port), 5) for _ in range(10)]
    for connection in connections:
        for _ in range(5):
            connection.sendall(struct.pack(">i", len(fetch)) + fetch)
    assert raw.produce(node.port, topic, raw.batch(b"others go on"))[0] == 0
    for connection in connections:
        connection.close()
