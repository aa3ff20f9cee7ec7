"""Pods, Services, claims and NetworkPolicies as the spec words them, and which changes restart a node."""

import json

import kube

NAME = "details"
POD = f"{NAME}-main-0-0"
METADATA = {"labels": {"team": "shop"}, "annotations": {"example.org/owner": "shop"}}


def asked(**spec):
    """One node with a bit of everything."""
    pods = {
        "metadata": METADATA,
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "kafka", "operator": "Exists", "effect": "NoSchedule"}],
        "serviceAccountName": "kafka",
        "terminationGracePeriodSeconds": 60,
        "env": [{"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "words", "key": "word"}}}],
        "volumes": [
            {"name": "words", "mountPath": "/etc/words", "readOnly": True, "secret": {"secretName": "words"}},
            {"name": "scratch", "mountPath": "/scratch", "emptyDir": {"sizeLimit": "1Mi"}},
        ],
        "livenessProbe": {"failureThreshold": 9},
    } | spec.pop("pods", {})
    found = kube.cluster(NAME, pods=pods, resources={"requests": {"cpu": "10m"}, "limits": {"cpu": 2}}, **spec)
    found["spec"]["nodePools"][0]["storage"]["metadata"] = METADATA
    return found


def pod():
    return kube.get("pod", POD)


def uid():
    return pod()["metadata"]["uid"]


def test_what_is_asked_for_is_there_and_only_pods_restart_for_it():
    kube.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "kafka", "namespace": kube.NAMESPACE}},
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "words", "namespace": kube.NAMESPACE},
            "stringData": {"word": "a"},
        },
        asked(),
    )
    kube.until_ready("kafkacluster", NAME, 120)
    found = pod()
    (container,) = found["spec"]["containers"]
    assert found["metadata"]["labels"]["team"] == "shop" and found["spec"]["serviceAccountName"] == "kafka"
    assert container["livenessProbe"]["failureThreshold"] == 9 and container["resources"]["limits"]["cpu"] == "2"
    assert {"/etc/words", "/scratch"} <= {mount["mountPath"] for mount in container["volumeMounts"]}
    assert kube.get("pvc", f"data-0-{NAME}-main-0")["metadata"]["labels"]["team"] == "shop"

    first = uid()
    told = {"name": "internal", "port": 9092, "type": "internal", "metadata": METADATA, "allowFrom": [{"namespaceSelector": {}}]}
    kube.apply(asked(listeners=[told]))
    service = f"{NAME}-internal-bootstrap"
    kube.until(
        "the Service is told", lambda: "example.org/owner" in kube.get("service", service)["metadata"].get("annotations", {})
    )
    (rule,) = kube.get("networkpolicy", f"{NAME}-internal-clients")["spec"]["ingress"]
    assert rule["from"] == [{"namespaceSelector": {}}]
    kube.until_ready("kafkacluster", NAME)
    assert uid() == first

    kube.apply(asked(listeners=[told], pods={"serviceAccountName": "nobody"}))
    kube.until("the missing account is told", lambda: degraded().get("reason") == "ReferenceNotFound")
    assert "ServiceAccount nobody" in degraded()["message"] and uid() == first, "what runs goes on"
    assert kube.condition(kube.get("kafkacluster", NAME))["status"] == "True"

    kube.apply(asked(listeners=[told], pods={"metadata": {"labels": {"team": "other"}}}))
    kube.until("the pod is another", lambda: pod() and pod()["metadata"]["labels"].get("team") == "other", 90)
    kube.until_served(NAME)
    assert uid() != first


def degraded():
    return kube.condition(kube.get("kafkacluster", NAME), "Degraded")


def test_policies_come_back_and_go(demo):
    def policies():
        return {item["metadata"]["name"] for item in kube.items("networkpolicies", "-l", "ottla.dev/cluster=demo")}

    all_three = {"demo-nodes", "demo-internal-clients", "demo-external-clients"}
    assert policies() == all_three
    kube.kubectl("delete", "networkpolicy", "demo-nodes")
    kube.until("it is back", lambda: policies() == all_three)
    for word, expected in (("Disabled", set()), ("Enabled", all_three)):
        kube.kubectl("patch", "kafkacluster", "demo", "--type=merge", "-p", json.dumps({"spec": {"networkPolicies": word}}))
        kube.until(word, lambda expected=expected: policies() == expected)
