//! BrokerHeartbeat: a broker says that it lives, what it wants and which directories it lost; it is told what it is.
//!
//! ```text
//! fenced ──(has its registration, wants no fence)──> unfenced ──(wants to stop, leads something)──> shutting down
//!    ^──────────(wants the fence, or is to stop now)─────┴──(leads nothing, all others know it)────────┘
//! ```

use ottla_quorum::MetadataRecord;
use ottla_quorum::image::BrokerImage;
use ottla_wire::messages::{BrokerHeartbeatRequest, BrokerHeartbeatResponse};
use ottla_wire::{ErrorCode, Uuid};

use super::brokers::Brokers;
use super::draft::Draft;
use super::view::View;
use super::{ControllerError, Decision, leadership, registration};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Fenced,
    Unfenced,
    /// It leads nothing any more; not everybody knows yet.
    ShuttingDown,
    /// It may stop at once, and is fenced.
    ShutDown,
}

/// Takes note of the heartbeat and makes the broker what it is next.
///
/// # Errors
/// `STALE_BROKER_EPOCH`: another registration has taken its place.
pub(crate) fn heartbeat(
    view: &View<'_>,
    brokers: &mut Brokers,
    request: &BrokerHeartbeatRequest,
    next_offset: i64,
    now: i64,
) -> Result<Decision<BrokerHeartbeatResponse>, ControllerError> {
    let (id, epoch) = (request.broker_id, request.broker_epoch);
    let broker = view.broker_at(id, epoch)?;
    let registered_at = brokers.registered_at(id, epoch);
    let before = current(brokers, broker);
    // Who was told to stop does not come back in the same run.
    let ready = request.current_metadata_offset >= registered_at && !broker.in_controlled_shutdown;
    let next = next(view, brokers, before, request, ready);
    let mut draft = Draft::new(view.image);
    if next != before {
        draft.push(transition(view, next, id, epoch)?);
    }
    brokers.heartbeat(id, epoch, request.current_metadata_offset, now);
    offline_directories(view, &mut draft, request);
    cordoned_directories(view, &mut draft, request);
    let records = draft.into_records();
    match next {
        State::ShuttingDown if before != next => {
            let end = next_offset.saturating_add(i64::try_from(records.len()).unwrap_or(i64::MAX));
            brokers.begin_shutdown(id, epoch, end.saturating_sub(1), now);
        }
        State::Fenced => brokers.fenced(id),
        State::ShutDown => brokers.end(id),
        State::ShuttingDown | State::Unfenced => {}
    }
    let response = BrokerHeartbeatResponse {
        is_caught_up: request.current_metadata_offset >= registered_at,
        is_fenced: matches!(next, State::Fenced | State::ShutDown),
        should_shut_down: next == State::ShutDown,
        ..Default::default()
    };
    Ok(Decision { records, response })
}

/// The answer when nothing is done.
pub(crate) fn refuse(code: ErrorCode) -> BrokerHeartbeatResponse {
    BrokerHeartbeatResponse { error_code: code.code(), ..Default::default() }
}

fn current(brokers: &Brokers, broker: &BrokerImage) -> State {
    if broker.fenced {
        State::Fenced
    } else if broker.in_controlled_shutdown && brokers.shutdown_offset(broker.id, broker.epoch).is_some() {
        // Both: what was to be written may not have been.
        State::ShuttingDown
    } else {
        State::Unfenced
    }
}

fn next(
    view: &View<'_>,
    brokers: &Brokers,
    before: State,
    request: &BrokerHeartbeatRequest,
    ready: bool,
) -> State {
    let leads = || leadership::leads(view, request.broker_id);
    match before {
        State::Fenced if request.want_shut_down => State::ShutDown,
        State::Fenced if request.want_fence || !ready => State::Fenced,
        State::Fenced => State::Unfenced,
        State::Unfenced if request.want_fence && request.want_shut_down => State::ShutDown,
        State::Unfenced if request.want_fence => State::Fenced,
        State::Unfenced if !request.want_shut_down => State::Unfenced,
        State::Unfenced if leads() => State::ShuttingDown,
        State::Unfenced => State::ShutDown,
        State::ShuttingDown if leads() || !everybody_knows(view, brokers, request) => State::ShuttingDown,
        State::ShuttingDown | State::ShutDown => State::ShutDown,
    }
}

/// Whether every active broker has the changes of leader that the shutdown led to.
fn everybody_knows(view: &View<'_>, brokers: &Brokers, request: &BrokerHeartbeatRequest) -> bool {
    let needed = brokers.shutdown_offset(request.broker_id, request.broker_epoch);
    match (needed, brokers.lowest_active_offset(view.image)) {
        (Some(needed), Some(lowest)) => needed <= lowest,
        _ => true,
    }
}

fn transition(
    view: &View<'_>,
    next: State,
    id: i32,
    epoch: i64,
) -> Result<Vec<MetadataRecord>, ControllerError> {
    let decision = match next {
        State::Fenced | State::ShutDown => registration::fence_broker(view, id, epoch),
        State::Unfenced => registration::unfence_broker(view, id, epoch),
        State::ShuttingDown => registration::controlled_shutdown(view, id, epoch),
    };
    Ok(decision?.records)
}

/// Directories that failed: the broker leads nothing that lies there (KIP-858).
fn offline_directories(view: &View<'_>, draft: &mut Draft, request: &BrokerHeartbeatRequest) {
    let Some(broker) = view.image.broker(request.broker_id) else { return };
    let failed = |directory: &Uuid| request.offline_log_dirs.contains(directory);
    let (lost, online): (Vec<Uuid>, Vec<Uuid>) = broker.log_dirs.iter().partition(|it| failed(it));
    if lost.is_empty() || online.is_empty() || !view.level().has_directory_assignment() {
        return;
    }
    let changes = leadership::leave_directories(&view.over(draft.image()), broker.id, &lost);
    draft.push(changes);
    draft.push([registration::change(broker.id, broker.epoch, |record| record.log_dirs = online)]);
}

/// Directories that take no new partitions, from the level on that knows of them.
fn cordoned_directories(view: &View<'_>, draft: &mut Draft, request: &BrokerHeartbeatRequest) {
    let (Some(broker), Some(cordoned)) = (view.image.broker(request.broker_id), &request.cordoned_log_dirs)
    else {
        return;
    };
    let mut known = broker.cordoned_log_dirs.clone().unwrap_or_default();
    let mut wanted = cordoned.clone();
    known.sort_unstable();
    wanted.sort_unstable();
    if known == wanted || !view.level().has_cordoned_log_dirs() {
        return;
    }
    let change = registration::change(broker.id, broker.epoch, |record| {
        record.cordoned_log_dirs = Some(cordoned.clone());
    });
    draft.push([change]);
}
