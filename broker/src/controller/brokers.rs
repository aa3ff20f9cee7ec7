//! Brokers as the active controller hears of them: heartbeats, sessions, controlled shutdowns. Nothing of it is written
//! down; whoever becomes the active controller begins anew.
//!
//! A broker that is not heard of for `broker.session.timeout.ms` is to be fenced, and sooner where it used to be heard of
//! more often (`docs/decisions/0008`): each broker's own intervals say when its silence is strange. That counts only
//! while most brokers are heard of; when all fall silent at once it is rather the controller that cannot hear.
//!
//! All times are the controller's own, in milliseconds. Contacts are noted when a request arrives, before it waits for its
//! turn, and while the controller itself stood still nobody could be heard: that time does not count.

use std::collections::{BTreeMap, VecDeque};

use ottla_quorum::MetadataImage;

/// Intervals that make a habit.
const HABIT: usize = 4;
/// Shorter ones are none.
const SHORTEST_HABIT_MS: i64 = 200;
/// A silence this many times as long as the longest usual interval is strange.
const STRANGE: i64 = 4;
/// No silence is strange before.
const SHORTEST_SILENCE_MS: i64 = 2500;
/// At least so often the sessions are looked at; who comes later stood still meanwhile.
const LOOK_MS: i64 = 250;

/// The sessions of brokers.
#[derive(Clone, Debug)]
pub(crate) struct Brokers {
    session_timeout_ms: i64,
    sessions: BTreeMap<i32, Session>,
    looked_ms: Option<i64>,
}

#[derive(Clone, Debug)]
struct Session {
    epoch: i64,
    contact_ms: i64,
    /// Heard of by this controller itself.
    heard: bool,
    /// Fetches the metadata from this controller, if it says nothing else.
    fetches: bool,
    /// The last times between two contacts.
    gaps: VecDeque<i64>,
    /// Newest metadata that it has, -1 if it never said.
    metadata_offset: i64,
    /// Offset of its registration, where that was written by this controller.
    registered_at: Option<i64>,
    /// End of the changes that took its leadership away.
    shutdown_offset: Option<i64>,
}

impl Session {
    fn new(epoch: i64, now: i64) -> Self {
        Self {
            epoch,
            contact_ms: now,
            heard: false,
            fetches: false,
            gaps: VecDeque::new(),
            metadata_offset: -1,
            registered_at: None,
            shutdown_offset: None,
        }
    }

    /// Heartbeats that follow each other quickly, as of a broker that waits for something, say nothing about its habits.
    fn note_gap(&mut self, gap: i64) {
        if gap < SHORTEST_HABIT_MS {
            return;
        }
        self.gaps.push_back(gap);
        if self.gaps.len() > HABIT {
            self.gaps.pop_front();
        }
    }

    /// Whether the broker has been silent for longer than it is its habit.
    fn is_strange(&self, now: i64) -> bool {
        self.patience().is_some_and(|patience| self.contact_ms.saturating_add(patience) < now)
    }

    /// How long a silence is not strange; `None` while its habits are not known. Who does not even fetch from a new
    /// controller is silent since that became active.
    fn patience(&self) -> Option<i64> {
        if !self.heard && !self.fetches {
            return Some(SHORTEST_SILENCE_MS);
        }
        let known = self.gaps.len() == HABIT;
        let longest = self.gaps.iter().max().copied().filter(|_| known)?;
        Some(longest.saturating_mul(STRANGE).max(SHORTEST_SILENCE_MS))
    }
}

impl Brokers {
    /// Nobody is known.
    pub(crate) fn new(session_timeout_ms: i64) -> Self {
        Self { session_timeout_ms, sessions: BTreeMap::new(), looked_ms: None }
    }

    /// This controller became active: brokers that are not fenced have a whole session to be heard of.
    pub(crate) fn activate(&mut self, image: &MetadataImage, now: i64) {
        let unfenced = image.cluster.brokers.values().filter(|broker| !broker.fenced);
        self.sessions = unfenced.map(|broker| (broker.id, Session::new(broker.epoch, now))).collect();
        self.looked_ms = Some(now);
    }

    /// A request of the broker has arrived; nobody has looked yet whether it is the broker that it says.
    pub(crate) fn contact(&mut self, id: i32, epoch: i64, now: i64) {
        if let Some(session) = self.sessions.get_mut(&id).filter(|session| session.epoch == epoch) {
            if session.heard {
                session.note_gap(now.saturating_sub(session.contact_ms));
            }
            session.heard = true;
            session.contact_ms = session.contact_ms.max(now);
        }
    }

    /// Whether the broker was heard of at that time or later.
    pub(crate) fn was_heard(&self, id: i32, epoch: i64, since: i64) -> bool {
        self.sessions.get(&id).is_some_and(|it| it.epoch == epoch && it.heard && it.contact_ms >= since)
    }

