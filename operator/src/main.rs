//! `ottla-operator`: runs the operator, or writes its CRDs.

use clap::{Parser, Subcommand};
use ottla_operator::crd::yaml;
use std::path::PathBuf;

#[derive(Parser)]
#[command(version, about = "Kubernetes operator for Ottla, a Kafka broker")]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
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
    match Cli::parse().command {
        Some(Command::Crds { directories, check: true }) => yaml::check(&directories),
        Some(Command::Crds { directories, check: false }) if directories.is_empty() => {
            for (_, text) in yaml::files()? {
                print!("---\n{text}");
            }
            Ok(())
        }
        Some(Command::Crds { directories, check: false }) => yaml::write(&directories),
        None => anyhow::bail!("not there yet"),
    }
}
