//! One partition on this broker.

use std::sync::Arc;
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, Ordering};

use arc_swap::ArcSwap;
use bytes::Bytes;
use ottla_log::{
    AbortedTxn, ActiveProducer, AppendError, Appended, Flush, LeaderEpoch, Log, LogConfig, LogError, Lookup,
    Offset, Origin, TimestampMs, TimestampOffset,
};
use ottla_wire::batch::BatchHeader;
use ottla_wire::{Records, Uuid};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use crate::clock;
use crate::storage::Writer;

use super::commit::Committed;
use super::leading::Role;
use super::refusals::Refusals;
use super::waiters::{Progress, Told, Waiter, Waiters};
use super::{LogDirectory, PartitionError, ProduceError, Surroundings, TopicPartition};

/// Who leads the partition, as the metadata image says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leadership {
    /// The leader's node id, -1 if there is none.
    pub leader: i32,
    /// Whether this broker is the leader.
    pub here: bool,
    /// Goes up with every new leader.
    pub epoch: i32,
    /// Goes up with every change.
    pub partition_epoch: i32,
    /// Replicas in sync.
    pub isr: Vec<i32>,
    /// All replicas.
    pub replicas: Vec<i32>,
    /// `min.insync.replicas` of the topic.
    pub min_isr: usize,
    /// Acknowledge what is on disk instead of what is in the page cache (`flush.messages` = 1).
    pub flushed: bool,
    /// Whether replicas that catch up count in this broker's quotas.
    pub throttled: Throttled,
}

/// In which quota of replication a partition counts, by its topic's configuration (KIP-73).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Throttled {
    /// In the leader's (`leader.replication.throttled.replicas`).
    pub leading: bool,
    /// In the follower's (`follower.replication.throttled.replicas`).
    pub following: bool,
}

impl Leadership {
    /// The minimum that can be met: not more than there are replicas.
    pub fn effective_min_isr(&self) -> usize {
        self.min_isr.min(self.replicas.len())
    }

    /// Whether there is no other replica.
    pub fn is_alone(&self) -> bool {
        self.replicas.len() <= 1
    }
}

/// `acks` of a produce request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequiredAcks {
    /// 0: no response.
    None,
    /// 1: the leader's log.
    Leader,
    /// -1: all replicas in sync.
    All,
}

/// Up to where a reader sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// A consumer: up to the high watermark.
    ReadUncommitted,
    /// A consumer: up to the last stable offset.
    ReadCommitted,
    /// A replica: up to the log end.
    LogEnd,
}

/// What a read gives.
#[derive(Debug)]
pub struct Read {
    /// Whole batches, a file region.
    pub records: Records,
    /// The high watermark.
    pub high_watermark: Offset,
    /// The last stable offset.
    pub last_stable_offset: Offset,
    /// The first offset in the log.
    pub log_start_offset: Offset,
    /// Aborted transactions in the range, for [`Isolation::ReadCommitted`].
    pub aborted: Vec<AbortedTxn>,
}

/// A low watermark that is not known.
const UNKNOWN: i64 = -1;

/// One partition: its log and what is known about its replicas.
#[derive(Debug)]
pub struct Partition {
    name: TopicPartition,
    topic_id: Uuid,
    /// Changes only with `log`, under its lock.
    pub(super) directory: ArcSwap<LogDirectory>,
    pub(super) surroundings: Arc<Surroundings>,
    pub(super) log: RwLock<Option<Log>>,
    pub(super) leadership: ArcSwap<Leadership>,
    /// Taken after `log`, never before.
    pub(super) role: Mutex<Role>,
    /// The epoch under which this broker began to lead, or follows.
    pub(super) led_since: AtomicI32,
    pub(super) high_watermark: AtomicI64,
    low_watermark: AtomicI64,
    log_start: AtomicI64,
    log_end: AtomicI64,
    /// As far as an append counts as this replica's, where there are others.
    safe_end: AtomicI64,
    pub(super) unnoted_cut: AtomicBool,
    /// The least end to which the log was cut since a copy of it was last made to fit; the largest number if it was not.
    pub(super) cut_to: AtomicI64,
    pub(super) committed: watch::Sender<Committed>,
    pub(super) waiters: Waiters,
    pub(super) followers_waiting: Waiters,
    /// Whether somebody is about to flush, who will take along what has been appended by then.
    pub(super) flushing: AtomicBool,
    /// Held by whoever flushes: what one has taken along is not on disk for another before it is done.
    pub(super) flushes: Mutex<()>,
    pub(super) cleaning: super::cleaning::State,
    refusals: Mutex<Refusals>,
}

