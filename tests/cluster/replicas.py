"""The replicas of a partition as they lie on disk: the same batches, byte for byte, from the highest log start to the high watermark."""

import hashlib
import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cluster import Cluster

# Base offset, length of what follows, leader epoch, magic, CRC, attributes, last offset's delta, two timestamps, producer's id and epoch,
# first number, count.
HEADER = struct.Struct(">qiibIhiqqqhii")
HEADER_SIZE = HEADER.size
NO_PRODUCER = -1


@dataclass(frozen=True)
class Batch:
    base: int
    last: int
    epoch: int
    size: int
    digest: bytes
    producer: int
    producer_epoch: int
    number: int

    def __str__(self) -> str:
        return f"{self.base}..{self.last} of epoch {self.epoch}, {self.size} bytes, {self.digest.hex()}"


def batches(directory: Path, contents: bool = True) -> Iterator[Batch]:
    """All whole batches of a partition's directory, without digests where nobody asks for their contents. A node that is up may be writing
    the last one."""
    for segment in sorted(directory.glob("*.log")):
        with segment.open("rb") as file:
            if segment.stat().st_size < HEADER_SIZE:
                continue
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                at = 0
                while at + HEADER_SIZE <= len(data):
                    base, length, epoch, magic, _, _, delta, _, _, producer, producer_epoch, number, _ = HEADER.unpack_from(
                        data, at
                    )
                    size = 12 + length
                    if length < HEADER_SIZE - 12 or at + size > len(data):
                        break
                    assert magic == 2, f"{segment} at {at}: magic {magic}"
                    digest = hashlib.blake2b(data[at : at + size], digest_size=8).digest() if contents else b""
                    yield Batch(base, base + delta, epoch, size, digest, producer, producer_epoch, number)
                    at += size


def assert_equal(cluster: Cluster, topic: str, seconds: float = 180) -> int:
    """Waits until the replicas have all up to the high watermark, and compares them. How many batches they have in common."""
    count = 0
    for partition, state in sorted(cluster.describe(topic).items()):
        start, end = cluster.offset(topic, partition, -2), cluster.offset(topic, partition, -1)
        directories = {id: cluster.nodes[id].data / f"{topic}-{partition}" for id in state.replicas}

        def ends() -> dict[int, int]:
            lasts = {id: (batch.last + 1 for batch in batches(path, contents=False)) for id, path in directories.items()}
            return {id: max(last, default=0) for id, last in lasts.items()}

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


def know_all(cluster: Cluster, topic: str, producers: int) -> bool:
    """Whether every replica of every partition has something of as many producers."""

    def known(id: int, partition: int) -> set[int]:
        log = batches(cluster.nodes[id].data / f"{topic}-{partition}", contents=False)
        return {batch.producer for batch in log} - {NO_PRODUCER}

    states = cluster.describe(topic).items()
    return all(len(known(id, partition)) == producers for partition, state in states for id in state.replicas)


def assert_numbered(cluster: Cluster, topic: str) -> int:
    """No partition has a number of a producer's epoch twice, or left one out. How many epochs producers began after their first."""
    begun: set[tuple[int, int]] = set()
    for partition, state in sorted(cluster.describe(topic).items()):
        expected: dict[int, tuple[int, int]] = {}
        for batch in batches(cluster.nodes[state.leader].data / f"{topic}-{partition}", contents=False):
            if batch.producer == NO_PRODUCER:
                continue
            epoch, number = expected.get(batch.producer, (batch.producer_epoch, 0))
            if batch.producer_epoch > epoch:
                begun.add((batch.producer, batch.producer_epoch))
                epoch, number = batch.producer_epoch, 0
            found = (batch.producer_epoch, batch.number)
            assert found == (epoch, number), f"{topic}-{partition}: {batch}: {found} after {(epoch, number - 1)}"
            expected[batch.producer] = (epoch, number + batch.last - batch.base + 1)
    return len(begun)
