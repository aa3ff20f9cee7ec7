//! The settings that somebody made, each with its origin: file, then environment, then `--override`; the last wins.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_log::properties;

use super::environment::{self, EnvironmentSetting};
use super::error::{ConfigError, ConfigErrors, Origin};
use super::keys::{self, Scope, Status, Visibility};
use super::providers;
use super::value::{self, Value};

/// Where a node's configuration comes from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// `server.properties`.
    pub file: Option<PathBuf>,
    /// What would be in `server.properties`, for whoever judges it before it is written.
    pub text: Option<String>,
    /// `--override key=value`.
    pub overrides: Vec<(String, String)>,
    /// The process's environment, all of it.
    pub environment: Vec<(String, String)>,
    /// This host's name, advertised where a listener has none.
    pub host_name: String,
}

/// A value with its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// As written, without the blanks around it.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
}

/// Static settings by key. Only known keys with valid values, and keys that pass through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    by_key: BTreeMap<String, Setting>,
}

impl Settings {
    /// Reads and merges all sources. Nothing is checked yet.
    ///
    /// # Errors
    /// A file that cannot be read or is malformed.
    pub fn gather(sources: &Sources, warnings: &mut Vec<String>) -> Result<Settings, ConfigErrors> {
        let mut settings = Settings::default();
        if let Some(path) = &sources.file {
            settings.add_file(path)?;
        }
        if let Some(text) = &sources.text {
            settings.add_text(Path::new("server.properties"), text.as_bytes())?;
        }
        settings.add_environment(&sources.environment, warnings);
        for (key, value) in &sources.overrides {
            settings.set(key, value, Origin::Override);
        }
        settings.resolve(&sources.environment, warnings);
        Ok(settings)
    }

