//! Fetch sessions (KIP-227): the partitions that a client fetches, remembered from request to request.
//!
//! Pure: the time is a parameter, ids come from a seed. A session's epoch goes up by one with every request; an
//! answer lists only the partitions with news. At most `slots` sessions; a full cache gives its slot to a new session
//! only when one has been silent, or has lived and is smaller, for two minutes. A follower's takes that of a consumer at
//! once.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_wire::messages::fetch_response::PartitionData;
use ottla_wire::{ErrorCode, Str, Uuid};
use parking_lot::Mutex;

/// After so long a silent session may lose its slot.
const EVICTION: Duration = Duration::from_secs(120);
/// The epoch of a request that opens a session.
const INITIAL: i32 = 0;
/// The epoch of a request without a session, which closes the one that it names.
const FINAL: i32 = -1;

/// A partition as requests name it: by topic name up to version 12, by topic id from 13 on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PartitionKey {
    /// Name; empty in requests by id.
    pub topic: Str,
    /// Id; zero in requests by name.
    pub topic_id: Uuid,
    /// Index.
    pub partition: i32,
}

impl PartitionKey {
    /// The same, without holding on to the request's memory.
    fn owned(&self) -> Self {
        Self { topic: Str::from(&*self.topic), ..*self }
    }
}

/// What a client wants of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Which one.
    pub key: PartitionKey,
    /// The leader epoch that the client knows, -1 for none.
    pub leader_epoch: i32,
    /// From this offset on.
    pub offset: i64,
    /// The epoch of the last record that the client has, -1 if it does not say.
    pub last_fetched_epoch: i32,
    /// Where a replica's log starts, -1 from others.
    pub log_start: i64,
    /// At most so many bytes.
    pub max_bytes: i32,
}

/// A remembered partition and what its client was told last.
#[derive(Debug, Clone)]
struct Cached {
    wanted: Wanted,
    high_watermark: i64,
    log_start_offset: i64,
}

impl Cached {
    fn new(wanted: Wanted) -> Self {
        Self { wanted, high_watermark: -1, log_start_offset: -1 }
    }

    /// Whether `data` is news; remembers what it says.
    fn is_news(&mut self, data: &PartitionData) -> bool {
        let has_records = data.records.as_ref().is_some_and(|records| !records.is_empty());
        let moved =
            self.high_watermark != data.high_watermark || self.log_start_offset != data.log_start_offset;
        let failed = data.error_code != 0;
        let diverges = data.diverging_epoch.end_offset >= 0;
        // Who was told of an error, or that it has to truncate, has taken in nothing else.
        self.high_watermark = if failed || diverges { -1 } else { data.high_watermark };
        self.log_start_offset = data.log_start_offset;
        let elsewhere = data.preferred_read_replica >= 0;
        has_records || moved || failed || elsewhere || diverges
    }
}

/// One client's session. Partitions in an order of their own, in which those with data go to the end.
#[derive(Debug)]
struct Session {
    by_id: bool,
    of_replica: bool,
    epoch: i32,
    next_place: u64,
    places: HashMap<PartitionKey, u64>,
    partitions: BTreeMap<u64, Cached>,
    created: Instant,
    used: Instant,
}

impl Session {
    fn new(by_id: bool, of_replica: bool, wanted: Vec<Wanted>, now: Instant) -> Self {
        let mut session = Self {
            by_id,
            of_replica,
            epoch: 1,
            next_place: 0,
            places: HashMap::new(),
            partitions: BTreeMap::new(),
            created: now,
            used: now,
        };
        session.update(wanted, &[]);
        session
    }

    fn update(&mut self, wanted: Vec<Wanted>, forgotten: &[PartitionKey]) {
        for wanted in wanted {
            match self.places.get(&wanted.key).and_then(|place| self.partitions.get_mut(place)) {
                Some(cached) => cached.wanted = Wanted { key: cached.wanted.key.clone(), ..wanted },
                None => {
                    let wanted = Wanted { key: wanted.key.owned(), ..wanted };
                    self.places.insert(wanted.key.clone(), self.next_place);
                    self.partitions.insert(self.next_place, Cached::new(wanted));
                    self.next_place += 1;
                }
            }
        }
        for key in forgotten {
            if let Some(place) = self.places.remove(key) {
                self.partitions.remove(&place);
            }
        }
    }

    fn wanted(&self) -> Vec<Wanted> {
        self.partitions.values().map(|cached| cached.wanted.clone()).collect()
    }

    /// Notes what is told now; returns whether it is news. What has data goes to the end of the order.
    fn note(&mut self, key: &PartitionKey, data: &PartitionData) -> bool {
        let Some(place) = self.places.get(key).copied() else { return true };
        let Some(cached) = self.partitions.get_mut(&place) else { return true };
        let news = cached.is_news(data);
        if data.records.as_ref().is_some_and(|records| !records.is_empty())
            && let Some(cached) = self.partitions.remove(&place)
        {
            self.places.insert(cached.wanted.key.clone(), self.next_place);
            self.partitions.insert(self.next_place, cached);
            self.next_place += 1;
        }
        news
    }
}

/// How the partitions of one fetch are known.
#[derive(Debug)]
pub enum Context {
    /// Without a session.
    Sessionless,
    /// A full request that may open a session.
    Full {
        /// Whether a follower sent it.
        of_replica: bool,
    },
    /// The next request of a session.
    Incremental(i32, Arc<Slot>),
}

