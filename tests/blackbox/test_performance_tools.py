"""Apache's performance tools run to their end; their figures are printed, not judged."""

import re

import apache


def test_producer_and_consumer_performance(bootstrap, name):
    apache.topics(bootstrap, "--create", "--topic", name, "--partitions", "2")
    produced = apache.tool(
        "org.apache.kafka.tools.ProducerPerformance", "--topic", name, "--num-records", "50000", "--record-size", "200",
        "--throughput", "-1", "--producer-props", f"bootstrap.servers={bootstrap}", "acks=all", "compression.type=lz4",
    )  # fmt: skip
    print(produced.splitlines()[-1])
    assert re.search(r"50000 records sent", produced), produced
    consumed = apache.tool(
        "org.apache.kafka.tools.ConsumerPerformance", "--bootstrap-server", bootstrap, "--topic", name,
        "--messages", "50000", "--timeout", "30000",
    )  # fmt: skip
    print(consumed)
    (figures,) = [line.split(",") for line in consumed.splitlines() if re.match(r"\d{4}-", line)]
    assert int(figures[4]) >= 50000, consumed


def test_end_to_end_latency(bootstrap, name):
    apache.topics(bootstrap, "--create", "--topic", name)
    measured = apache.tool(
        "org.apache.kafka.tools.EndToEndLatency", "--bootstrap-server", bootstrap, "--topic", name,
        "--num-records", "500", "--producer-acks", "all", "--record-size", "100",
    )  # fmt: skip
    print(measured)
    assert "Percentiles" in measured, measured
