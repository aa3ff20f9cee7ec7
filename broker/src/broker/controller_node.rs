//! A node that is a controller and no broker (`process.roles=controller`).

use std::sync::Arc;
use std::time::Duration;

use ottla_log::disk::StdDisk;
use ottla_wire::Str;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use super::control::Control;
use super::ground::{Founded, StartError};
use super::start::CONTROLLER_DEADLINE;
use super::stop::DRAIN;
use crate::admin;
use crate::config::Config;
use crate::controller::server::ControllerServer;
use crate::controller::{ControllerChannel, announce, look_when_active};
use crate::node::NodeContext;
use crate::storage::{Directories, FileSystem};
use crate::telemetry::loggers::Loggers;

/// How often the file systems are asked.
const LOOK: Duration = Duration::from_secs(1);

/// A running controller.
#[derive(Debug)]
pub struct ControllerNode {
    context: Arc<NodeContext>,
    server: ControllerServer,
    tasks: TaskTracker,
    stopping: CancellationToken,
    /// Kept until the node is gone, as the locks of its directories.
    _control: Control,
    _directories: Directories,
}

/// Starts a controller. It is ready when it knows who leads the quorum.
///
/// # Errors
/// The first thing that stands in the way; nothing is left running then.
pub async fn start_controller(config: Config, loggers: Arc<Loggers>) -> Result<ControllerNode, StartError> {
    let mut founded = Founded::new(config, Arc::new(StdDisk), loggers).await?;
    if let Err(error) = founded.ground.found.complete(&*founded.disk) {
        founded.give_up().await;
        return Err(error.into());
    }
    let Founded { ground, settings, context, control, server, http, admin, .. } = founded;
    let (tasks, stopping) = (TaskTracker::new(), CancellationToken::new());
    if let Some(http) = http {
        let begun = Arc::default();
        tasks.spawn(admin::serve(http, Arc::clone(&begun), stopping.clone()));
        drop(begun.set(admin::Admin::of_controller(&context)));
    }
    if let Some(admin) = admin {
        let questions = admin::Questions::new(Arc::clone(&context), Vec::new());
        tasks.spawn_on(questions.serve(admin, stopping.clone()), &control.handle());
    }
    tasks.spawn(look(ground.file_systems, stopping.clone()));
    let (controller, node_id) = (context.controller.clone(), context.node_id);
    let channel = ControllerChannel::new(
        controller.clone(),
        Str::from(format!("controller-{node_id}")),
        CONTROLLER_DEADLINE,
    );
    let runtime = control.handle();
    tasks.spawn_on(look_when_active(controller.clone(), node_id, stopping.clone()), &runtime);
    tasks.spawn_on(announce(controller, channel, settings, stopping.clone()), &runtime);
    info!(node = node_id, cluster = %context.cluster_id, "controller started");
    Ok(ControllerNode { context, server, tasks, stopping, _control: control, _directories: ground.found })
}

/// Sees to it that some room is kept back for votes.
async fn look(file_systems: Vec<Arc<FileSystem>>, stopping: CancellationToken) {
    let file_systems = Arc::new(file_systems);
    loop {
        let all = Arc::clone(&file_systems);
        let look = move || all.iter().for_each(|file_system| file_system.look());
        if tokio::task::spawn_blocking(look).await.is_err() {
            warn!("looking at the space on disk panicked");
        }
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

impl ControllerNode {
    /// Returns when the node cannot go on by itself.
    pub async fn failed(&self) {
        self.context.controller.stopped().await;
        error!("the controller of this node has failed");
    }

    /// Stops: the leadership is given up, requests in hand are answered.
    pub async fn stop(self) {
        self.stopping.cancel();
        if let Err(error) = self.context.controller.stop().await {
            warn!(%error, "controller not stopped cleanly");
        }
        self.server.stop().await;
        self.tasks.close();
        if tokio::time::timeout(DRAIN, self.tasks.wait()).await.is_err() {
            warn!("background tasks did not finish in time");
        }
        info!("controller stopped");
    }
}
