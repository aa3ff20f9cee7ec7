//! A broker whose process is gone is known from its connections: the one by which it sends heartbeats ends, and its
//! listeners refuse others (`docs/decisions/0008`). Either alone proves nothing: connections end for many reasons, and a
//! process that is stopped or slow still accepts, as the system does that for it.

use std::io;
use std::time::Duration;

use futures::future::join_all;
use ottla_quorum::image::BrokerImage;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::ControllerHandle;
use super::network::address;

/// How long a listener may take to accept; who does not answer at all is left to its session.
const PROBE: Duration = Duration::from_millis(500);
/// When its listeners are looked at, each after the one before, in milliseconds.
const AGAIN_AFTER_MS: [u64; 5] = [0, 10, 40, 100, 250];

/// The connection by which a broker of this epoch sent heartbeats has ended: if its listeners are gone too, so is the broker. A
/// process that is killed closes its sockets one after the other, in any order: the listeners are looked at again.
pub(crate) async fn connection_ended(controller: &ControllerHandle, id: i32, epoch: i64) {
    for pause in AGAIN_AFTER_MS {
        sleep(Duration::from_millis(pause)).await;
        let image = controller.image();
        let Some(broker) = image.active_broker(id).filter(|broker| broker.epoch == epoch) else { return };
        if !controller.is_active() {
            return;
        }
        if is_gone(broker).await {
            return fence(controller, id, epoch).await;
        }
    }
}

async fn fence(controller: &ControllerHandle, id: i32, epoch: i64) {
    match controller.broker_gone(id, epoch).await {
        Ok(()) => info!(broker = id, epoch, "broker is gone: its connection ended and its listeners refuse"),
        Err(error) => debug!(broker = id, %error, "broker is not fenced"),
    }
}

/// Whenever this node becomes the active controller it has no connections yet that could end: it looks for everybody, until
/// `stopping`.
pub async fn look_when_active(controller: ControllerHandle, node_id: i32, stopping: CancellationToken) {
    let mut leader = controller.leader();
    loop {
        let active = leader.borrow_and_update().is_active_here;
        if active {
            let image = controller.image();
            let others =
                image.cluster.brokers.values().filter(|broker| broker.is_active() && broker.id != node_id);
            join_all(others.map(|broker| connection_ended(&controller, broker.id, broker.epoch))).await;
        }
        tokio::select! {
            () = stopping.cancelled() => return,
            changed = leader.changed() => if changed.is_err() { return },
        }
    }
}

/// Whether every one of its listeners refuses connections.
async fn is_gone(broker: &BrokerImage) -> bool {
    let refusals = join_all(broker.endpoints.iter().map(|it| refuses(address(&it.host, it.port)))).await;
    !refusals.is_empty() && refusals.into_iter().all(|refused| refused)
}

async fn refuses(address: String) -> bool {
    let connected = timeout(PROBE, TcpStream::connect(address)).await;
    matches!(connected, Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused)
}
