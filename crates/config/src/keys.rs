//! Every configuration key that Kafka 4.3 knows, and which of them this broker uses.
//!
//! `keys.tsv` holds facts asked of Apache's own classes (`keys/`). `in_use.tsv` names the keys that drive
//! behaviour here, each with our documentation and the test that proves the claim; every other key is accepted, checked
//! and warned about. `removed.tsv` holds keys of older Kafkas with what to do instead.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::value::{Type, Valid, Value};

/// Whether a key configures brokers or topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// `server.properties` and broker resources.
    Broker,
    /// Topic resources.
    Topic,
}

/// How a key may change while the broker runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpdateMode {
    /// Only by a restart.
    ReadOnly,
    /// On one broker.
    PerBroker,
    /// On one broker or as the default of all.
    ClusterWide,
}

/// Whether a key does anything in this broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It drives behaviour.
    InUse,
    /// It is known and checked, and has no effect.
    NoEffect,
}

/// Who sees a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    /// Documented by Kafka.
    Public,
    /// Known to Kafka, not documented.
    Internal,
    /// Exists only as a dynamic broker config, not in `server.properties`.
    DynamicOnly,
}

/// The value of a key that nobody set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultValue {
    /// Has to be set.
    Required,
    /// Nothing.
    Null,
    /// This text.
    Text(&'static str),
}

/// One configuration key.
#[derive(Debug, Clone)]
pub struct Key {
    /// Broker or topic.
    pub scope: Scope,
    /// Kafka's name.
    pub name: &'static str,
    /// Type of the value.
    pub value_type: Type,
    /// Value when nothing is set.
    pub default: DefaultValue,
    /// Values that are allowed.
    pub valid: Valid,
    /// How it may change.
    pub mode: UpdateMode,
    /// Who sees it.
    pub visibility: Visibility,
    /// For a topic key the broker keys that give its default, strongest first; for a broker key all keys of the same
    /// meaning, strongest first.
    pub synonyms: Vec<&'static str>,
    /// In use or not.
    pub status: Status,
    /// The test that fails if a key in use stops having an effect; empty for others.
    pub proof: &'static str,
    /// One sentence, ours.
    pub doc: &'static str,
}

impl Key {
    /// Passwords are never shown.
    pub fn is_sensitive(&self) -> bool {
        self.value_type == Type::Password
    }

    /// The default as text, if there is one.
    pub fn default_text(&self) -> Option<&'static str> {
        match self.default {
            DefaultValue::Text(text) => Some(text),
            DefaultValue::Required | DefaultValue::Null => None,
        }
    }

    /// Reads and checks a value.
    ///
    /// # Errors
    /// The reason why the text is no value of this key, with the allowed range.
    pub fn parse(&self, text: &str) -> Result<Value, String> {
        let value = self.value_type.parse(text)?;
        self.valid.check(&value)?;
        Ok(value)
    }
}

/// What to do about a key that an older Kafka had.
#[derive(Debug, Clone, Copy)]
pub struct Removed {
    /// A name, or a prefix ending in a dot.
    pub name: &'static str,
    /// Whether the broker starts all the same, with a warning.
    pub ignored: bool,
    /// What to do.
    pub advice: &'static str,
}

static KEYS: LazyLock<BTreeMap<Scope, BTreeMap<&'static str, Key>>> = LazyLock::new(|| {
    let in_use = in_use();
    let mut keys: BTreeMap<Scope, BTreeMap<&'static str, Key>> = BTreeMap::new();
    for row in rows(include_str!("keys.tsv")).chain(rows(include_str!("ottla.tsv"))) {
        let key = key(&row, &in_use);
        keys.entry(key.scope).or_default().insert(key.name, key);
    }
    keys
});

static REMOVED: LazyLock<Vec<Removed>> = LazyLock::new(|| {
    rows(include_str!("removed.tsv"))
        .map(|row| Removed {
            name: column(&row, 0),
            ignored: column(&row, 1) == "warn",
            advice: column(&row, 2),
        })
        .collect()
});

/// The key of that name.
pub fn find(scope: Scope, name: &str) -> Option<&'static Key> {
    KEYS.get(&scope)?.get(name)
}

