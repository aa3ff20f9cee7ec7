"""Frames and headers; what a connection lives through."""

import struct

import codec
from brokers import Broker


def api_versions(broker: Broker) -> None:
    broker.each("ApiVersions", {"client_software_name": "some-client", "client_software_version": "1.0"})
    for name, version in [
        ("", "1"),
        ("a", ""),
        ("-a", "1"),
        ("a-", "1"),
        ("a b", "1"),
        ("a.b-c", "1.0-x"),
        ("a", ".1"),
        ("ä", "1"),
    ]:
        body = {"client_software_name": name, "client_software_version": version}
        broker.each("ApiVersions", body, f"software {name!r} {version!r}", range(3, 9))
    for version in (-1, 5, 99, 32767):
        frame = codec.encode("ApiVersions", 4, 7, {})
        with broker.connection() as asking:
            asking.raw(f"version {version}", _framed(frame[:2] + struct.pack(">h", version) + frame[4:]))


def frames(broker: Broker) -> None:
    with broker.connection() as asking:
        for label, data in {
            "negative length": struct.pack(">i", -1),
            "no length": struct.pack(">i", 0),
            "giant length": struct.pack(">i", 0x7FFFFFFF) + b"x" * 100,
            "less than a header": _framed(b"\x00\x03\x00\x01"),
            "unknown API": _framed(struct.pack(">hhih", 999, 0, 1, -1)),
            "negative API": _framed(struct.pack(">hhih", -1, 0, 1, -1)),
            "client id longer than the frame": _framed(struct.pack(">hhih", 3, 1, 1, 300)),
            "client id that is not UTF-8": _framed(struct.pack(">hhih", 3, 1, 1, 2) + b"\xff\xfe" + struct.pack(">i", 0)),
            "negative client id": _framed(struct.pack(">hhih", 3, 1, 1, -2) + struct.pack(">i", 0)),
            "giant array": _framed(struct.pack(">hhihi", 3, 1, 1, -1, 0x7FFFFFFF)),
            "HTTP": b"GET / HTTP/1.1\r\nHost: here\r\n\r\n",
        }.items():
            asking.raw(label, data)


def versions_that_are_not_served(broker: Broker) -> None:
    for api in sorted(broker.common):
        schema = codec.request(api)
        body = codec.encode(api, schema.versions.high, 7, {})
        for version in (-1, schema.versions.low - 1, schema.versions.high + 1, 32767):
            if version >= 0 or api != "ApiVersions":
                if api == "ApiVersions":
                    continue
                with broker.connection() as asking:
                    asking.raw(f"{api} version {version}", _framed(body[:2] + struct.pack(">h", version) + body[4:]))


def cut_bodies(broker: Broker) -> None:
    """Every request cut off after its header, in every version."""
    for api in sorted(broker.common):
        for version in broker.versions(api):
            if api != "ApiVersions" and codec.request(api).write({}, version):
                broker.ask(api, version, b"", "nothing behind the header")


def pipelined(broker: Broker) -> None:
    with broker.connection() as asking:
        sent = [asking.send("Metadata", version, {"topics": []}) for version in broker.versions("Metadata")]
        for one in sent:
            asking.receive(one, "pipelined")


def _framed(data: bytes) -> bytes:
    return struct.pack(">i", len(data)) + data
