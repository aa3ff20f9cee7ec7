"""Apache Kafka's command line tools."""

import os
import subprocess
from pathlib import Path

PEERS = Path(os.environ.get("OTTLA_PEERS") or Path.home() / ".cache/ottla/peers")
LOGGING = Path(__file__).parent.parent / "apache/log4j2.properties"


def java(main: str, *arguments: str, heap: str = "256M") -> list[str]:
    """The command line for a class. Flags for a quick start: most tools live two seconds."""
    return [
        "java", f"-Xmx{heap}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
        f"-Dlog4j2.configurationFile={LOGGING}", "-cp", f"{PEERS}/libs/*", main, *arguments,
    ]  # fmt: skip


def tool(main: str, *arguments: str, stdin: str = "", seconds: float = 300) -> str:
    """Runs a tool to its end and returns what it printed; a failure shows all of it."""
    done = subprocess.run(java(main, *arguments), input=stdin, capture_output=True, text=True, timeout=seconds)
    if done.returncode != 0:
        raise AssertionError(f"{main} {' '.join(arguments)[:300]} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def topics(bootstrap: str, *arguments: str) -> str:
    return tool("org.apache.kafka.tools.TopicCommand", "--bootstrap-server", bootstrap, *arguments)


def configs(bootstrap: str, *arguments: str) -> str:
    return tool("kafka.admin.ConfigCommand", "--bootstrap-server", bootstrap, *arguments)


def consumer_groups(bootstrap: str, *arguments: str) -> str:
    """What kafka-consumer-groups says, also when it refuses: it ends with 0 after some failures and with 1 after others."""
    main = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
    command = java(main, "--bootstrap-server", bootstrap, *arguments)
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    return done.stdout + done.stderr
