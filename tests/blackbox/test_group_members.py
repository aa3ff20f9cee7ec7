"""Members that confluent-kafka (librdkafka) sends: static ones (KIP-345) and cooperative ones (KIP-429)."""

import time

from confluent_kafka import Consumer
from confluent_kafka.admin import NewTopic
from nodes import REPLICAS


def create(admin, topic, partitions):
    admin.create_topics([NewTopic(topic, partitions, REPLICAS)])[topic].result(20)


def assigned(joined, seconds=30):
    """Its partitions, as soon as it has some."""
    end = time.monotonic() + seconds
    while not joined.assignment():
        assert time.monotonic() < end, "no assignment"
        joined.poll(0.1)
    return sorted(row.partition for row in joined.assignment())


def static(bootstrap, group, instance, topic, on_revoke=lambda *_: None):
    settings = {
        "group.instance.id": instance,
        "session.timeout.ms": 10000,
        "heartbeat.interval.ms": 300,
        "enable.auto.commit": False,
    }
    joined = Consumer({"bootstrap.servers": bootstrap, "group.id": group} | settings)
    joined.subscribe([topic], on_revoke=on_revoke)
    return joined


def members(admin, group):
    """Member id, and partitions, by instance id; the group's state."""
    told = admin.describe_consumer_groups([group])[group].result()
    rows = {row.group_instance_id: (row.member_id, row.assignment.topic_partitions) for row in told.members}
    return told.state.name, {key: (member, sorted(row.partition for row in rows)) for key, (member, rows) in rows.items()}


def test_static_members_restart_without_a_rebalance(bootstrap, admin, name):
    create(admin, name, 2)
    lost = []
    one = static(bootstrap, name, "one", name, lambda _, rows: lost.append(rows))
    two = static(bootstrap, name, "two", name)
    end = time.monotonic() + 30
    while not (one.assignment() and two.assignment() and len(one.assignment()) == 1):
        assert time.monotonic() < end, "no assignment"
        one.poll(0.05)
        two.poll(0.05)
    _, before = members(admin, name)
    lost.clear()
    # A static member that closes does not leave.
    two.close()
    state, away = members(admin, name)
    assert (state, away) == ("STABLE", before)

    two = static(bootstrap, name, "two", name)
    assert assigned(two) == before["two"][1]
    one.poll(0.5)
    state, after = members(admin, name)
    assert state == "STABLE" and after["one"] == before["one"]
    assert after["two"][1] == before["two"][1] and after["two"][0] != before["two"][0], "a new id, the same partitions"
    assert not lost, "nobody else was disturbed"
    for left in (one, two):
        left.close()


def test_a_static_member_is_fenced_by_its_double(bootstrap, admin, name):
    create(admin, name, 1)
    first = static(bootstrap, name, "same", name)
    assert assigned(first) == [0]
    double = static(bootstrap, name, "same", name)
    assert assigned(double) == [0]
    end, fenced = time.monotonic() + 20, None
    while not fenced and time.monotonic() < end:
        message = first.poll(0.1)
        fenced = message.error() if message and message.error() else None
    assert fenced and fenced.name() == "_FATAL" and "fenced" in fenced.str(), fenced
    double.poll(0.1)
    assert assigned(double) == [0]
    double.close()
    first.close()


def test_cooperative_members_keep_what_they_have(bootstrap, admin, name):
    create(admin, name, 4)
    cooperative = {
        "partition.assignment.strategy": "cooperative-sticky",
        "heartbeat.interval.ms": 300,
        "session.timeout.ms": 6000,
    }
    revoked = []

    def cooperating():
        joined = Consumer({"bootstrap.servers": bootstrap, "group.id": name, "enable.auto.commit": False} | cooperative)
        joined.subscribe([name], on_revoke=lambda _, rows: revoked.append(len(rows)))
        return joined

    first = cooperating()
    assert assigned(first) == [0, 1, 2, 3]
    second = cooperating()
    end = time.monotonic() + 40
    while len(second.assignment()) < 2:
        assert time.monotonic() < end, "no assignment"
        first.poll(0.05)
        second.poll(0.05)
    assert revoked == [2], "only what moves was given up"
    both = [row.partition for joined in (first, second) for row in joined.assignment()]
    assert sorted(both) == [0, 1, 2, 3]
    for left in (first, second):
        left.close()
