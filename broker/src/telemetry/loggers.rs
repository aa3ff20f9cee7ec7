//! The levels of this broker's loggers, which change while it runs (KIP-412).
//!
//! A logger is a module of the broker, or a crate below it, by the name under which its lines appear, with dots for
//! Kafka's tools; `root` is all the others. A logger without a level of its own has that of the one above.

use std::collections::BTreeMap;
use std::fmt;

use parking_lot::Mutex;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

/// The logger above all others.
pub const ROOT: &str = "root";

/// All others, by name.
const LOGGERS: [&str; 17] = [
    "ottla_broker",
    "ottla_broker.admin",
    "ottla_broker.api",
    "ottla_broker.broker",
    "ottla_broker.cleaner",
    "ottla_broker.controller",
    "ottla_broker.group",
    "ottla_broker.net",
    "ottla_broker.node",
    "ottla_broker.partition",
    "ottla_broker.quota",
    "ottla_broker.replication",
    "ottla_broker.security",
    "ottla_broker.storage",
    "ottla_broker.telemetry",
    "ottla_log",
    "ottla_quorum",
];

/// Kafka's names of levels. Nothing here is worse than an error, so that the last one is silence.
const LEVELS: [(&str, LevelFilter); 6] = [
    ("TRACE", LevelFilter::TRACE),
    ("DEBUG", LevelFilter::DEBUG),
    ("INFO", LevelFilter::INFO),
    ("WARN", LevelFilter::WARN),
    ("ERROR", LevelFilter::ERROR),
    ("FATAL", LevelFilter::OFF),
];

/// The level of that name.
pub fn level(name: &str) -> Option<LevelFilter> {
    LEVELS.iter().find(|(known, _)| *known == name).map(|(_, level)| *level)
}

/// Whether there is such a logger.
pub fn exists(name: &str) -> bool {
    name == ROOT || LOGGERS.contains(&name)
}

/// Who is told of other levels.
type Apply = Box<dyn Fn(Targets) + Send + Sync>;

/// The loggers and their levels.
pub struct Loggers {
    levels: Mutex<Levels>,
    apply: Apply,
}

#[derive(Debug, Clone)]
struct Levels {
    root: LevelFilter,
    own: BTreeMap<String, LevelFilter>,
}

impl fmt::Debug for Loggers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.levels.fmt(f)
    }
}

impl Default for Loggers {
    /// Levels that nobody is told of.
    fn default() -> Self {
        Self::new(&Targets::new(), Box::new(|_| ()))
    }
}

impl Loggers {
    /// With levels to begin with; what they do not name is at `INFO`. `apply` is called with all levels after a change.
    pub fn new(levels: &Targets, apply: Apply) -> Self {
        let root = levels.default_level().unwrap_or(LevelFilter::INFO);
        let own = levels.iter().map(|(target, level)| (target.to_owned(), level)).collect();
        Self { levels: Mutex::new(Levels { root, own }), apply }
    }

    /// All levels as they are now.
    pub fn targets(&self) -> Targets {
        self.levels.lock().targets()
    }

    /// Every logger with its level by Kafka's name, in the order of their names.
    pub fn described(&self) -> Vec<(&'static str, &'static str)> {
        let levels = self.levels.lock();
        LOGGERS.into_iter().chain([ROOT]).map(|name| (name, levels.name_of(name))).collect()
    }

    /// Sets the levels of loggers that exist; without a level a logger has that of the one above.
    pub fn set(&self, changes: impl IntoIterator<Item = (String, Option<LevelFilter>)>) {
        let mut levels = self.levels.lock();
        for (name, level) in changes {
            match level {
                Some(level) if name == ROOT => levels.root = level,
                Some(level) => {
                    levels.own.insert(target(&name), level);
                }
                None => {
                    levels.own.remove(&target(&name));
                }
            }
        }
        (self.apply)(levels.targets());
    }
}

impl Levels {
    fn targets(&self) -> Targets {
        let own = self.own.iter().map(|(target, level)| (target.clone(), *level));
        Targets::new().with_default(self.root).with_targets(own)
    }

    fn name_of(&self, logger: &str) -> &'static str {
        let target = target(logger);
        let above = |own: &&String| {
            target.strip_prefix(own.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        };
        let nearest = self.own.keys().filter(above).max_by_key(|own| own.len());
        let level =
            nearest.and_then(|own| self.own.get(own)).filter(|_| logger != ROOT).unwrap_or(&self.root);
        LEVELS.iter().find(|(_, known)| known == level).map_or("INFO", |(name, _)| name)
    }
}

/// The module that a logger is.
fn target(logger: &str) -> String {
    logger.replace('.', "::")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tracing::Level;

    use super::*;

    #[test]
    fn every_module_is_a_logger() {
        // Modules that say nothing, and those that run before there are any levels.
        let silent = ["cli", "clock", "fetch_session"];
        let modules = include_str!("../lib.rs").lines();
        let modules = modules.filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
        for module in modules.filter(|module| !silent.contains(module)) {
            assert!(exists(&format!("ottla_broker.{module}")), "{module}");
        }
        assert!(LOGGERS.is_sorted() && exists(ROOT) && !exists("") && !exists("ottla_broker."));
    }

    #[test]
    fn levels_are_those_of_the_nearest_above_and_take_effect() {
        let told = Arc::new(Mutex::new(Targets::new()));
        let teller = Arc::clone(&told);
        let first = "warn,ottla_broker::net::frame=trace".parse().unwrap();
        let loggers = Loggers::new(&first, Box::new(move |targets| *teller.lock() = targets));
        let described = |name: &str| loggers.described().into_iter().find(|(it, _)| *it == name).unwrap().1;
        assert_eq!((described("root"), described("ottla_broker.net")), ("WARN", "WARN"));
        loggers.set([("ottla_broker".into(), level("DEBUG")), ("ottla_broker.net".into(), level("FATAL"))]);
        assert_eq!((described("root"), described("ottla_log")), ("WARN", "WARN"));
        assert_eq!((described("ottla_broker.api"), described("ottla_broker.net")), ("DEBUG", "FATAL"));
        let enabled = |target: &str, level| told.lock().would_enable(target, &level);
        assert!(enabled("ottla_broker::api::fetch", Level::DEBUG) && !enabled("ottla_log::log", Level::INFO));
        assert!(!enabled("ottla_broker::net::slots", Level::ERROR));
        assert!(enabled("ottla_broker::net::frame", Level::TRACE), "as it was started with");
        loggers.set([("ottla_broker.net".into(), None), ("root".into(), level("TRACE"))]);
        assert_eq!((described("ottla_broker.net"), described("ottla_quorum")), ("DEBUG", "TRACE"));
        assert_eq!((level("info"), level("OFF")), (None, None));
    }
}
