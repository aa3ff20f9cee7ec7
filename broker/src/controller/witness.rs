//! A broker whose process is gone is known from its connections: the one by which it sends heartbeats ends, and its
//! listeners refuse others (`docs/decisions/0008`). Either alone proves nothing: connections end for many reasons, and a
//! process that is stopped or slow still accepts, as the system does that for it.

use std::io;
use std::time::Duration;

use futures::future::join_all;
use ottla_client::address;
use ottla_quorum::image::BrokerImage;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::ControllerHandle;
use crate::clock;

/// How long a listener may take to accept; who does not answer at all is left to its session.
const PROBE: Duration = Duration::from_millis(500);
/// When its listeners are looked at, each after the one before, in milliseconds.
const AGAIN_AFTER_MS: [u64; 5] = [0, 10, 40, 100, 250];

/// The connection by which a broker of this epoch sent heartbeats has ended: if its listeners are gone too, so is the broker.
pub(crate) async fn connection_ended(controller: &ControllerHandle, id: i32, epoch: i64) {
    let (image, since) = (controller.image(), clock::monotonic_ms());
    let broker = image.active_broker(id).filter(|broker| broker.epoch == epoch);
    if let Some(broker) = broker.filter(|_| controller.is_active())
        && soon_refuses(broker).await
    {
        fence(controller, broker, since).await;
    }
}

/// Whenever this node becomes the active controller it has no connections yet that could end: it looks for everybody, until
/// `stopping`. Where half of them refuse it is rather this node that is kept from them.
pub async fn look_when_active(controller: ControllerHandle, node_id: i32, stopping: CancellationToken) {
    // Also while listeners that do not answer are waited for.
    stopping.run_until_cancelled(look_whenever_active(controller, node_id)).await;
}

async fn look_whenever_active(controller: ControllerHandle, node_id: i32) {
    let mut leader = controller.leader();
    loop {
        let active = leader.borrow_and_update().is_active_here;
        if active {
            let (image, since) = (controller.image(), clock::monotonic_ms());
            let all: Vec<_> = image.cluster.brokers.values().filter(|broker| broker.is_active()).collect();
            let others = all.iter().filter(|broker| broker.id != node_id);
            let looks = others.map(|broker| async move { soon_refuses(broker).await.then_some(broker) });
            let gone: Vec<_> = join_all(looks).await.into_iter().flatten().collect();
            if gone.len() * 2 < all.len() {
                join_all(gone.into_iter().map(|broker| fence(&controller, broker, since))).await;
            }
        }
        if leader.changed().await.is_err() {
            return;
        }
    }
}

async fn fence(controller: &ControllerHandle, broker: &BrokerImage, since: i64) {
    let (id, epoch) = (broker.id, broker.epoch);
    match controller.broker_gone(id, epoch, since).await {
        Ok(true) => {
            info!(broker = id, epoch, "broker is gone: its connection ended and its listeners refuse");
        }
        Ok(false) => info!(broker = id, epoch, "broker is heard of, though its listeners refuse"),
        Err(error) => debug!(broker = id, %error, "broker is not fenced"),
    }
}

/// A process that is killed closes its sockets one after the other, in any order: the listeners are looked at again.
async fn soon_refuses(broker: &BrokerImage) -> bool {
    for pause in AGAIN_AFTER_MS {
        sleep(Duration::from_millis(pause)).await;
        if is_gone(broker).await {
            return true;
        }
    }
    false
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
