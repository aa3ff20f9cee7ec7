"""Apache's kafka-topics: the life of a topic."""

import re

import apache
from nodes import REPLICAS


def test_create_list_describe_alter_delete(bootstrap, name):
    create = [
        "--create",
        "--topic",
        name,
        "--partitions",
        "3",
        "--replication-factor",
        str(REPLICAS),
        "--config",
        "retention.ms=3600000",
    ]
    assert f"Created topic {name}." in apache.topics(bootstrap, *create)
    assert name in apache.topics(bootstrap, "--list").split()

    described = apache.topics(bootstrap, "--describe", "--topic", name)
    assert re.search(r"TopicId: [A-Za-z0-9_-]{22}\b", described), described
    assert re.search(r"PartitionCount: 3\b", described) and re.search(rf"ReplicationFactor: {REPLICAS}\b", described)
    assert "retention.ms=3600000" in described
    ids = ",".join(["[1-9]"] * REPLICAS)
    assert len(re.findall(rf"Leader: [1-9]\s+Replicas: {ids}\s+Isr: {ids}\b", described)) == 3, described

    apache.topics(bootstrap, "--alter", "--topic", name, "--partitions", "5")
    described = apache.topics(bootstrap, "--describe", "--topic", name)
    assert re.search(r"PartitionCount: 5\b", described), described

    apache.topics(bootstrap, "--delete", "--topic", name)
    assert name not in apache.topics(bootstrap, "--list").split()
