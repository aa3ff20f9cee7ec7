"""KafkaTopics: partitions up, configs set and reset, names, two resources for one topic, deletion by policy."""

import re

import kube


def listed(name):
    return f'topic "{name}"' in kube.inside(kube.bootstrap("demo"), "-L")


def test_partitions_go_up_and_configs_follow_the_resource(demo):
    kube.apply(kube.topic("growing", "demo", partitions=1, config={"retention.ms": 3600000}))
    kube.until_ready("kafkatopic", "growing")
    kube.apply(kube.topic("growing", "demo", partitions=3))
    kube.until_ready("kafkatopic", "growing")
    assert 'topic "growing" with 3 partitions' in kube.inside(kube.bootstrap("demo"), "-L")


def test_a_topic_may_be_named_unlike_its_resource(demo):
    kube.apply(kube.topic("odd-name", "demo", topicName="Odd_Name.1", partitions=1))
    kube.until_ready("kafkatopic", "odd-name")
    assert listed("Odd_Name.1")


def test_the_second_resource_for_a_topic_is_told_so(demo):
    kube.apply(kube.topic("first", "demo", topicName="contested", partitions=1))
    kube.until_ready("kafkatopic", "first")
    kube.apply(kube.topic("second", "demo", topicName="contested", partitions=5))
    told, _ = kube.until("a condition", lambda: kube.condition(kube.get("kafkatopic", "second")))
    told, _ = kube.until("a conflict", lambda: kube.condition(kube.get("kafkatopic", "second")).get("status") == "False" and told)
    assert "first" in kube.condition(kube.get("kafkatopic", "second"))["message"]
    kube.delete("kafkatopic", "second")
    assert listed("contested")
    assert kube.condition(kube.get("kafkatopic", "first"))["status"] == "True"


def test_deleting_the_resource_deletes_or_keeps_the_topic(demo):
    kube.apply(
        kube.topic("short", "demo", partitions=1, deletionPolicy="Delete"),
        kube.topic("long", "demo", partitions=1, deletionPolicy="Retain"),
        # Not all that there are vanish at once, however soon after another test's.
        kube.topic("stays", "demo", partitions=1),
    )
    kube.until_ready("kafkatopic", "stays")
    kube.until_ready("kafkatopic", "short")
    kube.until_ready("kafkatopic", "long")
    kube.delete("kafkatopic", "short")
    kube.delete("kafkatopic", "long")
    kube.until("the topic gone", lambda: not listed("short"))
    assert listed("long")


def test_topics_whose_resources_vanish_all_at_once_stay_until_that_is_confirmed(demo):
    kube.apply(*(kube.topic(name, "demo", partitions=1) for name in ("many-a", "many-b")))
    kube.until_ready("kafkatopic", "many-a")
    kube.until_ready("kafkatopic", "many-b")
    before = confirmations()
    kube.kubectl("delete", "kafkatopics", "--all")
    kube.until("the event", lambda: confirmations() != before)

    kube.apply(kube.topic("beside", "demo", partitions=1))
    kube.until_ready("kafkatopic", "beside")
    kube.delete("kafkatopic", "beside")
    kube.until("the topic beside gone", lambda: not listed("beside"))
    assert listed("many-a") and listed("many-b")

    kube.kubectl("annotate", "kafkacluster", "demo", "--overwrite", f"ottla.dev/delete-topics={confirmations()[-1]}")
    kube.until("the topics gone", lambda: not listed("many-a") and not listed("many-b"))


def confirmations():
    """The values that events have named, the latest last."""
    held = kube.items("events", "--field-selector", "reason=TopicDeletionHeld", "--sort-by=.eventTime")
    return [re.search("delete-topics=(\\w+)", event["message"])[1] for event in held]
