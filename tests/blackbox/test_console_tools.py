"""Apache's console producer and consumer."""

import apache


def test_console_producer_to_console_consumer(bootstrap, name):
    lines = [f"key{i}:value {i}" for i in range(50)]
    apache.tool(
        "org.apache.kafka.tools.ConsoleProducer", "--bootstrap-server", bootstrap, "--topic", name,
        "--reader-property", "parse.key=true", "--reader-property", "key.separator=:", stdin="\n".join(lines) + "\n",
    )  # fmt: skip
    read = apache.tool(
        "org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", bootstrap, "--topic", name,
        "--group", f"{name}-group", "--from-beginning", "--max-messages", "50", "--timeout-ms", "30000",
        "--formatter-property", "print.key=true", "--formatter-property", "key.separator=:",
    )  # fmt: skip
    assert read.splitlines() == lines
