"""kafka-python as its tutorials use it: JSON values, a group, from the earliest offset."""

import json

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import NewTopic
from nodes import REPLICAS

COUNT = 300


def create(bootstrap, topic, partitions=1):
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.create_topics([NewTopic(topic, partitions, REPLICAS)])
    admin.close()


def consume(bootstrap, topic, group, count, patience_ms=15000):
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        consumer_timeout_ms=patience_ms,
    )
    values = []
    for record in consumer:
        values.append(record.value)
        if len(values) == count:
            break
    if group:
        consumer.commit()
    consumer.close()
    return values


def test_json_records_reach_a_group_from_the_earliest_offset(bootstrap, name):
    create(bootstrap, name, 3)
    producer = KafkaProducer(
        bootstrap_servers=bootstrap,
        key_serializer=str.encode,
        value_serializer=lambda value: json.dumps(value).encode(),
        acks="all",
    )
    sent = [producer.send(name, key=str(i), value={"i": i}) for i in range(COUNT)]
    producer.flush()
    for future in sent:
        future.get(10)
    producer.close()

    values = consume(bootstrap, name, f"{name}-group", COUNT)
    assert sorted(json.loads(value)["i"] for value in values) == list(range(COUNT))
    assert consume(bootstrap, name, f"{name}-group", 1, patience_ms=2500) == [], "committed records came again"


@pytest.mark.parametrize("codec", [None, "gzip", "snappy", "lz4", "zstd"])
def test_every_codec(bootstrap, name, codec):
    create(bootstrap, name)
    producer = KafkaProducer(bootstrap_servers=bootstrap, compression_type=codec, linger_ms=20)
    for i in range(COUNT):
        producer.send(name, b"x" * 200 + b"%d" % i)
    producer.flush()
    producer.close()
    assert consume(bootstrap, name, None, COUNT) == [b"x" * 200 + b"%d" % i for i in range(COUNT)]