impl Partition {
    /// A partition over an open log. The high watermark begins at `checkpointed`, within the log. A leader's epoch begins
    /// at the log's end.
    pub fn new(
        name: TopicPartition,
        topic_id: Uuid,
        directory: Arc<LogDirectory>,
        surroundings: Arc<Surroundings>,
        log: Log,
        leadership: Leadership,
        checkpointed: Offset,
    ) -> Arc<Self> {
        let (start, end) = (log.start_offset(), log.end_offset());
        let high_watermark = checkpointed.clamp(start, end).0;
        let since = leadership.epoch;
        let committed = Committed { high_watermark, led: (since, since), alive: true };
        let partition = Arc::new(Self {
            name,
            topic_id,
            directory: ArcSwap::new(directory),
            surroundings,
            log: RwLock::new(Some(log)),
            leadership: ArcSwap::from_pointee(leadership),
            role: Mutex::default(),
            led_since: AtomicI32::new(since),
            high_watermark: AtomicI64::new(high_watermark),
            low_watermark: AtomicI64::new(UNKNOWN),
            log_start: AtomicI64::new(start.0),
            log_end: AtomicI64::new(end.0),
            safe_end: AtomicI64::new(start.0),
            unnoted_cut: AtomicBool::new(false),
            cut_to: AtomicI64::new(i64::MAX),
            committed: watch::Sender::new(committed),
            waiters: Waiters::default(),
            followers_waiting: Waiters::default(),
            flushing: AtomicBool::new(false),
            flushes: Mutex::default(),
            cleaning: super::cleaning::State::default(),
            refusals: Mutex::default(),
        });
        partition.with_log(|log| partition.enter(log));
        partition
    }

    /// Topic and index.
    pub fn name(&self) -> &TopicPartition {
        &self.name
    }

    /// The topic's id: a topic of the same name that is created later has another one.
    pub fn topic_id(&self) -> Uuid {
        self.topic_id
    }

    /// Where it lies.
    pub fn directory(&self) -> Arc<LogDirectory> {
        self.directory.load_full()
    }

    /// Who leads it.
    pub fn leadership(&self) -> Arc<Leadership> {
        self.leadership.load_full()
    }

    /// Consumers see nothing at or above it.
    pub fn high_watermark(&self) -> Offset {
        Offset(self.high_watermark.load(Ordering::Acquire))
    }

    /// The first offset in the log.
    pub fn log_start_offset(&self) -> Offset {
        Offset(self.log_start.load(Ordering::Acquire))
    }

    /// The offset of the next record.
    pub fn log_end_offset(&self) -> Offset {
        Offset(self.log_end.load(Ordering::Acquire))
    }

    /// As far as an append counts as this replica's: its log end, or what is on disk.
    pub(super) fn safe_end(&self) -> Offset {
        Offset(self.safe_end.load(Ordering::Acquire))
    }

    /// The least log start of all replicas that live, `None` while it is not known.
    pub fn low_watermark(&self) -> Option<Offset> {
        if self.leadership.load().is_alone() {
            return Some(self.log_start_offset());
        }
        Some(Offset(self.low_watermark.load(Ordering::Acquire))).filter(|low| low.0 != UNKNOWN)
    }

    /// Notes the least log start; whether it is another than before.
    pub(super) fn set_low_watermark(&self, low: Option<Offset>) -> bool {
        let low = low.map_or(UNKNOWN, |low| low.0);
        self.low_watermark.swap(low, Ordering::AcqRel) != low
    }

