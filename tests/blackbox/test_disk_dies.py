"""A disk that dies under a node with several log directories: its partitions are out, the others go on, nothing is lost."""

import time

import disks
import pytest
import raw
import verify
from confluent_kafka.admin import AdminClient, NewTopic
from nodes import first_node

KAFKA_STORAGE_ERROR = 56


@pytest.fixture
def disk(tmp_path):
    with disks.mounted(tmp_path, "disk", 192) as disk:
        yield disk


def produce(node, topic: str) -> int:
    return raw.produce(node.port, topic, raw.batch(b"x"))[0]


@pytest.mark.ours
def test_what_was_acknowledged_from_disk_is_there_when_it_comes_back(tmp_path, disk, report):
    node = first_node(tmp_path / "node", {"log.dirs": f"{tmp_path / 'safe'},{disk.path / 'data'}"}).start()
    admin = AdminClient({"bootstrap.servers": node.bootstrap, "log_level": "0"})
    topics = [f"t{number}" for number in range(4)]
    for created in admin.create_topics([NewTopic(topic, 1, 1, config={"retention.ms": "-1"}) for topic in topics]).values():
        created.result(20)
    lying_there = [topic for topic in topics if (disk.path / "data" / f"{topic}-0").exists()]
    assert 0 < len(lying_there) < len(topics)
    # Acknowledged once it is on disk.
    load = verify.Load(node.bootstrap, 11, 12, tmp_path / "verify.log", rate=200, more=["--topic-config", "flush.messages=1"])
    try:
        time.sleep(4)
        disk.die()
        expected = {topic: KAFKA_STORAGE_ERROR if topic in lying_there else 0 for topic in topics}
        end = time.monotonic() + 10
        while {topic: produce(node, topic) for topic in topics} != expected:
            assert time.monotonic() < end, node.tail()
            time.sleep(0.2)
        # The partitions refuse at once; the metadata tells when the controller has been told.
        leaders = {topic: -1 if topic in lying_there else 1 for topic in topics}
        while {topic: admin.list_topics(timeout=10).topics[topic].partitions[0].leader for topic in topics} != leaders:
            assert time.monotonic() < end, node.tail()
            time.sleep(0.2)

        # It cannot be read at the start either, and what lies there is not made anew elsewhere.
        node.kill()
        node.start()
        assert {topic: produce(node, topic) for topic in topics} == expected
        assert node.stop() in (0, 143)

        disk.unmount()
        disk.mount()
        node.start()
        assert {topic: produce(node, topic) for topic in topics} == dict.fromkeys(topics, 0)
        summary = load.judged()
    finally:
        load.end()
    report(f"a disk died: {summary['acked']} acked from disk, 0 lost, longest gap {verify.longest_gap(summary):.1f} s")
    assert node.stop() in (0, 143)
