"""Apache's kafka-consumer-groups in all its verbs, on groups with and without members."""

import time

import apache
import nodes
import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import NewTopic

RECORDS = 10
# Records lie a second apart, from here on, in milliseconds.
FIRST = 1_600_000_000_000


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    """One of their own: some verbs are about all groups."""
    node = nodes.first_node(tmp_path_factory.mktemp("shared-groups")).start()
    yield node
    assert node.stop() in (0, 143)


@pytest.fixture
def topic(bootstrap, admin, name) -> str:
    """Two partitions of ten records each."""
    admin.create_topics([NewTopic(name, 2, 1, config={"retention.ms": "-1"})])[name].result(20)
    producer = Producer({"bootstrap.servers": bootstrap})
    for i in range(RECORDS):
        for partition in (0, 1):
            producer.produce(name, b"x", partition=partition, timestamp=FIRST + 1000 * i)
    assert producer.flush(20) == 0
    return name


def consumer(bootstrap: str, group: str) -> Consumer:
    return Consumer({"bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False, "client.id": "tester"})


def commit(bootstrap: str, group: str, topic: str, **offsets: int) -> None:
    """Without being in the group: p0=5 commits 5 for partition 0."""
    standalone = consumer(bootstrap, group)
    rows = [TopicPartition(topic, int(partition[1:]), offset) for partition, offset in offsets.items()]
    end = time.monotonic() + 20
    while True:
        try:
            standalone.commit(offsets=rows, asynchronous=False)
            break
        except KafkaException as refused:
            # The first commit of all makes the topic of offsets; until it is loaded clients are to try again.
            if not refused.args[0].retriable() and refused.args[0].name() != "NOT_COORDINATOR" or time.monotonic() > end:
                raise
            time.sleep(0.1)
    standalone.close()


def committed(bootstrap: str, group: str, topic: str) -> list[int]:
    reader = consumer(bootstrap, group)
    found = reader.committed([TopicPartition(topic, partition) for partition in (0, 1)], 20)
    reader.close()
    return [max(row.offset, -1) for row in found]


def member(bootstrap: str, group: str, topic: str) -> Consumer:
    """With its partitions assigned."""
    joined = consumer(bootstrap, group)
    joined.subscribe([topic])
    end = time.monotonic() + 30
    while not joined.assignment():
        assert time.monotonic() < end, "no assignment"
        joined.poll(0.1)
    return joined


def rows(text: str) -> list[dict[str, str]]:
    """The tables in what a tool printed, by the words of their headings."""
    heading, found = [], []
    for words in (line.split() for line in text.splitlines()):
        if words[:1] == ["GROUP"]:
            heading = words
        elif words and heading:
            found.append(dict(zip(heading, words, strict=False)))
    return found


def reset(bootstrap: str, group: str, *arguments: str) -> dict[str, int]:
    """What the tool says that it sets, by "topic:partition"."""
    said = apache.consumer_groups(bootstrap, "--reset-offsets", "--group", group, *arguments)
    found = {f"{row['TOPIC']}:{row['PARTITION']}": int(row["NEW-OFFSET"]) for row in rows(said) if row["GROUP"] == group}
    assert found, said
    return found


def test_a_group_with_a_member(bootstrap, topic, name):
    group, idle = f"{name}-live", f"{name}-idle"
    commit(bootstrap, idle, topic, p0=3)
    live = member(bootstrap, group, topic)
    live.commit(offsets=[TopicPartition(topic, 0, 4), TopicPartition(topic, 1, 10)], asynchronous=False)

    def tool(*arguments: str) -> str:
        live.poll(0)
        return apache.consumer_groups(bootstrap, *arguments)

    assert {group, idle} <= set(tool("--list").split())
    states = {row["GROUP"]: row["STATE"] for row in rows(tool("--list", "--state"))}
    assert (states[group], states[idle]) == ("Stable", "Empty")
    stable = tool("--list", "--state", "stable").split()
    assert group in stable and idle not in stable
    types = {row["GROUP"]: row["TYPE"] for row in rows(tool("--list", "--type", "classic"))}
    assert types[group].lower() == "classic"
    assert group not in tool("--list", "--type", "consumer")

    offsets = {row["PARTITION"]: row for row in rows(tool("--describe", "--group", group, "--offsets", "--verbose"))}
    shown = [(offsets[p]["CURRENT-OFFSET"], offsets[p]["LOG-END-OFFSET"], offsets[p]["LAG"]) for p in ("0", "1")]
    assert shown == [("4", "10", "6"), ("10", "10", "0")]
    assert offsets["0"]["CLIENT-ID"] == "tester" and offsets["0"]["HOST"] == "/127.0.0.1"
    assert offsets["0"]["CONSUMER-ID"].startswith("tester-")

    members = tool("--describe", "--group", group, "--members", "--verbose")
    assert rows(members)[0]["#PARTITIONS"] == "2" and f"{topic}" in members
    state = tool("--describe", "--group", group, "--state")
    assert bootstrap in state and "range" in state and "Stable" in state
    everything = {row["GROUP"] for row in rows(tool("--describe", "--all-groups"))}
    assert {group, idle} <= everything

    assert "GroupNotEmptyException" in tool("--delete", "--group", group)
    refused = tool("--reset-offsets", "--group", group, "--topic", topic, "--to-earliest", "--execute")
    assert "can only be reset if" in refused and "Stable" in refused, refused
    refused = tool("--delete-offsets", "--group", group, "--topic", f"{topic}:0")
    assert "subscribed" in refused, refused
    live.close()
    assert committed(bootstrap, group, topic) == [4, 10]


def test_reset_by_every_option(bootstrap, topic, name, tmp_path):
    commit(bootstrap, name, topic, p0=4, p1=6)
    one, both = ["--topic", f"{topic}:0"], ["--topic", topic]

    def both_at(*offsets: int) -> dict[str, int]:
        return {f"{topic}:{partition}": offset for partition, offset in enumerate(offsets)}

    assert reset(bootstrap, name, *both, "--to-earliest", "--dry-run") == both_at(0, 0)
    assert reset(bootstrap, name, *both, "--to-latest") == both_at(10, 10)
    assert committed(bootstrap, name, topic) == [4, 6], "neither was executed"
    assert reset(bootstrap, name, "--all-topics", "--to-current", "--execute") == both_at(4, 6)
    for arguments, expected in (
        ([*both, "--to-earliest"], [0, 0]),
        ([*both, "--to-latest"], [10, 10]),
        ([*one, "--to-offset", "7"], [7, 10]),
        ([*both, "--shift-by", "-2"], [5, 8]),
        ([*both, "--shift-by", "100"], [10, 10]),
        ([*both, "--to-datetime", "2020-09-13T12:26:43.000"], [3, 3]),
    ):
        reset(bootstrap, name, *arguments, "--execute")
        assert committed(bootstrap, name, topic) == expected, arguments
    reset(bootstrap, name, *both, "--by-duration", "P1D", "--execute")
    assert committed(bootstrap, name, topic) == [10, 10], "all records are older than a day"

    plan = tmp_path / "plan.csv"
    exported = apache.consumer_groups(bootstrap, "--reset-offsets", "--group", name, *both, "--to-offset", "2", "--export")
    lines = sorted(line.replace('"', "") for line in exported.splitlines() if topic in line)
    assert lines == [f"{topic},0,2", f"{topic},1,2"], exported
    assert committed(bootstrap, name, topic) == [10, 10]
    plan.write_text(f"{topic},0,1\n{topic},1,9\n")
    assert reset(bootstrap, name, "--from-file", str(plan), "--execute") == both_at(1, 9)
    assert committed(bootstrap, name, topic) == [1, 9]


def test_groups_that_nobody_uses_are_deleted(bootstrap, topic, name):
    first, second, third = (f"{name}-{i}" for i in range(3))
    for group in (first, second, third):
        commit(bootstrap, group, topic, p0=4, p1=6)

    said = apache.consumer_groups(bootstrap, "--delete-offsets", "--group", first, "--topic", f"{topic}:0")
    assert "Request succeed" in said, said
    assert committed(bootstrap, first, topic) == [-1, 6]

    said = apache.consumer_groups(bootstrap, "--delete", "--group", first, "--group", "nobody")
    assert "GroupIdNotFoundException" in said and first in said, said
    listed = apache.consumer_groups(bootstrap, "--list").split()
    assert first not in listed and {second, third} <= set(listed)
    assert committed(bootstrap, first, topic) == [-1, -1]

    everybody = ["--all-groups", "--topic", topic, "--to-offset", "1", "--execute"]
    apache.consumer_groups(bootstrap, "--reset-offsets", *everybody)
    assert (committed(bootstrap, second, topic), committed(bootstrap, third, topic)) == ([1, 1], [1, 1])
    said = apache.consumer_groups(bootstrap, "--delete", "--all-groups")
    assert "Error" not in said, said
    assert not {second, third} & set(apache.consumer_groups(bootstrap, "--list").split())
    said = apache.consumer_groups(bootstrap, "--describe", "--group", second)
    assert "does not exist" in said or "not found" in said, said


def test_what_is_deleted_stays_so_over_a_restart(bootstrap, admin, topic, name, node):
    gone, kept = f"{name}-gone", f"{name}-kept"
    for group in (gone, kept):
        commit(bootstrap, group, topic, p0=4, p1=6)
    admin.delete_consumer_groups([gone])[gone].result()
    node.kill()
    node.start()
    end, listed = time.monotonic() + 30, set()
    while kept not in listed:
        assert time.monotonic() < end, f"{kept} does not come back"
        listed = {row.group_id for row in admin.list_consumer_groups().result().valid}
    assert gone not in listed
    assert (committed(bootstrap, gone, topic), committed(bootstrap, kept, topic)) == ([-1, -1], [4, 6])
