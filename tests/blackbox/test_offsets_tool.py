"""Apache's kafka-get-offsets: earliest, latest, the offset of a timestamp, the maximal timestamp."""

import apache
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic
from nodes import REPLICAS


def test_offsets_by_kind_of_time(bootstrap, admin, name):
    admin.create_topics([NewTopic(name, 2, REPLICAS)])[name].result(20)
    producer = Producer({"bootstrap.servers": bootstrap})
    for i in range(10):
        producer.produce(name, b"x", partition=0, timestamp=1_000_000 + i)
        producer.flush()

    def offsets(time):
        arguments = ["--bootstrap-server", bootstrap, "--topic", name, "--time", time]
        return apache.tool("org.apache.kafka.tools.GetOffsetShell", *arguments).split()

    assert offsets("earliest") == [f"{name}:0:0", f"{name}:1:0"]
    assert offsets("latest") == [f"{name}:0:10", f"{name}:1:0"]
    assert offsets("1000004") == [f"{name}:0:4"]
    assert offsets("max-timestamp") == [f"{name}:0:9"]