    fn add_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let read = |error: std::io::Error| ConfigError::Read { path: path.into(), reason: error.to_string() };
        let text = std::fs::read(path).map_err(read)?;
        self.add_text(path, &text)
    }

    fn add_text(&mut self, path: &Path, text: &[u8]) -> Result<(), ConfigError> {
        let shared: Arc<Path> = path.into();
        let found =
            properties::parse(text).map_err(|error| ConfigError::Properties { path: path.into(), error })?;
        for property in found {
            self.set(&property.key, &property.value, Origin::File(Arc::clone(&shared), property.line));
        }
        Ok(())
    }

    fn add_environment(&mut self, environment: &[(String, String)], warnings: &mut Vec<String>) {
        for (variable, value) in environment {
            match environment::setting(variable, value) {
                EnvironmentSetting::Key(key) => self.set(&key, value, Origin::Environment(variable.clone())),
                EnvironmentSetting::Unknown(key) => warnings
                    .push(format!("environment variable {variable} is ignored: there is no key {key}")),
                EnvironmentSetting::Foreign => {}
            }
        }
    }

    /// Puts in what the providers of `config.providers` know.
    fn resolve(&mut self, environment: &[(String, String)], warnings: &mut Vec<String>) {
        let named = value::list(self.text("config.providers").unwrap_or_default());
        let class = |name: &str| format!("config.providers.{name}.class");
        let is_known = |name: &String| self.text(&class(name)) == Some(providers::ENVIRONMENT);
        let (known, unknown): (Vec<_>, Vec<_>) = named.into_iter().partition(is_known);
        warnings.extend(unknown.iter().map(|name| {
            format!(
                "config.providers: {name} has no effect, {} is not {}",
                class(name),
                providers::ENVIRONMENT
            )
        }));
        if known.is_empty() {
            return;
        }
        // It has had its effect: all others of the kind are warned about.
        known.iter().for_each(|name| drop(self.by_key.remove(&class(name))));
        for setting in self.by_key.values_mut().filter(|setting| setting.value.contains("${")) {
            let is_provider = |name: &str| known.iter().any(|it| it == name);
            setting.value = providers::resolve(&setting.value, is_provider, environment);
        }
    }

    /// Sets a key; an earlier setting of it is forgotten.
    pub fn set(&mut self, key: &str, value: &str, origin: Origin) {
        let setting = Setting { value: value.trim().to_owned(), origin };
        self.by_key.insert(key.to_owned(), setting);
    }

    /// Sets a key that nobody has set.
    pub(super) fn assume(&mut self, key: &str, value: &str) {
        if !self.is_set(key) {
            self.set(key, value, Origin::SingleNode);
        }
    }

    /// Two names of one thing: where one is set, so is the other.
    pub(super) fn mirror(&mut self, one: &str, other: &str) {
        for (from, to) in [(one, other), (other, one)] {
            if let Some(setting) = self.by_key.get(from).cloned().filter(|_| !self.is_set(to)) {
                self.by_key.insert(to.to_owned(), setting);
            }
        }
    }

    /// Whether somebody set the key.
    pub fn is_set(&self, key: &str) -> bool {
        self.by_key.contains_key(key)
    }

    /// The setting of a key.
    pub fn get(&self, key: &str) -> Option<&Setting> {
        self.by_key.get(key)
    }

    /// The value that somebody set.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.by_key.get(key).map(|setting| setting.value.as_str())
    }

    /// All settings, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Setting)> {
        self.by_key.iter().map(|(key, setting)| (key.as_str(), setting))
    }

    /// Checks every setting by itself: the key is known, the value fits it. Keys without effect are warned about and
    /// those of older Kafkas that may be ignored are dropped.
    pub(super) fn check(&mut self, warnings: &mut Vec<String>) -> Vec<ConfigError> {
        let mut errors = Vec::new();
        let mut dropped = Vec::new();
        for (key, setting) in &self.by_key {
            match verdict(key, setting) {
                Verdict::InUse => {}
                Verdict::NoEffect => warnings.push(format!("{}{key} has no effect", setting.origin)),
                Verdict::Ignored(advice) => {
                    warnings.push(format!("{}{key} is ignored: {advice}", setting.origin));
                    dropped.push(key.clone());
                }
                Verdict::Wrong(error) => errors.push(error),
            }
        }
        for key in dropped {
            self.by_key.remove(&key);
        }
        errors
    }

    /// The typed value of a broker key: as set, or the default.
    pub(super) fn value(&self, name: &str) -> Option<Value> {
        let key = keys::broker(name)?;
        let text = self.text(name).or(key.default_text())?;
        key.parse(text).ok()
    }
}

enum Verdict {
    InUse,
    NoEffect,
    Ignored(&'static str),
    Wrong(ConfigError),
}

fn verdict(name: &str, setting: &Setting) -> Verdict {
    if let Some(key) = keys::broker(name).filter(|key| key.visibility != Visibility::DynamicOnly) {
        return match (key.parse(&setting.value), key.status) {
            (Err(reason), _) => Verdict::Wrong(ConfigError::Invalid {
                key: name.to_owned(),
                value: if key.is_sensitive() { "[hidden]".into() } else { setting.value.clone() },
                reason,
                origin: setting.origin.clone(),
            }),
            (Ok(_), Status::InUse) => Verdict::InUse,
            (Ok(_), Status::NoEffect) => Verdict::NoEffect,
        };
    }
    if let Some(removed) = keys::removed(name) {
        if removed.ignored {
            return Verdict::Ignored(removed.advice);
        }
        return Verdict::Wrong(ConfigError::Removed {
            key: name.to_owned(),
            origin: setting.origin.clone(),
            advice: removed.advice,
        });
    }
    if keys::passes_through(name) {
        return Verdict::NoEffect;
    }
    Verdict::Wrong(ConfigError::Unknown {
        key: name.to_owned(),
        origin: setting.origin.clone(),
        suggestion: keys::nearest(Scope::Broker, name),
    })
}
