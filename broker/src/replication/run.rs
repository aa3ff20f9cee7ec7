//! The loop of a fetcher: asks the leader, does what the answer says, and takes in which partitions to follow.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::fetcher::{Action, Command, Fetcher, Followed, FollowedKey, Step, fit};
use super::follow;
use super::peer::{Peer, PeerError};
use crate::clock::{self, Millis};
use crate::partition::{Partitions, TopicPartition};

/// What a fetcher is told while it runs.
#[derive(Debug, Default)]
pub(super) struct Orders {
    changes: Mutex<Vec<(FollowedKey, Option<Followed>)>>,
    changed: Notify,
    pub(super) stop: CancellationToken,
}

impl Orders {
    /// Follow the partition, or with `None` follow it no more.
    pub(super) fn give(&self, key: FollowedKey, followed: Option<Followed>) {
        self.changes.lock().push((key, followed));
        self.changed.notify_one();
    }
}

/// A fetcher with its connection.
pub(super) struct Loop<P> {
    pub(super) leader: i32,
    pub(super) fetcher: Fetcher,
    pub(super) peer: P,
    pub(super) partitions: Arc<Partitions>,
    pub(super) broker_epoch: Arc<AtomicI64>,
    pub(super) orders: Arc<Orders>,
    pub(super) connected: bool,
}

impl<P: Peer> Loop<P> {
    /// Runs until it is told to stop.
    pub(super) async fn run(mut self) {
        let stop = self.orders.stop.clone();
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.work() => {}
        }
    }

    /// Cancelled between any two steps, nothing is lost: what was fetched and not appended is fetched again.
    async fn work(&mut self) {
        loop {
            self.take_orders().await;
            self.fetcher.set_broker_epoch(self.broker_epoch.load(Ordering::Acquire));
            self.hold_what_is_throttled();
            match self.fetcher.step(self.now()) {
                Step::Wait(until) => self.rest(until).await,
                Step::Fetch(request) => {
                    let answer = self.peer.call(move |version| fit(request, version)).await;
                    if let Some(response) = self.answered(answer) {
                        let commands = self.fetcher.fetched(response, self.now());
                        self.carry_out(commands).await;
                    }
                }
                Step::Bounds { latest, earliest } => {
                    let latest = self.peer.call(move |_| latest).await;
                    let Some(latest) = self.answered(latest) else { continue };
                    let earliest = self.peer.call(move |_| earliest).await;
                    let Some(earliest) = self.answered(earliest) else { continue };
                    let commands = self.fetcher.bounded(&latest, &earliest, self.now());
                    self.carry_out(commands).await;
                }
            }
        }
    }

    fn hold_what_is_throttled(&mut self) {
        let partitions = &self.partitions;
        match partitions.surroundings().quotas.follower.is_exceeded(Instant::now()) {
            true => self.fetcher.hold(|name| is_throttled(partitions, name)),
            false => self.fetcher.hold_nothing(),
        }
    }

    fn count_what_is_throttled(&self, commands: &[Command]) {
        let quota = &self.partitions.surroundings().quotas.follower;
        if !quota.is_limited() {
            return;
        }
        for command in commands {
            if let Action::Append { records, .. } = &command.action
                && is_throttled(&self.partitions, &command.name)
            {
                quota.record(records.len(), Instant::now());
            }
        }
    }

    async fn rest(&mut self, until: Option<Millis>) {
        let changed = self.orders.changed.notified();
        match until {
            None => changed.await,
            Some(until) => {
                let ms = u64::try_from(until.since(self.now())).unwrap_or(0);
                let _ = tokio::time::timeout(Duration::from_millis(ms), changed).await;
            }
        }
    }

    /// Told once when the leader cannot be reached, and once when it can again.
    fn answered<R>(&mut self, answer: Result<R, PeerError>) -> Option<R> {
        match answer {
            Ok(response) => {
                if !std::mem::replace(&mut self.connected, true) {
                    info!(leader = self.leader, "the leader answers again");
                }
                Some(response)
            }
            Err(error) => {
                if std::mem::replace(&mut self.connected, false) {
                    warn!(leader = self.leader, %error, "cannot fetch from the leader");
                }
                self.fetcher.failed(self.now());
                None
            }
        }
    }

    async fn take_orders(&mut self) {
        let changes = std::mem::take(&mut *self.orders.changes.lock());
        if changes.is_empty() {
            return;
        }
        let partitions = Arc::clone(&self.partitions);
        let look = move || {
            let position = |(key, followed): (FollowedKey, Option<Followed>)| {
                let known = followed.and_then(|followed| {
                    let partition = follow::find(&partitions, &key, &followed.name)?;
                    Some((followed, partition.follower_position(clock::now()).ok()?))
                });
                (key, known)
            };
            changes.into_iter().map(position).collect::<Vec<_>>()
        };
        let Ok(known) = tokio::task::spawn_blocking(look).await else {
            error!(leader = self.leader, "looking where logs end panicked");
            return;
        };
        for (key, known) in known {
            match known {
                Some((followed, position)) => self.fetcher.follow(key, followed, position),
                None => self.fetcher.forget(&key),
            }
        }
    }

    async fn carry_out(&mut self, commands: Vec<Command>) {
        if commands.is_empty() {
            return;
        }
        self.count_what_is_throttled(&commands);
        let partitions = Arc::clone(&self.partitions);
        let done = if follow::may_block(&partitions, &commands) {
            let work = move || follow::carry_out(&partitions, commands, clock::now());
            match tokio::task::spawn_blocking(work).await {
                Ok(done) => done,
                Err(_) => {
                    error!(leader = self.leader, "appending what was fetched panicked");
                    return;
                }
            }
        } else {
            follow::carry_out(&partitions, commands, clock::now())
        };
        let now = self.now();
        for (command, position) in done {
            self.fetcher.done(&command, position, now);
        }
    }

    fn now(&self) -> Millis {
        self.partitions.surroundings().now()
    }
}

fn is_throttled(partitions: &Partitions, name: &TopicPartition) -> bool {
    partitions.get(name).is_some_and(|partition| partition.leadership().throttled.following)
}
