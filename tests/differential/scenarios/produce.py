"""Produce and InitProducerId: batches as they should be, and as they should not."""

import gzip

from batches import TIMESTAMP, batch, record, sized, varint
from brokers import Broker

from .setup import UNKNOWN_ID, create, fill, holds, produce_body


def _body(version: int, topic: str, topic_id: str, data: bytes | None, **more) -> dict:
    return produce_body(topic, data, topic_id=topic_id if version >= 13 else None, **more)


def every_version(broker: Broker) -> None:
    made = create(broker, "produced", 2)
    for acks in (-1, 1):
        broker.each("Produce", lambda v: _body(v, "produced", made, batch(b"x", b"y"), acks=acks), f"acks {acks}")
    for acks in (2, -2, 32767):
        broker.each("Produce", lambda v: _body(v, "produced", made, batch(b"x"), acks=acks), f"acks {acks}")
    for partition in (2, -1, (1 << 31) - 1):
        broker.each("Produce", lambda v: _body(v, "produced", made, batch(b"x"), partition=partition), f"partition {partition}")
    for name in ("nowhere", "", "a/b", "x" * 300):
        broker.each("Produce", lambda v: _body(v, name, UNKNOWN_ID, batch(b"x")), f"topic {name[:20]!r}")
    broker.each("Produce", {"acks": -1, "timeout_ms": 1000, "topic_data": []}, "no topics")
    broker.each("Produce", {"acks": -1, "timeout_ms": 1000, "topic_data": None}, "null topics")
    for version in (broker.versions("Produce")[0], broker.versions("Produce")[-1]):
        broker.ask("Produce", version, _body(version, "produced", made, None), "null records", 1.0)
    broker.each("Produce", lambda v: _body(v, "produced", made, b""), "empty records")
    broker.each("Produce", lambda v: _body(v, "produced", made, batch(b"x")) | {"timeout_ms": -1}, "timeout -1")
    broker.each("Produce", lambda v: _body(v, "produced", made, batch(b"x")) | {"timeout_ms": 0}, "timeout 0")

    def twice(version: int, parts: bool) -> dict:
        body = _body(version, "produced", made, batch(b"x"))
        topic = body["topic_data"][0]
        if parts:
            topic["partition_data"] *= 2
        else:
            body["topic_data"] = [topic, topic]
        return body

    broker.each("Produce", lambda v: twice(v, True), "a partition twice")
    broker.each("Produce", lambda v: twice(v, False), "a topic twice")

    def mixed(version: int) -> dict:
        body = _body(version, "produced", made, batch(b"x"))
        body["topic_data"] += _body(version, "nowhere", UNKNOWN_ID, batch(b"x"))["topic_data"]
        body["topic_data"][0]["partition_data"].append({"index": 9, "records": batch(b"x")})
        body["topic_data"][0]["partition_data"].append({"index": 1, "records": batch(b"x", crc=1)})
        return body

    broker.each("Produce", mixed, "right and wrong ones")
    for transactional in ("", "t"):
        broker.each(
            "Produce",
            lambda v: _body(v, "produced", made, batch(b"x")) | {"transactional_id": transactional},
            f"transactional {transactional!r}",
        )
    holds(broker, "produced")


def without_acks(broker: Broker) -> None:
    made = create(broker, "unacked")
    for version in broker.versions("Produce"):
        for label, name, data in [
            ("right", "unacked", batch(b"x")),
            ("unknown topic", "nowhere", batch(b"x")),
            ("bad crc", "unacked", batch(b"x", crc=1)),
        ]:
            with broker.connection() as asking:
                if version not in broker.versions("Produce"):
                    continue
                topic_id = made if name == "unacked" else UNKNOWN_ID
                asking.send("Produce", version, _body(version, name, topic_id, data, acks=0))
                # The next request tells whether the connection lives: it is answered next, or nothing is.
                asking.ask("Metadata", 12, {"topics": []}, f"after acks 0, {label}, v{version}")
    holds(broker, "unacked")


