//! `ottla-broker`: start a node, or prepare its storage.

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser as _;
use ottla_broker::cli::{self, Action, Cli, FormatArgs};
use ottla_broker::config::{Config, Sources};
use ottla_broker::telemetry::loggers::Loggers;
use ottla_broker::{admin, broker, clock, storage};
use ottla_log::disk::StdDisk;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt, reload};

/// Threads for file I/O that would hold up a task: at most so many, and they go when they have nothing to do.
const BLOCKING_THREADS: usize = 32;
/// Stack of a thread, in bytes. Handlers keep little on it.
const STACK: usize = 512 * 1024;
/// Between two attempts to start on a full disk.
const WITHOUT_SPACE: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let result = match Cli::parse().action(cli::environment(), cli::host_name()) {
        Action::Serve(sources) => serve(&sources),
        Action::Format(args) => format(&args),
        Action::RandomUuid => storage::random_uuid().context("random-uuid").map(|id| println!("{id}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ottla-broker: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn format(args: &FormatArgs) -> anyhow::Result<()> {
    for line in storage::format::command(args, &StdDisk, clock::now())? {
        println!("{line}");
    }
    Ok(())
}

fn serve(sources: &Sources) -> anyhow::Result<()> {
    let loggers = start_logging();
    let loaded = Config::load(sources)?;
    for warning in &loaded.warnings {
        warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("broker")
        .thread_stack_size(STACK)
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .context("threads")?;
    let result = run(&runtime, loaded.config, loggers);
    runtime.shutdown_background();
    result
}

/// Serves until SIGTERM or SIGINT, or until the node cannot go on.
fn run(runtime: &Runtime, config: Config, loggers: Arc<Loggers>) -> anyhow::Result<()> {
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
        let node = tokio::select! {
            node = start(config, loggers) => node?,
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        };
        let failed = tokio::select! {
            _ = terminate.recv() => false,
            _ = interrupt.recv() => false,
            () = node.failed() => true,
        };
        node.stop().await;
        if failed {
            error!("stopped after a failure");
            anyhow::bail!("the node could not go on");
        }
        info!("bye");
        Ok(())
    })
}

/// A node that runs.
enum Node {
    Broker(broker::Node),
    Controller(broker::ControllerNode),
}

impl Node {
    async fn failed(&self) {
        match self {
            Self::Broker(node) => node.failed().await,
            Self::Controller(node) => node.failed().await,
        }
    }

    async fn stop(self) {
        match self {
            Self::Broker(node) => node.stop().await,
            Self::Controller(node) => node.stop().await,
        }
    }
}

/// Starts a node. On a disk that is wholly full it waits for space: to end and be started again would not help.
async fn start(config: Config, loggers: Arc<Loggers>) -> anyhow::Result<Node> {
    loop {
        let (config, loggers) = (config.clone(), Arc::clone(&loggers));
        let (http, is_broker) = (config.http.clone(), config.roles.broker);
        let started = match is_broker {
            true => broker::start_with(config, loggers).await.map(Node::Broker),
            false => broker::start_controller(config, loggers).await.map(Node::Controller),
        };
        match started {
            Err(error) if error.is_no_space() => {
                error!(%error, "no space to start on: trying again");
                admin::wait(http.as_ref(), WITHOUT_SPACE).await;
            }
            started => return Ok(started?),
        }
    }
}

/// Lines on standard output; JSON with `OTTLA_LOG_FORMAT=json`. `OTTLA_LOG` says what is logged to begin with, as
/// `RUST_LOG` does elsewhere: a level, and `target=level` with commas between.
fn start_logging() -> Arc<Loggers> {
    let asked = std::env::var("OTTLA_LOG").unwrap_or_default();
    // Nothing would be read as a name without a level.
    let levels = if asked.is_empty() { Ok(Targets::new()) } else { asked.parse::<Targets>() };
    let first = levels.as_ref().cloned().unwrap_or_default();
    let first = Loggers::new(&first, Box::new(|_| ())).targets();
    let (filter, handle) = reload::Layer::new(first.clone());
    let json = std::env::var("OTTLA_LOG_FORMAT").is_ok_and(|format| format == "json");
    let plain = fmt::layer().with_ansi(std::io::stdout().is_terminal());
    let lines = if json { fmt::layer().json().boxed() } else { plain.boxed() };
    tracing_subscriber::registry().with(filter).with(lines).init();
    if let Err(error) = levels {
        warn!(%error, "OTTLA_LOG has no effect");
    }
    let apply = move |targets| {
        if let Err(error) = handle.reload(targets) {
            warn!(%error, "levels of loggers cannot be changed");
        }
    };
    Arc::new(Loggers::new(&first, Box::new(apply)))
}