    /// `read_committed` consumers see nothing at or above it.
    pub fn last_stable_offset(&self) -> Offset {
        self.log.read().as_ref().map_or(Offset::ZERO, |log| self.stable(log))
    }

    /// Bytes of all segments; 0 when closed.
    pub fn size(&self) -> u64 {
        self.look(Log::size).unwrap_or(0)
    }

    /// Bytes that a cleaning writes before it removes any: one segment.
    pub fn cleaning_bytes(&self) -> u64 {
        self.look(|log| log.size().min(u64::from(log.config().segment_bytes))).unwrap_or(0)
    }

    /// Number of segments; 0 when closed.
    pub fn segment_count(&self) -> usize {
        self.look(Log::segment_count).unwrap_or(0)
    }

    /// Appends one produce request's records as the leader. With [`RequiredAcks::All`] the caller waits with
    /// [`Partition::wait_committed`] afterwards. A page-cache write: short, but not for a task that must never block.
    ///
    /// # Errors
    /// Nothing was written then.
    pub fn append(
        self: &Arc<Self>,
        records: Bytes,
        origin: Origin,
        acks: RequiredAcks,
        now: TimestampMs,
    ) -> Result<Appended, ProduceError> {
        let mut guard = self.log.write();
        let batch = BatchHeader::parse(&records).ok().filter(|_| origin == Origin::Client);
        let leader_epoch = self.leadership.load().epoch;
        if let Some(batch) = &batch {
            self.refusals.lock().check(batch, leader_epoch, now)?;
        }
        let outcome = self.append_in_turn(&mut guard, records, origin, acks, now);
        if let Some(batch) = &batch {
            let mut refusals = self.refusals.lock();
            if outcome.is_err() || !refusals.is_empty() {
                refusals.note(batch, &outcome, leader_epoch, now);
            }
        }
        outcome
    }

    fn append_in_turn(
        self: &Arc<Self>,
        guard: &mut Option<Log>,
        records: Bytes,
        origin: Origin,
        acks: RequiredAcks,
        now: TimestampMs,
    ) -> Result<Appended, ProduceError> {
        let leadership = self.leadership.load();
        if self.directory.load().is_offline() {
            return Err(ProduceError::Offline);
        }
        if !leadership.here {
            return Err(ProduceError::NotLeader);
        }
        if acks == RequiredAcks::All {
            let (isr, min) = self.in_sync(&leadership);
            if isr < min {
                return Err(ProduceError::NotEnoughReplicas { isr, min });
            }
        }
        let Some(log) = guard.as_mut() else { return Err(ProduceError::NotLeader) };
        let writer = if origin == Origin::Client { Writer::Client } else { Writer::Coordinator };
        let directory = self.directory.load();
        let file_system = directory.file_system();
        if !file_system.take(records.len(), writer) {
            return Err(ProduceError::NoSpace { reserve: file_system.reserve() });
        }
        let epoch = LeaderEpoch(leadership.epoch);
        let mut appended = log
            .append_as_leader(records, epoch, origin, now)
            .inspect_err(|error| self.judge_append(error))
            .map_err(ProduceError::Append)?;
        if appended.duplicate {
            // It is known under this epoch to be here, whoever appended it.
            appended.leader_epoch = epoch;
        } else {
            self.advance(log, appended.size);
            if log.should_flush(now) {
                self.flush_soon();
            }
        }
        Ok(appended)
    }

    /// Reads whole batches from the one with `offset` on, at most `max_bytes` unless `min_one` asks for the first
    /// whatever its size.
    ///
    /// # Errors
    /// Out of range, or the storage failed.
    pub fn read(
        &self,
        offset: Offset,
        max_bytes: usize,
        isolation: Isolation,
        min_one: bool,
    ) -> Result<Read, PartitionError> {
        let guard = self.log.read();
        let log = self.open(&guard)?;
        let high_watermark = self.high_watermark();
        let last_stable_offset = self.stable(log);
        let log_start_offset = log.start_offset();
        if offset < log_start_offset || offset > log.end_offset() {
            return Err(PartitionError::OffsetOutOfRange(offset));
        }
        let up_to = match isolation {
            Isolation::ReadUncommitted => high_watermark,
            Isolation::ReadCommitted => last_stable_offset,
            Isolation::LogEnd => log.end_offset(),
        };
        let mut read = Read {
            records: Records::default(),
            high_watermark,
            last_stable_offset,
            log_start_offset,
            aborted: Vec::new(),
        };
        if offset < up_to {
            let slice = log.read(offset, max_bytes, up_to, min_one)?;
            if isolation == Isolation::ReadCommitted {
                let aborted = log.aborted_transactions(offset, slice.next_offset);
                read.aborted = aborted.inspect_err(|error| self.judge(error))?;
            }
            read.records = slice.records;
        }
        Ok(read)
    }

