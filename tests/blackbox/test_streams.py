"""Kafka Streams' word count: counts, the topics it makes for itself, and a store that is read back from its changelog."""

import collections
import time
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import ConfigResource, NewTopic, ResourceType
from nodes import REPLICAS
from programs import Program

INPUT, OUTPUT = "streams-plaintext-input", "streams-wordcount-output"
LINES = ["all streams lead to Kafka", "Hello Kafka Streams", "Join Kafka Summit"] * 40


class WordCount(Program):
    """Apache's example. Its topics' names are fixed, its store is in memory."""

    def __init__(self, home: Path, bootstrap: str, application: str):
        super().__init__(
            home,
            "org.apache.kafka.streams.examples.wordcount.WordCountDemo",
            {
                "bootstrap.servers": bootstrap,
                "application.id": application,
                "replication.factor": str(REPLICAS),
                # An application does not leave its group when it closes: the next one waits until its session is over.
                "session.timeout.ms": "6000",
                "heartbeat.interval.ms": "500",
                "state.dir": str(home / "state"),
                "dsl.store.suppliers.class": "org.apache.kafka.streams.state.BuiltInDslStoreSuppliers$InMemoryDslStoreSuppliers",
                "commit.interval.ms": "200",
                "repartition.purge.interval.ms": "500",
            },
        )


@pytest.fixture
def topics(admin):
    for created in admin.create_topics([NewTopic(INPUT, 2, REPLICAS), NewTopic(OUTPUT, 1, REPLICAS)]).values():
        created.result(20)
    yield
    for deleted in admin.delete_topics([INPUT, OUTPUT]).values():
        deleted.result(20)


@pytest.fixture
def reader(bootstrap, name):
    reader = Consumer({"bootstrap.servers": bootstrap, "group.id": f"{name}-reader", "auto.offset.reset": "earliest"})
    yield reader
    reader.close()


def test_words_are_counted_and_counted_on_after_a_restart(bootstrap, admin, name, tmp_path, topics, reader):
    reader.assign([TopicPartition(OUTPUT, 0, 0)])
    counts: dict[str, int] = {}
    produce(bootstrap, LINES)
    with WordCount(tmp_path, bootstrap, name) as application:
        application.until("counts", lambda: read(reader, counts) == words(LINES))
        made = {topic: cleanup_policy(admin, topic) for topic in admin.list_topics(timeout=10).topics if topic.startswith(name)}
        (repartition,) = [topic for topic, policy in made.items() if policy == "delete" and topic.endswith("-repartition")]
        (_,) = [topic for topic, policy in made.items() if policy == "compact" and topic.endswith("-changelog")]
        assert len(made) == 2
        application.until("deletion of what was repartitioned", lambda: is_purged(reader, repartition))

    produce(bootstrap, LINES)
    with WordCount(tmp_path, bootstrap, name) as application:
        application.until("counts that went on", lambda: read(reader, counts) == words(LINES * 2))
    time.sleep(1)
    assert read(reader, counts) == words(LINES * 2), "something was counted twice"


def words(lines: list[str]) -> dict[str, int]:
    return collections.Counter(word for line in lines for word in line.lower().split())


def produce(bootstrap: str, lines: list[str]) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True})
    for i, line in enumerate(lines):
        producer.produce(INPUT, line, partition=i % 2)
    assert producer.flush(20) == 0


def read(reader: Consumer, counts: dict[str, int]) -> dict[str, int]:
    """The latest count of each word, with what has come meanwhile."""
    for record in reader.consume(1000, 0.3):
        assert not record.error(), record.error()
        counts[record.key().decode()] = int.from_bytes(record.value(), "big")
    return counts


def cleanup_policy(admin, topic: str) -> str:
    (config,) = admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]).values()
    return config.result(20)["cleanup.policy"].value


def is_purged(reader: Consumer, topic: str) -> bool:
    """Streams deletes records that it has processed from the topic through which it regroups them."""
    bounds = [reader.get_watermark_offsets(TopicPartition(topic, partition), 10) for partition in (0, 1)]
    return all(low == high for low, high in bounds) and sum(high for _, high in bounds) == sum(words(LINES).values())
