"""Apache's tools on clusters of both kinds: what the active controller is asked through a broker of either kind, and directly."""

import json
import re

import apache
import pytest
import raw
import replicas
from cluster import Cluster
from nodes import Apache, Node, Ottla

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

TOOLS = "org.apache.kafka.tools"
CONTROLLER_LISTENERS = "--bootstrap-controller"


def through(cluster: Cluster, kind: type[Node]) -> Node:
    """A broker of that kind."""
    found = [cluster.nodes[id] for id in cluster.brokers if isinstance(cluster.nodes[id], kind)]
    if not found:
        pytest.skip(f"no broker is {kind.__name__}'s")
    return found[0]


@pytest.fixture(params=[Apache, Ottla], ids=["through Apache's broker", "through ours"])
def asked(request, cluster) -> str:
    return through(cluster, request.param).bootstrap


def run(tool: str, *arguments: str) -> str:
    return apache.tool(f"{TOOLS}.{tool}", *arguments)


def test_topics_and_configs_change(cluster, asked):
    create = ["--create", "--topic", "t", "--partitions", "2", "--replication-factor", "3", "--config", "retention.ms=3600000"]
    assert "Created topic t." in apache.topics(asked, *create)
    until_told(cluster, ["PartitionCount: 2", "ReplicationFactor: 3", "retention.ms=3600000"], asked, "t")
    apache.topics(asked, "--alter", "--topic", "t", "--partitions", "4")
    until_told(cluster, ["PartitionCount: 4"], asked, "t")

    topic = ["--entity-type", "topics", "--entity-name", "t"]
    every = ["--entity-type", "brokers", "--entity-default"]
    one = ["--entity-type", "brokers", "--entity-name", str(cluster.brokers[-1])]
    user = ["--entity-type", "users", "--entity-name", "u"]
    for entity, value in (
        (topic, "max.message.bytes=2000000"),
        (topic, "cleanup.policy=compact,delete"),
        (every, "log.cleaner.threads=2"),
        (one, "log.retention.ms=7200000"),
        (user, "producer_byte_rate=1048576"),
    ):
        key, text = value.split("=")
        apache.configs(asked, *entity, "--alter", "--add-config", f"{key}=[{text}]" if "," in text else value)
        cluster.until(f"{value} is told", lambda: value in apache.configs(asked, *entity, "--describe"))
        apache.configs(asked, *entity, "--alter", "--delete-config", key)
        cluster.until(f"{value} is not told any more", lambda: value not in apache.configs(asked, *entity, "--describe"))

    apache.topics(asked, "--delete", "--topic", "t")
    for id in cluster.brokers:
        cluster.until(f"broker {id} knows of no topic", lambda: not cluster.describe("t", id))


def until_told(cluster: Cluster, what: list[str], asked: str, topic: str) -> None:
    """A broker tells what it decided, or passed on, as soon as it has the metadata."""
    cluster.until(f"all know of {topic}", lambda: all(cluster.describe(topic, id) for id in cluster.brokers))
    described = lambda: apache.topics(asked, "--describe", "--topic", topic)  # noqa: E731
    cluster.until(f"{what} of {topic} is told", lambda: all(it in described() for it in what))


def test_what_is_refused_is_named_as_by_apache(cluster, asked):
    def refused(*arguments: str) -> str:
        with pytest.raises(AssertionError) as told:
            apache.topics(asked, *arguments)
        return str(told.value)

    create = ["--create", "--topic", "t", "--partitions", "1"]
    assert "InvalidReplicationFactorException" in refused(*create, "--replication-factor", "9")
    assert "Invalid value soon for configuration retention.ms" in refused(
        *create, "--replication-factor", "1", "--config", "retention.ms=soon"
    )
    apache.topics(asked, *create, "--replication-factor", "1")
    until_told(cluster, ["PartitionCount: 1"], asked, "t")
    assert "TopicExistsException" in refused(*create, "--replication-factor", "1")
    assert "InvalidPartitionsException" in refused("--alter", "--topic", "t", "--partitions", "1")


def test_the_quorum_and_features_are_told(cluster, asked):
    host, port = cluster.voter_addresses[cluster.active_controller()]
    active = cluster.active_controller()
    for where in (["--bootstrap-server", asked], [CONTROLLER_LISTENERS, f"{host}:{port}"]):
        status = run("MetadataQuorumCommand", *where, "describe", "--status")
        assert re.search(rf"LeaderId:\s+{active}\b", status), status
        voters, observers = (re.search(rf"{who}:\s+(\[.*\])", status)[1] for who in ("CurrentVoters", "CurrentObservers"))
        assert {voter["id"] for voter in json.loads(voters)} == set(cluster.controllers), status
        assert {observer["id"] for observer in json.loads(observers)} == set(cluster.brokers), status
        replication = run("MetadataQuorumCommand", *where, "describe", "--replication")
        assert len(re.findall("Follower", replication)) == len(cluster.controllers) - 1, replication
        assert len(re.findall("Observer", replication)) == len(cluster.brokers), replication
        features = run("FeatureCommand", *where, "describe")
        assert re.search(r"Feature: metadata.version\s.*FinalizedVersionLevel: 4\.\d-IV\d", features), features
        assert re.search(r"Feature: kraft.version\s.*FinalizedVersionLevel: 1\s", features), features
        told = apache.tool(f"{TOOLS}.ClusterTool", "cluster-id", *where)
        assert "Cluster ID: " in told, told
        endpoints = apache.tool(f"{TOOLS}.ClusterTool", "list-endpoints", *where)
        expected = cluster.controllers if CONTROLLER_LISTENERS in where else cluster.brokers
        assert {int(line.split()[0]) for line in endpoints.splitlines()[1:] if line.strip()} == set(expected), endpoints
    versions = run("BrokerApiVersionsCommand", "--bootstrap-server", asked)
    assert len(re.findall(r"\(id: \d+ rack: ", versions)) == len(cluster.brokers) and "ERROR" not in versions, versions


