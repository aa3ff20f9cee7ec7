"""The chart goes, the brokers and the resources stay; installed again, the operator takes them up."""

import kube


def test_uninstalling_the_chart_harms_nobody(demo):
    pod = kube.get("pod", "demo-main-0-0")["metadata"]["uid"]
    kube.run("helm", "--kube-context", f"kind-{kube.CLUSTER}", "uninstall", "ottla", "-n", "ottla-system", "--wait")
    assert kube.get("kafkacluster", "demo") is not None
    assert "broker 0 at" in kube.inside(kube.bootstrap("demo"), "-L")
    kube.install()
    kube.apply(kube.topic("afterwards", "demo", partitions=1))
    kube.until_ready("kafkatopic", "afterwards")
    assert kube.get("pod", "demo-main-0-0")["metadata"]["uid"] == pod
