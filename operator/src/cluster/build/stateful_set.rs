//! One StatefulSet per node, with one replica and `OnDelete`: a pod takes a new template when the operator says so, and that node alone.

use super::names;
use crate::{
    cluster::validate::{Node, ValidatedCluster, digest},
    crd::cluster::ListenerType,
};
use k8s_openapi::{
    DeepMerge,
    api::{
        apps::v1::{StatefulSet, StatefulSetSpec, StatefulSetUpdateStrategy},
        core::v1::{
            Affinity, Capabilities, ConfigMapKeySelector, ConfigMapVolumeSource, Container, ContainerPort,
            EnvVar, EnvVarSource, HTTPGetAction, ObjectFieldSelector, PersistentVolumeClaimVolumeSource,
            PodAffinityTerm, PodAntiAffinity, PodSecurityContext, PodSpec, PodTemplateSpec, Probe,
            ResourceRequirements, SeccompProfile, SecretVolumeSource, SecurityContext,
            TopologySpreadConstraint, Volume, VolumeMount, WeightedPodAffinityTerm,
        },
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use std::collections::BTreeMap;

/// Long enough for a clean stop that hands over leadership and flushes.
const TERMINATION_GRACE_SECONDS: i64 = 120;

/// The set of one node.
pub fn build(cluster: &ValidatedCluster, node: &Node, properties: &str) -> StatefulSet {
    let mut template = template(cluster, node);
    super::pod_details::apply(&mut template, cluster, node);
    if let Some(overrides) = node.overrides.clone() {
        replace_spread(&mut template, &overrides);
        template.merge_from(overrides);
    }
    let rendered = rendered(&template, properties);
    annotate(&mut template.metadata, names::TEMPLATE, &rendered);
    let mut metadata = super::node_metadata(cluster, node);
    for (key, value) in [(names::TEMPLATE, &rendered), (names::REQUEST, &node.request)] {
        metadata.annotations.get_or_insert_default().insert(key.to_owned(), value.clone());
    }
    StatefulSet {
        metadata,
        spec: Some(StatefulSetSpec {
            replicas: Some(1),
            service_name: Some(node.name.clone()),
            selector: LabelSelector { match_labels: Some(selector(cluster, node)), match_expressions: None },
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("OnDelete".to_owned()),
                rolling_update: None,
            }),
            revision_history_limit: Some(2),
            template,
            ..StatefulSetSpec::default()
        }),
        status: None,
    }
}

fn annotate(metadata: &mut Option<ObjectMeta>, key: &str, value: &str) {
    let annotations = metadata.get_or_insert_default().annotations.get_or_insert_default();
    annotations.insert(key.to_owned(), value.to_owned());
}

/// Digest of what a running pod consists of. Formatting is not part of it: it happens once and changes nothing afterwards.
fn rendered(template: &PodTemplateSpec, properties: &str) -> String {
    let mut template = template.clone();
    if let Some(spec) = &mut template.spec {
        spec.init_containers = spec
            .init_containers
            .take()
            .map(|list| list.into_iter().filter(|c| c.name != names::FORMAT_CONTAINER).collect::<Vec<_>>())
            .filter(|list| !list.is_empty());
    }
    digest(&serde_json::json!([template, properties]))
}

fn selector(cluster: &ValidatedCluster, node: &Node) -> BTreeMap<String, String> {
    BTreeMap::from([
        (names::CLUSTER.to_owned(), cluster.name.clone()),
        (names::NODE.to_owned(), node.id.to_string()),
    ])
}

fn template(cluster: &ValidatedCluster, node: &Node) -> PodTemplateSpec {
    let mut labels = names::node_labels(&cluster.name, &node.pool, node.id);
    if node.is_broker() {
        labels.insert(names::BROKER.to_owned(), "true".to_owned());
    }
    if node.is_controller() {
        labels.insert(names::CONTROLLER.to_owned(), "true".to_owned());
    }
    PodTemplateSpec {
        metadata: Some(ObjectMeta { labels: Some(labels), ..ObjectMeta::default() }),
        spec: Some(PodSpec {
            init_containers: format_container(cluster, node).map(|c| vec![c]),
            containers: vec![broker_container(cluster, node)],
            volumes: Some(volumes(node)),
            security_context: Some(pod_security()),
            termination_grace_period_seconds: Some(TERMINATION_GRACE_SECONDS),
            automount_service_account_token: Some(false),
            // A Service named `kafka` would put `KAFKA_PORT` into the environment, which the broker reads as configuration.
            enable_service_links: Some(false),
            affinity: Some(apart(cluster, node)),
            topology_spread_constraints: Some(spread(cluster, node)),
            ..PodSpec::default()
        }),
    }
}

