//! One connection: frames in, answers out in the order of the requests.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use ottla_wire::{Parts, Str};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::budget::FREE;
use super::frame::{Frame, FrameError, FrameReader};
use super::slots::Slot;
use super::timed::timed;
use super::writer::ResponseWriter;
use super::{Handling, Service, SocketOptions};
use crate::api::{ListenerName, Refusal};
use crate::quota::Mute;
use crate::security::Principal;
use crate::telemetry::Timing;

/// Answers of one connection that may wait for their turn; then it is not read any more.
pub(crate) const MAX_PIPELINED: usize = 32;
/// Memory that they may hold meanwhile, in bytes; the last one may go beyond.
const MAX_QUEUED: usize = 256 * 1024;

/// What a handled request leaves to send.
pub enum Answer {
    /// The response.
    Now(Response),
    /// The response, once replication (or a timeout) has decided; later requests are handled meanwhile.
    Later(BoxFuture<'static, Result<Response, Refusal>>),
    /// No response (produce with acks=0).
    Nothing,
}

/// An encoded response, and what to measure once it is sent.
#[derive(Debug)]
pub struct Response {
    /// Header and body.
    pub parts: Parts,
    /// Since when, and of which API.
    pub timing: Timing,
    /// Who pays for the time of sending it, if that counts.
    pub payer: Option<Payer>,
}

/// A client as quotas know it.
#[derive(Debug)]
pub struct Payer {
    /// Name of the principal.
    pub user: Str,
    /// What the client calls itself.
    pub client: Str,
}

/// What stays the same for all requests of a connection.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The listener that accepted it.
    pub listener: ListenerName,
    /// Who it is.
    pub principal: Principal,
    /// Its address.
    pub address: IpAddr,
    /// Its address as Kafka prints it.
    pub host: Str,
    /// Until when the connection is not read.
    pub mute: Mute,
    /// Until when there is a connection.
    pub lifetime: Arc<Lifetime>,
}

/// How long a connection lasts, for those who conclude something from its end.
#[derive(Debug, Default)]
pub struct Lifetime {
    ended: CancellationToken,
    witnessed: AtomicI64,
}

impl Lifetime {
    /// Returns when the connection has ended.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Whether this is the first that is heard of whoever goes by `epoch`, here.
    pub fn is_first_of(&self, epoch: i64) -> bool {
        self.witnessed.swap(epoch, Ordering::Relaxed) != epoch
    }
}

/// Why a connection ends before its peer ends it.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("write: {0}")]
    Write(std::io::Error),
    #[error("idle")]
    Idle,
}

pub(super) struct Connection<S> {
    socket: TcpStream,
    peer: Arc<Peer>,
    slot: Slot,
    service: Arc<S>,
    reader: FrameReader,
    writer: ResponseWriter,
    max_idle: Duration,
    handling: Option<Handling>,
    /// Bytes of the request in hand that no budget counts.
    uncounted: usize,
    answers: Answers,
    last_use: Instant,
}

/// Answers that wait for their turn.
#[derive(Default)]
struct Answers {
    queue: VecDeque<(Answer, usize)>,
    /// Memory that they hold, in bytes: responses, and requests that no budget counts.
    memory: usize,
}

impl Answers {
    fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    fn has_room(&self) -> bool {
        self.queue.len() < MAX_PIPELINED && self.memory < MAX_QUEUED
    }

    fn push(&mut self, answer: Answer, request: usize) {
        let memory = match &answer {
            Answer::Now(response) => response.parts.in_memory(),
            Answer::Later(_) => request,
            Answer::Nothing => 0,
        };
        self.memory += memory;
        self.queue.push_back((answer, memory));
    }

    fn pop(&mut self) -> Option<Answer> {
        let (answer, memory) = self.queue.pop_front()?;
        self.memory -= memory;
        Some(answer)
    }

    /// The first one, when it is there; it leaves the queue then and not before.
    async fn next(&mut self) -> Result<Option<Response>, Refusal> {
        if let Some((Answer::Later(waiting), _)) = self.queue.front_mut() {
            let response = waiting.await?;
            self.pop();
            return Ok(Some(response));
        }
        match self.pop() {
            Some(Answer::Now(response)) => Ok(Some(response)),
            _ => Ok(None),
        }
    }
}

