"""kcat in its modes: producer, consumer, member of a group, list of metadata, query of offsets."""

import json
import subprocess
import time

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import NewTopic
from nodes import REPLICAS

LINES = ["one", "two", "three"]


def kcat(bootstrap, *arguments, stdin=""):
    done = subprocess.run(["kcat", "-b", bootstrap, *arguments], input=stdin, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def consume(bootstrap, *arguments):
    return kcat(bootstrap, "-C", "-e", "-q", *arguments)


def lines(*texts):
    return "".join(f"{text}\n" for text in texts)


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_every_codec_through_a_group(bootstrap, name, codec):
    sent = [f"{i}-" + "k" * 50 for i in range(200)]
    kcat(bootstrap, "-P", "-t", name, "-z", codec, "-X", "linger.ms=20", stdin=lines(*sent))
    assert consume(bootstrap, "-t", name, "-o", "beginning").splitlines() == sent
    group = ["-G", f"{name}-group", "-X", "auto.offset.reset=earliest", "-e", "-q", name]
    assert kcat(bootstrap, *group).splitlines() == sent
    assert kcat(bootstrap, *group) == "", "committed records came again"


@pytest.mark.parametrize("acks", ["0", "1", "all"])
def test_every_kind_of_ack(bootstrap, name, acks):
    kcat(bootstrap, "-P", "-t", name, "-p", "0", "-X", f"acks={acks}", stdin=lines(*LINES))
    assert consume(bootstrap, "-t", name, "-c", "3") == lines(*LINES)


def test_an_idempotent_producer_in_small_requests(bootstrap, name):
    sent = [str(i) for i in range(300)]
    idempotent = ["-X", "enable.idempotence=true", "-X", "batch.num.messages=1", "-X", "linger.ms=0"]
    kcat(bootstrap, "-P", "-t", name, "-p", "0", *idempotent, stdin=lines(*sent))
    assert consume(bootstrap, "-t", name).splitlines() == sent


def test_the_list_of_metadata(bootstrap, admin, name):
    kcat(bootstrap, "-P", "-t", name, "-p", "0", stdin=lines(*LINES))
    listed = json.loads(kcat(bootstrap, "-L", "-J"))
    assert sorted(broker["name"] for broker in listed["brokers"]) == sorted(bootstrap.split(","))
    assert listed["controllerid"] in range(1, REPLICAS + 1)
    (topic,) = [topic for topic in listed["topics"] if topic["topic"] == name]
    (partition,) = topic["partitions"]
    ids = [replica["id"] for replica in partition["replicas"]]
    assert sorted(ids) == list(range(1, REPLICAS + 1)), partition
    assert partition == {"partition": 0, "leader": ids[0], "replicas": partition["replicas"], "isrs": partition["replicas"]}
    one = kcat(bootstrap, "-L", "-t", name)
    replicas = ",".join(map(str, ids))
    assert f'topic "{name}" with 1 partitions' in one, one
    assert f"partition 0, leader {ids[0]}, replicas: {replicas}, isrs: {replicas}" in one, one


def test_keys_headers_and_absent_values_in_json(bootstrap, name):
    before = time.time() * 1000 - 60_000
    produce = ["-P", "-t", name, "-p", "0", "-K", ":", "-Z", "-H", "kind=test", "-H", "kind=again", "-H", "empty="]
    kcat(bootstrap, *produce, stdin=lines("a:1", "b:", "a:2"))
    read = [json.loads(line) for line in consume(bootstrap, "-t", name, "-J").splitlines()]
    assert [(record["key"], record["payload"], record["offset"]) for record in read] == [
        ("a", "1", 0),
        ("b", None, 1),
        ("a", "2", 2),
    ]
    for record in read:
        assert record["headers"] == ["kind", "test", "kind", "again", "empty", ""]
        assert (record["topic"], record["partition"], record["broker"], record["tstype"]) == (name, 0, 1, "create")
        assert before < record["ts"] < before + 120_000
    assert (
        consume(bootstrap, "-t", name, "-f", "%p/%o %k=%s (%S) %h\n").splitlines()[1] == "0/1 b= (-1) kind=test,kind=again,empty="
    )
    assert consume(bootstrap, "-t", name, "-K", "|", "-Z") == lines("a|1", "b|NULL", "a|2")


def test_partitions_and_offsets(bootstrap, admin, name):
    three_partitions(admin, name)
    for partition in ("0", "2"):
        kcat(bootstrap, "-P", "-t", name, "-p", partition, stdin=lines(*(f"{partition}-{line}" for line in LINES)))
    assert consume(bootstrap, "-t", name, "-p", "2", "-o", "1") == lines("2-two", "2-three")
    assert consume(bootstrap, "-t", name, "-p", "0", "-o", "-1") == lines("0-three")
    assert consume(bootstrap, "-t", name, "-p", "1") == ""
    assert consume(bootstrap, "-t", name, "-p", "0", "-o", "end") == ""
    assert consume(bootstrap, "-t", name, "-p", "0", "-c", "2") == lines("0-one", "0-two")
    assert sorted(consume(bootstrap, "-t", name).splitlines()) == sorted(f"{p}-{line}" for p in (0, 2) for line in LINES)

    asked = [argument for partition in range(3) for argument in ("-t", f"{name}:{partition}:-1")]
    assert sorted(kcat(bootstrap, "-Q", *asked).splitlines()) == [
        f"{name} [{p}] offset {end}" for p, end in ((0, 3), (1, 0), (2, 3))
    ]
    assert kcat(bootstrap, "-Q", "-t", f"{name}:0:-2") == f"{name} [0] offset 0\n"


def test_offsets_by_time(bootstrap, name):
    kcat(bootstrap, "-P", "-t", name, "-p", "0", stdin=lines("early", "early too"))
    time.sleep(0.02)
    between = round(time.time() * 1000)
    time.sleep(0.02)
    kcat(bootstrap, "-P", "-t", name, "-p", "0", stdin=lines("late"))
    assert kcat(bootstrap, "-Q", "-t", f"{name}:0:{between}") == f"{name} [0] offset 2\n"
    assert kcat(bootstrap, "-Q", "-t", f"{name}:0:{between + 3_600_000}") == f"{name} [0] offset -1\n"
    assert consume(bootstrap, "-t", name, "-p", "0", "-o", f"s@{between}") == lines("late")
    assert consume(bootstrap, "-t", name, "-p", "0", "-o", f"s@{between - 60_000}", "-o", f"e@{between}") == lines(
        "early", "early too"
    )


def test_two_members_of_a_group_read_every_record_once(bootstrap, admin, name):
    three_partitions(admin, name)
    group = ["kcat", "-b", bootstrap, "-G", name, "-q", "-u", "-X", "auto.offset.reset=earliest", "-X", "session.timeout.ms=6000"]
    members = [subprocess.Popen([*group, name], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        assigned(admin, name, [1, 2])
        sent = [str(i) for i in range(300)]
        kcat(bootstrap, "-P", "-t", name, "-X", "sticky.partitioning.linger.ms=0", stdin=lines(*sent))
        all_committed(bootstrap, name, len(sent))
    finally:
        for member in members:
            member.terminate()
    read = [member.communicate(timeout=30)[0].splitlines() for member in members]
    assert sorted(read[0] + read[1], key=int) == sent and all(read), read


def three_partitions(admin, name):
    admin.create_topics([NewTopic(name, 3, REPLICAS)])[name].result(20)


def assigned(admin, group, partitions):
    """Waits until the members of a group have so many partitions each."""
    end = time.monotonic() + 60
    while True:
        try:
            found = admin.describe_consumer_groups([group])[group].result(20).members
            counts = sorted(len(member.assignment.topic_partitions) for member in found if member.assignment)
        except Exception as refused:  # the coordinator is not there yet
            counts = refused
        if counts == partitions:
            return
        assert time.monotonic() < end, counts
        time.sleep(0.2)


def all_committed(bootstrap, name, count, seconds=60):
    asker = Consumer({"bootstrap.servers": bootstrap, "group.id": name})
    end = time.monotonic() + seconds
    while sum(max(row.offset, 0) for row in asker.committed([TopicPartition(name, p) for p in range(3)], 20)) != count:
        assert time.monotonic() < end, "not all is committed"
        time.sleep(0.2)
    asker.close()
