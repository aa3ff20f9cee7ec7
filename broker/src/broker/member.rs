//! A broker as a member of the cluster: what it says to the active controller, and what it is by the answers (KIP-631).
//! Pure: no connection, no clock. [`super::lifecycle`] is the task around it.

use std::collections::BTreeSet;
use std::time::Duration;

use ottla_quorum::image::{BrokerImage, Endpoint};
use ottla_wire::messages::{
    BrokerHeartbeatRequest, BrokerHeartbeatResponse, BrokerRegistrationRequest, BrokerRegistrationResponse,
};
use ottla_wire::{ErrorCode, Uuid};
use tracing::{info, warn};

use crate::clock::Millis;
use crate::controller::BrokerRegistration;
use crate::replication::PeerError;

/// Between heartbeats while the controller has yet to grant what is wanted.
pub(super) const WHILE_WAITING: Duration = Duration::from_millis(20);
/// Who wants to stop and finds no controller for so long stops without, in ms.
const WITHOUT_CONTROLLER_MS: i64 = 5_000;

/// What the broker wants to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) serve: bool,
    pub(crate) stop: bool,
    pub(crate) offline: BTreeSet<Uuid>,
    /// Directories that are to get no new partitions; `None` until that is known.
    pub(crate) cordoned: Option<BTreeSet<Uuid>>,
    /// Where it is to be found; `None` as long as nobody says otherwise than its configuration.
    pub(crate) endpoints: Option<Vec<Endpoint>>,
}

/// What it is, as far as it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Unregistered,
    /// It can never be registered as it is.
    Refused(ErrorCode),
    Fenced,
    Serving,
    /// Its registration is gone.
    Removed,
    /// Nobody depends on it any more.
    MayStop,
}

/// One run of a broker.
#[derive(Debug)]
pub(crate) struct Member {
    registration: BrokerRegistrationRequest,
    epoch: i64,
    standing: Standing,
    /// Since when no controller answers, and the last reason.
    failing: Option<(Millis, String)>,
    /// Why it could not be said where the broker is found now.
    unamended: Option<String>,
}

impl Member {
    /// One that is not registered yet.
    pub(crate) fn new(registration: BrokerRegistrationRequest) -> Self {
        Self { registration, epoch: -1, standing: Standing::Unregistered, failing: None, unamended: None }
    }

    /// What it is.
    #[cfg(test)]
    pub(crate) fn standing(&self) -> Standing {
        self.standing
    }

    /// Under which it is registered; -1 before.
    pub(crate) fn epoch(&self) -> i64 {
        self.epoch
    }

    /// `node.id`.
    pub(crate) fn id(&self) -> i32 {
        self.registration.broker_id
    }

    /// Says that it is there.
    pub(crate) fn registration(&self) -> BrokerRegistrationRequest {
        self.registration.clone()
    }

    /// Says that it lives, has this metadata in effect, and what it wants.
    pub(crate) fn heartbeat(&self, wanted: &Wanted, metadata_offset: i64) -> BrokerHeartbeatRequest {
        BrokerHeartbeatRequest {
            broker_id: self.registration.broker_id,
            broker_epoch: self.epoch,
            current_metadata_offset: metadata_offset,
            want_fence: !wanted.serve,
            want_shut_down: wanted.stop,
            offline_log_dirs: wanted.offline.iter().copied().collect(),
            cordoned_log_dirs: wanted.cordoned.as_ref().map(|ids| ids.iter().copied().collect()),
            ..Default::default()
        }
    }

    /// What it is by the answer to its registration; [`Standing::Unregistered`] where it has to try again.
    pub(crate) fn registered(
        &mut self,
        answer: Result<BrokerRegistrationResponse, PeerError>,
        wanted: &Wanted,
        now: Millis,
    ) -> Standing {
        let error = match answer {
            Ok(response) => match ErrorCode::try_from(response.error_code) {
                Ok(ErrorCode::None) => {
                    self.answered(now);
                    info!(epoch = response.broker_epoch, "broker is registered");
                    (self.epoch, self.standing) = (response.broker_epoch, Standing::Fenced);
                    return self.standing;
                }
                Ok(error) if is_final(error) => {
                    self.standing = Standing::Refused(error);
                    return self.standing;
                }
                other => PeerError(other.unwrap_or(ErrorCode::UnknownServerError).to_string()),
            },
            Err(error) => error,
        };
        self.failed(&error, "cannot register with the controller yet", now);
        if wanted.stop {
            self.standing = Standing::MayStop;
        }
        self.standing
    }

