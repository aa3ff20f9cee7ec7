"""Replicas that move between the directories of a node, with Apache's kafka-reassign-partitions and kafka-log-dirs; the same against
Apache Kafka says that it is Kafka's behaviour. A directory left in the middle is taken over by Apache Kafka, and one of Apache's by
us."""

import json
import time

import apache
import pytest
import raw
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from nodes import first_node, taker_over

TOOLS = "org.apache.kafka.tools"
RATE = "replica.alter.log.dirs.io.max.bytes.per.second"


@pytest.fixture
def directories(tmp_path):
    return [tmp_path / "d0", tmp_path / "d1"]


@pytest.fixture
def node(tmp_path, directories):
    node = first_node(tmp_path / "node", {"log.dirs": ",".join(map(str, directories))}).start()
    apache.topics(node.bootstrap, "--create", "--topic", "t", "--partitions", "2", "--config", "retention.ms=-1")
    for partition in (0, 1):
        fill(node, partition, 3)
    yield node
    node.kill()


def fill(node, partition: int, batches: int) -> None:
    for number in range(batches):
        error, _ = raw.produce(node.port, "t", raw.batch(bytes([65 + number]) * 700_000), partition=partition)
        assert error == 0, node.tail()


def reassign(node, plan, *arguments: str) -> str:
    asked = ["--bootstrap-server", node.bootstrap, "--reassignment-json-file", str(plan)]
    return apache.tool(f"{TOOLS}.reassign.ReassignPartitionsCommand", *asked, *arguments)


def to_other(plan, directories) -> dict[int, str]:
    """Each partition into the directory where it does not lie, as a plan for the tool."""
    targets = {index: str(directories[(directories[0] / f"t-{index}").exists()]) for index in (0, 1)}
    rows = [{"topic": "t", "partition": index, "replicas": [1], "log_dirs": [path]} for index, path in targets.items()]
    plan.write_text(json.dumps({"version": 1, "partitions": rows}))
    return targets


def described(node) -> dict[tuple[str, str], dict]:
    """What each directory has of each partition."""
    printed = apache.tool(f"{TOOLS}.LogDirsCommand", "--bootstrap-server", node.bootstrap, "--describe", "--topic-list", "t")
    told = json.loads(next(line for line in printed.splitlines() if line.startswith("{")))["brokers"][0]["logDirs"]
    return {(log_dir["logDir"], row["partition"]): row for log_dir in told for row in log_dir["partitions"]}


def until_moved(node, targets: dict[int, str], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    wanted = {(path, f"t-{index}"): False for index, path in targets.items()}
    while {key: row["isFuture"] for key, row in described(node).items()} != wanted:
        assert time.monotonic() < end, f"{described(node)}\n{node.tail()}"
        time.sleep(0.3)


def read(node) -> dict[int, bytes]:
    """The first letter of every record of each partition, in order."""
    consumer = Consumer({"bootstrap.servers": node.bootstrap, "group.id": "reader", "enable.auto.commit": False})
    found = {0: b"", 1: b""}
    try:
        consumer.assign([TopicPartition("t", partition, OFFSET_BEGINNING) for partition in found])
        ends = {index: consumer.get_watermark_offsets(TopicPartition("t", index), timeout=30)[1] for index in found}
        end = time.monotonic() + 60
        while {index: len(letters) for index, letters in found.items()} != ends:
            assert time.monotonic() < end, found
            message = consumer.poll(1)
            if message and not message.error():
                found[message.partition()] += message.value()[:1]
    finally:
        consumer.close()
    return found


def test_the_tool_moves_replicas_within_a_node(node, directories, tmp_path):
    plan = tmp_path / "plan.json"
    targets = to_other(plan, directories)
    said = reassign(node, plan, "--execute", "--replica-alter-log-dirs-throttle", "1000")
    assert "The replica-alter-dir throttle limit was set to 1000 B/s" in said, said
    for index, path in targets.items():
        assert f"Successfully started moving log directory to {path} for replica t-{index} with broker 1" in said, said
    # The first piece of each is through; the rate keeps the rest.
    time.sleep(3)
    rows = described(node)
    moving = {key: row["offsetLag"] for key, row in rows.items() if row["isFuture"]}
    assert set(moving) == {(path, f"t-{index}") for index, path in targets.items()}, rows
    assert sum(moving.values()) >= 3 and len(rows) == 4, rows
    said = reassign(node, plan, "--verify", "--preserve-throttles")
    assert said.count("is still in progress") >= 2, said
    # Without a rate they come to their end.
    apache.configs(node.bootstrap, "--entity-type", "brokers", "--entity-name", "1", "--alter", "--delete-config", RATE)
    until_moved(node, targets)
    said = reassign(node, plan, "--verify")
    assert "in progress" not in said and said.count("completed successfully") >= 2, said
    node.stop()
    node.start()
    until_moved(node, targets)
    fill(node, 0, 1)
    assert read(node) == {0: b"ABCA", 1: b"ABC"}


def start_in_the_middle(node, directories, tmp_path) -> dict[int, str]:
    plan = tmp_path / "plan.json"
    targets = to_other(plan, directories)
    reassign(node, plan, "--execute", "--replica-alter-log-dirs-throttle", "1")
    time.sleep(2)
    assert any(row["isFuture"] for row in described(node).values())
    assert any(path.name.endswith("-future") for directory in directories for path in directory.iterdir())
    return targets


@pytest.mark.ours
@pytest.mark.parametrize("how", ["stop", "kill"])
def test_apache_goes_on_with_a_move_of_ours_and_we_with_apaches(node, directories, tmp_path, how):
    targets = start_in_the_middle(node, directories, tmp_path)
    getattr(node, how)()
    theirs = taker_over(node).start()
    try:
        free(theirs)
        until_moved(theirs, targets)
        fill(theirs, 0, 1)
        # And back: theirs is left in the middle, ours goes on.
        targets = start_in_the_middle(theirs, directories, tmp_path)
        getattr(theirs, how)()
        node.start()
        free(node)
        until_moved(node, targets)
        fill(node, 1, 1)
        assert read(node) == {0: b"ABCA", 1: b"ABCA"}
    finally:
        theirs.kill()


def free(node) -> None:
    """No rate any more."""
    apache.configs(node.bootstrap, "--entity-type", "brokers", "--entity-name", "1", "--alter", "--delete-config", RATE)
