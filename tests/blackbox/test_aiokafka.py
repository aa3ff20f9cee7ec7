"""aiokafka: idempotent producing and a group, with every codec."""

import asyncio

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from nodes import REPLICAS

COUNT = 200


@pytest.mark.parametrize("codec", [None, "gzip", "snappy", "lz4", "zstd"])
def test_every_codec_through_a_group(bootstrap, name, codec):
    values = asyncio.run(round_trip(bootstrap, name, codec))
    assert sorted(values) == sorted(b"%d-" % i + b"z" * 100 for i in range(COUNT))


async def round_trip(bootstrap, topic, codec):
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 2, REPLICAS)])
    await admin.close()

    async with AIOKafkaProducer(
        bootstrap_servers=bootstrap, enable_idempotence=True, compression_type=codec, linger_ms=20
    ) as producer:
        for i in range(COUNT):
            await producer.send(topic, b"%d-" % i + b"z" * 100, key=b"%d" % i)

    values = []
    async with AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        group_id=f"{topic}-group",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    ) as consumer:
        while len(values) < COUNT:
            values.append((await asyncio.wait_for(consumer.getone(), 20)).value)
        await consumer.commit()
        assert sum([await consumer.committed(partition) or 0 for partition in consumer.assignment()]) == COUNT
    return values
