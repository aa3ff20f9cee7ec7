//! The coordinator's partitions without tasks: their owner looks at them again whenever something may have changed. As
//! [`Coordinator::apply`](crate::group::Coordinator::apply) and [`Runner`] do it.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures::FutureExt as _;
use ottla_quorum::image::MetadataImage;
use ottla_wire::Uuid;
use tokio::sync::{mpsc, oneshot};

use super::super::coordinator::{PartitionLog, load_buffer_bytes, shard_config};
use super::super::placement::{OFFSETS_TOPIC, partition_of};
use super::super::shard::{Request, Shard, ShardAnswer, ShardConfig};
use super::super::{GroupError, Str};
use super::{Message, OffsetsLog as _, Session, Token, now, replay};
use crate::config::Config;
use crate::partition::Partitions;

type Waiting = Pin<Box<dyn Future<Output = Result<(), GroupError>> + Send>>;

enum State {
    Loading(Box<Shard>, Arc<PartitionLog>, Waiting),
    Serving(Box<Session<PartitionLog>>),
    Lost,
}

struct Seat {
    topic_id: Uuid,
    leader_epoch: i32,
    state: State,
}

/// The partitions of `__consumer_offsets` that a broker leads.
pub(crate) struct Seats {
    node_id: i32,
    config: ShardConfig,
    buffer: usize,
    count: i32,
    hosted: BTreeMap<i32, Seat>,
    tokens: u64,
}

impl Seats {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            node_id: config.node_id,
            config: shard_config(config),
            buffer: load_buffer_bytes(config),
            count: 0,
            hosted: BTreeMap::new(),
            tokens: 0,
        }
    }

    /// Takes over which partitions are led here.
    pub(crate) fn apply(&mut self, new: &MetadataImage, partitions: &Partitions) {
        let topic = new.topics.by_name(OFFSETS_TOPIC);
        self.count = topic.map_or(0, |topic| i32::try_from(topic.partitions.len()).unwrap());
        let node_id = self.node_id;
        let gone = self.hosted.extract_if(.., |index, seat| {
            let state = topic.filter(|topic| topic.id == seat.topic_id);
            let state = state.and_then(|topic| topic.partitions.get(index));
            !state.is_some_and(|it| it.leader == node_id && it.leader_epoch == seat.leader_epoch)
        });
        gone.for_each(|(_, seat)| {
            if let State::Serving(session) = seat.state {
                session.close();
            }
        });
        let Some(topic) = topic else { return };
        for (index, state) in &topic.partitions {
            if state.leader != node_id || self.hosted.contains_key(index) {
                continue;
            }
            let Some(partition) = partitions.find(OFFSETS_TOPIC, *index) else { continue };
            let log = Arc::new(PartitionLog::new(partition));
            let loaded = replay(&*log, self.config, self.buffer);
            let state = match loaded {
                Ok((shard, end)) => {
                    let waited = Arc::clone(&log);
                    let wait = async move { waited.wait_committed(end).await };
                    State::Loading(Box::new(shard), log, Box::pin(wait))
                }
                Err(_) => State::Lost,
            };
            let leader_epoch = topic.partitions.get(index).map_or(-1, |it| it.leader_epoch);
            self.hosted.insert(*index, Seat { topic_id: topic.id, leader_epoch, state });
        }
    }

    /// Looks whether anything has come about. Returns the partitions that are served from now on.
    pub(crate) fn turn(&mut self) -> Vec<i32> {
        let mut loaded = Vec::new();
        for (index, seat) in &mut self.hosted {
            let state = std::mem::replace(&mut seat.state, State::Lost);
            seat.state = match state {
                State::Loading(shard, log, mut wait) => {
                    match wait.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                        Poll::Pending => State::Loading(shard, log, wait),
                        Poll::Ready(Err(_)) => State::Lost,
                        Poll::Ready(Ok(())) => {
                            let mut session = Session::new(*shard, log);
                            session.act(Shard::on_loaded);
                            loaded.push(*index);
                            State::Serving(Box::new(session))
                        }
                    }
                }
                State::Serving(session) => serve(session),
                State::Lost => State::Lost,
            };
        }
        loaded
    }

    /// Asks the coordinator of a group.
    ///
    /// # Errors
    /// The group is not coordinated here, or not yet.
    pub(crate) fn ask(
        &mut self,
        group: &str,
        request: impl FnOnce(Token) -> Request,
    ) -> Result<oneshot::Receiver<ShardAnswer>, GroupError> {
        let index = partition_of(group, self.count).ok_or(GroupError::NotCoordinator)?;
        let seat = self.hosted.get_mut(&index).ok_or(GroupError::NotCoordinator)?;
        match &mut seat.state {
            State::Loading(..) => Err(GroupError::LoadInProgress),
            State::Lost => Err(GroupError::NotCoordinator),
            State::Serving(session) => {
                self.tokens += 1;
                let token = Token(self.tokens);
                let (reply, answer) = oneshot::channel();
                // Nothing else waits: one request a round.
                let (_, mut none) = mpsc::channel(1);
                session.take(Message::Ask(token, Box::new(request(token)), reply), &mut none);
                Ok(answer)
            }
        }
    }

    /// Under which epoch a group is coordinated here, where it is.
    pub(crate) fn leader_epoch(&self, group: &str) -> Option<i32> {
        let seat = self.hosted.get(&partition_of(group, self.count)?)?;
        matches!(seat.state, State::Serving(_)).then_some(seat.leader_epoch)
    }

    /// What a group has committed, where its partition is served here.
    pub(crate) fn committed(&self, group: &Str, topic: &Str, partition: i32) -> Option<Option<i64>> {
        let seat = self.hosted.get(&partition_of(group, self.count)?)?;
        match &seat.state {
            State::Serving(session) => {
                Some(session.shard.committed(group, topic, partition).map(|committed| committed.offset))
            }
            _ => None,
        }
    }

    /// When [`Seats::turn`] has something to do by itself, in monotonic ms.
    pub(crate) fn next_deadline(&self) -> i64 {
        let deadline = |seat: &Seat| match &seat.state {
            State::Serving(session) => session.shard.next_deadline(),
            _ => i64::MAX,
        };
        self.hosted.values().map(deadline).min().unwrap_or(i64::MAX)
    }
}

fn serve(mut session: Box<Session<PartitionLog>>) -> State {
    if let Some(awaited) = session.shard.awaited_offset() {
        match session.log.wait_committed(awaited + 1).now_or_never() {
            Some(Ok(())) => session.act(|_, _, _| ()),
            Some(Err(_)) => {
                session.close();
                return State::Lost;
            }
            None => {}
        }
    }
    if session.shard.next_deadline() <= now().monotonic_ms {
        session.act(|_, _, _| ());
    }
    State::Serving(session)
}
