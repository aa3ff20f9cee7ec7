//! Conditions: `Ready`, `Progressing`, `Degraded`, and of clusters `ListenersReady`, a list map by type. A transition time changes with the status
//! alone, so that writing the same outcome twice is no change.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The types that every resource here carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionType {
    /// What the spec asks for is there and serves.
    Ready,
    /// Work towards it goes on; the next pass may change something.
    Progressing,
    /// Something stands in the way that waiting alone does not mend.
    Degraded,
    /// Clients can reach all brokers on all listeners, as far as addresses go.
    ListenersReady,
}

impl ConditionType {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Progressing => "Progressing",
            Self::Degraded => "Degraded",
            Self::ListenersReady => "ListenersReady",
        }
    }
}

/// What a pass came to, the source of all three conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// One CamelCase word.
    pub reason: &'static str,
    /// For people; names the field or the object in question.
    pub message: String,
    /// Which of the states it is.
    pub state: State,
}

/// The four states of a resource; the conditions follow from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Ready, nothing to do.
    Ready,
    /// Serves, and a change is being carried out.
    ReadyProgressing,
    /// Does not serve yet, and work goes on.
    Progressing,
    /// Something is wrong while what was there before still serves.
    ReadyDegraded,
    /// Something is wrong and it does not serve.
    Degraded,
}

impl Outcome {
    /// Ready, with nothing left to do.
    pub fn ready(message: impl Into<String>) -> Self {
        Self { reason: "Ready", message: message.into(), state: State::Ready }
    }

    /// On the way, for `reason`.
    pub fn progressing(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), state: State::Progressing }
    }

    /// Wrong, for `reason`; `serving` says whether what was there before still serves.
    pub fn degraded(reason: &'static str, message: impl Into<String>, serving: bool) -> Self {
        let state = if serving { State::ReadyDegraded } else { State::Degraded };
        Self { reason, message: message.into(), state }
    }

    /// The three conditions, with the transition times of `previous` where the status is the same.
    pub fn conditions(
        &self,
        previous: &[Condition],
        generation: Option<i64>,
        now: Timestamp,
    ) -> Vec<Condition> {
        let (ready, progressing, degraded) = match self.state {
            State::Ready => (true, false, false),
            State::ReadyProgressing => (true, true, false),
            State::Progressing => (false, true, false),
            State::ReadyDegraded => (true, false, true),
            State::Degraded => (false, false, true),
        };
        let condition = |type_, holds, tells| {
            let why = if tells { (self.reason, self.message.clone()) } else { AS_EXPECTED };
            condition(type_, holds, why, previous, generation, now)
        };
        // `Ready` always tells why; the others only where they hold.
        vec![
            condition(ConditionType::Ready, ready, true),
            condition(ConditionType::Progressing, progressing, progressing),
            condition(ConditionType::Degraded, degraded, degraded),
        ]
    }
}

const AS_EXPECTED: (&str, String) = ("AsExpected", String::new());

fn condition(
    type_: ConditionType,
    holds: bool,
    (reason, message): (&str, String),
    previous: &[Condition],
    generation: Option<i64>,
    now: Timestamp,
) -> Condition {
    let status = if holds { "True" } else { "False" };
    let before = previous.iter().find(|c| c.type_ == type_.as_str() && c.status == status);
    Condition {
        type_: type_.as_str().to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: generation,
        last_transition_time: before.map_or(Time(now), |c| c.last_transition_time.clone()),
    }
}

/// `ListenersReady`: whether nothing is `unreachable`, for a reason with a message.
pub fn listeners_ready(
    unreachable: Option<(&'static str, String)>,
    previous: &[Condition],
    generation: Option<i64>,
    now: Timestamp,
) -> Condition {
    let holds = unreachable.is_none();
    let why = unreachable.unwrap_or(AS_EXPECTED);
    condition(ConditionType::ListenersReady, holds, why, previous, generation, now)
}

/// The last word on the listeners, where there was one.
pub fn last_listeners_ready(previous: &[Condition]) -> Option<Condition> {
    previous.iter().find(|c| c.type_ == ConditionType::ListenersReady.as_str()).cloned()
}

/// Whether `conditions` has `Ready` = `True`.
pub fn is_ready(conditions: &[Condition]) -> bool {
    conditions.iter().any(|c| c.type_ == ConditionType::Ready.as_str() && c.status == "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_same_outcome_later_is_the_same_status() {
        let first =
            Outcome::progressing("PodsStarting", "waiting for pod a-0").conditions(&[], Some(1), at(10));
        let second =
            Outcome::progressing("PodsStarting", "waiting for pod a-0").conditions(&first, Some(1), at(99));
        assert_eq!(first, second);
    }

    #[test]
    fn a_transition_takes_the_new_time_and_the_others_keep_theirs() {
        let first = Outcome::progressing("PodsStarting", "x").conditions(&[], Some(1), at(10));
        let second = Outcome::ready("all nodes serve").conditions(&first, Some(1), at(99));
        assert!(is_ready(&second) && !is_ready(&first));
        let times: Vec<_> = second.iter().map(|c| c.last_transition_time.0.as_second()).collect();
        assert_eq!(times, [99, 99, 10]);
    }

    #[test]
    fn degraded_may_still_serve() {
        let conditions =
            Outcome::degraded("InvalidSpec", "spec.config[a]", true).conditions(&[], None, at(1));
        let status: Vec<_> = conditions.iter().map(|c| c.status.as_str()).collect();
        assert_eq!(status, ["True", "False", "True"]);
    }

    #[test]
    fn the_listeners_have_a_condition_of_their_own() {
        let pending = |message: &str| Some(("AddressPending", message.to_owned()));
        let first = listeners_ready(pending("Service a"), &[], Some(1), at(1));
        let second = listeners_ready(pending("Service b"), std::slice::from_ref(&first), Some(1), at(2));
        assert_eq!((&*second.status, &*second.message), ("False", "Service b"));
        assert_eq!(second.last_transition_time, first.last_transition_time);
        let known = listeners_ready(None, &[second], Some(1), at(3));
        assert_eq!(
            (&*known.status, &*known.reason, known.last_transition_time.0),
            ("True", "AsExpected", at(3))
        );
        assert_eq!(last_listeners_ready(std::slice::from_ref(&known)), Some(known));
        assert_eq!(last_listeners_ready(&[]), None);
    }
}
