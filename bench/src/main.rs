//! The load generator: closed loop, keep-alive connections, signed requests, every answer checked.
//!
//! `load` runs a workload over several connections, `http` is one connection, `server` starts the platform under test;
//! each suite is a module under `suites`. Client and server share the machine, so a figure says what both do.

mod http;
mod load;
mod report;
mod server;
mod suites;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Result;
use clap::{Parser, ValueEnum};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Clone, Parser)]
#[command(name = "tidemill-bench", about = "Measures a platform that speaks the AWS APIs", version)]
pub struct Options {
    /// What to measure.
    #[arg(required = true, value_enum)]
    suites: Vec<Suite>,

    /// Measure what already runs here, instead of starting `--binary`.
    #[arg(long)]
    endpoint: Option<String>,

    /// The platform to start, with a data folder of its own that is removed afterwards.
    #[arg(long, default_value = "target/release/tidemill")]
    binary: PathBuf,

    /// Where that folder is made; it decides which disk is measured.
    #[arg(long, default_value = "target")]
    data: PathBuf,

    /// How long each measurement takes, in seconds.
    #[arg(long, default_value_t = 5.0, value_parser = seconds)]
    seconds: f64,

    /// Connections at the same time, each in turn. By default 1 and 16, for functions 1 and 8.
    #[arg(long, value_delimiter = ',')]
    connections: Vec<usize>,

    /// A folder with pandas for Python 3.12 (`pip install --target`), for the suite `snapstart`; without it a function of its own
    /// weight is used.
    #[arg(long)]
    packages: Option<PathBuf>,

    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Suite {
    /// PutItem, GetItem.
    Dynamodb,
    /// 1 KiB and 1 MiB objects, put and got.
    S3,
    /// Messages sent, cycled, and woken for.
    Sqs,
    /// Messages published to ten queues.
    Sns,
    /// Events through rules into a queue; makes 100,000 rules, which takes a while.
    Events,
    /// From exec to the first answer.
    Start,
    /// Memory and CPU of a platform that does nothing.
    Idle,
    /// Functions warm and cold, and woken by messages.
    Lambda,
    /// Python versions that begin from a snapshot.
    Snapstart,
    /// Java functions warm and cold, where there is a JDK.
    Java,
    /// WebAssembly functions warm and cold.
    Wasm,
    /// A hundred and a thousand functions at once from zero; a thousand that are only deployed.
    Scale,
    /// A file to a row through two functions.
    Pipeline,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    Table,
    Json,
}

fn seconds(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "a number of seconds")?;
    if (0.1..=600.0).contains(&value) { Ok(value) } else { Err("between 0.1 and 600".into()) }
}

impl Suite {
    fn connections(self) -> Vec<usize> {
        match self {
            Suite::Lambda | Suite::Java | Suite::Wasm => vec![1, 8],
            _ => vec![1, 16],
        }
    }
}

impl Options {
    /// The same with what the suite has by default where nothing else was asked for.
    fn of(&self, suite: Suite) -> Options {
        let mut options = self.clone();
        if options.connections.is_empty() {
            options.connections = suite.connections();
        }
        options
    }

    fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }
}

fn main() -> ExitCode {
    let done = match std::env::var(suites::lambda::bootstrap::API) {
        Ok(api) => suites::lambda::bootstrap::serve(&api),
        Err(_) => run(&Options::parse()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let mut report = report::Report::new(options.output);
    for suite in &options.suites {
        let options = &options.of(*suite);
        match suite {
            Suite::Dynamodb => suites::dynamodb::run(options, &mut report)?,
            Suite::S3 => suites::s3::run(options, &mut report)?,
            Suite::Sqs => suites::sqs::run(options, &mut report)?,
            Suite::Sns => suites::sns::run(options, &mut report)?,
            Suite::Events => suites::events::run(options, &mut report)?,
            Suite::Start => suites::start::run(options, &mut report)?,
            Suite::Idle => suites::idle::run(options, &mut report)?,
            Suite::Lambda => suites::lambda::run(options, &mut report)?,
            Suite::Snapstart => suites::lambda::snapstart(options, &mut report)?,
            Suite::Java => suites::lambda::java(options, &mut report)?,
            Suite::Wasm => suites::lambda::wasm(options, &mut report)?,
            Suite::Scale => suites::lambda::scale(options, &mut report)?,
            Suite::Pipeline => suites::pipeline::run(options, &mut report)?,
        }
    }
    report.finish();
    Ok(())
}
