//! `ottla-verify`: the load that proves. JSON on standard output; ends with 0 if all is well, 1 if judged bad, 2 if no judgement
//! was possible.

use std::process::ExitCode;

use clap::Parser;
use ottla_bench::verify::{self, Options};

/// Writes numbered records to any Kafka with idempotent producers, reads them with consumer groups, and judges the log: lost,
/// duplicated, reordered, failed; latencies and the longest gap.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    options: Options,
}

fn main() -> ExitCode {
    let options = Cli::parse().options;
    let svg = options.svg.clone();
    let done = verify::run(options).and_then(|summary| {
        verify::draw(&summary, svg.as_deref())?;
        println!("{}", serde_json::to_string(&summary)?);
        Ok(summary.good)
    });
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("ottla-verify: {error:#}");
            ExitCode::from(2)
        }
    }
}