    /// What to read, away from the threads that serve connections, before [`Partition::read`] from `offset` on; `None`
    /// where that reads nothing from files, or fails anyway.
    pub fn lookup(&self, offset: Offset) -> Option<Lookup> {
        self.log.read().as_ref()?.lookup(offset).ok().flatten()
    }

    /// How much those who read that far were told by now: to be remembered before the partition is read, for [`Self::watch`].
    pub fn told(&self, isolation: Isolation) -> Told {
        self.waiting(isolation).told()
    }

    /// Registers a long poll of somebody who has read after `since`; what can be read from now on counts for it. `false` if
    /// there may be more to read already.
    pub fn watch(&self, waiter: Weak<Waiter>, isolation: Isolation, since: Told) -> bool {
        self.waiting(isolation).add(waiter, since)
    }

    fn waiting(&self, isolation: Isolation) -> &Waiters {
        match isolation {
            Isolation::LogEnd => &self.followers_waiting,
            _ => &self.waiters,
        }
    }

    /// First record at `at` or later.
    ///
    /// # Errors
    /// The storage failed.
    pub fn offset_for_timestamp(&self, at: TimestampMs) -> Result<Option<TimestampOffset>, PartitionError> {
        let guard = self.log.read();
        let found = self.open(&guard)?.offset_for_timestamp(at);
        Ok(found.inspect_err(|error| self.judge(error))?)
    }

    /// First record with the largest timestamp.
    ///
    /// # Errors
    /// The storage failed.
    pub fn offset_of_max_timestamp(&self) -> Result<Option<TimestampOffset>, PartitionError> {
        let guard = self.log.read();
        let found = self.open(&guard)?.offset_of_max_timestamp();
        Ok(found.inspect_err(|error| self.judge(error))?)
    }

    /// The leader epoch of the batch at the log's end, or of its start when it is empty.
    pub fn last_epoch(&self) -> Option<LeaderEpoch> {
        self.log.read().as_ref().and_then(Log::last_epoch)
    }

    /// The leader epoch of the first batch.
    pub fn first_epoch(&self) -> Option<LeaderEpoch> {
        self.look(|log| log.epoch_at(log.start_offset())).flatten()
    }

    /// Largest epoch at or below `epoch`, and where it ends.
    pub fn end_offset_for_epoch(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        self.log.read().as_ref().and_then(|log| log.end_offset_for_epoch(epoch))
    }

    /// The producers that the log remembers.
    ///
    /// # Errors
    /// This broker does not lead, or the directory failed.
    pub fn active_producers(&self) -> Result<Vec<ActiveProducer>, PartitionError> {
        self.check_leader(-1)?;
        let guard = self.log.read();
        Ok(self.open(&guard)?.active_producers())
    }

    /// Hides the records below `before`, or all that are committed; returns the log start. Its checkpoint is to be
    /// written then.
    ///
    /// # Errors
    /// This broker does not lead, the topic is only compacted, or the offset is not in `0..=` the high watermark.
    pub fn delete_records(&self, before: Option<Offset>) -> Result<Offset, PartitionError> {
        let mut guard = self.log.write();
        self.check_leader(-1)?;
        self.open(&guard)?;
        let log = guard.as_mut().ok_or(PartitionError::NotLeader)?;
        let config = log.config();
        if config.compact && !config.delete {
            return Err(PartitionError::Compacted);
        }
        let high_watermark = self.high_watermark();
        let before = before.unwrap_or(high_watermark);
        if before < Offset::ZERO || before > high_watermark {
            return Err(PartitionError::OffsetOutOfRange(before));
        }
        log.advance_start_offset(before).inspect_err(|error| self.judge(error))?;
        self.advance(log, 0);
        Ok(log.start_offset())
    }