impl Context {
    /// The session's id, 0 while there is none.
    pub(crate) fn id(&self) -> i32 {
        match self {
            Self::Sessionless | Self::Full { .. } => 0,
            Self::Incremental(id, _) => *id,
        }
    }

    /// The same for a request that a follower sent.
    pub(crate) fn of_replica(self) -> Self {
        if matches!(self, Self::Full { .. }) { Self::Full { of_replica: true } } else { self }
    }
}

/// A session in the cache.
#[derive(Debug)]
pub struct Slot(Mutex<Session>);

/// All sessions of this broker.
#[derive(Debug)]
pub struct Sessions {
    slots: usize,
    cache: Mutex<Cache>,
}

#[derive(Debug)]
struct Cache {
    sessions: HashMap<i32, Arc<Slot>>,
    seed: u64,
}

impl Sessions {
    /// A cache of `slots` sessions (`max.incremental.fetch.session.cache.slots`); `seed` decides about the ids.
    pub fn new(slots: usize, seed: u64) -> Self {
        Self { slots, cache: Mutex::new(Cache { sessions: HashMap::new(), seed }) }
    }

    /// Number of open sessions.
    pub fn len(&self) -> usize {
        self.cache.lock().sessions.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes in a request: which partitions it is about, in which order.
    ///
    /// # Errors
    /// The session is unknown, at another epoch, or of the other kind of topic names.
    pub fn begin(
        &self,
        (id, epoch): (i32, i32),
        by_id: bool,
        wanted: Vec<Wanted>,
        forgotten: &[PartitionKey],
        now: Instant,
    ) -> Result<(Context, Vec<Wanted>), ErrorCode> {
        if epoch == INITIAL || epoch == FINAL {
            if id != 0 {
                self.cache.lock().sessions.remove(&id);
            }
            let context =
                if epoch == FINAL { Context::Sessionless } else { Context::Full { of_replica: false } };
            return Ok((context, wanted));
        }
        let slot = self.cache.lock().sessions.get(&id).cloned().ok_or(ErrorCode::FetchSessionIdNotFound)?;
        let mut session = slot.0.lock();
        if session.epoch != epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        if session.by_id != by_id {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        session.update(wanted, forgotten);
        if session.partitions.is_empty() {
            self.cache.lock().sessions.remove(&id);
            return Ok((Context::Sessionless, Vec::new()));
        }
        session.epoch = if epoch == i32::MAX { 1 } else { epoch + 1 };
        session.used = now;
        let wanted = session.wanted();
        drop(session);
        Ok((Context::Incremental(id, slot), wanted))
    }

    /// Closes a fetch: the session id for the response, and of `answers` those to send.
    pub fn finish(
        &self,
        context: Context,
        by_id: bool,
        wanted: Vec<Wanted>,
        mut answers: Vec<(PartitionKey, PartitionData)>,
        now: Instant,
    ) -> (i32, Vec<(PartitionKey, PartitionData)>) {
        match context {
            Context::Sessionless => (0, answers),
            Context::Full { of_replica } => {
                let mut session = Session::new(by_id, of_replica, wanted, now);
                for (key, data) in &answers {
                    session.note(key, data);
                }
                (self.open(session, now), answers)
            }
            Context::Incremental(id, slot) => {
                let mut session = slot.0.lock();
                answers.retain(|(key, data)| session.note(key, data));
                (id, answers)
            }
        }
    }

    /// Gives the session a slot and an id; 0 if there is none for it.
    fn open(&self, session: Session, now: Instant) -> i32 {
        let mut cache = self.cache.lock();
        let rank = (session.of_replica, session.partitions.len());
        if cache.sessions.len() >= self.slots && !cache.evict(rank, now) {
            return 0;
        }
        let id = cache.fresh_id();
        cache.sessions.insert(id, Arc::new(Slot(Mutex::new(session))));
        id
    }
}

impl Cache {
    /// Frees a slot for a session of this rank (a follower's or not, partitions), if one may go.
    fn evict(&mut self, rank: (bool, usize), now: Instant) -> bool {
        let age = |since: Instant| now.saturating_duration_since(since) > EVICTION;
        let rows = self.sessions.iter().filter_map(|(id, slot)| {
            // One that is in use right now is not silent.
            let session = slot.0.try_lock()?;
            let displaceable = age(session.created) || (rank.0 && !session.of_replica);
            Some((*id, session.used, displaceable, (session.of_replica, session.partitions.len())))
        });
        let rows: Vec<_> = rows.collect();
        let silent = rows.iter().filter(|row| age(row.1)).min_by_key(|row| row.1);
        let smaller = rows.iter().filter(|row| row.2 && row.3 < rank).min_by_key(|row| row.3);
        let Some((id, ..)) = silent.or(smaller) else { return false };
        self.sessions.remove(id);
        true
    }

    /// A positive id that is not in use. SplitMix64: ids need not be secret, only different.
    fn fresh_id(&mut self) -> i32 {
        loop {
            self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.seed;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let id = i32::try_from((z ^ (z >> 31)) >> 33).unwrap_or(0);
            if id > 0 && !self.sessions.contains_key(&id) {
                return id;
            }
        }
    }
}

#[cfg(test)]
#[path = "fetch_session_tests.rs"]
mod tests;
