//! `ottla-bench`: Apache Kafka and ours in turn, under the same load.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ottla_bench::{compare, load, strain};

/// Measures Apache Kafka and Ottla in turn on this machine and prints medians and ratios.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Apache Kafka and Ottla in turn
    Run(compare::Options),
    /// Three of ours that acknowledge what is on disk, on its own syncs and on slow ones
    Durable(compare::durable::Options),
    /// A node with many partitions
    Partitions(compare::partitions::Options),
    /// One load: writes; prints JSON
    Pour(load::Options),
    /// One load: reads a topic; prints JSON
    Drain(load::Options),
    /// One load: writes batches made beforehand as fast as the broker takes them; prints JSON
    Flood(load::flood::FloodOptions),
    /// A load at a fixed rate beside clients that strain the broker
    Strain(strain::Options),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(options) => compare::run(options).map(|results| print!("{}", results.table())),
        Command::Durable(options) => compare::durable::run(&options).map(|table| print!("{table}")),
        Command::Partitions(options) => compare::partitions::run(&options).map(|figures| print!("{figures}")),
        Command::Pour(options) => load::pour(&options).and_then(|outcome| print(&outcome)),
        Command::Drain(options) => load::drain(&options).and_then(|outcome| print(&outcome)),
        Command::Flood(options) => load::flood::flood(&options).and_then(|outcome| print(&outcome)),
        Command::Strain(options) => strain::run(&options).map(|rows| print!("{}", strain::table(&rows))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ottla-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn print(outcome: &load::Outcome) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(outcome)?);
    Ok(())
}