    /// The node fetches the metadata from this controller, so its process lives.
    pub(crate) fn fetches(&mut self, id: i32) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.fetches = true;
        }
    }

    /// The broker was registered by the record at `offset`.
    pub(crate) fn register(&mut self, id: i32, epoch: i64, offset: i64, now: i64) {
        self.session(id, epoch, now).registered_at = Some(offset);
        self.contact(id, epoch, now);
    }

    /// The broker lives and has this metadata.
    pub(crate) fn heartbeat(&mut self, id: i32, epoch: i64, offset: i64, now: i64) {
        self.session(id, epoch, now).metadata_offset = offset;
        self.contact(id, epoch, now);
    }

    /// Whether the broker is there: heard of by this controller, and not too long ago.
    pub(crate) fn is_live(&self, id: i32, epoch: i64, now: i64) -> bool {
        self.sessions.get(&id).is_some_and(|it| it.epoch == epoch && it.heard && !self.is_expired(it, now))
    }

    /// The broker is known to be gone, or was told to go: whoever registers under its id need not wait.
    pub(crate) fn end(&mut self, id: i32) {
        self.sessions.remove(&id);
    }

    /// Offset of the broker's registration, which it must know before it is unfenced; its epoch, if nothing else is known.
    pub(crate) fn registered_at(&self, id: i32, epoch: i64) -> i64 {
        let session = self.sessions.get(&id).filter(|session| session.epoch == epoch);
        session.and_then(|session| session.registered_at).unwrap_or(epoch)
    }

    /// The changes that took the broker's leadership away end before this offset.
    pub(crate) fn begin_shutdown(&mut self, id: i32, epoch: i64, offset: i64, now: i64) {
        self.session(id, epoch, now).shutdown_offset = Some(offset);
    }

    /// The broker is fenced: no shutdown is under way any more.
    pub(crate) fn fenced(&mut self, id: i32) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.shutdown_offset = None;
        }
    }

    /// Whether a controlled shutdown that this controller granted is under way, and up to where it changed the metadata.
    pub(crate) fn shutdown_offset(&self, id: i32, epoch: i64) -> Option<i64> {
        self.sessions.get(&id).filter(|session| session.epoch == epoch)?.shutdown_offset
    }

    /// The oldest metadata that any active broker has; none if there is no active broker.
    pub(crate) fn lowest_active_offset(&self, image: &MetadataImage) -> Option<i64> {
        let active = image.cluster.brokers.values().filter(|broker| broker.is_active());
        active
            .map(|broker| {
                let session = self.sessions.get(&broker.id).filter(|session| session.epoch == broker.epoch);
                session.map_or(-1, |session| session.metadata_offset)
            })
            .min()
    }

    /// Brokers whose sessions are over, the longest silent first. Each is told once.
    pub(crate) fn take_expired(&mut self, now: i64) -> Vec<(i32, i64)> {
        self.forgive_standstill(now);
        let over = |session: &Session| self.is_expired(session, now);
        let strange = self.sessions.values().filter(|it| over(it) || it.is_strange(now)).count();
        let most_are_heard = strange.saturating_mul(2) < self.sessions.len();
        let ended = self.sessions.iter().filter(|(_, it)| over(it) || (most_are_heard && it.is_strange(now)));
        let mut expired: Vec<_> =
            ended.map(|(id, session)| (session.contact_ms, *id, session.epoch)).collect();
        expired.sort_unstable();
        expired.iter().for_each(|(_, id, _)| self.end(*id));
        expired.into_iter().map(|(_, id, epoch)| (id, epoch)).collect()
    }

    /// What has ended since `before` has not: it could not be written down.
    pub(crate) fn take_back(&mut self, before: Self) {
        self.sessions = before.sessions;
    }

    /// When to look for expired sessions again; never if there are none.
    pub(crate) fn next_look(&self) -> Option<i64> {
        let looked = self.looked_ms.unwrap_or_default();
        (!self.sessions.is_empty())
            .then(|| looked.saturating_add(LOOK_MS.min((self.session_timeout_ms / 8).max(1))))
    }

    fn is_expired(&self, session: &Session, now: i64) -> bool {
        session.contact_ms.saturating_add(self.session_timeout_ms) < now
    }

    /// Looks come often; if twice the time between two of them has passed without, the controller stood still. What is usual
    /// between two looks counts even then, so that a controller that is slow for ever fences in the end.
    fn forgive_standstill(&mut self, now: i64) {
        let since = now.saturating_sub(self.looked_ms.unwrap_or(now));
        self.looked_ms = Some(now);
        let usual = LOOK_MS.min((self.session_timeout_ms / 8).max(1));
        if since <= usual * 2 {
            return;
        }
        for session in self.sessions.values_mut() {
            session.contact_ms = session.contact_ms.saturating_add(since - usual).min(now);
        }
    }

    /// The session of this registration; an older one's is over.
    fn session(&mut self, id: i32, epoch: i64, now: i64) -> &mut Session {
        let session = self.sessions.entry(id).or_insert_with(|| Session::new(epoch, now));
        if session.epoch != epoch {
            *session = Session::new(epoch, now);
        }
        session
    }
}