    /// Checks the leader epoch that a client believes in; -1 means that it does not care.
    ///
    /// # Errors
    /// This broker does not lead, or knows another epoch.
    pub fn check_leader(&self, client_epoch: i32) -> Result<(), PartitionError> {
        self.check_replica(client_epoch)?;
        if self.leadership.load().here { Ok(()) } else { Err(PartitionError::NotLeader) }
    }

    /// The same for whoever reads from any replica (KIP-392).
    ///
    /// # Errors
    /// This broker knows another epoch.
    pub fn check_replica(&self, client_epoch: i32) -> Result<(), PartitionError> {
        if self.directory.load().is_offline() {
            return Err(PartitionError::Storage("log directory is offline".into()));
        }
        let leadership = self.leadership.load();
        match client_epoch {
            e if e != -1 && e < leadership.epoch => Err(PartitionError::FencedLeaderEpoch(e)),
            e if e > leadership.epoch => Err(PartitionError::UnknownLeaderEpoch(e)),
            _ => Ok(()),
        }
    }

    /// Takes over what the metadata image says now; waiters look again if something changed.
    pub fn set_leadership(self: &Arc<Self>, leadership: Leadership) {
        let mut guard = self.log.write();
        let old = self.leadership.swap(Arc::new(leadership));
        let new = self.leadership.load_full();
        if *old == *new {
            return;
        }
        if !old.here || !new.here {
            self.led_since.store(new.epoch, Ordering::Release);
        }
        let mut unflushed = false;
        if let Some(log) = guard.as_mut() {
            self.enter(log);
            self.advance(log, 0);
            unflushed = log.recovery_point() < log.end_offset();
        }
        drop(guard);
        self.tell_committed(true);
        self.tell_all(Progress::Changed);
        if unflushed && new.flushed && new.here {
            self.flush_soon();
        }
    }

    /// Runs `work` with the log locked for writing; `None` when the partition is closed. Bounds are taken over after.
    pub(super) fn with_log<R>(&self, work: impl FnOnce(&mut Log) -> R) -> Option<R> {
        let mut guard = self.log.write();
        let log = guard.as_mut()?;
        let result = work(log);
        self.advance(log, 0);
        Some(result)
    }

    /// Runs `look` with the log locked for reading; `None` when the partition is closed.
    pub(super) fn look<R>(&self, look: impl FnOnce(&Log) -> R) -> Option<R> {
        self.log.read().as_ref().map(look)
    }

    /// Has the log flushed on the blocking pool, with others where somebody waits for it. One flush at a time: what is
    /// appended meanwhile goes with the next.
    pub(super) fn flush_soon(self: &Arc<Self>) {
        if self.flushing.swap(true, Ordering::AcqRel) {
            return;
        }
        if self.leadership.load().flushed {
            return self.directory().flush_soon(Arc::clone(self));
        }
        let partition = Arc::clone(self);
        self.surroundings.spawn(move || partition.flush_until_quiet());
    }

    fn flush_until_quiet(&self) {
        loop {
            let flushed = self.flush(clock::now());
            self.flushing.store(false, Ordering::Release);
            let due = self.look(|log| log.should_flush(clock::now())).unwrap_or(false);
            if flushed.is_err() || !due || self.flushing.swap(true, Ordering::AcqRel) {
                return;
            }
        }
    }

    /// Makes everything appended durable; appends go on meanwhile. Waits for the disk: never on a task of the runtime.
    /// A failure fences the directory, whatever it is: the kernel may have dropped what was not written.
    pub(super) fn flush(&self, now: TimestampMs) -> Result<(), LogError> {
        let _one_at_a_time = self.flushes.lock();
        let Some(flush) = self.prepare_flush()? else { return Ok(()) };
        self.complete_flush(&flush, flush.run(), now)
    }

