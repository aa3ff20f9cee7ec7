"""Apache's kafka-configs on quotas, and the clients that feel them; kafka-features."""

import time

import apache
from confluent_kafka import Producer


def quotas(bootstrap, *arguments):
    return apache.configs(bootstrap, *arguments)


def test_quotas_are_set_described_and_removed(bootstrap, name):
    client = ["--entity-type", "clients", "--entity-name", name]
    both = ["--entity-type", "users", "--entity-name", "ANONYMOUS", *client]
    for entity in (client, both):
        quotas(bootstrap, *entity, "--alter", "--add-config", "producer_byte_rate=2048,consumer_byte_rate=4096")
        described = quotas(bootstrap, *entity, "--describe")
        assert "producer_byte_rate=2048.0" in described and "consumer_byte_rate=4096.0" in described, described
        quotas(bootstrap, *entity, "--alter", "--delete-config", "producer_byte_rate,consumer_byte_rate")
        assert "byte_rate" not in quotas(bootstrap, *entity, "--describe")


def test_quotas_of_requests_changes_and_connections(bootstrap, name):
    client = ["--entity-type", "clients", "--entity-name", name]
    rates = {"request_percentage": "150.5", "controller_mutation_rate": "2.5"}
    quotas(bootstrap, *client, "--alter", "--add-config", ",".join(f"{key}={value}" for key, value in rates.items()))
    described = quotas(bootstrap, *client, "--describe")
    assert all(f"{key}={value}" in described for key, value in rates.items()), described
    quotas(bootstrap, *client, "--alter", "--delete-config", ",".join(rates))
    address = ["--entity-type", "ips", "--entity-name", "127.0.0.77"]
    quotas(bootstrap, *address, "--alter", "--add-config", "connection_creation_rate=5")
    assert "connection_creation_rate=5.0" in quotas(bootstrap, *address, "--describe")
    quotas(bootstrap, *address, "--alter", "--delete-config", "connection_creation_rate")


def test_a_producer_is_held_to_its_quota(bootstrap, name):
    apache.topics(bootstrap, "--create", "--topic", name)
    client = ["--entity-type", "clients", "--entity-name", name]
    quotas(bootstrap, *client, "--alter", "--add-config", "producer_byte_rate=10000")
    producer = Producer({"bootstrap.servers": bootstrap, "client.id": name, "batch.num.messages": 10})
    begin = time.monotonic()
    for _ in range(150):
        producer.produce(name, b"x" * 1000)
        producer.poll(0)
    left = producer.flush(60)
    took = time.monotonic() - begin
    quotas(bootstrap, *client, "--alter", "--delete-config", "producer_byte_rate")
    # Ten seconds are credit: 100 kB at once, the other 50 kB at 10 kB/s.
    assert left == 0 and 3 < took < 40, took


def test_features_are_described(bootstrap):
    described = apache.tool("org.apache.kafka.tools.FeatureCommand", "--bootstrap-server", bootstrap, "describe")
    assert "Feature: metadata.version" in described and "FinalizedVersionLevel: 4.3-IV0" in described, described
