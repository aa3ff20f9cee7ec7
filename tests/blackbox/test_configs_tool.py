"""Apache's kafka-configs on a topic and on the broker."""

import apache
import pytest


def test_topic_config_is_set_described_and_reset(bootstrap, name):
    topic = ["--entity-type", "topics", "--entity-name", name]
    apache.topics(bootstrap, "--create", "--topic", name)
    apache.configs(bootstrap, *topic, "--alter", "--add-config", "max.message.bytes=2000000,cleanup.policy=[compact,delete]")
    described = apache.configs(bootstrap, *topic, "--describe")
    assert "max.message.bytes=2000000" in described and "cleanup.policy=compact,delete" in described, described
    assert "DYNAMIC_TOPIC_CONFIG:max.message.bytes=2000000" in described and "DEFAULT_CONFIG:" in described, described

    apache.configs(bootstrap, *topic, "--alter", "--delete-config", "max.message.bytes")
    assert "max.message.bytes=" not in apache.configs(bootstrap, *topic, "--describe")


def test_every_broker_config_is_listed(bootstrap):
    described = apache.configs(bootstrap, "--entity-type", "brokers", "--entity-name", "1", "--describe", "--all")
    for key in ("node.id=1", "log.dirs=", "num.io.threads=", "log.retention.hours="):
        assert f"  {key}" in described, key


@pytest.mark.ours
def test_levels_of_loggers_change_at_once(node, bootstrap):
    loggers = ["--entity-type", "broker-loggers", "--entity-name", "1"]
    net = "ottla_broker.net"
    assert f"{net}=INFO" in apache.configs(bootstrap, *loggers, "--describe")
    apache.configs(bootstrap, *loggers, "--alter", "--add-config", f"{net}=DEBUG")
    assert f"{net}=DEBUG" in apache.configs(bootstrap, *loggers, "--describe")
    assert "DEBUG ottla_broker::net" in node.tail(200), "connections come and go"
    apache.configs(bootstrap, *loggers, "--alter", "--delete-config", net)
    assert f"{net}=INFO" in apache.configs(bootstrap, *loggers, "--describe")
