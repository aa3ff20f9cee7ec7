//! What this broker tells the active controller of itself: that it is there (BrokerRegistration), that it lives, wants to
//! serve or to stop, and which directories it lost (BrokerHeartbeat, KIP-631). On a runtime of its own: no load on the
//! others makes a healthy broker silent.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use ottla_wire::messages::{BrokerHeartbeatRequest, BrokerHeartbeatResponse, BrokerRegistrationRequest};
use ottla_wire::{ErrorCode, Uuid};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tracing::{info, warn};

use crate::config::Config;
use crate::controller::ControllerChannel;
use crate::replication::PeerError;

/// Between heartbeats where nobody says otherwise: more often than Apache's brokers, as a controller of ours learns from it
/// how soon silence is strange.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// Between two attempts to register.
const REGISTER_AGAIN: Duration = Duration::from_millis(100);
/// Between heartbeats while the controller has yet to grant what is wanted.
const WHILE_WAITING: Duration = Duration::from_millis(20);
/// Who wants to stop and finds no controller for so long stops without.
const WITHOUT_CONTROLLER: Duration = Duration::from_secs(5);
/// The longest that a controlled shutdown may take.
const SHUTDOWN: Duration = Duration::from_secs(60);

/// What the broker wants to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Wanted {
    serve: bool,
    stop: bool,
    offline: BTreeSet<Uuid>,
}

/// What it is, as far as it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
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

#[derive(Debug)]
struct Shared {
    wanted: watch::Sender<Wanted>,
    standing: watch::Sender<Standing>,
    epoch: Arc<AtomicI64>,
    metadata_offset: AtomicI64,
    soon: Notify,
}

/// This broker as a member of the cluster.
#[derive(Clone, Debug)]
pub struct Lifecycle(Arc<Shared>);

impl Lifecycle {
    /// Begins to register, on `runtime`; then a heartbeat every `interval`, until the broker may stop or nobody holds this
    /// any more.
    pub fn start(
        runtime: &Handle,
        channel: ControllerChannel,
        registration: BrokerRegistrationRequest,
        interval: Duration,
    ) -> Self {
        let shared = Arc::new(Shared {
            wanted: watch::Sender::default(),
            standing: watch::Sender::new(Standing::Unregistered),
            epoch: Arc::new(AtomicI64::new(-1)),
            metadata_offset: AtomicI64::new(-1),
            soon: Notify::new(),
        });
        let member = Member { shared: Arc::clone(&shared), channel, registration, interval, failing: None };
        runtime.spawn(member.run());
        Self(shared)
    }

    /// Returns the broker's epoch once it is registered.
    ///
    /// # Errors
    /// It can never be, as it is.
    pub async fn registered(&self) -> Result<i64, ErrorCode> {
        match self.until(|standing| *standing != Standing::Unregistered).await {
            Standing::Refused(error) => Err(error),
            _ => Ok(self.0.epoch.load(Ordering::Acquire)),
        }
    }

    /// Under which this run of the broker is registered; -1 before.
    pub fn epoch(&self) -> Arc<AtomicI64> {
        Arc::clone(&self.0.epoch)
    }

    /// The metadata that is in effect here; where somebody `waits` for it the controller is told at once.
    pub fn set_metadata_offset(&self, offset: i64, waits: bool) {
        self.0.metadata_offset.store(offset, Ordering::Release);
        if waits {
            self.0.soon.notify_one();
        }
    }

    /// The broker is ready: returns when it is not fenced any more.
    pub async fn serve(&self) {
        self.0.wanted.send_modify(|wanted| wanted.serve = true);
        self.until(|standing| *standing == Standing::Serving).await;
    }

    /// These directories have failed.
    pub fn lose_directories(&self, lost: impl IntoIterator<Item = Uuid>) {
        self.0.wanted.send_modify(|wanted| wanted.offline.extend(lost));
    }

    /// The broker wants to stop: returns when others lead what it led and it is fenced, or nobody is there to tell.
    pub async fn leave(&self) {
        self.0.wanted.send_modify(|wanted| wanted.stop = true);
        let left = self.until(|standing| matches!(standing, Standing::MayStop | Standing::Refused(_)));
        if tokio::time::timeout(SHUTDOWN, left).await.is_err() {
            warn!("the controller does not let this broker go: it stops all the same");
        }
    }

    async fn until(&self, reached: impl FnMut(&Standing) -> bool) -> Standing {
        let mut standing = self.0.standing.subscribe();
        // The sender is held by this very struct.
        standing.wait_for(reached).await.map_or(Standing::MayStop, |standing| *standing)
    }
}

/// The task.
struct Member {
    shared: Arc<Shared>,
    channel: ControllerChannel,
    registration: BrokerRegistrationRequest,
    interval: Duration,
    /// Since when no controller answers, and the last reason.
    failing: Option<(Instant, String)>,
}

