"""What the broker does to batches: other codecs, other times, limits of size; and the errors of single records."""

import random

from batches import CODECS, TIMESTAMP, batch, packed, record
from brokers import Broker

from .setup import create, holds, produce_body

VARIED = (
    record(b"a" * 200, b"k")
    + record(None, b"l", delta=1, time=700)
    + record(b"", b"", delta=2, time=300, headers=b"\x02\x02h\x01")
    + record(b"b" * 50, b"m", delta=3, time=-5)
)


def _varied(codec: str, **more) -> bytes:
    return packed(codec, VARIED, 4, max_timestamp=TIMESTAMP + 700, **more)


def _holds(broker: Broker, topic: str) -> None:
    holds(broker, topic)
    # Which of them came in the last millisecond is chance where their time is that of the append.
    for timestamp in (TIMESTAMP + 1, TIMESTAMP + 301) if "LogAppendTime" in topic else (-3, TIMESTAMP + 1, TIMESTAMP + 301):
        asked = {"replica_id": -1, "topics": [{"name": topic, "partitions": [{"timestamp": timestamp}]}]}
        broker.ask("ListOffsets", 7, asked, f"{timestamp} of {topic}")


def every_pair_of_codecs(broker: Broker) -> None:
    for times in ("CreateTime", "LogAppendTime"):
        for target in (*CODECS, "producer"):
            topic = f"{target}-{times}"
            create(broker, topic, compression_type=target, message_timestamp_type=times)
            for codec in CODECS:
                broker.ask("Produce", 12, produce_body(topic, _varied(codec)), f"{codec} to {topic}")
                broker.ask(
                    "Produce", 12, produce_body(topic, _varied(codec, producer=(77, 0, CODECS[codec] * 4))), f"{codec}, sequenced"
                )
                broker.ask("Produce", 12, produce_body(topic, _varied(codec, max_timestamp_off=True)), f"{codec}, wrong maximum")
            _holds(broker, topic)


def levels(broker: Broker) -> None:
    for codec, right in {"gzip": (1, 9, -1), "lz4": (1, 17), "zstd": (-131072, 1, 22)}.items():
        for level in right:
            topic = f"{codec}{level}"
            create(broker, topic, **{"compression_type": codec, f"compression_{codec}_level": str(level)})
            broker.ask("Produce", 12, produce_body(topic, _varied("uncompressed")), topic)
            _holds(broker, topic)
    wrong = [("gzip", level) for level in (0, 10, -2)] + [("lz4", 0), ("lz4", 18), ("zstd", 23), ("zstd", -131073), ("gzip", "x")]
    for codec, level in wrong:
        configs = [{"name": f"compression.{codec}.level", "value": str(level)}]
        body = {"name": "never-packed", "num_partitions": 1, "replication_factor": 1, "configs": configs}
        broker.ask("CreateTopics", 7, {"topics": [body], "timeout_ms": 5000, "validate_only": True}, f"{codec} {level}")


def sizes(broker: Broker) -> None:
    """max.message.bytes against what was sent and against what it becomes."""
    zeros = record(b"\0" * 1000, b"k")
    noise = random.Random(1).randbytes(1000)
    for target in (*CODECS, "producer"):
        topic = f"small-{target}"
        create(broker, topic, compression_type=target, max_message_bytes="400")
        for codec in CODECS:
            broker.ask("Produce", 12, produce_body(topic, packed(codec, zeros, 1)), f"{codec} to {topic}")
            broker.ask("Produce", 12, produce_body(topic, packed(codec, record(noise, b"k"), 1)), f"{codec} noise to {topic}")
    for target in ("producer", "uncompressed"):
        topic = f"exact-{target}"
        size = len(batch(b"x" * 500))
        create(broker, topic, compression_type=target, max_message_bytes=str(size))
        for more in (-1, 0, 1):
            broker.each("Produce", lambda v: produce_body(topic, batch(b"x" * (500 + more))), f"{more} to {topic}", range(3, 13))
        two = batch(b"x" * 500) + batch(b"y" * 500)
        broker.ask("Produce", 12, produce_body(topic, two), f"two to {topic}")
        _holds(broker, topic)


def damaged(broker: Broker) -> None:
    """Bodies that are cut, or of another codec than is said."""
    for codec in CODECS:
        topic = f"damaged-{codec}"
        create(broker, topic)
        whole = packed(codec, VARIED, 4)[61:]
        for label, body in {
            "cut in the middle": whole[: len(whole) // 2],
            "cut at its end": whole[:-1],
            "nothing": b"",
            "something else": b"nonsense" * 9,
            "twice": whole * 2,
            "more behind": whole + b"more",
        }.items():
            data = batch(records=body, count=4, attributes=CODECS[codec], max_timestamp=TIMESTAMP + 700)
            broker.ask("Produce", 12, produce_body(topic, data), f"{codec} {label}")
        for count in (0, 3, 5, -1):
            data = packed(codec, VARIED, count, last_offset_delta=max(count, 1) - 1)
            broker.ask("Produce", 12, produce_body(topic, data), f"{codec} {count} records")


def errors_of_records(broker: Broker) -> None:
    rules = {
        "keyed": {"cleanup_policy": "compact"},
        "keyed-packed": {"cleanup_policy": "compact", "compression_type": "zstd"},
        "keyed-both": {"cleanup_policy": "compact,delete"},
        "timed": {"message_timestamp_before_max_ms": "1000", "message_timestamp_after_max_ms": "1000"},
        "timed-packed": {"message_timestamp_before_max_ms": "1000", "compression_type": "gzip"},
        "timed-appended": {"message_timestamp_before_max_ms": "1000", "message_timestamp_type": "LogAppendTime"},
        "timed-after": {"message_timestamp_after_max_ms": "0"},
        "timed-never": {"message_timestamp_after_max_ms": str((1 << 63) - 1)},
    }
    mixed = record(b"w", b"k") + record(b"x", delta=1) + record(b"y", b"l", delta=2, time=1 << 41) + record(b"z", delta=3)
    for topic, configs in rules.items():
        create(broker, topic, **configs)
        for codec in ("uncompressed", "lz4"):
            for label, data in {
                "mixed": packed(codec, mixed, 4, max_timestamp=TIMESTAMP + (1 << 41)),
                "all without keys": packed(codec, record(b"x") + record(b"y", delta=1), 2),
                "keys": packed(codec, record(b"x", b"k") + record(b"y", b"l", delta=1), 2),
                "without time": packed(codec, record(b"x", b"k"), 1, timestamp=-1),
                "append time": packed(codec, record(b"x", b"k"), 1, attributes=8),
                "a wrong one": packed(codec, record(b"x", b"k") + b"\x06\0\0", 2),
                "a record too few": packed(codec, record(b"x", b"k"), 2),
                "a record too many": packed(codec, record(b"x", b"k") * 2, 1),
            }.items():
                broker.ask("Produce", 12, produce_body(topic, data), f"{codec} {label} to {topic}")
        if topic != "timed-appended":
            _holds(broker, topic)
    for topic in ("keyed", "timed"):
        broker.each("Produce", lambda v: produce_body(topic, packed("uncompressed", mixed, 4)), f"to {topic}", range(3, 13))
        for acks in (0, 1):
            with broker.connection() as asking:
                sent = asking.send("Produce", 9, produce_body(topic, packed("uncompressed", mixed, 4), acks=acks))
                if acks:
                    asking.receive(sent, f"acks {acks} to {topic}")
                asking.ask("Metadata", 12, {"topics": []}, f"behind acks {acks} to {topic}")