impl<S: Service> Connection<S> {
    pub(super) fn new(
        socket: TcpStream,
        peer: Arc<Peer>,
        slot: Slot,
        service: Arc<S>,
        options: &SocketOptions,
    ) -> Self {
        let budget = service.memory().clone();
        Self {
            socket,
            peer,
            slot,
            service,
            reader: FrameReader::new(options.max_request_bytes, budget.clone()),
            writer: ResponseWriter::new(options.max_idle, budget),
            max_idle: options.max_idle,
            handling: None,
            uncounted: 0,
            answers: Answers::default(),
            last_use: Instant::now(),
        }
    }

    /// Serves until the peer leaves, breaks the protocol, or the service stops (what is in hand is answered first).
    pub(super) async fn serve(mut self) {
        let client = self.peer.address;
        match self.run().await {
            Ok(()) => debug!(%client, "connection closed"),
            Err(End::Idle) => debug!(%client, "idle connection closed"),
            Err(End::Write(error)) => debug!(%client, %error, "connection lost"),
            Err(End::Frame(FrameError::Io(error))) => debug!(%client, %error, "connection lost"),
            Err(reason) => info!(%client, listener = %self.peer.listener, %reason, "connection refused"),
        }
        // Whoever concludes something from the end looks for the peer: nothing is told while we stop by ourselves.
        if !self.service.stopping().is_cancelled() {
            self.peer.lifetime.ended.cancel();
        }
    }

    async fn run(&mut self) -> Result<(), End> {
        let stopping = self.service.stopping().clone();
        let idle = tokio::time::sleep(self.max_idle);
        tokio::pin!(idle);
        loop {
            let quiet = self.handling.is_none() && self.answers.is_empty();
            let muted = self.peer.mute.until();
            let may_read = self.handling.is_none()
                && muted.is_none()
                && self.answers.has_room()
                && !stopping.is_cancelled();
            tokio::select! {
                biased;
                response = self.answers.next(), if !self.answers.is_empty() => self.send(response?).await?,
                answer = current(&mut self.handling), if self.handling.is_some() => {
                    self.handling = None;
                    self.answers.push(answer?, self.uncounted);
                }
                () = stopping.cancelled(), if quiet => return Ok(()),
                () = until(muted), if muted.is_some() => {}
                frame = self.reader.next(&self.socket), if may_read => match frame? {
                    None => return Ok(()),
                    Some(frame) => self.start(frame)?,
                },
                () = &mut idle => {
                    let until = self.last_use + self.max_idle;
                    if quiet && until <= Instant::now() {
                        return Err(End::Idle);
                    }
                    idle.as_mut().reset(until.max(Instant::now() + Duration::from_millis(100)));
                }
            }
        }
    }

    fn start(&mut self, frame: Frame) -> Result<(), End> {
        self.last_use = Instant::now();
        self.slot.touch(self.last_use);
        self.uncounted = if frame.share.is_some() { 0 } else { frame.bytes.len().min(FREE) };
        self.handling = Some(self.service.start(&self.peer, frame)?);
        Ok(())
    }

    /// Writes a response; meanwhile the request in hand goes on, so that a slow reader holds up nobody else's locks.
    async fn send(&mut self, response: Option<Response>) -> Result<(), End> {
        let Some(Response { parts, timing, payer }) = response else { return Ok(()) };
        let Self { writer, socket, handling, answers, uncounted, .. } = self;
        let mut write = std::pin::pin!(timed(writer.write(socket, parts, answers.memory)));
        let spent = loop {
            tokio::select! {
                biased;
                (sent, spent) = &mut write => {
                    sent.map_err(End::Write)?;
                    break spent;
                }
                answer = current(handling), if handling.is_some() => {
                    *handling = None;
                    answers.push(answer?, *uncounted);
                }
            }
        };
        self.last_use = Instant::now();
        if let Some(Payer { user, client }) = payer {
            // Felt with the next request.
            self.service.quotas().record_time(&user, &client, spent, self.last_use.into_std());
        }
        self.service.metrics().requests.done(&timing);
        Ok(())
    }
}

async fn until(muted: Option<Instant>) {
    match muted {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

async fn current(handling: &mut Option<Handling>) -> Result<Answer, Refusal> {
    match handling {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
