//! What this broker tells the active controller of itself: that it is there (BrokerRegistration), that it lives, wants to
//! serve or to stop, and which directories it lost (BrokerHeartbeat, KIP-631). On a runtime of its own: no load on the
//! others makes a healthy broker silent.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use ottla_quorum::MetadataVersion;
use ottla_quorum::image::Endpoint;
use ottla_wire::messages::{BrokerHeartbeatRequest, BrokerRegistrationRequest};
use ottla_wire::{ErrorCode, Uuid};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tracing::warn;

use super::member::{Member, Standing, Wanted};
use crate::clock;
use crate::config::Config;
use crate::controller::ControllerChannel;

/// Between heartbeats where nobody says otherwise: more often than Apache's brokers, as a controller of ours learns from it
/// how soon silence is strange.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// Between two attempts to register.
const REGISTER_AGAIN: Duration = Duration::from_millis(100);
/// The longest that a controlled shutdown may take.
const SHUTDOWN: Duration = Duration::from_secs(60);

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
        let member = Member::new(registration);
        runtime.spawn(Task { shared: Arc::clone(&shared), channel, member, interval }.run());
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

    /// Under which this run of the broker is registered; -1 before. Another one after it had to register again.
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

    /// These directories are to get no new partitions, and no others.
    pub fn cordon(&self, directories: BTreeSet<Uuid>) {
        self.0.wanted.send_if_modified(|wanted| {
            let changed = wanted.cordoned.as_ref() != Some(&directories);
            wanted.cordoned = Some(directories);
            changed
        });
    }

    /// The broker is to be found there, and nowhere else: the controller is told at once.
    pub fn advertise(&self, endpoints: Vec<Endpoint>) {
        let endpoints = Some(endpoints);
        self.0.wanted.send_if_modified(|wanted| {
            let changed = wanted.endpoints != endpoints;
            wanted.endpoints = endpoints;
            changed
        });
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
struct Task {
    shared: Arc<Shared>,
    channel: ControllerChannel,
    member: Member,
    interval: Duration,
}

impl Task {
    async fn run(mut self) {
        if !self.register().await {
            return;
        }
        let mut wanted = self.shared.wanted.subscribe();
        while Arc::strong_count(&self.shared) > 1 {
            let now = wanted.borrow_and_update().clone();
            let mut request =
                self.member.heartbeat(&now, self.shared.metadata_offset.load(Ordering::Acquire));
            let level = self.channel.image().metadata_version();
            if !level.is_some_and(MetadataVersion::has_cordoned_log_dirs) {
                request.cordoned_log_dirs = None;
            }
            let answer = self.channel.call(move |version| fit_heartbeat(request, version)).await;
            let standing = self.member.beaten(answer, &now, clock::monotonic());
            self.shared.standing.send_if_modified(|known| std::mem::replace(known, standing) != standing);
            if standing == Standing::MayStop {
                return;
            }
            if let Some(request) = self.member.amendment(&now) {
                self.amend(request).await;
            }
            let image = self.channel.image();
            let registered = image.broker(self.member.id()).map(|broker| &**broker);
            if self.member.registers_again(registered) && !self.register().await {
                return;
            }
            let pause = self.member.pause(&now, self.interval);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.shared.soon.notified() => {}
                _ = wanted.changed() => {}
            }
        }
    }

    /// Says where the broker is to be found now. What does not get through is said again after the next heartbeat.
    async fn amend(&mut self, request: BrokerRegistrationRequest) {
        let told = request.clone();
        let answer = self.channel.call(move |version| fit(request, version)).await;
        let standing = self.member.amended(answer, told);
        self.shared.epoch.store(self.member.epoch(), Ordering::Release);
        self.shared.standing.send_if_modified(|known| std::mem::replace(known, standing) != standing);
    }

    /// Whether the broker is registered now.
    async fn register(&mut self) -> bool {
        while Arc::strong_count(&self.shared) > 1 {
            let request = self.member.registration();
            let answer = self.channel.call(move |version| fit(request, version)).await;
            let wanted = self.shared.wanted.borrow().clone();
            match self.member.registered(answer, &wanted, clock::monotonic()) {
                Standing::Unregistered => self.channel.pause(REGISTER_AGAIN).await,
                standing => {
                    self.shared.epoch.store(self.member.epoch(), Ordering::Release);
                    self.shared.standing.send_replace(standing);
                    return standing == Standing::Fenced;
                }
            }
        }
        false
    }
}

/// Between the heartbeats of a broker that wants nothing.
pub(crate) fn interval(config: &Config) -> Duration {
    let configured = config.settings.is_set("broker.heartbeat.interval.ms");
    if configured { config.quorum.heartbeat_interval } else { HEARTBEAT }
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

fn fit_heartbeat(mut request: BrokerHeartbeatRequest, version: i16) -> BrokerHeartbeatRequest {
    if version < 2 {
        request.cordoned_log_dirs = None;
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_wants_nothing_beats_as_often_as_configured() {
        let config = |overrides| Config::from_overrides(overrides).expect("valid");
        let every = |config| interval(&config);
        assert_eq!(every(config(&[])), HEARTBEAT);
        assert_eq!(every(config(&[("broker.heartbeat.interval.ms", "3000")])), Duration::from_secs(3));
    }
}