    /// What it is by the answer to a heartbeat that said what it `wanted`.
    pub(crate) fn beaten(
        &mut self,
        answer: Result<BrokerHeartbeatResponse, PeerError>,
        wanted: &Wanted,
        now: Millis,
    ) -> Standing {
        let refused = |response: &BrokerHeartbeatResponse| {
            let error = ErrorCode::try_from(response.error_code).unwrap_or(ErrorCode::UnknownServerError);
            (error != ErrorCode::None).then_some(error)
        };
        self.standing = match answer.map(|response| (refused(&response), response)) {
            Ok((None, response)) => {
                self.answered(now);
                standing(&response)
            }
            // Another registration has taken its place, or it was removed: nobody counts on it, and it will never serve again.
            Ok((Some(error @ (ErrorCode::StaleBrokerEpoch | ErrorCode::BrokerIdNotRegistered)), _)) => {
                let error = PeerError(error.to_string());
                self.failed(&error, "the controller does not know this broker any more", now);
                if wanted.stop { Standing::MayStop } else { Standing::Removed }
            }
            Ok((Some(error), _)) => {
                let error = PeerError(error.to_string());
                self.unheard(&error, "the controller cannot take this broker's heartbeats", wanted, now)
            }
            Err(error) => self.unheard(&error, "no heartbeat reaches the controller", wanted, now),
        };
        self.standing
    }

    /// Whether it registers again, because an earlier run of this very broker is what is `registered` in its place: a request
    /// that was read late, by a controller that had stood still. Of one that runs elsewhere and has its place for good it is
    /// told by the log directories: nobody else runs on those that are locked here.
    pub(crate) fn registers_again(&mut self, registered: Option<&BrokerImage>) -> bool {
        let own = &self.registration;
        let is_earlier = |broker: &BrokerImage| {
            broker.epoch > self.epoch
                && broker.incarnation_id != own.incarnation_id
                && broker.log_dirs.iter().any(|directory| own.log_dirs.contains(directory))
        };
        let again = self.standing == Standing::Removed && registered.is_some_and(is_earlier);
        if again {
            // What was in sync then is not known to have stayed so.
            self.registration.previous_broker_epoch = -1;
            (self.epoch, self.standing) = (-1, Standing::Unregistered);
        }
        again
    }

    /// Says where it is found, if that is not what is registered and the controller hears it. It is the same run of the same
    /// broker: the controller, ours or Apache's, amends the registration and lets it keep epoch and standing.
    pub(crate) fn amendment(&self, wanted: &Wanted) -> Option<BrokerRegistrationRequest> {
        let listeners = BrokerRegistration::listeners(wanted.endpoints.as_ref()?);
        let is_heard =
            matches!(self.standing, Standing::Fenced | Standing::Serving) && self.failing.is_none();
        if !is_heard || listeners == self.registration.listeners {
            return None;
        }
        // What has failed since it was registered does not come back by this.
        let log_dirs = self.registration.log_dirs.iter().filter(|id| !wanted.offline.contains(id));
        let log_dirs = log_dirs.copied().collect();
        Some(BrokerRegistrationRequest { listeners, log_dirs, ..self.registration.clone() })
    }

    /// What it is by the answer to an amendment.
    pub(crate) fn amended(
        &mut self,
        answer: Result<BrokerRegistrationResponse, PeerError>,
        told: BrokerRegistrationRequest,
    ) -> Standing {
        let answer = answer.and_then(|response| match ErrorCode::try_from(response.error_code) {
            Ok(ErrorCode::None) => Ok(response.broker_epoch),
            Ok(error) => Err(PeerError(error.to_string())),
            Err(_) => Err(PeerError(ErrorCode::UnknownServerError.to_string())),
        });
        match answer {
            Ok(epoch) => {
                info!(epoch, "the broker is registered with its new addresses");
                (self.registration.listeners, self.unamended) = (told.listeners, None);
                if epoch != self.epoch {
                    // A controller that takes it for another run has fenced it.
                    (self.epoch, self.standing) = (epoch, Standing::Fenced);
                }
            }
            Err(PeerError(reason)) if self.unamended.as_ref() != Some(&reason) => {
                warn!(reason, "the controller does not take the broker's new addresses yet");
                self.unamended = Some(reason);
            }
            Err(_) => {}
        }
        self.standing
    }

