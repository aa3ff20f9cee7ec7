"""What clients can see of a node's state, to compare before and after somebody else ran it."""

import os
import time

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ConfigSource,
    NewTopic,
    ResourceType,
)

GROUP = "keepers"
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


def populate(bootstrap: str) -> None:
    """Topics with configs and several segments, every codec, headers, tombstones, a group with offsets."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": "0"})
    topics = [
        NewTopic("plain", 3, 1),
        NewTopic("segments", 1, 1, config={"segment.bytes": "1048576", "retention.ms": "-1"}),
        NewTopic("compacted", 2, 1, config={"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.9"}),
        NewTopic("short-lived", 1, 1),
    ]
    for created in admin.create_topics(topics).values():
        created.result(20)
    for codec in CODECS:
        producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "log_level": "0",
                "enable.idempotence": True,
                "compression.type": codec,
                "linger.ms": 10,
            }
        )
        for i in range(100):
            producer.produce("plain", f"{codec}-{i}", key=f"{i}", headers={"codec": codec.encode(), "nothing": None})
        assert producer.flush(20) == 0
    producer = Producer({"bootstrap.servers": bootstrap, "log_level": "0", "linger.ms": 5, "batch.size": 65536})
    for i in range(2500):
        producer.produce("segments", os.urandom(1000))
        if i % 100 == 0:
            producer.flush(20)
    for i in range(20):
        producer.produce("compacted", None if i % 5 == 0 else f"{i}", key=f"{i % 7}")
    assert producer.flush(20) == 0
    entry = ConfigEntry("max.message.bytes", "2000000", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, "plain", incremental_configs=[entry])
    for altered in admin.incremental_alter_configs([resource]).values():
        altered.result(20)
    commit(bootstrap, "plain", {0: 11, 1: 22, 2: 33})
    for deleted in admin.delete_topics(["short-lived"]).values():
        deleted.result(20)


def add_more(bootstrap: str, mark: str) -> None:
    """One more round of records, a topic and commits, by whoever runs the node now."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": "0"})
    for created in admin.create_topics([NewTopic(f"made-by-{mark}", 2, 1, config={"retention.ms": "7200000"})]).values():
        created.result(20)
    producer = Producer({"bootstrap.servers": bootstrap, "log_level": "0", "enable.idempotence": True, "compression.type": "lz4"})
    for i in range(100):
        producer.produce("plain", f"{mark}-{i}", key=f"{i}")
        producer.produce(f"made-by-{mark}", f"{i}", key=f"{i}")
    assert producer.flush(20) == 0
    commit(bootstrap, f"made-by-{mark}", {0: 5, 1: 6})


def commit(bootstrap: str, topic: str, offsets: dict[int, int]) -> None:
    consumer = Consumer({"bootstrap.servers": bootstrap, "log_level": "0", "group.id": GROUP, "enable.auto.commit": False})
    wanted = [TopicPartition(topic, partition, offset) for partition, offset in offsets.items()]
    patiently(lambda: consumer.commit(offsets=wanted, asynchronous=False))
    consumer.close()


def patiently(ask):
    """A broker that has just started leads its partitions a little later than it says, and loads a coordinator's when it is first asked."""
    not_yet = (
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.NOT_COORDINATOR,
        KafkaError.NOT_LEADER_FOR_PARTITION,
    )
    for _ in range(100):
        try:
            return ask()
        except KafkaException as refused:
            if refused.args[0].code() not in not_yet:
                raise
            time.sleep(0.1)
    raise AssertionError("the broker does not serve it after 10 s")


def observe(bootstrap: str) -> dict:
    """Cluster id; each topic's id, configs, leader epochs, offsets and records; the group's offsets."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": "0"})
    names = sorted(topic for topic in admin.list_topics(timeout=20).topics if not topic.startswith("__"))
    described = admin.describe_topics(TopicCollection(names))
    configs = admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic) for topic in names])
    overrides = {
        resource.name: {
            entry.name: entry.value
            for entry in future.result(20).values()
            if entry.source == ConfigSource.DYNAMIC_TOPIC_CONFIG.value
        }
        for resource, future in configs.items()
    }
    consumer = Consumer({"bootstrap.servers": bootstrap, "log_level": "0", "group.id": GROUP, "enable.auto.commit": False})
    state = {"cluster": admin.describe_cluster().result(20).cluster_id}
    for topic in names:
        topic_state = described[topic].result(20)
        partitions = sorted(partition.id for partition in topic_state.partitions)
        state[topic] = {
            "id": str(topic_state.topic_id),
            "configs": overrides[topic],
            "partitions": {partition: records(consumer, topic, partition) for partition in partitions},
            "committed": committed(consumer, topic, partitions),
        }
    consumer.close()
    return state


def committed(consumer: Consumer, topic: str, partitions: list[int]) -> dict[int, int]:
    asked = [TopicPartition(topic, partition) for partition in partitions]
    return {at.partition: at.offset for at in patiently(lambda: consumer.committed(asked, 20))}


def records(consumer: Consumer, topic: str, partition: int) -> list:
    """Offset, timestamp, key, value and headers of everything between the first and the last offset."""
    low, high = patiently(lambda: consumer.get_watermark_offsets(TopicPartition(topic, partition), 20))
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING)])
    seen = [("offsets", low, high)]
    position = low
    while position < high:
        record = consumer.poll(20)
        assert record is not None, f"{topic}-{partition} ends at {position}, not at {high}"
        assert not record.error(), record.error()
        seen.append((record.offset(), record.timestamp(), record.key(), record.value(), record.headers()))
        position = record.offset() + 1
    consumer.unassign()
    return seen


def assert_same(before: dict, after: dict) -> None:
    """Everything that was there is there, unchanged; what is new does not matter. Says where it differs, briefly."""
    for topic, expected in before.items():
        assert topic in after, f"{topic} is gone"
        if topic == "cluster":
            assert expected == after[topic]
            continue
        for aspect in ("id", "configs", "committed"):
            assert expected[aspect] == after[topic][aspect], f"{aspect} of {topic}"
        for partition, log in expected["partitions"].items():
            now = after[topic]["partitions"][partition]
            assert log[0] == now[0], f"offsets of {topic}-{partition}"
            different = [(old, new) for old, new in zip(log, now) if old != new]
            assert not different, f"records of {topic}-{partition}: {different[0]}"
