//! Requests that the active controller decides, as brokers handle them: decided here where this node is the active
//! controller, else sent there for the client in an Envelope (KIP-590).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use ottla_wire::ErrorCode;
use ottla_wire::messages::{EnvelopeRequest, EnvelopeResponse};
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::controlled::ControllerApi;
use super::{RequestContext, envelope};
use crate::broker::Broker;
use crate::controller::{ControllerChannel, TopicError};
use crate::replication::PeerError;

/// How long a request looks for a controller that decides it, as in Kafka; less if the client asks for less.
const PATIENCE: Duration = Duration::from_secs(60);
/// An attempt gets this long even where the client gives no time: the controller answers such requests, too.
const ATTEMPT: Duration = Duration::from_secs(1);
/// Connections that are kept for later requests.
const MAX_IDLE: usize = 4;
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// The active controller, where it is another node.
pub trait RemoteController: Send + Sync + fmt::Debug {
    /// Sends an envelope to whoever is the active controller now.
    fn send(&self, request: EnvelopeRequest) -> BoxFuture<'static, Result<EnvelopeResponse, PeerError>>;
}

/// Connections to the active controller, one for each request that is on its way there.
#[derive(Debug)]
pub struct ControllerConnections(Arc<Pool>);

#[derive(Debug)]
struct Pool {
    channel: ControllerChannel,
    idle: Mutex<Vec<ControllerChannel>>,
}

impl ControllerConnections {
    /// Like `channel`.
    pub fn new(channel: ControllerChannel) -> Self {
        Self(Arc::new(Pool { channel, idle: Mutex::default() }))
    }
}

impl RemoteController for ControllerConnections {
    fn send(&self, request: EnvelopeRequest) -> BoxFuture<'static, Result<EnvelopeResponse, PeerError>> {
        let pool = Arc::clone(&self.0);
        Box::pin(async move {
            let idle = pool.idle.lock().pop();
            let mut channel = idle.unwrap_or_else(|| pool.channel.clone());
            let result = channel.remote(move |_| request).await;
            let mut idle = pool.idle.lock();
            if idle.len() < MAX_IDLE {
                idle.push(channel);
            }
            result
        })
    }
}

/// Why an attempt brought no answer.
#[derive(Debug, PartialEq, Eq)]
enum Failure {
    /// There may be one later.
    Passing(String),
    /// There will be none.
    Final(ErrorCode),
}

/// Has the request decided. While no controller does, it is tried again until the client's own time is over. What was
/// changed by this node is in effect here when this returns.
pub(super) async fn handle<R: ControllerApi>(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: R,
) -> R::Response {
    let deadline = deadline(&request, Instant::now());
    until_decided(&request, deadline, &broker.stopping, || attempt(broker, context, &request, deadline)).await
}

fn deadline<R: ControllerApi>(request: &R, now: Instant) -> Instant {
    let wanted = request.timeout_ms().map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0)));
    now + wanted.unwrap_or(PATIENCE).min(PATIENCE)
}

/// The first answer of a controller that decides, or what there is when the time is over.
async fn until_decided<R: ControllerApi, A>(
    request: &R,
    deadline: Instant,
    stopping: &CancellationToken,
    mut attempt: impl FnMut() -> A + Send,
) -> R::Response
where
    A: Future<Output = Result<R::Response, Failure>> + Send,
{
    loop {
        let refusal = match attempt().await {
            Ok(response) if !R::is_elsewhere(&response) => return response,
            Ok(response) => response,
            Err(Failure::Final(code)) => return request.refused(&TopicError::from(code)),
            Err(Failure::Passing(reason)) => {
                debug!(api = %R::KEY, %reason, "the controller cannot be asked");
                request.refused(&TopicError::from(ErrorCode::RequestTimedOut))
            }
        };
        let stops = tokio::time::timeout(PAUSE, stopping.cancelled()).await.is_ok();
        if stops || Instant::now() >= deadline {
            return refusal;
        }
    }
}

async fn attempt<R: ControllerApi>(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: &R,
    deadline: Instant,
) -> Result<R::Response, Failure> {
    if broker.controller.is_active() {
        let response = R::decide(&broker.node, context, request.clone()).await;
        if R::CHANGES {
            broker.catch_up().await;
        }
        return Ok(response);
    }
    let mut response =
        send(&*broker.remote_controller, context, request, deadline.max(Instant::now() + ATTEMPT)).await?;
    if let Some(throttled) = R::throttle_time(&mut response) {
        let pause = Duration::from_millis(u64::try_from(*throttled).unwrap_or(0));
        *throttled = context.mute.pause(pause);
    }
    Ok(response)
}

async fn send<R: ControllerApi>(
    controller: &dyn RemoteController,
    context: &RequestContext,
    request: &R,
    deadline: Instant,
) -> Result<R::Response, Failure> {
    let unfit = |reason: &dyn fmt::Display| {
        warn!(api = %R::KEY, %reason, "a forwarded request or its answer does not fit");
        Failure::Final(ErrorCode::UnknownServerError)
    };
    let wrapped = envelope::wrap(context, request).map_err(|reason| unfit(&reason))?;
    let answered = tokio::time::timeout_at(deadline, controller.send(wrapped)).await;
    let answer = answered.map_err(|_| Failure::Passing("no answer in time".to_owned()))?;
    let answer = answer.map_err(|error| Failure::Passing(error.to_string()))?;
    match ErrorCode::try_from(answer.error_code) {
        Ok(ErrorCode::None) => {
            let data = answer.response_data.unwrap_or_default();
            envelope::response::<R>(context, data).map_err(|reason| unfit(&reason))
        }
        Ok(ErrorCode::NotController) => Err(Failure::Passing("it is not the controller any more".to_owned())),
        Ok(ErrorCode::UnsupportedVersion) => Err(Failure::Final(ErrorCode::UnsupportedVersion)),
        // What is wrong is between the nodes: not for the client.
        Ok(code) => Err(unfit(&code)),
        Err(unknown) => Err(unfit(&unknown)),
    }
}

#[cfg(test)]
#[path = "forward_tests.rs"]
mod tests;