    /// What a flush has to make durable, if the log is open; `flushes` is held until it is completed.
    pub(super) fn prepare_flush(&self) -> Result<Option<Flush>, LogError> {
        let prepared = self.with_log(Log::prepare_flush).transpose();
        prepared.inspect_err(|error| self.judge(error))
    }

    /// Takes over what has become of it.
    pub(super) fn complete_flush(
        &self,
        flush: &Flush,
        result: Result<(), LogError>,
        now: TimestampMs,
    ) -> Result<(), LogError> {
        let flushed = self.with_log(|log| log.complete_flush(flush, result, now)).unwrap_or(Ok(()));
        flushed.inspect_err(|error| self.directory.load().fence(&format!("{}: flush: {error}", self.name)))
    }

    /// New topic settings.
    pub(super) fn update_config(&self, config: LogConfig) {
        self.with_log(|log| log.update_config(config));
    }

    /// Takes the log out: everything that is asked from now on gets NOT_LEADER_OR_FOLLOWER.
    pub(super) fn close(&self) -> Option<Log> {
        let log = self.log.write().take();
        self.leadership.rcu(|leadership| Leadership { here: false, ..(**leadership).clone() });
        *self.role.lock() = Role::Alone;
        self.tell_committed(false);
        self.tell_all(Progress::Changed);
        log
    }

    /// Wakes everybody up after the directory was fenced.
    pub(super) fn directory_failed(&self) {
        self.tell_committed(false);
        self.tell_all(Progress::Changed);
    }

    /// Takes up what the leadership says. A leader's epoch begins where the log ends when it is elected, whether it appends or
    /// not (KIP-101).
    fn enter(&self, log: &mut Log) {
        let leadership = self.leadership.load();
        if leadership.here {
            log.begin_epoch(LeaderEpoch(leadership.epoch));
        }
        self.take_role(log, &leadership);
    }

    pub(super) fn tell_all(&self, progress: Progress) {
        self.waiters.tell(progress);
        self.followers_waiting.tell(progress);
    }

    pub(super) fn open<'a>(&self, log: &'a Option<Log>) -> Result<&'a Log, PartitionError> {
        if self.directory.load().is_offline() {
            return Err(PartitionError::Storage("log directory is offline".into()));
        }
        log.as_ref().ok_or(PartitionError::NotLeader)
    }

    /// Takes over the log's bounds; `appended` bytes were added. For a partition with one replica the high watermark is where
    /// that ends; it does not move while the ISR is too small.
    pub(super) fn advance(&self, log: &Log, appended: usize) {
        let leadership = self.leadership.load();
        self.log_start.store(log.start_offset().0, Ordering::Release);
        self.log_end.store(log.end_offset().0, Ordering::Release);
        let end = if leadership.flushed { log.recovery_point() } else { log.end_offset() };
        if !leadership.is_alone() || !leadership.here {
            self.safe_end.store(end.0, Ordering::Release);
            self.advance_among_replicas(log, appended);
            return;
        }
        if leadership.isr.len() < leadership.effective_min_isr() {
            return;
        }
        let before = self.high_watermark.fetch_max(end.max(log.start_offset()).0, Ordering::AcqRel);
        if before < end.0 {
            self.tell_committed(true);
            // What is flushed was appended before, nobody knows here how much it was.
            let progress = if appended > 0 { Progress::Bytes(appended) } else { Progress::Changed };
            self.waiters.tell(progress);
        }
    }

    pub(super) fn stable(&self, log: &Log) -> Offset {
        let high_watermark = self.high_watermark();
        log.first_unstable_offset(high_watermark)
            .map_or(high_watermark, |unstable| unstable.min(high_watermark))
    }

    pub(super) fn judge_append(&self, error: &AppendError) {
        if let AppendError::Log(error) = error {
            self.judge(error);
        }
    }

    /// A full disk is survived; any other I/O error fences the directory.
    pub(super) fn judge(&self, error: &LogError) {
        self.directory.load().judge(&self.name, error);
    }
}
