"""A deleted pod comes back as the same node."""

import kube


def test_data_address_and_committed_offsets_are_back(demo):
    kube.apply(kube.topic("durable", "demo", partitions=1))
    kube.until_ready("kafkatopic", "durable")
    servers = kube.bootstrap("demo")
    group = ["-G", "readers", "-X", "auto.offset.reset=earliest", "-e", "-q", "durable"]
    kube.inside(servers, "-P", "-t", "durable", stdin="one\ntwo\n")
    assert kube.inside(servers, *group) == "one\ntwo\n"
    kube.inside(servers, "-P", "-t", "durable", stdin="three\n")
    brokers = [line for line in kube.inside(servers, "-L").splitlines() if "broker 0 at" in line]

    pod = kube.get("pod", "demo-main-0-0")
    kube.kubectl("delete", "pod", "demo-main-0-0", "--wait=false")

    def replaced():
        now = kube.get("pod", "demo-main-0-0")
        return now and now["metadata"]["uid"] != pod["metadata"]["uid"]

    kube.until("another pod", replaced)
    kube.kubectl("wait", "pod/demo-main-0-0", "--for=condition=Ready", "--timeout=60s")
    kube.until_served("demo")
    assert kube.inside(servers, "-C", "-t", "durable", "-e", "-q") == "one\ntwo\nthree\n"
    assert kube.inside(servers, *group) == "three\n", "the committed offset is lost"
    assert [line for line in kube.inside(servers, "-L").splitlines() if "broker 0 at" in line] == brokers
