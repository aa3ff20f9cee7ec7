"""From `kubectl apply` to clients inside and outside of Kubernetes."""

import uuid

import kube


def test_a_cluster_and_a_topic_become_ready(demo, report):
    report(f"apply to Ready, image present: {demo:.1f} s (aim 20)")
    assert demo <= 60
    kube.apply(kube.topic("orders", "demo", partitions=3, config={"retention.ms": 86400000}))
    report(f"topic to Ready: {kube.until_ready('kafkatopic', 'orders'):.1f} s")
    assert kube.get("kafkatopic", "orders")["status"]["partitions"] == 3
    shown = kube.kubectl("get", "kc,kt")
    assert "demo" in shown and "orders" in shown and "True" in shown, shown


def test_a_client_in_a_pod_and_one_outside_exchange_messages(demo):
    topic = f"exchange-{uuid.uuid4().hex[:8]}"
    kube.apply(kube.topic(topic, "demo", partitions=1))
    kube.until_ready("kafkatopic", topic)
    out, within = f"127.0.0.1:{kube.NODE_PORT}", kube.bootstrap("demo")
    kube.outside(out, "-P", "-t", topic, stdin="from outside\n")
    assert kube.inside(within, "-C", "-t", topic, "-e", "-q") == "from outside\n"
    kube.inside(within, "-P", "-t", topic, "-z", "lz4", stdin="from inside\n")
    assert kube.outside(out, "-C", "-t", topic, "-e", "-q") == "from outside\nfrom inside\n"


def test_names_resolve_through_the_search_list(demo):
    """A short name is completed by the pod's search domains, in the images that we stage too."""
    host, port = kube.bootstrap("demo").split(",")[0].rsplit(":", 1)
    short = host.split(".")[0]
    assert short != host
    assert "demo-main-0" in kube.inside(f"{short}:{port}", "-L")


def test_the_node_port_advertises_what_the_outside_can_reach(demo):
    listed = kube.outside(f"127.0.0.1:{kube.NODE_PORT}", "-L")
    assert "broker 0 at 127.0.0.1:32193" in listed, listed


def test_memory_of_operator_and_broker(demo, report):
    operator, broker = kube.process_rss_mib("ottla-operator"), kube.process_rss_mib("ottla-broker")
    report(f"resident memory on kind: operator {operator:.1f} MiB (aim 30), broker {broker:.1f} MiB")
    assert operator <= 60
