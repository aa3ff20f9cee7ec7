//! What one producer sent, and what became of it. 16 bytes a record.

/// What the client was told of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Nothing yet.
    Pending,
    /// Acknowledged, at this offset where the broker named one.
    Acked(Option<i64>),
    /// The client gave up.
    Failed,
}

/// One record of a ledger.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The acknowledged offset, or one of the codes below.
    offset: i64,
    partition: i32,
    found: bool,
}

const UNNAMED: i64 = -1;
const PENDING: i64 = -2;
const FAILED: i64 = -3;

impl Entry {
    /// What the client was told.
    #[must_use]
    pub fn fate(&self) -> Fate {
        match self.offset {
            PENDING => Fate::Pending,
            FAILED => Fate::Failed,
            offset => Fate::Acked((offset >= 0).then_some(offset)),
        }
    }

    /// Where it was sent.
    #[must_use]
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// Whether the log has it.
    #[must_use]
    pub fn is_found(&self) -> bool {
        self.found
    }

    /// The log has it: whether that was known.
    pub(super) fn mark_found(&mut self) -> bool {
        std::mem::replace(&mut self.found, true)
    }
}

/// The records of one producer, by number.
#[derive(Debug)]
pub struct Ledger {
    producer: u32,
    entries: Vec<Entry>,
}

impl Ledger {
    /// Nothing sent yet.
    #[must_use]
    pub fn new(producer: u32) -> Self {
        Self { producer, entries: Vec::new() }
    }

    /// Whose it is.
    #[must_use]
    pub fn producer(&self) -> u32 {
        self.producer
    }

    /// The next number is about to be sent.
    pub fn sent(&mut self, partition: i32) {
        self.entries.push(Entry { offset: PENDING, partition, found: false });
    }

    /// The broker has it; a negative offset means that it did not say where.
    pub fn acked(&mut self, number: u64, offset: i64) {
        if let Some(entry) = self.get_mut(number) {
            entry.offset = offset.max(UNNAMED);
        }
    }

    /// The client gave up.
    pub fn failed(&mut self, number: u64) {
        if let Some(entry) = self.get_mut(number) {
            entry.offset = FAILED;
        }
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut Entry> {
        self.entries.get_mut(usize::try_from(number).ok()?)
    }

    /// How many the broker has acknowledged.
    #[must_use]
    pub fn acked_count(&self) -> u64 {
        self.entries.iter().map(|entry| u64::from(matches!(entry.fate(), Fate::Acked(_)))).sum()
    }

    /// All records by number.
    pub fn records(&self) -> impl Iterator<Item = (usize, &Entry)> {
        self.entries.iter().enumerate()
    }
}
