//! The command line: start a node, or prepare its storage. Options are those of `kafka-server-start` and
//! `kafka-storage`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::Sources;

/// A Kafka broker. Without arguments it runs as a single node on port 9092, with its data in ./data.
#[derive(Debug, Parser)]
#[command(name = "ottla-broker", version, about, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// The node's configuration, as for Kafka; KAFKA_… environment variables and --override are stronger.
    #[arg(value_name = "SERVER.PROPERTIES")]
    file: Option<PathBuf>,
    /// Sets a configuration key; may be given several times.
    #[arg(long = "override", value_name = "KEY=VALUE", value_parser = key_and_value)]
    overrides: Vec<(String, String)>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Prepare the log directories of a node.
    Format(FormatArgs),
    /// Print a new cluster id.
    RandomUuid,
}

/// Options of `format`.
#[derive(Debug, Clone, Args)]
pub struct FormatArgs {
    /// Id of the cluster, the same for all its nodes: see random-uuid.
    #[arg(short = 't', long, value_name = "ID")]
    pub cluster_id: String,
    /// The node's configuration.
    #[arg(short = 'c', long, value_name = "SERVER.PROPERTIES")]
    pub config: PathBuf,
    /// Pass over directories that are formatted already.
    #[arg(short = 'g', long)]
    pub ignore_formatted: bool,
    /// Release whose feature levels the cluster begins with, for example 4.3 or 4.3-IV0.
    #[arg(short = 'r', long, value_name = "VERSION")]
    pub release_version: Option<String>,
    /// Level of a feature, for example metadata.version=30; may be given several times.
    #[arg(short = 'f', long = "feature", value_name = "FEATURE=LEVEL", value_parser = feature_and_level)]
    pub features: Vec<(String, i16)>,
    /// This controller is the only voter of a new quorum.
    #[arg(short = 's', long, conflicts_with_all = ["no_initial_controllers", "initial_controllers"])]
    pub standalone: bool,
    /// The node joins a quorum, or is told of it later.
    #[arg(short = 'N', long, conflicts_with = "initial_controllers")]
    pub no_initial_controllers: bool,
    /// The voters of a new quorum, the same on all its nodes.
    #[arg(short = 'I', long, value_name = "ID@HOST:PORT:DIRECTORY,…")]
    pub initial_controllers: Option<String>,
}

/// What the command line asks for.
#[derive(Debug)]
pub enum Action {
    /// Run a node.
    Serve(Sources),
    /// Prepare its storage.
    Format(FormatArgs),
    /// Print a new id.
    RandomUuid,
}

impl Cli {
    /// What is asked for, in this environment on this host.
    pub fn action(self, environment: Vec<(String, String)>, host_name: String) -> Action {
        match self.command {
            Some(Command::Format(args)) => Action::Format(args),
            Some(Command::RandomUuid) => Action::RandomUuid,
            None => Action::Serve(Sources {
                file: self.file,
                text: None,
                overrides: self.overrides,
                environment,
                host_name,
            }),
        }
    }
}

/// This process's environment; variables that are not text are left out.
pub fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// This host's name.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
        _ => Err("must be KEY=VALUE".into()),
    }
}

fn feature_and_level(text: &str) -> Result<(String, i16), String> {
    let (feature, level) = key_and_value(text).map_err(|_| "must be FEATURE=LEVEL")?;
    Ok((feature, level.parse().map_err(|_| format!("{level:?} is no feature level"))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn action(args: &[&str]) -> Result<Action, String> {
        let args = std::iter::once("ottla-broker").chain(args.iter().copied());
        let cli = Cli::try_parse_from(args).map_err(|error| error.to_string())?;
        Ok(cli.action(Vec::new(), "host".into()))
    }

    #[test]
    fn a_node_is_started_with_or_without_a_file() {
        let Ok(Action::Serve(sources)) = action(&[]) else { panic!("not served") };
        assert_eq!((sources.file, sources.overrides), (None, Vec::new()));
        let args = ["server.properties", "--override", "node.id=3", "--override", "listeners=A://:1=2"];
        let Ok(Action::Serve(sources)) = action(&args) else { panic!("not served") };
        assert_eq!(sources.file, Some("server.properties".into()));
        let expected = [("node.id", "3"), ("listeners", "A://:1=2")];
        assert_eq!(sources.overrides, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert!(action(&["--override", "node.id"]).unwrap_err().contains("KEY=VALUE"));
    }

    #[test]
    fn storage_commands_take_kafkas_options() {
        let args =
            ["format", "-t", "x", "-c", "f", "--standalone", "-g", "-r", "4.3", "-f", "group.version=0"];
        let Ok(Action::Format(format)) = action(&args) else { panic!("not formatted") };
        assert!(format.standalone && format.ignore_formatted);
        assert_eq!(format.features, [("group.version".to_owned(), 0)]);
        assert_eq!(format.release_version.as_deref(), Some("4.3"));
        assert!(matches!(action(&["random-uuid"]), Ok(Action::RandomUuid)));
        assert!(action(&["format", "-c", "f"]).unwrap_err().contains("--cluster-id"));
        assert!(
            action(&["format", "-t", "x", "-c", "f", "-s", "-N"])
                .unwrap_err()
                .contains("cannot be used with")
        );
        assert!(
            action(&["format", "-t", "x", "-c", "f", "-f", "a=b"]).unwrap_err().contains("no feature level")
        );
    }
}
