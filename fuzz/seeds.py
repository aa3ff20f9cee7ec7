#!/usr/bin/env python3
"""Writes the first inputs of every fuzz target, made of what Apache Kafka wrote: `fuzz/seeds.py [DIRECTORY]`."""

import hashlib
import struct
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "crates/wire/golden"
LOGS = ROOT / "crates/log/tests/fixtures/apache-4.3.1"
QUORUM = ROOT / "crates/quorum/tests/fixtures"
LONGEST = 4096


def goldens(file):
    for line in (GOLDEN / file).read_text().splitlines():
        name, versions, _, content = line.split(" ")
        first, last = map(int, versions.split("-"))
        yield name, first, last, bytes.fromhex(content)


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def piece(content):
    return struct.pack(">H", len(content)) + content


def frames():
    """Requests with their headers, responses with key and version before them."""
    keys = {}
    for line in (GOLDEN / "api-keys.txt").read_text().splitlines():
        key, name, lowest, _, _, *headers = line.split(" ")
        keys[name] = int(key), int(lowest), [int(header.split("/")[0]) for header in headers]
    for name, _, version, body in goldens("client.txt"):
        api = name.removesuffix("Request").removesuffix("Response")
        if api not in keys:
            continue
        key, lowest, headers = keys[api]
        if name.endswith("Response"):
            yield "response", bytes([key, version]) + body
        elif lowest <= version < lowest + len(headers):
            header = struct.pack(">hhih", key, version, 7, 1) + b"c" + b"\0" * (headers[version - lowest] == 2)
            yield "request", header + body


def records():
    schemas = ROOT / "crates/wire/schemas/metadata"
    for name, _, version, body in goldens("metadata.txt"):
        schema = (schemas / f"{name}.json").read_text()
        key = int(schema.split('"apiKey":')[1].split(",")[0])
        yield "metadata_record", b"\x01" + varint(key) + varint(version) + body
    keys = {}
    for file in ("group.txt", "transaction.txt", "share.txt"):
        for name, _, _, body in goldens(file):
            if name.endswith("Key"):
                schema = next((ROOT / "crates/wire/schemas").glob(f"*/{name}.json")).read_text()
                key = int(schema.split('"apiKey":')[1].split(",")[0])
                keys[name] = struct.pack(">h", key) + body
                yield "coordinator_record", piece(keys[name])
        for name, _, version, body in goldens(file):
            if name.endswith("Value") and (key := keys.get(name.removesuffix("Value") + "Key")):
                yield "coordinator_record", piece(key) + struct.pack(">h", version) + body


def batches(log):
    while len(log) > 12:
        size = 12 + struct.unpack(">i", log[8:12])[0]
        yield log[:size]
        log = log[size:]


def files():
    for log in LOGS.glob("*/*.log"):
        for batch in batches(log.read_bytes()):
            yield "batch", b"\x01" + batch
        beside = [log.with_suffix(suffix) for suffix in (".log", ".index", ".timeindex", ".txnindex")]
        beside += [next(log.parent.glob("*.snapshot")), log.parent / "leader-epoch-checkpoint", log.parent / "partition.metadata"]
        content = [path.read_bytes()[:LONGEST] if path.exists() else b"" for path in beside]
        content += [b'{"version":0,"brokerEpoch":7}', b"0\n2\nt 0 70\nu 3 1\n"]
        for flags in range(4):
            yield "index_and_checkpoint", bytes([flags]) + b"".join(map(piece, content))
    for snapshot in QUORUM.glob("**/*.checkpoint"):
        yield "snapshot", b"\x01" + snapshot.read_bytes()
    for properties in QUORUM.glob("**/meta.properties"):
        yield "properties", properties.read_bytes()
    yield "properties", (ROOT / "fuzz/server.properties").read_bytes()


def main():
    corpus = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "fuzz/corpus"
    for target, seed in [*frames(), *records(), *files()]:
        if len(seed) <= 4 * LONGEST:
            directory = corpus / target
            directory.mkdir(parents=True, exist_ok=True)
            (directory / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
    for directory in sorted(corpus.iterdir()):
        sizes = [path.stat().st_size for path in directory.iterdir()]
        print(f"{directory.name}: {len(sizes)} files, {sum(sizes)} bytes")


if __name__ == "__main__":
    main()
