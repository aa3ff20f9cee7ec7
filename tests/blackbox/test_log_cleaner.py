"""Compacted topics as clients see them, and the offsets topic staying small."""

import time
from pathlib import Path

import apache
import dumps
import nodes
from confluent_kafka import Consumer, Producer, TopicPartition

KEYS, ROUNDS, COMMITTED = 50, 100, 100
CLEANER = {
    "log.cleaner.backoff.ms": "200",
    "log.cleaner.min.cleanable.ratio": "0.1",
    "log.segment.delete.delay.ms": "100",
    "offsets.topic.num.partitions": "1",
    "offsets.topic.segment.bytes": "1048576",
}


def log_bytes(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.glob("*.log"))


def until_at_most(size: int, directory: Path, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while log_bytes(directory) > size:
        assert time.monotonic() < end, f"{directory.name}: {log_bytes(directory)} bytes"
        time.sleep(0.2)


def overwrite(bootstrap: str, name: str) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 5})
    for round in range(ROUNDS):
        for key in range(KEYS):
            producer.produce(name, key=f"key{key}", value=f"{round}:" + "x" * 1000, partition=0)
        producer.flush()
    producer.produce(name, key="key0", value=None, partition=0)
    producer.flush()


def test_a_compacted_topic_and_the_offsets_topic_stay_small(tmp_path, name):
    node = nodes.first_node(tmp_path, CLEANER).start()
    compacted = ["--config", "cleanup.policy=compact", "--config", "segment.bytes=1048576"]
    apache.topics(node.bootstrap, "--create", "--topic", name, "--partitions", str(COMMITTED), *compacted)
    overwrite(node.bootstrap, name)
    until_at_most(2_500_000, node.data / f"{name}-0")

    read = apache.tool(
        "org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", node.bootstrap, "--topic", name,
        "--partition", "0", "--offset", "earliest", "--timeout-ms", "5000",
        "--formatter-property", "print.key=true", "--formatter-property", "print.offset=true",
    )  # fmt: skip
    lines = [line.split("\t") for line in read.splitlines() if line.startswith("Offset:")]
    offsets = [int(offset.removeprefix("Offset:")) for offset, *_ in lines]
    assert offsets == sorted(offsets) and KEYS < len(lines) < ROUNDS * KEYS, len(lines)
    last = {key: value[:4] for _, key, value in lines}
    assert last == {"key0": "null"} | {f"key{key}": "99:x" for key in range(1, KEYS)}, last

    consumer = Consumer({"bootstrap.servers": node.bootstrap, "group.id": name, "enable.auto.commit": False})
    for offset in range(400):
        consumer.commit(offsets=[TopicPartition(name, partition, offset) for partition in range(COMMITTED)], asynchronous=False)
    until_at_most(1_500_000, node.data / "__consumer_offsets-0")
    assert node.stop() in (0, 143)
    dumps.assert_clean(node.data)

    node.start()
    found = consumer.committed([TopicPartition(name, partition) for partition in range(COMMITTED)], timeout=30)
    assert {partition.offset for partition in found} == {399}
    consumer.close()
    checkpoint = (node.data / "cleaner-offset-checkpoint").read_text()
    assert f"{name} 0 " in checkpoint and "__consumer_offsets 0 " in checkpoint, checkpoint
    assert node.stop() in (0, 143)
