"""What a follower shows that lost the log start which its leader had told it of: as much, or as little, as Apache Kafka's."""

import pytest
from batches import batch, parse
from cluster import Cluster, separate
from nodes import Apache, Ottla

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

FIRST, SECOND = 11, 12
SETTINGS = {
    "min.insync.replicas": "1",
    "broker.session.timeout.ms": "4000",
    "broker.heartbeat.interval.ms": "1000",
    # Nothing is noted but by a stop in order.
    "log.flush.start.offset.checkpoint.interval.ms": "3600000",
}


def test_below_the_log_start_a_killed_follower_shows_what_apaches_does(tmp_path):
    apache = shown(Cluster(tmp_path / "apache", separate([Apache], [Apache, Apache]), SETTINGS, replication=2))
    ours = shown(Cluster(tmp_path / "ours", separate([Ottla], [Ottla, Ottla]), SETTINGS, replication=2))
    assert ours == apache
    # Were it otherwise, docs/operations/failures.md would have to say so.
    assert [text for _, text in ours] == [
        *(f"both-{n}" for n in range(3)),
        *(f"second-{n}" for n in range(3, 8)),
        "first-8",
        "first-9",
    ]


def shown(cluster: Cluster) -> list[tuple[int, str]]:
    """Two histories, the records of one deleted up to 8, and what the other replica has in their place; epochs and values."""
    cluster.start()
    cluster.create("t", [[FIRST, SECOND]], unclean_leader_election_enable="true")
    produce(cluster, FIRST, *(f"both-{n}" for n in range(3)))
    in_sync = lambda: len(cluster.describe("t")[0].isr) == 2  # noqa: E731
    cluster.until("both in sync", in_sync)
    cluster.kill(FIRST)
    leads(cluster, SECOND)
    produce(cluster, SECOND, *(f"second-{n}" for n in range(3, 10)))
    cluster.kill(SECOND)
    cluster.restart(FIRST)
    leads(cluster, FIRST)
    produce(cluster, FIRST, *(f"first-{n}" for n in range(3, 10)))
    deleted = {"name": "t", "partitions": [{"partition_index": 0, "offset": 8}]}
    answer = cluster.ask("DeleteRecords", 2, {"topics": [deleted], "timeout_ms": 20_000}, FIRST, 25)
    assert answer["topics"][0]["partitions"][0]["low_watermark"] == 8, answer
    cluster.restart(SECOND)
    cluster.until("both in sync", in_sync)
    cluster.kill(SECOND)
    cluster.kill(FIRST)
    cluster.restart(SECOND)
    leads(cluster, SECOND)
    found = read(cluster, SECOND, cluster.offset("t", 0, -2))
    for node in cluster.running:
        cluster.kill(node)
    return found


def leads(cluster: Cluster, broker: int) -> None:
    cluster.until(f"{broker} leads", lambda: cluster.leaders("t") == {0: broker})


def produce(cluster: Cluster, to: int, *values: str) -> None:
    for value in values:
        data = {"name": "t", "partition_data": [{"index": 0, "records": batch(value.encode())}]}
        body = {"acks": -1, "timeout_ms": 20_000, "topic_data": [data]}
        answer = cluster.ask("Produce", 9, body, to, 25)["responses"][0]["partition_responses"][0]
        assert answer["error_code"] == 0, answer


def read(cluster: Cluster, of: int, offset: int) -> list[tuple[int, str]]:
    found, end = [], cluster.offset("t", 0, -1)
    while offset < end:
        partition = {"partition": 0, "fetch_offset": offset, "partition_max_bytes": 1 << 20}
        body = {"replica_id": -1, "max_wait_ms": 100, "session_epoch": -1, "topics": [{"topic": "t", "partitions": [partition]}]}
        answer = cluster.ask("Fetch", 11, body | {"max_bytes": 1 << 20}, of)["responses"][0]["partitions"][0]
        for one in parse(answer["records"]):
            # Length, attributes, times, no key, then the value and no headers, in a single byte each where they are short.
            found.append((one["leader_epoch"], bytes.fromhex(one["body"])[6:-1].decode()))
            offset = one["base_offset"] + 1
    return found
