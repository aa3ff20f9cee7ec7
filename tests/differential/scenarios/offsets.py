"""ListOffsets, OffsetForLeaderEpoch, DeleteRecords, DescribeProducers."""

from batches import TIMESTAMP, batch, record
from brokers import Broker

from .setup import create, fill

BIG = (1 << 31) - 1
FAR = (1 << 63) - 1


def _topic(broker: Broker, name: str) -> str:
    made = create(broker, name, 2)
    spread = record(b"c") + record(b"d", delta=1, time=5000) + record(b"e", delta=2, time=2000)
    fill(
        broker,
        name,
        batch(b"a", b"b"),
        batch(count=3, records=spread, timestamp=TIMESTAMP + 1000, max_timestamp=TIMESTAMP + 6000),
        batch(b"f"),
    )
    return made


def list_offsets(broker: Broker) -> None:
    _topic(broker, "listed")

    def ask(label: str, *partitions: dict, topic: str | None = "listed", **more) -> None:
        broker.each("ListOffsets", {"replica_id": -1, "topics": [{"name": topic, "partitions": list(partitions)}]} | more, label)

    for timestamp in (
        -1,
        -2,
        -3,
        -4,
        -5,
        -6,
        -7,
        -FAR,
        FAR,
        0,
        1,
        *(TIMESTAMP + delta for delta in (-1, 0, 1, 1000, 1001, 3000, 6000, 6001)),
    ):
        ask(f"timestamp {timestamp}", {"timestamp": timestamp})
        ask(f"timestamp {timestamp} of an empty one", {"timestamp": timestamp, "partition_index": 1})
    for epoch in (-1, 0, 1, BIG, -2):
        for timestamp in (-1, TIMESTAMP):
            ask(f"timestamp {timestamp} at epoch {epoch}", {"timestamp": timestamp, "current_leader_epoch": epoch})
    for partition in (2, -1, BIG):
        ask(f"partition {partition}", {"timestamp": -1, "partition_index": partition})
    for topic in ("nowhere", "", "a/b", None):
        ask(f"topic {topic!r}", {"timestamp": -1}, topic=topic)
    for replica in (1, 5, -2, -3):
        ask(f"replica {replica}", {"timestamp": -1}, replica_id=replica)
    for isolation in (1, 2, -1):
        ask(f"isolation {isolation}", {"timestamp": -1}, isolation_level=isolation)
    ask("twice", {"timestamp": -1}, {"timestamp": -1})
    ask("twice, differently", {"timestamp": -1}, {"timestamp": -2})
    ask("two", {"timestamp": -1}, {"timestamp": -2, "partition_index": 1})
    ask("no partitions")
    ask("timeout", {"timestamp": -1}, timeout_ms=-1)
    same = {"name": "listed", "partitions": [{"timestamp": -1}]}
    broker.each("ListOffsets", {"replica_id": -1, "topics": [same, same]}, "a topic twice")
    broker.each("ListOffsets", {"replica_id": -1, "topics": []}, "no topics")
    broker.each("ListOffsets", {"replica_id": -1, "topics": None}, "null topics")


def offset_for_leader_epoch(broker: Broker) -> None:
    _topic(broker, "epochs")

    def ask(label: str, *partitions: dict, topic: str = "epochs", **more) -> None:
        broker.each("OffsetForLeaderEpoch", {"topics": [{"topic": topic, "partitions": list(partitions)}]} | more, label)

    for epoch in (0, 1, BIG, -1, -2):
        for current in (-1, 0, 1):
            ask(f"epoch {epoch} at {current}", {"leader_epoch": epoch, "current_leader_epoch": current})
    for partition in (1, 2, -1):
        ask(f"partition {partition}", {"leader_epoch": 0, "partition": partition})
    for topic in ("nowhere", "", "a/b"):
        ask(f"topic {topic!r}", {"leader_epoch": 0}, topic=topic)
    for replica in (-1, -2, 1, 5):
        ask(f"replica {replica}", {"leader_epoch": 0}, replica_id=replica)
    ask("twice", {"leader_epoch": 0}, {"leader_epoch": 0})
    broker.each("OffsetForLeaderEpoch", {"topics": []}, "no topics")


def delete_records(broker: Broker) -> None:
    _topic(broker, "trimmed")
    create(broker, "trimmed-compacted", cleanup_policy="compact")

    def ask(label: str, *partitions: dict, topic: str = "trimmed", versions=None, **more) -> None:
        body = {"topics": [{"name": topic, "partitions": list(partitions)}], "timeout_ms": 5000} | more
        broker.each("DeleteRecords", body, label, versions)

    for offset in (0, 1, 1, 0, 7, FAR, -2, -FAR, 3, -1, 2):
        ask(f"to {offset}", {"offset": offset})
        broker.ask(
            "ListOffsets",
            7,
            {"replica_id": -1, "topics": [{"name": "trimmed", "partitions": [{"timestamp": -2}]}]},
            f"after {offset}",
        )
    for partition in (2, -1):
        ask(f"partition {partition}", {"partition_index": partition, "offset": 0})
    for topic in ("nowhere", "", "a/b", "__consumer_offsets", "trimmed-compacted"):
        ask(f"topic {topic!r}", {"offset": 0}, topic=topic)
    ask("twice", {"offset": 0}, {"offset": 0})
    ask("timeout -1", {"offset": 0}, timeout_ms=-1)
    broker.each("DeleteRecords", {"topics": []}, "no topics")


def describe_producers(broker: Broker) -> None:
    create(broker, "producing")
    fill(broker, "producing", batch(b"a", producer=(7, 1, 0)), batch(b"b"), batch(b"c", b"d", producer=(7, 1, 1)))
    for topic in ("producing", "nowhere", "", "a/b"):
        for partitions in ([0], [1], [-1], [0, 0], []):
            body = {"topics": [{"name": topic, "partition_indexes": partitions}]}
            broker.each("DescribeProducers", body, f"{topic!r} {partitions}")
    broker.each("DescribeProducers", {"topics": []}, "no topics")
