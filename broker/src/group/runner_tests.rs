//! The task over a log in memory.

use ottla_wire::batch::{batches, patch_base_offset};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::*;
use crate::config::Config;
use crate::group::classic::Limits;
use crate::group::coordinator::load_buffer_bytes;
use crate::group::shard::{Commit, CommitPartition, Fetch, FetchedOffset, WantedTopic};

/// A log in memory whose high watermark is moved by hand unless told otherwise.
#[derive(Debug)]
struct MemoryLog {
    batches: Mutex<Vec<Bytes>>,
    end: watch::Sender<(i64, i64)>,
    lazy: bool,
    refuse: Mutex<Option<GroupError>>,
    /// Bytes that reads asked for.
    asked: Mutex<Vec<usize>>,
}

impl MemoryLog {
    fn new(lazy: bool) -> Arc<Self> {
        let end = watch::Sender::new((0, 0));
        Arc::new(Self {
            batches: Mutex::default(),
            end,
            lazy,
            refuse: Mutex::new(None),
            asked: Mutex::default(),
        })
    }

    fn commit_all(&self) {
        self.end.send_modify(|(end, high_watermark)| *high_watermark = *end);
    }

    fn batch_count(&self) -> usize {
        self.batches.lock().len()
    }
}

impl OffsetsLog for MemoryLog {
    fn append(&self, batch: Bytes) -> Result<i64, GroupError> {
        if let Some(error) = *self.refuse.lock() {
            return Err(error);
        }
        let mut bytes = batch.to_vec();
        let (base, _) = *self.end.borrow();
        patch_base_offset(&mut bytes, base).unwrap();
        let batch = batches(&bytes.clone().into()).next().unwrap().unwrap();
        batch.verify_crc().unwrap();
        self.batches.lock().push(bytes.into());
        self.end.send_modify(|(end, high_watermark)| {
            *end = batch.header.next_offset();
            if !self.lazy {
                *high_watermark = *end;
            }
        });
        Ok(batch.header.last_offset())
    }

    fn high_watermark(&self) -> i64 {
        self.end.borrow().1
    }

    async fn wait_committed(&self, end: i64) -> Result<(), GroupError> {
        let mut changes = self.end.subscribe();
        let _ = changes.wait_for(|(_, high_watermark)| *high_watermark >= end).await;
        Ok(())
    }

    fn bounds(&self) -> (i64, i64) {
        (0, self.end.borrow().0)
    }

    fn read(&self, offset: i64, max_bytes: usize) -> Result<Bytes, GroupError> {
        self.asked.lock().push(max_bytes);
        let log = self.batches.lock();
        let found =
            log.iter().find(|batch| batches(batch).next().unwrap().unwrap().header.last_offset() >= offset);
        Ok(found.cloned().unwrap_or_default())
    }
}

struct Handle {
    messages: mpsc::Sender<Message>,
    ready: Arc<AtomicBool>,
    stop: CancellationToken,
    tokens: u64,
    task: tokio::task::JoinHandle<()>,
}

fn start(log: &Arc<MemoryLog>) -> Handle {
    start_with(log, 1000)
}

fn start_with(log: &Arc<MemoryLog>, load_buffer_bytes: usize) -> Handle {
    let limits = Limits {
        min_session_timeout_ms: 100,
        max_session_timeout_ms: 60_000,
        initial_rebalance_delay_ms: 0,
        max_size: 10,
    };
    let config = ShardConfig {
        limits,
        offset_metadata_max_bytes: 100,
        offsets_retention_ms: 1_000_000,
        retention_check_interval_ms: 1_000_000,
        commit_timeout_ms: 300,
    };
    let (messages, receiver) = mpsc::channel(64);
    let (ready, stop) = (Arc::new(AtomicBool::new(false)), CancellationToken::new());
    let runner = Runner {
        partition: 0,
        log: Arc::clone(log),
        config,
        load_buffer_bytes,
        ready: Arc::clone(&ready),
        messages: receiver,
        stop: stop.clone(),
    };
    let task = tokio::spawn(runner.run());
    Handle { messages, ready, stop, tokens: 0, task }
}

