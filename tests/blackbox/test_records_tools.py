"""Apache's kafka-delete-records, kafka-get-offsets and kafka-log-dirs."""

import json

import apache
import nodes
from confluent_kafka import Consumer, Producer, TopicPartition


def fill(bootstrap, topic, count=10):
    producer = Producer({"bootstrap.servers": bootstrap})
    for number in range(count):
        producer.produce(topic, str(number).encode(), partition=0, timestamp=1_700_000_000_000 + number)
        producer.flush(10)


def delete_records(bootstrap, home, topic, offset):
    request = home / "delete.json"
    request.write_text(json.dumps({"partitions": [{"topic": topic, "partition": 0, "offset": offset}], "version": 1}))
    return apache.tool(
        "org.apache.kafka.tools.DeleteRecordsCommand", "--bootstrap-server", bootstrap, "--offset-json-file", str(request)
    )


def offset_at(bootstrap, topic, time):
    printed = apache.tool(
        "org.apache.kafka.tools.GetOffsetShell", "--bootstrap-server", bootstrap, "--topic", topic, "--time", str(time)
    )
    rows = [line.split(":") for line in printed.splitlines() if line.startswith(f"{topic}:0:")]
    return int(rows[0][2]) if rows and rows[0][2] else None


def first_value(bootstrap, topic):
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "g", "auto.offset.reset": "earliest"})
    consumer.assign([TopicPartition(topic, 0, 0)])
    message = consumer.poll(20)
    consumer.close()
    return message.offset(), message.value()


def test_deleted_records_stay_deleted_over_a_restart(tmp_path, name):
    node = nodes.first_node(tmp_path / "node").start()
    apache.topics(node.bootstrap, "--create", "--topic", name)
    fill(node.bootstrap, name)
    assert "low_watermark: 4" in delete_records(node.bootstrap, tmp_path, name, 4)
    assert first_value(node.bootstrap, name) == (4, b"4"), "a consumer below the start begins there"
    node.kill()
    node.start()
    assert offset_at(node.bootstrap, name, -2) == 4
    assert "low_watermark: 10" in delete_records(node.bootstrap, tmp_path, name, -1)
    assert (offset_at(node.bootstrap, name, -2), offset_at(node.bootstrap, name, -1)) == (10, 10)
    node.stop()


def test_offsets_by_time_and_by_name(bootstrap, name):
    apache.topics(bootstrap, "--create", "--topic", name)
    fill(bootstrap, name, 5)
    asked = ("latest", "earliest", "max-timestamp", "earliest-local", 1_700_000_000_003, 1_800_000_000_000)
    found = [offset_at(bootstrap, name, time) for time in asked]
    assert found[:5] == [5, 0, 4, 0, 3] and found[5] in (None, -1, 5), found


def test_log_dirs_show_sizes(bootstrap, name):
    apache.topics(bootstrap, "--create", "--topic", name, "--partitions", "2")
    fill(bootstrap, name, 3)
    printed = apache.tool(
        "org.apache.kafka.tools.LogDirsCommand", "--bootstrap-server", bootstrap, "--describe", "--topic-list", name
    )
    (log_dir,) = json.loads(next(line for line in printed.splitlines() if line.startswith("{")))["brokers"][0]["logDirs"]
    sizes = {row["partition"]: row["size"] for row in log_dir["partitions"]}
    assert log_dir["error"] is None and sizes[f"{name}-1"] == 0 and 3 * 60 < sizes[f"{name}-0"] < 1000, printed
