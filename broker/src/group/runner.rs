//! The task of one partition: it loads the shard, feeds it, and does what it commands.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_wire::Uuid;
use ottla_wire::batch::{BatchBuilder, Record};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::classic::{Now, Token};
use super::load::{LoadError, replay_log};
use super::log::OffsetsLog;
use super::shard::{Append, AppendId, Commands, Request, Shard, ShardAnswer, ShardConfig};
use super::{GroupError, Str};
use crate::clock;

/// Requests that are taken up before the records they lead to are written in one batch.
const REQUESTS_PER_ROUND: usize = 256;

/// Bytes above which no further records are put into a batch.
const BATCH_BYTES: usize = 128 * 1024;

/// The time for state machines.
fn now() -> Now {
    Now { monotonic_ms: clock::monotonic_ms(), wall_ms: clock::now().0 }
}

/// How long until a deadline; never so long that a timer could not hold it.
fn until(deadline_ms: i64) -> Duration {
    let after = deadline_ms.saturating_sub(clock::monotonic_ms());
    Duration::from_millis(u64::try_from(after).unwrap_or(0)).min(Duration::from_hours(1))
}

/// What a task is sent.
#[derive(Debug)]
pub(super) enum Message {
    /// A request, and where its answer goes.
    Ask(Token, Box<Request>, oneshot::Sender<ShardAnswer>),
    /// Topics are gone.
    TopicsDeleted(Vec<(Str, Uuid)>),
}

/// What a task is made of.
#[derive(Debug)]
pub(super) struct Runner<L> {
    pub(super) partition: i32,
    pub(super) log: Arc<L>,
    pub(super) config: ShardConfig,
    pub(super) load_buffer_bytes: usize,
    /// Set when requests are taken.
    pub(super) ready: Arc<AtomicBool>,
    pub(super) messages: mpsc::Receiver<Message>,
    pub(super) stop: CancellationToken,
}

impl<L: OffsetsLog> Runner<L> {
    /// Runs until it is stopped or its log cannot be used any more.
    pub(super) async fn run(mut self) {
        let started = Instant::now();
        let stop = self.stop.clone();
        let loaded = tokio::select! {
            () = stop.cancelled() => return,
            loaded = self.load() => loaded,
        };
        let Some(shard) = loaded else {
            return;
        };
        let groups = shard.groups().count();
        tracing::info!(partition = self.partition, groups, elapsed = ?started.elapsed(), "offsets partition loaded");
        let mut session = Session::new(shard, Arc::clone(&self.log));
        session.act(Shard::on_loaded);
        self.ready.store(true, Ordering::Release);
        self.serve(&mut session).await;
        self.ready.store(false, Ordering::Release);
        session.close();
        tracing::info!(partition = self.partition, "offsets partition closed");
    }

    async fn load(&self) -> Option<Shard> {
        let (log, config, buffer) = (Arc::clone(&self.log), self.config, self.load_buffer_bytes);
        let replayed = tokio::task::spawn_blocking(move || replay(&*log, config, buffer));
        match replayed.await {
            Ok(Ok((shard, end))) => {
                // What was not safe when this leader began must be before anybody sees it.
                self.log.wait_committed(end).await.ok().map(|()| shard)
            }
            Ok(Err(error)) => {
                tracing::error!(partition = self.partition, %error, "the offsets partition cannot be loaded");
                None
            }
            Err(error) => {
                tracing::error!(partition = self.partition, %error, "loading the offsets partition failed");
                None
            }
        }
    }

    async fn serve(&mut self, session: &mut Session<L>) {
        loop {
            let pause = until(session.shard.next_deadline());
            let awaited = session.shard.awaited_offset();
            tokio::select! {
                () = self.stop.cancelled() => return,
                message = self.messages.recv() => match message {
                    Some(message) => session.take(message, &mut self.messages),
                    None => return,
                },
                committed = self.log.wait_committed(awaited.unwrap_or(0).saturating_add(1)), if awaited.is_some() => {
                    match committed {
                        Ok(()) => session.act(|_, _, _| ()),
                        Err(error) => {
                            tracing::warn!(partition = self.partition, %error, "the offsets partition is lost");
                            return;
                        }
                    }
                }
                () = tokio::time::sleep(pause) => session.act(|_, _, _| ()),
            }
        }
    }
}

/// A loaded shard and those who wait for its answers.
#[derive(Debug)]
struct Session<L> {
    shard: Shard,
    log: Arc<L>,
    waiting: HashMap<Token, oneshot::Sender<ShardAnswer>>,
}

/// The shard of a log, and where that ended.
fn replay(log: &impl OffsetsLog, config: ShardConfig, buffer: usize) -> Result<(Shard, i64), LoadError> {
    let now = now();
    let mut shard = Shard::new(config, now);
    let end = replay_log(&mut shard, log, buffer, now)?;
    Ok((shard, end))
}

impl<L: OffsetsLog> Session<L> {
    fn new(shard: Shard, log: Arc<L>) -> Self {
        Self { shard, log, waiting: HashMap::new() }
    }

