"""A machine of the Kubernetes cluster dies and comes back: clients go on, and every replica is in sync again by itself."""

import threading
import time

import kube
import pytest
import replicated

# Shorter than the time after which Kubernetes gives the machine's pods up (five minutes), longer than it takes to see it away.
AWAY = 20


@pytest.fixture
def three():
    kube.apply(kube.cluster("three", replicas=3))
    kube.until_ready("kafkacluster", "three", 240)
    kube.until_served("three")
    return "three"


class Producer(threading.Thread):
    """Produces a record after the other for as long as it is let."""

    def __init__(self, cluster, topic):
        super().__init__()
        self.cluster, self.topic, self.acked, self.longest, self.error = cluster, topic, 0, 0.0, None
        self.stop = threading.Event()

    def run(self):
        try:
            while not self.stop.is_set():
                began = time.monotonic()
                replicated.produce(self.cluster, self.topic, f"record-{self.acked}\n")
                self.acked += 1
                self.longest = max(self.longest, time.monotonic() - began)
        except Exception as error:
            self.error = error


def test_clients_go_on_while_a_machine_is_away_and_all_is_whole_afterwards(three, report):
    topic = replicated.made(three)
    replicated.until_whole(three, topic)
    machine = victim()
    lost = {pod["metadata"]["name"] for pod in kube.items("pods", "--field-selector", f"spec.nodeName={machine}")}
    producer = Producer(three, topic)
    producer.start()
    try:
        kube.until("records are acknowledged", lambda: producer.acked >= 3)
        kube.run("docker", "kill", machine)
        before = producer.acked
        time.sleep(AWAY)
        assert producer.error or producer.acked > before, "nothing was acknowledged while the machine was away"
        kube.run("docker", "start", machine)
        whole = replicated.until_whole(three, topic, 180)
        kube.until_ready("kafkacluster", three, 180)
    finally:
        producer.stop.set()
        producer.join()
    assert not producer.error, producer.error
    assert len(set(replicated.consume(three, topic))) == producer.acked, "a record is lost"
    report(
        f"{machine} with {', '.join(sorted(lost))} away for {AWAY} s: {producer.acked} acked, longest {producer.longest:.1f} s, "
        f"in sync again {whole:.1f} s after its start"
    )


def victim():
    """A machine with a broker of the cluster and without the client, which is where the API server is."""
    brokers = {pod["spec"]["nodeName"] for pod in kube.items("pods", "-l", "ottla.dev/cluster=three")}
    machines = sorted(brokers - {kube.get("pod", "client")["spec"]["nodeName"]})
    assert machines, f"brokers are on {brokers} alone"
    return machines[0]