def batches(broker: Broker) -> None:
    create(broker, "batches")
    good = batch(b"x")
    two = batch(b"x", b"y")
    inner = record(b"x")
    for label, data in {
        "right": good,
        "two records": two,
        "two batches": good + good,
        "crc": batch(b"x", crc=1),
        "cut in its header": good[:40],
        "cut in its body": good[:-1],
        "cut after its length": good[:12],
        "one byte": b"\0",
        "something behind": good + b"\0\0\0",
        "a second one cut": good + good[:-1],
        "length 0": batch(b"x", length=0),
        "length negative": batch(b"x", length=-1),
        "length short": batch(b"x", length=len(good) - 13),
        "length long": batch(b"x", length=len(good)),
        "length too short for a header": batch(b"x", length=13),
        "magic 0": batch(b"x", magic=0),
        "magic 1": batch(b"x", magic=1),
        "magic 3": batch(b"x", magic=3),
        "magic negative": batch(b"x", magic=-1),
        "base offset 5": batch(b"x", base_offset=5),
        "base offset negative": batch(b"x", base_offset=-1),
        "leader epoch 7": batch(b"x", leader_epoch=7),
        "no records": batch(count=0, records=b""),
        "no records, delta 0": batch(count=0, records=b"", last_offset_delta=0),
        "count too high": batch(count=2, records=inner),
        "count too low": batch(count=1, records=inner + record(b"y", delta=1)),
        "count negative": batch(count=-1, records=inner),
        "count huge": batch(count=(1 << 31) - 1, records=inner, last_offset_delta=0),
        "delta too high": batch(b"x", last_offset_delta=5),
        "delta too low": batch(b"x", b"y", last_offset_delta=0),
        "delta negative": batch(b"x", last_offset_delta=-1),
        "delta huge": batch(b"x", last_offset_delta=(1 << 31) - 1),
        "record's length 0": batch(count=1, records=varint(0)),
        "record's length negative": batch(count=1, records=varint(-1) + inner[1:]),
        "record's length huge": batch(count=1, records=varint(1 << 30) + inner[1:]),
        "record's length short": batch(count=1, records=varint(5) + inner[1:]),
        "record's attributes": batch(count=1, records=record(b"x", attributes=1)),
        "null value": batch(count=1, records=record(None)),
        "null key and value": batch(count=1, records=record(None, None)),
        "headers": batch(count=1, records=record(b"x", headers=varint(1) + sized(b"h") + sized(None))),
        "headers negative": batch(count=1, records=record(b"x", headers=varint(-1))),
        "headers huge": batch(count=1, records=record(b"x", headers=varint(1 << 30))),
        "header's key null": batch(count=1, records=record(b"x", headers=varint(1) + sized(None) + sized(b"v"))),
        "control": batch(b"x", attributes=0x20),
        "transactional": batch(b"x", attributes=0x10),
        "transactional of a producer": batch(b"x", attributes=0x10, producer=(4000, 0, 0)),
        "delete horizon": batch(b"x", attributes=0x40),
        "append time": batch(b"x", attributes=0x08),
        "unused attributes": batch(b"x", attributes=0x80),
        "codec 5": batch(b"x", attributes=5),
        "codec 7": batch(b"x", attributes=7),
        "gzip": batch(count=1, records=gzip.compress(inner, mtime=0), attributes=1),
        "gzip of something else": batch(count=1, records=b"not gzip", attributes=1),
        "gzip cut": batch(count=1, records=gzip.compress(inner, mtime=0)[:-4], attributes=1),
        "gzip of nothing": batch(count=0, records=gzip.compress(b"", mtime=0), attributes=1, last_offset_delta=0),
        "gzip with more behind": batch(count=1, records=gzip.compress(inner + b"zz", mtime=0), attributes=1),
        "snappy of something else": batch(count=1, records=b"nonsense", attributes=2),
        "lz4 of something else": batch(count=1, records=b"nonsense", attributes=3),
        "zstd of something else": batch(count=1, records=b"nonsense", attributes=4),
        "timestamp -1": batch(b"x", timestamp=-1),
        "timestamp -2": batch(b"x", timestamp=-2),
        "timestamp 0": batch(b"x", timestamp=0),
        "timestamp far ahead": batch(b"x", timestamp=TIMESTAMP * 2),
        "timestamp huge": batch(b"x", timestamp=(1 << 63) - 1),
        "maximal timestamp too low": batch(b"x", max_timestamp=5),
        "maximal timestamp too high": batch(b"x", max_timestamp=TIMESTAMP + 5),
        "record's time negative": batch(count=1, records=record(b"x", time=-5)),
        "too large": batch(b"x" * (1 << 20)),
        "just right": batch(b"x" * (1 << 19)),
    }.items():
        version = 12
        broker.ask("Produce", version, produce_body("batches", data), label)
    for version in broker.versions("Produce")[:-1]:
        broker.ask("Produce", version, produce_body("batches", batch(b"x", crc=1)), "crc")
        broker.ask(
            "Produce",
            version,
            produce_body("batches", batch(count=1, records=b"nonsense", attributes=4)),
            "zstd of something else",
        )
    holds(broker, "batches")


def offsets_with_gaps(broker: Broker) -> None:
    create(broker, "gaps")
    for label, data in {
        "record's delta 1": batch(count=1, records=record(b"x", delta=1)),
        "record's delta negative": batch(count=1, records=record(b"x", delta=-1)),
        "record's deltas equal": batch(count=2, records=record(b"x") * 2),
        "record's deltas backwards": batch(count=2, records=record(b"x", delta=1) + record(b"y", delta=0)),
    }.items():
        broker.ask("Produce", 12, produce_body("gaps", data), label)
    for version in broker.versions("Produce")[:-1]:
        broker.ask("Produce", version, produce_body("gaps", batch(count=1, records=record(b"x", delta=1))), "record's delta 1")
    data = batch(count=1, records=gzip.compress(record(b"x", delta=1), mtime=0), attributes=1)
    broker.ask("Produce", 12, produce_body("gaps", data), "gzip, record's delta 1")


