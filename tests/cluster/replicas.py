"""The replicas of a partition as they lie on disk: the same batches, byte for byte, from the highest log start to the high watermark."""

import hashlib
import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cluster import Cluster

# Base offset, length of what follows, leader epoch, magic, CRC, attributes, last offset's delta.
HEADER = struct.Struct(">qiibIhi")
HEADER_SIZE = 61


@dataclass(frozen=True)
class Batch:
    base: int
    last: int
    epoch: int
    size: int
    digest: bytes

    def __str__(self) -> str:
        return f"{self.base}..{self.last} of epoch {self.epoch}, {self.size} bytes, {self.digest.hex()}"


def batches(directory: Path) -> Iterator[Batch]:
    """All whole batches of a partition's directory. A node that is up may be writing the last one."""
    for segment in sorted(directory.glob("*.log")):
        with segment.open("rb") as file:
            if segment.stat().st_size < HEADER_SIZE:
                continue
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                at = 0
                while at + HEADER_SIZE <= len(data):
                    base, length, epoch, magic, _, _, delta = HEADER.unpack_from(data, at)
                    size = 12 + length
                    if length < HEADER_SIZE - 12 or at + size > len(data):
                        break
                    assert magic == 2, f"{segment} at {at}: magic {magic}"
                    yield Batch(base, base + delta, epoch, size, hashlib.blake2b(data[at : at + size], digest_size=8).digest())
                    at += size


def assert_equal(cluster: Cluster, topic: str, seconds: float = 60) -> int:
    """Waits until the replicas have all up to the high watermark, and compares them. How many batches they have in common."""
    count = 0
    for partition, state in sorted(cluster.describe(topic).items()):
        start, end = cluster.offset(topic, partition, -2), cluster.offset(topic, partition, -1)
        directories = {id: cluster.nodes[id].data / f"{topic}-{partition}" for id in state.replicas}

        def ends() -> dict[int, int]:
            return {id: max((batch.last + 1 for batch in batches(path)), default=0) for id, path in directories.items()}

        what = f"every replica of {topic}-{partition} reaches {end}"
        cluster.until(what, lambda: all(own >= end for own in ends().values()), seconds)
        logs = {id: list(batches(path)) for id, path in directories.items()}
        start = max([start] + [log[0].base for log in logs.values() if log])
        common = {id: [batch for batch in log if batch.base >= start and batch.last < end] for id, log in logs.items()}
        check(f"{topic}-{partition} from {start} to {end}", common, start, end)
        count += len(common[state.replicas[0]])
    return count


def check(what: str, logs: dict[int, list[Batch]], start: int, end: int) -> None:
    first, *others = logs
    position = start
    for batch in logs[first]:
        assert batch.base == position, f"{what}: broker {first} has nothing at {position}, next is {batch}"
        position = batch.last + 1
    assert position == end, f"{what}: broker {first} ends at {position}"
    for other in others:
        for one, two in zip(logs[first], logs[other]):
            assert one == two, f"{what}: broker {first} has {one}; broker {other} has {two}"
        assert len(logs[first]) == len(logs[other]), (
            f"{what}: {len(logs[first])} and {len(logs[other])} batches ({first}, {other})"
        )