    /// Takes a message and those that have come since, then writes what they lead to.
    fn take(&mut self, first: Message, messages: &mut mpsc::Receiver<Message>) {
        let now = now();
        let mut out = Commands::default();
        let mut next = Some(first);
        for _ in 0..REQUESTS_PER_ROUND {
            let Some(message) = next else { break };
            match message {
                Message::Ask(token, request, reply) => {
                    self.waiting.insert(token, reply);
                    self.shard.handle(*request, now, &mut out);
                }
                Message::TopicsDeleted(topics) => self.shard.on_topics_deleted(&topics, now, &mut out),
            }
            next = messages.try_recv().ok();
        }
        self.carry_out(out, now);
    }

    /// Lets an event happen to the shard.
    fn act(&mut self, event: impl FnOnce(&mut Shard, Now, &mut Commands)) {
        let now = now();
        let mut out = Commands::default();
        event(&mut self.shard, now, &mut out);
        self.carry_out(out, now);
    }

    /// Does what is commanded and reports it, until nothing more follows.
    fn carry_out(&mut self, mut out: Commands, now: Now) {
        loop {
            if self.shard.next_deadline() <= now.monotonic_ms {
                self.shard.on_deadline(now, &mut out);
            }
            self.answer(&mut out);
            let appends = std::mem::take(&mut out.appends);
            let quiet = appends.is_empty();
            self.write(appends, now, &mut out);
            self.shard.on_high_watermark(self.log.high_watermark(), now, &mut out);
            if quiet && out.answers.is_empty() && out.appends.is_empty() {
                return;
            }
        }
    }

    fn answer(&mut self, out: &mut Commands) {
        for (token, answer) in out.answers.drain(..) {
            if let Some(reply) = self.waiting.remove(&token) {
                // The client may have gone.
                let _ = reply.send(answer);
            }
        }
    }

    /// Writes appends in as few batches as is reasonable.
    fn write(&mut self, appends: Vec<Append>, now: Now, out: &mut Commands) {
        let mut batch = PendingBatch::default();
        for append in appends {
            match encode(&append) {
                Ok(records) => {
                    if !batch.has_room_for(&records) {
                        self.flush(std::mem::take(&mut batch), now, out);
                    }
                    batch.push(append.id, records, now);
                }
                Err(error) => {
                    tracing::error!(%error, "a group's record cannot be written");
                    self.shard.on_append(append.id, Err(GroupError::UnknownServerError), now, out);
                }
            }
        }
        self.flush(batch, now, out);
    }

    fn flush(&mut self, batch: PendingBatch, now: Now, out: &mut Commands) {
        let Some(builder) = batch.builder else {
            return;
        };
        let count = i64::from(builder.record_count());
        let result = self.log.append(builder.build());
        if let Err(error) = &result {
            // A full disk is told of once, by itself, and not for every attempt.
            match error {
                GroupError::LoadInProgress => {
                    tracing::debug!(%error, records = count, "no space for records of groups");
                }
                _ => tracing::warn!(%error, records = count, "records of groups were not written"),
            }
        }
        let mut last = result.map(|last_offset| last_offset - count);
        for (id, records) in batch.appends {
            last = last.map(|last| last + records);
            self.shard.on_append(id, last, now, out);
        }
    }

    fn close(self) {
        let Self { shard, mut waiting, .. } = self;
        let mut out = Commands::default();
        shard.close(GroupError::NotCoordinator, now(), &mut out);
        for (token, answer) in out.answers {
            if let Some(reply) = waiting.remove(&token) {
                let _ = reply.send(answer);
            }
        }
    }
}

type KeyValue = (Bytes, Option<Bytes>);

fn encode(append: &Append) -> Result<Vec<KeyValue>, ottla_wire::EncodeError> {
    append.records.iter().map(super::record::GroupRecord::encode).collect()
}

/// A batch in the making, with the appends that are in it and how many records each has.
#[derive(Debug, Default)]
struct PendingBatch {
    builder: Option<BatchBuilder>,
    appends: Vec<(AppendId, i64)>,
}

impl PendingBatch {
    fn has_room_for(&self, records: &[KeyValue]) -> bool {
        let size = |(key, value): &KeyValue| key.len() + value.as_ref().map_or(0, Bytes::len);
        let more: usize = records.iter().map(size).sum();
        self.builder.as_ref().is_none_or(|builder| builder.size_in_bytes() + more <= BATCH_BYTES)
    }

    fn push(&mut self, id: AppendId, records: Vec<KeyValue>, now: Now) {
        let count = i64::try_from(records.len()).unwrap_or(i64::MAX);
        let builder = self.builder.get_or_insert_with(|| BatchBuilder::new(0));
        for (key, value) in records {
            builder.push(Record { timestamp: now.wall_ms, key: Some(key), value, headers: Vec::new() });
        }
        self.appends.push((id, count));
    }
}

#[cfg(test)]
#[path = "simulated.rs"]
pub(crate) mod simulated;
#[cfg(test)]
#[path = "runner_tests.rs"]
mod tests;