/// Over machines: preferred, so that a Kubernetes cluster smaller than the Kafka cluster will do.
fn spread(cluster: &ValidatedCluster, node: &Node) -> Vec<TopologySpreadConstraint> {
    vec![TopologySpreadConstraint {
        max_skew: 1,
        topology_key: "kubernetes.io/hostname".to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(alike(cluster, node)),
        ..TopologySpreadConstraint::default()
    }]
}

/// Over zones. Not a second constraint: the scheduler passes over machines that lack the label of any of them, and those without zones
/// would be spread over nothing.
fn apart(cluster: &ValidatedCluster, node: &Node) -> Affinity {
    let term = PodAffinityTerm {
        topology_key: "topology.kubernetes.io/zone".to_owned(),
        label_selector: Some(alike(cluster, node)),
        ..PodAffinityTerm::default()
    };
    let preferred = vec![WeightedPodAffinityTerm { weight: 100, pod_affinity_term: term }];
    let pod_anti_affinity = Some(PodAntiAffinity {
        preferred_during_scheduling_ignored_during_execution: Some(preferred),
        ..PodAntiAffinity::default()
    });
    Affinity { pod_anti_affinity, ..Affinity::default() }
}

/// Brokers are spread among brokers, controllers that are nothing else among controllers.
pub(super) fn alike(cluster: &ValidatedCluster, node: &Node) -> LabelSelector {
    let role = if node.is_broker() { names::BROKER } else { names::CONTROLLER };
    let labels = BTreeMap::from([
        (names::CLUSTER.to_owned(), cluster.name.clone()),
        (role.to_owned(), "true".to_owned()),
    ]);
    LabelSelector { match_labels: Some(labels), match_expressions: None }
}

/// The user's constraints and affinity are in place of ours, not beside them; an empty list or object is none.
fn replace_spread(template: &mut PodTemplateSpec, overrides: &PodTemplateSpec) {
    let (Some(spec), Some(given)) = (template.spec.as_mut(), overrides.spec.as_ref()) else { return };
    if given.topology_spread_constraints.is_some() {
        spec.topology_spread_constraints = None;
    }
    if given.affinity.is_some() {
        spec.affinity = None;
    }
}

/// Formats the storage of a node that never was: the first voters with all their ids, which the operator assigned, the others with none.
fn format_container(cluster: &ValidatedCluster, node: &Node) -> Option<Container> {
    if node.volumes.iter().all(|v| v.directory.formatted) {
        return None;
    }
    let mut args = vec![
        "format".to_owned(),
        "--cluster-id".to_owned(),
        cluster.cluster_id.to_string(),
        "--config".to_owned(),
        config_path(),
        "--ignore-formatted".to_owned(),
    ];
    if node.first_voter {
        args.extend(["--initial-controllers".to_owned(), cluster.first_voters.clone()]);
    } else {
        args.push("--no-initial-controllers".to_owned());
    }
    Some(Container {
        name: names::FORMAT_CONTAINER.to_owned(),
        image: Some(cluster.image.clone()),
        args: Some(args),
        volume_mounts: Some(mounts(node)),
        security_context: Some(container_security()),
        resources: resources(node),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        ..Container::default()
    })
}

fn broker_container(cluster: &ValidatedCluster, node: &Node) -> Container {
    Container {
        name: names::BROKER_CONTAINER.to_owned(),
        image: Some(cluster.image.clone()),
        args: Some(vec![config_path()]),
        env: Some(environment(cluster, node)),
        ports: Some(container_ports(cluster, node)),
        liveness_probe: Some(probe("/livez", 10, 6)),
        readiness_probe: Some(probe("/readyz", 2, 3)),
        volume_mounts: Some(mounts(node).into_iter().chain([admin_mount()]).collect()),
        security_context: Some(container_security()),
        resources: resources(node),
        // The last lines of the log become the condition's message where the broker does not start.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        ..Container::default()
    }
}

