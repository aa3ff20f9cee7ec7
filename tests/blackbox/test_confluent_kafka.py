"""confluent-kafka (librdkafka): idempotent producing, groups that rebalance, admin calls."""

import time

import pytest
from confluent_kafka import Consumer, Producer, TopicCollection
from confluent_kafka.admin import (
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)
from nodes import REPLICAS

COUNT = 300


def create(admin, topic, partitions=1, **config):
    admin.create_topics([NewTopic(topic, partitions, REPLICAS, config=config)])[topic].result(20)


def produce(bootstrap, topic, values, **config):
    errors = []
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True} | config)
    for value in values:
        producer.produce(topic, value, key=value, on_delivery=lambda error, _: errors.append(error) if error else None)
    assert producer.flush(20) == 0
    assert not errors, errors[0]


def consumer(bootstrap, group):
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "session.timeout.ms": 6000,
            "heartbeat.interval.ms": 300,
        }
    )


def poll_all(consumers, count, seconds=30):
    values = [[] for _ in consumers]
    end = time.monotonic() + seconds
    while sum(map(len, values)) < count and time.monotonic() < end:
        for member, seen in zip(consumers, values):
            record = member.poll(0.05)
            if record is not None:
                assert not record.error(), record.error()
                seen.append(record.value())
    return values


def poll_until_assigned(consumers, partitions, seconds=30):
    """Nothing is produced meanwhile, so nothing is read that a rebalance would have read again."""
    end = time.monotonic() + seconds
    while [len(member.assignment()) for member in consumers] != partitions:
        assert time.monotonic() < end, [member.assignment() for member in consumers]
        for member in consumers:
            assert member.poll(0.1) is None


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_every_codec_through_a_group(bootstrap, admin, name, codec):
    create(admin, name, 2)
    sent = [b"%d-" % i + b"y" * 100 for i in range(COUNT)]
    produce(bootstrap, name, sent, **{"compression.type": codec, "linger.ms": 20})
    member = consumer(bootstrap, f"{name}-group")
    member.subscribe([name])
    (values,) = poll_all([member], COUNT)
    member.commit(asynchronous=False)
    member.close()
    assert sorted(values) == sorted(sent)


def test_two_members_share_the_partitions_and_one_takes_over(bootstrap, admin, name):
    create(admin, name, 4)
    members = [consumer(bootstrap, f"{name}-group") for _ in range(2)]
    for member in members:
        member.subscribe([name])
    poll_until_assigned(members, [2, 2])
    produce(bootstrap, name, [b"%d" % i for i in range(COUNT)])
    first, second = poll_all(members, COUNT)
    assert first and second and sorted(first + second) == sorted(b"%d" % i for i in range(COUNT))

    for member in members:
        member.commit(asynchronous=False)
    members[0].close()
    poll_until_assigned(members[1:], [4])
    produce(bootstrap, name, [b"later-%d" % i for i in range(COUNT)])
    (rest,) = poll_all(members[1:], COUNT)
    assert sorted(rest) == sorted(b"later-%d" % i for i in range(COUNT))
    members[1].close()


def soon(holds, what: str) -> None:
    """Any broker may be asked, and some learn of a change a moment after the one that was asked to make it."""
    end = time.monotonic() + 10
    while not holds():
        assert REPLICAS > 1 and time.monotonic() < end, what
        time.sleep(0.02)


def test_admin_calls(bootstrap, admin, name):
    create(admin, name, 1, **{"retention.ms": "1234567"})
    soon(lambda: name in admin.list_topics(timeout=10).topics, "the topic is listed")
    assert len(admin.describe_cluster().result(10).nodes) == REPLICAS
    described = admin.describe_topics(TopicCollection([name]))[name].result(10)
    assert [len(partition.isr) for partition in described.partitions] == [REPLICAS]

    admin.create_partitions([NewPartitions(name, 3)])[name].result(10)
    soon(lambda: len(admin.list_topics(name, timeout=10).topics[name].partitions) == 3, "three partitions")

    def alter(key, value, operation):
        entry = ConfigEntry(key, value, incremental_operation=operation)
        resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=[entry])
        list(admin.incremental_alter_configs([resource]).values())[0].result(10)

    def value(key):
        return list(admin.describe_configs([ConfigResource(ResourceType.TOPIC, name)]).values())[0].result(10)[key].value

    soon(lambda: value("retention.ms") == "1234567", "the topic's setting")
    alter("retention.ms", None, AlterConfigOpType.DELETE)
    soon(lambda: value("retention.ms") == "604800000", "the default")
    alter("cleanup.policy", "compact", AlterConfigOpType.APPEND)
    soon(lambda: set(value("cleanup.policy").split(",")) == {"delete", "compact"}, "both policies")
    with pytest.raises(Exception, match="INVALID_CONFIG|[Uu]nknown"):
        alter("no.such.config", "1", AlterConfigOpType.SET)

    admin.delete_topics([name])[name].result(10)
    assert name not in admin.list_topics(timeout=10).topics


@pytest.mark.ours
def test_a_transactional_id_is_refused_for_good(bootstrap):
    """Transactions are not served yet: the client must give up, not retry for ever."""
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": "not-yet"})
    with pytest.raises(Exception) as refused:
        producer.init_transactions(15)
    assert refused.value.args[0].fatal() or not refused.value.args[0].retriable(), refused.value