impl Member {
    async fn run(mut self) {
        if !self.register().await {
            return;
        }
        let mut wanted = self.shared.wanted.subscribe();
        while Arc::strong_count(&self.shared) > 1 {
            let now = wanted.borrow_and_update().clone();
            let request = self.heartbeat(&now);
            let answer = self.channel.call(move |_| request).await;
            let standing = self.take(answer, &now);
            self.shared.standing.send_if_modified(|known| std::mem::replace(known, standing) != standing);
            if standing == Standing::MayStop {
                return;
            }
            let pause = pause(&now, standing, self.interval);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.shared.soon.notified() => {}
                _ = wanted.changed() => {}
            }
        }
    }

    /// Whether the broker is registered now.
    async fn register(&mut self) -> bool {
        while Arc::strong_count(&self.shared) > 1 {
            let request = self.registration.clone();
            let error = match self.channel.call(move |version| fit(request, version)).await {
                Ok(response) => match ErrorCode::try_from(response.error_code) {
                    Ok(ErrorCode::None) => {
                        self.answered();
                        info!(epoch = response.broker_epoch, "broker is registered");
                        self.shared.epoch.store(response.broker_epoch, Ordering::Release);
                        self.shared.standing.send_replace(Standing::Fenced);
                        return true;
                    }
                    Ok(error) if is_final(error) => {
                        self.shared.standing.send_replace(Standing::Refused(error));
                        return false;
                    }
                    other => PeerError(other.unwrap_or(ErrorCode::UnknownServerError).to_string()),
                },
                Err(error) => error,
            };
            self.failed(&error, "cannot register with the controller yet");
            if self.shared.wanted.borrow().stop {
                self.shared.standing.send_replace(Standing::MayStop);
                return false;
            }
            self.channel.pause(REGISTER_AGAIN).await;
        }
        false
    }

    fn heartbeat(&self, wanted: &Wanted) -> BrokerHeartbeatRequest {
        BrokerHeartbeatRequest {
            broker_id: self.registration.broker_id,
            broker_epoch: self.shared.epoch.load(Ordering::Acquire),
            current_metadata_offset: self.shared.metadata_offset.load(Ordering::Acquire),
            want_fence: !wanted.serve,
            want_shut_down: wanted.stop,
            offline_log_dirs: wanted.offline.iter().copied().collect(),
            ..Default::default()
        }
    }

    /// What the broker is by the controller's answer.
    fn take(&mut self, answer: Result<BrokerHeartbeatResponse, PeerError>, wanted: &Wanted) -> Standing {
        let before = *self.shared.standing.borrow();
        let refused = |response: &BrokerHeartbeatResponse| {
            let error = ErrorCode::try_from(response.error_code).unwrap_or(ErrorCode::UnknownServerError);
            (error != ErrorCode::None).then_some(error)
        };
        match answer.map(|response| (refused(&response), response)) {
            Ok((None, response)) => {
                self.answered();
                standing(&response)
            }
            // Another registration has taken its place, or it was removed: nobody counts on it, and it will never serve again.
            Ok((Some(error @ (ErrorCode::StaleBrokerEpoch | ErrorCode::BrokerIdNotRegistered)), _)) => {
                self.failed(
                    &PeerError(error.to_string()),
                    "the controller does not know this broker any more",
                );
                if wanted.stop { Standing::MayStop } else { Standing::Removed }
            }
            Ok((Some(error), _)) => {
                let error = PeerError(error.to_string());
                let since = self.failed(&error, "the controller cannot take this broker's heartbeats");
                let alone = wanted.stop && since.elapsed() >= WITHOUT_CONTROLLER;
                if alone { Standing::MayStop } else { before }
            }
            Err(error) => {
                let since = self.failed(&error, "no heartbeat reaches the controller");
                let alone = wanted.stop && since.elapsed() >= WITHOUT_CONTROLLER;
                if alone { Standing::MayStop } else { before }
            }
        }
    }

    fn answered(&mut self) {
        if let Some((since, _)) = self.failing.take() {
            info!(after = ?since.elapsed(), "the controller answers");
        }
    }

    /// Told once for each reason; since when nothing reaches the controller.
    fn failed(&mut self, error: &PeerError, what: &'static str) -> Instant {
        let since = self.failing.as_ref().map_or_else(Instant::now, |(since, _)| *since);
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

/// Between the heartbeats of a broker that wants nothing.
pub(super) fn interval(config: &Config) -> Duration {
    let configured = config.settings.is_set("broker.heartbeat.interval.ms");
    if configured { config.quorum.heartbeat_interval } else { HEARTBEAT }
}

/// How long until the next heartbeat: what is wanted and not granted is asked for again soon.
fn pause(wanted: &Wanted, standing: Standing, interval: Duration) -> Duration {
    let waits = wanted.stop || (wanted.serve && standing == Standing::Fenced);
    if waits { WHILE_WAITING.min(interval) } else { interval }
}

/// Older controllers know nothing of some fields.
fn fit(mut request: BrokerRegistrationRequest, version: i16) -> BrokerRegistrationRequest {
    if version < 2 {
        request.log_dirs.clear();
    }
    if version < 3 {
        request.previous_broker_epoch = -1;
    }
    request
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

    #[test]
    fn what_is_not_granted_yet_is_asked_for_again_soon() {
        let (interval, wanted) = (Duration::from_secs(2), Wanted::default());
        assert_eq!(pause(&wanted, Standing::Fenced, interval), interval);
        let serve = Wanted { serve: true, ..wanted };
        assert_eq!(pause(&serve, Standing::Fenced, interval), WHILE_WAITING);
        assert_eq!(pause(&serve, Standing::Serving, interval), interval);
        let stop = Wanted { stop: true, ..serve };
        assert_eq!(pause(&stop, Standing::Serving, interval), WHILE_WAITING);
    }

    #[test]
    fn a_broker_that_wants_nothing_beats_as_often_as_configured() {
        let config = |overrides| Config::from_overrides(overrides).expect("valid");
        let every = |config| pause(&Wanted::default(), Standing::Serving, interval(&config));
        assert_eq!(every(config(&[])), HEARTBEAT);
        assert_eq!(every(config(&[("broker.heartbeat.interval.ms", "3000")])), Duration::from_secs(3));
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
}