    /// How long until the next heartbeat of one that beats every `interval` while it waits for nothing: what is wanted and
    /// not granted is asked for again soon.
    pub(crate) fn pause(&self, wanted: &Wanted, interval: Duration) -> Duration {
        let waits = wanted.stop || (wanted.serve && self.standing == Standing::Fenced);
        if waits { WHILE_WAITING.min(interval) } else { interval }
    }

    fn unheard(&mut self, error: &PeerError, what: &'static str, wanted: &Wanted, now: Millis) -> Standing {
        let since = self.failed(error, what, now);
        let alone = wanted.stop && now.since(since) >= WITHOUT_CONTROLLER_MS;
        if alone { Standing::MayStop } else { self.standing }
    }

    fn answered(&mut self, now: Millis) {
        if let Some((since, _)) = self.failing.take() {
            info!(after_ms = now.since(since), "the controller answers");
        }
    }

    /// Told once for each reason; since when nothing reaches the controller.
    fn failed(&mut self, error: &PeerError, what: &'static str, now: Millis) -> Millis {
        let since = self.failing.as_ref().map_or(now, |(since, _)| *since);
        let reason = error.to_string();
        if self.failing.as_ref().is_none_or(|(_, known)| *known != reason) {
            warn!(%error, "{what}");
            self.failing = Some((since, reason));
        }
        since
    }
}

fn standing(response: &BrokerHeartbeatResponse) -> Standing {
    match (response.should_shut_down, response.is_fenced) {
        (true, _) => Standing::MayStop,
        (false, true) => Standing::Fenced,
        (false, false) => Standing::Serving,
    }
}