def what_offsets_with_gaps_become(broker: Broker) -> None:
    create(broker, "gaps-kept")
    fill(broker, "gaps-kept", batch(count=2, records=record(b"x", delta=1) + record(b"y", delta=0)))
    holds(broker, "gaps-kept")


def topics_with_rules(broker: Broker) -> None:
    create(broker, "compacted", cleanup_policy="compact")
    create(broker, "stamped", message_timestamp_type="LogAppendTime")
    create(broker, "small", max_message_bytes="200")
    create(broker, "timely", message_timestamp_before_max_ms="1000", message_timestamp_after_max_ms="1000")
    create(broker, "picky", min_insync_replicas="2")
    create(broker, "gzipped", compression_type="gzip")
    for name in ("compacted", "stamped", "small", "timely", "picky", "gzipped"):
        for label, data in {
            "without keys": batch(b"x", b"y"),
            "with keys": batch(count=2, records=record(b"x", b"k") + record(b"y", b"l", delta=1)),
            "one without a key": batch(count=3, records=record(b"x", b"k") + record(b"y", delta=1) + record(b"z", delta=2)),
            "large": batch(b"x" * 300),
            "timestamps apart": batch(
                count=2, records=record(b"x", b"k") + record(b"y", b"l", delta=1, time=5000), max_timestamp=TIMESTAMP + 5000
            ),
            "far ahead": batch(count=1, records=record(b"x", b"k"), timestamp=TIMESTAMP * 2),
        }.items():
            for acks in (-1, 1):
                broker.ask("Produce", 12, produce_body(name, data, acks=acks), f"{name} {label} acks {acks}")
        if name not in ("stamped", "gzipped"):
            holds(broker, name)


def idempotence(broker: Broker) -> None:
    create(broker, "sequenced")

    def send(label: str, producer: tuple[int, int, int], *values: bytes, **more) -> None:
        data = batch(*(values or (b"x",)), producer=producer, **more)
        broker.ask("Produce", 12, produce_body("sequenced", data), f"{producer} {label}")

    send("first", (7, 0, 0), b"a", b"b")
    send("again", (7, 0, 0), b"a", b"b")
    send("next", (7, 0, 2))
    send("again, longer", (7, 0, 2), b"a", b"b")
    send("gap", (7, 0, 9))
    send("behind", (7, 0, 1))
    send("old duplicate", (7, 0, 0), b"a", b"b")
    for sequence in range(3, 9):
        send("on", (7, 0, sequence))
    send("a duplicate older than five", (7, 0, 0), b"a", b"b")
    send("a duplicate of the fifth", (7, 0, 4))
    send("new epoch, not from 0", (7, 1, 5))
    send("new epoch", (7, 1, 0))
    send("old epoch", (7, 0, 9))
    send("negative epoch", (7, -1, 0))
    send("new epoch, far", (7, 32767, 0))
    send("unknown producer, not from 0", (8, 0, 5))
    send("unknown producer, on", (8, 0, 6))
    send("negative sequence", (9, 0, -1))
    send("negative producer", (-5, 0, 0))
    send("no producer but a sequence", (-1, 0, 0))
    send("no producer but an epoch", (-1, 5, -1))
    send("sequence at its end", (10, 0, (1 << 31) - 1))
    send("sequence begins again", (10, 0, 0))
    send("sequence over its end", (11, 0, (1 << 31) - 2), b"a", b"b", b"c", b"d")
    send("after it", (11, 0, 2))
    two = batch(b"x", producer=(12, 0, 0)) + batch(b"y", producer=(12, 0, 1))
    broker.ask("Produce", 12, produce_body("sequenced", two), "two batches of a producer")
    holds(broker, "sequenced")


def init_producer_id(broker: Broker) -> None:
    def ready() -> bool:
        with broker.connection() as asking:
            return (
                asking.exchange("InitProducerId", 4, {"transactional_id": None, "transaction_timeout_ms": 60000})["error_code"]
                == 0
            )

    broker.until(ready, "a block of producer ids")
    broker.each("InitProducerId", {"transactional_id": None, "transaction_timeout_ms": 60000})
    for timeout in (0, -1, (1 << 31) - 1):
        broker.each("InitProducerId", {"transactional_id": None, "transaction_timeout_ms": timeout}, f"timeout {timeout}")
    for identity, epoch in [(5, 0), (5, -1), (-1, 5), (-5, 0), (1 << 60, 3)]:
        body = {"transactional_id": None, "producer_id": identity, "producer_epoch": epoch, "transaction_timeout_ms": 60000}
        broker.each("InitProducerId", body, f"producer {identity} {epoch}", range(3, 99))
    broker.each("InitProducerId", {"transactional_id": "", "transaction_timeout_ms": 60000}, "empty transactional id")


def fetched_as_produced(broker: Broker) -> None:
    create(broker, "as-produced")
    fill(broker, "as-produced", batch(b"a", b"b"), batch(b"c", timestamp=0))
    holds(broker, "as-produced")
