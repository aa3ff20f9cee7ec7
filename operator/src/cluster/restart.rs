//! Which pod is to take its new template now: a function of what was observed, at most one pod per pass.

use super::names;
use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::Pod};
use kube::ResourceExt;

/// A pod to delete, so that its StatefulSet makes it anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restart {
    /// Name of the pod.
    pub pod: String,
    /// The very pod that was looked at, and no successor of it.
    pub uid: String,
}

/// Whether `rendered` differs from what is `present` for no other reason than another release of the operator. Such a change waits until the user
/// asks for something, or for a restart.
pub fn is_pending(present: &StatefulSet, rendered: &StatefulSet) -> bool {
    let same = |key| present.annotations().get(key) == rendered.annotations().get(key);
    same(names::REQUEST) && !same(names::TEMPLATE)
}

/// The next pod to restart. None while another pod is away or starting: its node may be the one that the others wait for.
pub fn next(sets: &[StatefulSet], pods: &[Pod]) -> Option<Restart> {
    let mut behind = sets
        .iter()
        .filter_map(|set| Some((set, pod_of(set, pods)?)))
        .filter(|(set, pod)| is_behind(set, pod));
    let (set, pod) = behind.next()?;
    let others = || sets.iter().filter(|s| s.name_any() != set.name_any());
    if pod.metadata.deletion_timestamp.is_some() || others().any(|s| !pod_of(s, pods).is_some_and(is_ready)) {
        return None;
    }
    Some(Restart { pod: pod.name_any(), uid: pod.uid()? })
}

/// The pod has another template than its set, and the StatefulSet controller knows the set's.
fn is_behind(set: &StatefulSet, pod: &Pod) -> bool {
    let observed = set.status.as_ref().and_then(|s| s.observed_generation);
    let wanted = set.annotations().get(names::TEMPLATE);
    observed == set.metadata.generation
        && wanted.is_some()
        && pod.annotations().get(names::TEMPLATE) != wanted
}

fn pod_of<'a>(set: &StatefulSet, pods: &'a [Pod]) -> Option<&'a Pod> {
    let name = names::pod(&set.name_any());
    pods.iter().find(|p| p.name_any() == name)
}

/// Whether the pod's condition `Ready` holds and it is not on its way out.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|s| s.conditions.as_ref());
    pod.metadata.deletion_timestamp.is_none()
        && conditions.into_iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(name: &str, template: &str, generation: i64, observed: i64) -> StatefulSet {
        serde_json::from_value(json!({
            "metadata": {"name": name, "generation": generation, "annotations": {names::TEMPLATE: template, names::REQUEST: "r"}},
            "status": {"observedGeneration": observed, "replicas": 1}
        }))
        .unwrap()
    }

    fn pod(name: &str, template: &str, ready: bool) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": name, "uid": format!("uid-{name}"), "annotations": {names::TEMPLATE: template}},
            "status": {"conditions": [{"type": "Ready", "status": if ready {"True"} else {"False"}}]}
        }))
        .unwrap()
    }

    #[test]
    fn a_pod_with_the_current_template_stays() {
        assert_eq!(next(&[set("a", "t1", 1, 1)], &[pod("a-0", "t1", true)]), None);
        assert_eq!(next(&[set("a", "t1", 1, 1)], &[]), None);
    }

    #[test]
    fn a_pod_behind_is_restarted_once_the_controller_knows_the_template() {
        let pods = [pod("a-0", "t1", true)];
        assert_eq!(next(&[set("a", "t2", 2, 1)], &pods), None);
        let restart = Restart { pod: "a-0".into(), uid: "uid-a-0".into() };
        assert_eq!(next(&[set("a", "t2", 2, 2)], &pods), Some(restart));
    }

    #[test]
    fn a_pod_that_never_became_ready_is_restarted_too() {
        assert!(next(&[set("a", "t2", 2, 2)], &[pod("a-0", "t1", false)]).is_some());
    }

    #[test]
    fn one_at_a_time() {
        let sets = [set("a", "t2", 2, 2), set("b", "t2", 2, 2)];
        assert_eq!(next(&sets, &[pod("a-0", "t1", true), pod("b-0", "t2", false)]), None);
        assert!(
            next(&sets, &[pod("a-0", "t1", true), pod("b-0", "t1", true)]).is_some_and(|r| r.pod == "a-0")
        );
    }

    #[test]
    fn a_pod_on_its_way_out_is_not_deleted_again() {
        let mut leaving = pod("a-0", "t1", true);
        leaving.metadata.deletion_timestamp =
            Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
        assert_eq!(next(&[set("a", "t2", 2, 2)], &[leaving]), None);
    }

    #[test]
    fn another_release_alone_restarts_nothing() {
        let mut present = set("a", "t1", 1, 1);
        let rendered = set("a", "t2", 1, 1);
        assert!(is_pending(&present, &rendered));
        present.annotations_mut().insert(names::REQUEST.into(), "another".into());
        assert!(!is_pending(&present, &rendered));
        assert!(!is_pending(&set("a", "t2", 1, 1), &rendered));
    }
}
