//! Tells the active controller of this node's controller (ControllerRegistration, KIP-919), where that is another node.

use std::time::Duration;

use ottla_wire::ErrorCode;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::{ControllerChannel, ControllerHandle, ControllerSettings, controller_registration};

/// Between two attempts.
const AGAIN: Duration = Duration::from_millis(500);

/// Registers this run of the controller whenever the metadata does not have it, until `stopping`.
pub async fn announce(
    controller: ControllerHandle,
    channel: ControllerChannel,
    settings: ControllerSettings,
    stopping: CancellationToken,
) {
    // Also while a controller that does not answer is waited for.
    stopping.run_until_cancelled(keep_registered(controller, channel, settings)).await;
}

async fn keep_registered(
    controller: ControllerHandle,
    mut channel: ControllerChannel,
    settings: ControllerSettings,
) {
    let mut changes = controller.image_changes();
    loop {
        let is_due = {
            let image = changes.borrow_and_update();
            let knows = image.metadata_version().is_some_and(|level| level.has_controller_registration());
            knows && !controller_registration::is_registered(&image, &settings)
        };
        if is_due && !controller.is_active() {
            let request = controller_registration::request(&settings);
            match channel.call(move |_| request).await {
                Ok(response) if response.error_code == ErrorCode::None.code() => {
                    info!("controller is registered");
                }
                Ok(response) => debug!(code = response.error_code, "controller is not registered yet"),
                Err(error) => debug!(%error, "controller is not registered yet"),
            }
            channel.pause(AGAIN).await;
        } else if changes.changed().await.is_err() {
            return;
        }
    }
}