def test_a_level_is_raised_and_lowered(cluster, asked):
    """By the feature that both kinds serve and that has more than one level."""
    where = ["--bootstrap-server", asked]
    level = lambda: re.search(  # noqa: E731
        r"Feature: eligible.leader.replicas.version\s.*FinalizedVersionLevel: (\d)", run("FeatureCommand", *where, "describe")
    )[1]
    before = level()
    assert before == str(cluster.elr)
    run("FeatureCommand", *where, "upgrade", "--feature", "eligible.leader.replicas.version=1")
    cluster.until("the level is told", lambda: level() == "1")
    run("FeatureCommand", *where, "downgrade", "--feature", "eligible.leader.replicas.version=0")
    cluster.until("the level is told", lambda: level() == "0")


def test_replicas_move_between_the_kinds_and_back(cluster, asked, tmp_path):
    """kafka-reassign-partitions, kafka-leader-election, kafka-log-dirs and kafka-delete-records."""
    one, two, three = cluster.brokers[:3]
    # Batches made by hand are old.
    cluster.create("t", [[one, two], [two, three]], retention_ms="-1")
    for partition in (0, 1):
        leader = cluster.leaders("t")[partition]
        for _ in range(20):
            error, _ = raw.produce(cluster.nodes[leader].port, "t", raw.batch(b"x" * 1000, b"y" * 1000), partition=partition)
            assert error == 0
    for zero, first in (([three, one], [one, two]), ([two, three], [three, one]), ([one, two, three], [three, two, one])):
        wanted = {"version": 1, "partitions": [rows("t", 0, zero), rows("t", 1, first)]}
        plan = tmp_path / "plan.json"
        plan.write_text(json.dumps(wanted))
        move = ["--bootstrap-server", asked, "--reassignment-json-file", str(plan)]
        said = run("reassign.ReassignPartitionsCommand", *move, "--execute")
        assert "Successfully started partition reassignments for t-0,t-1" in said, said

        def done() -> bool:
            said = run("reassign.ReassignPartitionsCommand", *move, "--verify")
            return said.count("is completed") == 2

        cluster.until("the tool sees that it is done", done, 120)
        cluster.until_whole("t")
        said = run("reassign.ReassignPartitionsCommand", "--bootstrap-server", asked, "--list")
        assert "No partition reassignments found" in said, said
        election = ["--bootstrap-server", asked, "--election-type", "preferred", "--all-topic-partitions"]
        run("LeaderElectionCommand", *election)
        cluster.until("the preferred leaders", lambda: cluster.leaders("t") == {0: zero[0], 1: first[0]})
        replicas.assert_equal(cluster, "t")

    records = tmp_path / "records.json"
    asked_for = [{"topic": "t", "partition": 0, "offset": 10}]
    records.write_text(json.dumps({"version": 1, "partitions": asked_for}))
    said = run("DeleteRecordsCommand", "--bootstrap-server", asked, "--offset-json-file", str(records))
    assert re.search(r"partition: t-0\s+low_watermark: 10", said), said
    said = run("LogDirsCommand", "--bootstrap-server", asked, "--describe", "--topic-list", "t")
    told = json.loads(next(line for line in said.splitlines() if line.startswith("{")))
    held = {(broker["broker"], it["partition"]) for broker in told["brokers"] for it in broker["logDirs"][0]["partitions"]}
    assert held == {(id, f"t-{partition}") for id in (one, two, three) for partition in (0, 1)}, said
    cluster.until("the log begins there", lambda: cluster.offset("t", 0, -2) == 10)


def rows(topic: str, partition: int, ids: list[int]) -> dict:
    return {"topic": topic, "partition": partition, "replicas": ids}


def test_a_broker_is_removed_for_good(cluster, asked):
    """kafka-cluster unregister, of one that is down."""
    gone = next(id for id in reversed(cluster.brokers) if cluster.nodes[id].bootstrap != asked)
    cluster.stop(gone)
    cluster.until_fenced([gone])
    said = apache.tool(f"{TOOLS}.ClusterTool", "unregister", "--bootstrap-server", asked, "--id", str(gone))
    assert f"Broker {gone} is no longer registered." in said, said
    listed = apache.tool(f"{TOOLS}.ClusterTool", "list-endpoints", "--bootstrap-server", asked, "--include-fenced-brokers")
    assert str(gone) not in {line.split()[0] for line in listed.splitlines() if line.strip()}, listed