/// The broker key of that name.
pub fn broker(name: &str) -> Option<&'static Key> {
    find(Scope::Broker, name)
}

/// The topic key of that name.
pub fn topic(name: &str) -> Option<&'static Key> {
    find(Scope::Topic, name)
}

/// All keys of a scope, by name.
pub fn all(scope: Scope) -> impl Iterator<Item = &'static Key> {
    KEYS.get(&scope).into_iter().flat_map(BTreeMap::values)
}

/// What to do about a key of an older Kafka.
pub fn removed(name: &str) -> Option<&'static Removed> {
    REMOVED.iter().find(|removed| {
        if removed.name.ends_with('.') { name.starts_with(removed.name) } else { name == removed.name }
    })
}

/// The known broker key most like `name`, if one is near: for "did you mean".
pub fn nearest(scope: Scope, name: &str) -> Option<&'static str> {
    let limit = 1 + name.len() / 8;
    all(scope)
        .filter(|key| key.name.len().abs_diff(name.len()) <= limit)
        .map(|key| (distance(key.name.as_bytes(), name.as_bytes()), key.name))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, name)| name)
}

type Row = Vec<&'static str>;

fn rows(table: &'static str) -> impl Iterator<Item = Row> {
    table
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| line.split('\t').collect())
}

fn column(row: &Row, index: usize) -> &'static str {
    row.get(index).copied().unwrap_or_default()
}

fn scope(text: &str) -> Scope {
    if text == "topic" { Scope::Topic } else { Scope::Broker }
}

/// Keys whose names Kafka leaves open: overrides per listener, and the settings of plugins.
pub fn passes_through(name: &str) -> bool {
    const PREFIXES: [&str; 6] = [
        "listener.name.",
        "config.providers.",
        "rlmm.config.",
        "rsm.config.",
        "metrics.context.",
        "principal.builder.",
    ];
    PREFIXES.iter().any(|prefix| name.len() > prefix.len() && name.starts_with(prefix))
}

/// (scope, name) → (proof, documentation).
fn in_use() -> BTreeMap<(Scope, &'static str), (&'static str, &'static str)> {
    rows(include_str!("in_use.tsv"))
        .map(|row| ((scope(column(&row, 0)), column(&row, 1)), (column(&row, 2), column(&row, 3))))
        .collect()
}

const NO_EFFECT_DOC: &str = "Accepted and checked for compatibility; it has no effect in this broker.";

fn key(row: &Row, in_use: &BTreeMap<(Scope, &'static str), (&'static str, &'static str)>) -> Key {
    let scope = scope(column(row, 0));
    let name = column(row, 1);
    let used = in_use.get(&(scope, name));
    Key {
        scope,
        name,
        value_type: Type::from_name(column(row, 2)),
        default: default_value(column(row, 3)),
        valid: Valid::from_text(column(row, 4)),
        mode: match column(row, 5) {
            "cluster-wide" => UpdateMode::ClusterWide,
            "per-broker" => UpdateMode::PerBroker,
            _ => UpdateMode::ReadOnly,
        },
        visibility: match column(row, 6) {
            "internal" => Visibility::Internal,
            "dynamic-only" => Visibility::DynamicOnly,
            _ => Visibility::Public,
        },
        synonyms: column(row, 7).split(',').filter(|name| !name.is_empty()).collect(),
        status: if used.is_some() { Status::InUse } else { Status::NoEffect },
        proof: used.map_or("", |(proof, _)| proof),
        doc: used.map_or(NO_EFFECT_DOC, |(_, doc)| doc),
    }
}

fn default_value(text: &'static str) -> DefaultValue {
    match text.strip_prefix('=') {
        Some(value) => DefaultValue::Text(value),
        None if text == "required" => DefaultValue::Required,
        None => DefaultValue::Null,
    }
}

/// Levenshtein distance.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut previous = i;
        let mut left = i + 1;
        for (y, cell) in b.iter().zip(row.iter_mut().skip(1)) {
            let above = *cell;
            left = (left + 1).min(above + 1).min(previous + usize::from(x != y));
            previous = above;
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}
