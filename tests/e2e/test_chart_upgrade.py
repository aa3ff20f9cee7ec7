"""The chart comes, goes and comes again: definitions follow it up and outlive it, and no broker notices."""

import json
import re
import shutil

import kube
import pytest

CHART = kube.ROOT / "charts/ottla"
DEFINITION = "kafkaclusters.ottla.dev"
IMAGES = ("--set", f"image.tag={kube.VERSION}", "--set", f"brokerImage.tag={kube.VERSION}")


@pytest.fixture
def chart():
    """Leaves the present chart installed, whatever becomes of the test."""
    yield
    kube.helm("upgrade", "--install", "ottla", str(CHART), *IMAGES, "--wait")


def older_chart(directory):
    """The chart as an earlier release might have been: one column and one field fewer."""
    older = directory / "ottla"
    shutil.copytree(CHART, older)
    about = older / "Chart.yaml"
    about.write_text(re.sub("(?m)^version: .*", "version: 0.0.9", about.read_text()))
    path = older / f"files/crds/{DEFINITION}.yaml"
    content = json.loads(kube.kubectl("create", "--dry-run=client", "-o", "json", "-f", str(path)))
    path.write_text(json.dumps(without_column_and_field(content)))
    return older


def without_column_and_field(definition):
    (version,) = definition["spec"]["versions"]
    version["additionalPrinterColumns"] = [c for c in version["additionalPrinterColumns"] if c["name"] != "Cluster-Id"]
    del version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["image"]
    return definition


def definition():
    """Whether the definition has the column, and the field."""
    (version,) = kube.get("crd", DEFINITION)["spec"]["versions"]
    columns = [column["name"] for column in version["additionalPrinterColumns"]]
    fields = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    return "Cluster-Id" in columns, "image" in fields


def running():
    """What must not change: the resource as it was asked for, who it is, and the very pod."""
    cluster, pod = kube.get("kafkacluster", "demo"), kube.get("pod", "demo-main-0-0")
    restarts = [status["restartCount"] for status in pod["status"]["containerStatuses"]]
    uids = [item["metadata"]["uid"] for item in (cluster, pod)]
    return uids, restarts, cluster["metadata"]["generation"], cluster["spec"], cluster["status"]["clusterId"]


def works(topic):
    """The operator carries out what is new, the broker answers."""
    kube.apply(kube.topic(topic, "demo", partitions=1))
    kube.until_ready("kafkatopic", topic)
    assert f'topic "{topic}"' in kube.inside(kube.bootstrap("demo"), "-L")


def test_an_upgrade_brings_the_definitions_and_restarts_no_broker(demo, chart, tmp_path):
    before = running()
    kube.helm("upgrade", "ottla", str(older_chart(tmp_path)), *IMAGES, "--wait")
    assert definition() == (False, False)
    works("before-upgrade")

    kube.helm("upgrade", "ottla", str(CHART), *IMAGES, "--wait")
    assert definition() == (True, True)
    works("after-upgrade")
    assert running() == before


def test_clusters_outlive_the_chart_and_a_plain_install_takes_them_up(demo, chart):
    before = running()
    works("kept")
    kube.helm("uninstall", "ottla", "--wait")
    assert definition() == (True, True)
    assert kube.get("kafkatopic", "kept") is not None
    assert running() == before
    assert 'topic "kept"' in kube.inside(kube.bootstrap("demo"), "-L")

    kube.helm("install", "ottla", str(CHART), *IMAGES, "--wait")
    works("afterwards")
    assert running() == before