/// Refusals that no waiting will change.
fn is_final(error: ErrorCode) -> bool {
    matches!(
        error,
        ErrorCode::InconsistentClusterId | ErrorCode::InvalidRegistration | ErrorCode::UnsupportedVersion
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(standing: Standing) -> Member {
        Member { standing, ..Member::new(BrokerRegistrationRequest::default()) }
    }

    #[test]
    fn what_is_not_granted_yet_is_asked_for_again_soon() {
        let (interval, wanted) = (Duration::from_secs(2), Wanted::default());
        assert_eq!(member(Standing::Fenced).pause(&wanted, interval), interval);
        let serve = Wanted { serve: true, ..wanted };
        assert_eq!(member(Standing::Fenced).pause(&serve, interval), WHILE_WAITING);
        assert_eq!(member(Standing::Serving).pause(&serve, interval), interval);
        let stop = Wanted { stop: true, ..serve };
        assert_eq!(member(Standing::Serving).pause(&stop, interval), WHILE_WAITING);
    }

    #[test]
    fn a_broker_is_what_the_controller_says() {
        let answer = |is_fenced, should_shut_down| BrokerHeartbeatResponse {
            is_fenced,
            should_shut_down,
            ..Default::default()
        };
        assert_eq!(standing(&answer(false, false)), Standing::Serving);
        assert_eq!(standing(&answer(true, false)), Standing::Fenced);
        assert_eq!(standing(&answer(true, true)), Standing::MayStop);
    }

    #[test]
    fn a_broker_whose_place_an_earlier_run_took_registers_again() {
        let directory = |number| vec![Uuid::from_bytes([number; 16])];
        let registration = BrokerRegistrationRequest {
            incarnation_id: Uuid::from_bytes([2; 16]),
            log_dirs: directory(7),
            previous_broker_epoch: 3,
            ..Default::default()
        };
        let mut member = Member { epoch: 5, standing: Standing::Serving, ..Member::new(registration) };
        let registered = |run, epoch, directories| BrokerImage {
            id: 0,
            epoch,
            incarnation_id: Uuid::from_bytes([run; 16]),
            endpoints: Vec::new(),
            features: Vec::new(),
            rack: None,
            fenced: true,
            in_controlled_shutdown: false,
            is_migrating_zk_broker: false,
            log_dirs: directories,
            cordoned_log_dirs: None,
        };
        let earlier = registered(1, 9, directory(7));
        assert!(!member.registers_again(Some(&earlier)), "it has not heard of that");
        let stale = ErrorCode::StaleBrokerEpoch.code();
        let answer = BrokerHeartbeatResponse { error_code: stale, ..Default::default() };
        assert_eq!(member.beaten(Ok(answer), &Wanted::default(), Millis(0)), Standing::Removed);
        assert!(!member.registers_again(None), "it was unregistered");
        assert!(!member.registers_again(Some(&registered(2, 5, directory(7)))), "older metadata");
        assert!(!member.registers_again(Some(&registered(3, 9, directory(8)))), "another broker has its id");
        assert!(member.registers_again(Some(&earlier)));
        assert_eq!((member.epoch(), member.standing()), (-1, Standing::Unregistered));
        assert_eq!(member.registration().previous_broker_epoch, -1);
    }

    fn found_at(host: &str) -> Wanted {
        let endpoint = Endpoint { name: "A".into(), host: host.into(), port: 9092, security_protocol: 0 };
        Wanted { serve: true, endpoints: Some(vec![endpoint]), ..Wanted::default() }
    }

    fn answer(error: ErrorCode, broker_epoch: i64) -> BrokerRegistrationResponse {
        BrokerRegistrationResponse { error_code: error.code(), broker_epoch, ..Default::default() }
    }

    #[test]
    fn new_addresses_are_told_until_they_are_taken_and_change_nothing_else() {
        let directories: Vec<_> = [7, 8].map(|number| Uuid::from_bytes([number; 16])).into();
        let log_dirs = directories.clone();
        let registration = BrokerRegistrationRequest { broker_id: 4, log_dirs, ..Default::default() };
        let mut member = Member { epoch: 5, standing: Standing::Serving, ..Member::new(registration) };
        assert_eq!(member.amendment(&Wanted::default()), None, "nobody says otherwise");
        let wanted = Wanted { offline: BTreeSet::from([directories[0]]), ..found_at("new") };
        let told = member.amendment(&wanted).expect("to be told");
        assert_eq!((told.broker_id, &*told.listeners[0].host), (4, "new"));
        assert_eq!(told.log_dirs, directories[1..], "a lost directory does not come back by it");

        for refusal in [Err(PeerError("gone".into())), Ok(answer(ErrorCode::InvalidRegistration, -1))] {
            assert_eq!(member.amended(refusal, told.clone()), Standing::Serving);
            assert_eq!(member.amendment(&wanted).as_ref(), Some(&told), "told again");
        }
        assert_eq!(member.amended(Ok(answer(ErrorCode::None, 5)), told), Standing::Serving);
        assert_eq!((member.amendment(&wanted), member.epoch()), (None, 5));
        assert_eq!(member.registration().log_dirs, directories, "by which it knows its earlier runs");
        assert!(member.amendment(&found_at("newer")).is_some());
    }

    #[test]
    fn a_broker_that_is_not_heard_does_not_say_where_it_is() {
        let wanted = found_at("new");
        for standing in [Standing::Unregistered, Standing::Removed, Standing::MayStop] {
            assert_eq!(member(standing).amendment(&wanted), None, "{standing:?}");
        }
        let mut member = member(Standing::Serving);
        member.beaten(Err(PeerError("gone".into())), &wanted, Millis(0));
        assert_eq!(member.amendment(&wanted), None, "its heartbeats get no answer");
    }

    #[test]
    fn a_controller_that_takes_an_amendment_for_another_run_has_fenced_the_broker() {
        let mut member = Member { epoch: 5, ..member(Standing::Serving) };
        let told = member.amendment(&found_at("new")).expect("to be told");
        assert_eq!(member.amended(Ok(answer(ErrorCode::None, 9)), told), Standing::Fenced);
        assert_eq!(member.epoch(), 9);
    }

    #[test]
    fn who_wants_to_stop_and_finds_no_controller_stops_after_a_while() {
        let mut member = member(Standing::Serving);
        let wanted = Wanted { serve: true, stop: true, ..Wanted::default() };
        let mut beat = |at| member.beaten(Err(PeerError("gone".into())), &wanted, Millis(at));
        assert_eq!(beat(1_000), Standing::Serving);
        assert_eq!(beat(5_999), Standing::Serving);
        assert_eq!(beat(6_000), Standing::MayStop);
    }
}
