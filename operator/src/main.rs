//! `ottla-operator`: runs the operator, or writes its CRDs.

use clap::{Parser, Subcommand};
use ottla_operator::{crd::yaml, run};
use std::path::PathBuf;
use tracing_subscriber::EnvFilter;

#[derive(Parser)]
#[command(version, about = "Kubernetes operator for Ottla, a Kafka broker")]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Run the operator (the default)
    Run(run::Options),
    /// Print the CRDs, or write them into directories
    Crds {
        /// Directories to write to; standard output without any
        directories: Vec<PathBuf>,
        /// Write nothing; fail where a file differs
        #[arg(long, requires = "directories")]
        check: bool,
    },
}

fn main() -> anyhow::Result<()> {
    let command = Cli::parse().command.unwrap_or_else(|| Command::Run(run::Options::parse_from_defaults()));
    match command {
        Command::Run(options) => operate(options),
        Command::Crds { directories, check: true } => yaml::check(&directories),
        Command::Crds { directories, check: false } if directories.is_empty() => {
            for (_, text) in yaml::files()? {
                print!("---\n{text}");
            }
            Ok(())
        }
        Command::Crds { directories, check: false } => yaml::write(&directories),
    }
}

fn operate(options: run::Options) -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).init();
    // Little to do and much of it waiting: one thread keeps the memory small.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run::run(options))
}