impl Handle {
    async fn loaded(&self) {
        while !self.ready.load(Ordering::Acquire) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn ask(&mut self, request: impl FnOnce(Token) -> Request) -> oneshot::Receiver<ShardAnswer> {
        self.tokens += 1;
        let token = Token(self.tokens);
        let (reply, answer) = oneshot::channel();
        self.messages.send(Message::Ask(token, Box::new(request(token)), reply)).await.unwrap();
        answer
    }

    async fn commit(&mut self, partition: i32, offset: i64) -> oneshot::Receiver<ShardAnswer> {
        let entry = CommitPartition {
            topic: "t".into(),
            topic_id: Uuid::ZERO,
            partition,
            offset,
            leader_epoch: -1,
            metadata: Str::default(),
        };
        let commit = |token| Commit {
            token,
            group: "g".into(),
            member_id: Str::default(),
            instance_id: None,
            generation: -1,
            retention_ms: None,
            knows_group_id_not_found: true,
            partitions: vec![entry],
        };
        self.ask(|token| Request::Commit(commit(token))).await
    }

    async fn fetch(&mut self, partition: i32) -> Option<i64> {
        let topic = WantedTopic { name: "t".into(), topic_id: Uuid::ZERO, partitions: vec![partition] };
        let fetch =
            |token| Fetch { token, group: "g".into(), topics: Some(vec![topic]), require_stable: false };
        let answer = self.ask(|token| Request::Fetch(fetch(token))).await.await.unwrap();
        match answer {
            ShardAnswer::Fetch(Ok(topics)) => match &topics[0].partitions[0].1 {
                FetchedOffset::Committed(offset) => Some(offset.offset),
                _ => None,
            },
            other => panic!("{other:?}"),
        }
    }
}

const DONE: ShardAnswer = ShardAnswer::Commit(Ok(Vec::new()));

fn is_done(answer: &ShardAnswer) -> bool {
    std::mem::discriminant(answer) == std::mem::discriminant(&DONE)
        && matches!(answer, ShardAnswer::Commit(Ok(fates)) if fates.iter().all(Result::is_ok))
}

#[tokio::test]
async fn commits_are_answered_when_safe_and_survive() {
    let log = MemoryLog::new(false);
    let mut handle = start(&log);
    handle.loaded().await;
    for offset in 0..10 {
        assert!(is_done(&handle.commit(0, offset).await.await.unwrap()));
    }
    assert_eq!(handle.fetch(0).await, Some(9));
    handle.stop.cancel();
    handle.task.await.unwrap();

    let mut handle = start(&log);
    handle.loaded().await;
    assert_eq!(handle.fetch(0).await, Some(9));
    assert_eq!(handle.fetch(1).await, None);
}

#[tokio::test]
async fn nothing_is_acknowledged_above_the_high_watermark() {
    let log = MemoryLog::new(true);
    let mut handle = start(&log);
    handle.loaded().await;
    let mut answers = Vec::new();
    for partition in 0..50 {
        answers.push(handle.commit(partition, 5).await);
    }
    assert_eq!(handle.fetch(0).await, None);
    assert!(answers.iter_mut().all(|answer| answer.try_recv().is_err()));
    log.commit_all();
    for answer in answers {
        assert!(is_done(&answer.await.unwrap()));
    }
    assert_eq!(handle.fetch(49).await, Some(5));
    assert!(log.batch_count() <= 50);
}

#[tokio::test]
async fn a_write_that_stays_unsafe_is_refused_in_time() {
    let log = MemoryLog::new(true);
    let mut handle = start(&log);
    handle.loaded().await;
    let answer = handle.commit(0, 5).await.await.unwrap();
    assert_eq!(answer, ShardAnswer::Commit(Err(GroupError::CoordinatorNotAvailable)));
    *log.refuse.lock() = Some(GroupError::NotCoordinator);
    let answer = handle.commit(0, 6).await.await.unwrap();
    assert_eq!(answer, ShardAnswer::Commit(Err(GroupError::NotCoordinator)));
}

#[tokio::test]
async fn stopping_answers_who_waits() {
    let log = MemoryLog::new(true);
    let mut handle = start(&log);
    handle.loaded().await;
    let answer = handle.commit(0, 5).await;
    handle.fetch(0).await;
    handle.stop.cancel();
    assert_eq!(answer.await.unwrap(), ShardAnswer::Commit(Err(GroupError::NotCoordinator)));
    handle.task.await.unwrap();
    assert!(!handle.ready.load(Ordering::Acquire));
}

#[tokio::test]
async fn a_log_is_loaded_in_pieces_of_the_configured_size() {
    for (settings, expected) in [(&[][..], 5 << 20), (&[("offsets.load.buffer.size", "12345")], 12_345)] {
        let config = Config::from_overrides(settings).unwrap();
        let log = MemoryLog::new(false);
        let mut handle = start(&log);
        handle.loaded().await;
        handle.commit(0, 1).await.await.unwrap();
        handle.stop.cancel();
        handle.task.await.unwrap();
        assert!(log.asked.lock().is_empty(), "there was nothing to load");
        start_with(&log, load_buffer_bytes(&config)).loaded().await;
        assert_eq!(*log.asked.lock(), [expected]);
    }
}