fn config_path() -> String {
    format!("{}/{}", names::CONFIG_DIRECTORY, names::CONFIG_FILE)
}

fn environment(cluster: &ValidatedCluster, node: &Node) -> Vec<EnvVar> {
    let field = |name: &str, path: String| EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector { field_path: path, api_version: None }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    };
    let host_ip = field(names::HOST_IP, "status.hostIP".to_owned());
    let tells_pods = node.is_broker() && cluster.listeners.iter().any(|l| l.type_ == ListenerType::PodIp);
    let pod_ip = tells_pods.then(|| field(names::POD_IP, "status.podIP".to_owned()));
    let source =
        ConfigMapKeySelector { name: node.name.clone(), key: names::ADDRESSES.to_owned(), optional: None };
    let advertised = EnvVar {
        name: names::ADVERTISED_LISTENERS.to_owned(),
        value_from: Some(EnvVarSource { config_map_key_ref: Some(source), ..EnvVarSource::default() }),
        ..EnvVar::default()
    };
    // Kubernetes copies the label from the machine to the pod when it assigns one to the other: nobody needs a right to read machines.
    let rack = cluster.rack.filter(|_| node.is_broker());
    let rack = rack.map(|label| field(names::RACK, format!("metadata.labels['{}']", label.as_str())));
    [host_ip].into_iter().chain(pod_ip).chain([advertised]).chain(rack).collect()
}

fn container_ports(cluster: &ValidatedCluster, node: &Node) -> Vec<ContainerPort> {
    let asked = cluster.listeners.iter().map(|l| (l.name.as_str(), l.port));
    let broker = asked.chain([("replication", names::REPLICATION_PORT)]).filter(|_| node.is_broker());
    let controller = node.is_controller().then_some(("controller", names::CONTROLLER_PORT));
    broker
        .chain(controller)
        .chain([("http", names::HTTP_PORT), (names::ADMIN, names::ADMIN_PORT)])
        .map(|(name, port)| ContainerPort {
            name: Some(name.to_owned()),
            container_port: port,
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        })
        .collect()
}

fn probe(path: &str, period: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::Int(names::HTTP_PORT),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(2),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

fn resources(node: &Node) -> Option<ResourceRequirements> {
    node.resources.as_ref().map(|r| ResourceRequirements {
        requests: Some(r.requests.clone()).filter(|m| !m.is_empty()),
        limits: Some(r.limits.clone()).filter(|m| !m.is_empty()),
        claims: None,
    })
}

fn mounts(node: &Node) -> Vec<VolumeMount> {
    let data = node.volumes.iter().map(|volume| VolumeMount {
        name: format!("data-{}", volume.id),
        mount_path: names::mount_path(volume.id),
        ..VolumeMount::default()
    });
    let config = VolumeMount {
        name: "config".to_owned(),
        mount_path: names::CONFIG_DIRECTORY.to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    };
    data.chain([config]).collect()
}

/// As a directory: Kubernetes brings a changed Secret to a running pod unless single files of it are mounted.
fn admin_mount() -> VolumeMount {
    VolumeMount {
        name: names::ADMIN.to_owned(),
        mount_path: names::ADMIN_DIRECTORY.to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    }
}

fn volumes(node: &Node) -> Vec<Volume> {
    let data = node.volumes.iter().map(|volume| Volume {
        name: format!("data-{}", volume.id),
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name: names::claim(&node.name, volume.id),
            read_only: None,
        }),
        ..Volume::default()
    });
    let config = Volume {
        name: "config".to_owned(),
        config_map: Some(ConfigMapVolumeSource {
            name: node.name.clone(),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    };
    let admin = Volume {
        name: names::ADMIN.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(names::node_secret(&node.name)),
            // The processes' group reads it, by the pod's fsGroup.
            default_mode: Some(0o440),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    };
    data.chain([config, admin]).collect()
}

fn pod_security() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(names::USER),
        run_as_group: Some(names::USER),
        fs_group: Some(names::USER),
        // Walking over a full volume at each start would cost minutes.
        fs_group_change_policy: Some("OnRootMismatch".to_owned()),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
        ..PodSecurityContext::default()
    }
}

fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
        ..SecurityContext::default()
    }
}
