//! DescribeConfigs and IncrementalAlterConfigs of this broker's loggers (KIP-412).

use ottla_wire::messages::describe_configs_response::DescribeConfigsResourceResult;
use ottla_wire::messages::incremental_alter_configs_request::AlterableConfig;
use ottla_wire::{ErrorCode, Str};

use crate::controller::{TopicError, check_operations};
use crate::telemetry::loggers::{self, Loggers, ROOT};

/// Where the value of a logger comes from, as DescribeConfigs says it.
const SOURCE: i8 = 6;
const SET: i8 = 0;
const DELETE: i8 = 1;

/// Every logger that is wanted, with its level.
pub(super) fn describe(
    loggers: &Loggers,
    wanted: impl Fn(&str) -> bool,
) -> Vec<DescribeConfigsResourceResult> {
    let entry = |(name, level): (&'static str, &'static str)| DescribeConfigsResourceResult {
        name: name.into(),
        value: Some(level.into()),
        config_source: SOURCE,
        documentation: Some(Str::default()),
        ..Default::default()
    };
    loggers.described().into_iter().filter(|(name, _)| wanted(name)).map(entry).collect()
}

/// Whether `name` is the resource of node `id`; only that has loggers here.
pub(super) fn check_node(name: &str, id: i32) -> Result<(), TopicError> {
    match name.parse::<i32>() {
        Ok(asked) if asked == id => Ok(()),
        Ok(asked) => Err(invalid(format!("broker {asked} was asked for, this is broker {id}"))),
        Err(_) => Err(invalid(format!("{name:?} is no broker id"))),
    }
}

/// Changes levels, all or none.
pub(super) fn alter(
    loggers: &Loggers,
    changes: &[AlterableConfig],
    validate_only: bool,
) -> Result<(), TopicError> {
    check_operations(changes)?;
    let mut levels = Vec::with_capacity(changes.len());
    for change in changes {
        let name = change.name.to_string();
        let exists = || {
            let missing = || unfit(format!("there is no logger {name}"));
            loggers::exists(&name).then_some(()).ok_or_else(missing)
        };
        let level = match change.config_operation {
            SET => {
                exists()?;
                let asked = change.value.as_deref().unwrap_or_default();
                Some(loggers::level(asked).ok_or_else(|| unfit(format!("{asked:?} is no level of {name}")))?)
            }
            DELETE => {
                exists()?;
                if name == ROOT {
                    return Err(invalid(format!("the level of {ROOT} cannot be removed")));
                }
                None
            }
            other => return Err(invalid(format!("operation {other} does not fit levels of loggers"))),
        };
        levels.push((name, level));
    }
    if !validate_only {
        loggers.set(levels);
    }
    Ok(())
}

fn invalid(message: String) -> TopicError {
    TopicError::new(ErrorCode::InvalidRequest, message)
}

fn unfit(message: String) -> TopicError {
    TopicError::new(ErrorCode::InvalidConfig, message)
}
