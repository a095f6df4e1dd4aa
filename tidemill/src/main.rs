//! The `tidemill` binary. `cli` says what can be asked, `serve` starts the platform, each other command is a module
//! under `commands` and talks to a running platform through `client`.

mod app;
mod cli;
mod client;
mod commands;
mod credentials;
mod internal;
mod output;
mod serve;
mod wiring;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Sandboxes are made by a small process of this same program; it must not start threads.
    if let Some(code) = tidemill_sandbox::spawner_main() {
        return ExitCode::from(u8::try_from(code).unwrap_or(1));
    }
    let cli = cli::Cli::parse();
    start_logging(cli.verbose);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return output::failed(&error.into()),
    };
    match runtime.block_on(commands::run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => output::failed(&error),
    }
}

fn start_logging(verbose: bool) {
    // What s3s warns of is what its caller gets to hear anyway.
    let default = if verbose { "info,tidemill=debug" } else { "warn,s3s=error" };
    let filter =
        tracing_subscriber::EnvFilter::try_from_env("TIDEMILL_LOG").unwrap_or_else(|_| default.into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .compact()
        .init();
}
