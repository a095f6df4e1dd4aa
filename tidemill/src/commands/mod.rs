//! The commands, one a module.

mod clock;
mod debug;
mod demo;
mod deploy;
mod doctor;
mod events;
mod hops;
mod invoke;
mod journey;
mod logs;
mod up;
mod watch;

use anyhow::Result;
use clap::CommandFactory;

use crate::{
    cli::{Cli, Command},
    client::Client,
    credentials, serve,
};

pub async fn run(cli: Cli) -> Result<()> {
    let client = || Ok::<_, anyhow::Error>(Client::new(&cli.endpoint, credentials::find()?));
    match cli.command {
        Command::Up(options) => up::run(options, cli.output).await,
        Command::Deploy(options) => deploy::deploy(client()?, options, cli.output).await,
        Command::Delete(options) => deploy::remove(client()?, options, cli.output).await,
        Command::Serve(options) => serve::run(options).await,
        Command::Invoke(options) => invoke::run(&client()?, options, cli.output).await,
        Command::Logs(options) => logs::run(&client()?, options, cli.output).await,
        Command::Events { action } => events::run(&client()?, action, cli.output).await,
        Command::Journey { id } => journey::run(&client()?, id.as_deref(), cli.output).await,
        Command::Clock { action } => clock::run(&client()?, action, cli.output).await,
        Command::Doctor(options) => doctor::run(options, cli.output).await,
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "tidemill", &mut std::io::stdout());
            Ok(())
        }
    }
}
