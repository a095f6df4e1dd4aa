//! What can be asked of `tidemill` on the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// An event-driven serverless platform in one binary that speaks the AWS APIs.
#[derive(Debug, Parser)]
#[command(name = "tidemill", version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,

    /// How answers are printed.
    #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
    pub output: Output,

    /// The running platform that commands talk to.
    #[arg(long, global = true, env = "AWS_ENDPOINT_URL", default_value = "http://127.0.0.1:4566")]
    pub endpoint: String,

    /// Say what happens inside, on standard error.
    #[arg(short, long, global = true)]
    pub verbose: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start the platform, deploy an application on it and follow its logs.
    Up(Up),
    /// Start the platform and wait.
    Serve(Serve),
    /// Build an application and deploy it on the running platform.
    Deploy(Deploy),
    /// Delete an application's stack.
    Delete(Delete),
    /// Invoke a function.
    Invoke(Invoke),
    /// Print a function's or log group's lines.
    Logs(Logs),
    /// Put an event on a bus, or ask which rules match it and why the others do not.
    Events {
        #[command(subcommand)]
        action: Events,
    },
    /// Show what became of an event, hop by hop. Without an id: the newest journeys.
    Journey {
        /// A trace root, request, event or message id.
        id: Option<String>,
    },
    /// Show or turn the platform's clock.
    Clock {
        #[command(subcommand)]
        action: Clock,
    },
    /// Say what this machine has and lacks for running functions.
    Doctor(Doctor),
    /// Print a completion script for a shell.
    Completions { shell: clap_complete::Shell },
}

#[derive(Debug, Clone, Args)]
pub struct Serve {
    /// Where to listen. Port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:4566")]
    pub listen: std::net::SocketAddr,

    /// Where state is kept; `:memory:` keeps none.
    #[arg(long, default_value = "./.tidemill")]
    pub data: String,

    /// Whether callers must prove who they are. Required to be `enforce` on other addresses than loopback.
    #[arg(long, value_enum, default_value_t = Auth::Dev)]
    pub auth: Auth,

    /// The region of requests that name none.
    #[arg(long, default_value = "us-east-1")]
    pub region: String,

    /// The account of requests that name none.
    #[arg(long, default_value = "000000000000")]
    pub account: String,

    /// Functions of an account running at the same time; AWS raises the same quota on request.
    #[arg(long, value_name = "COUNT", default_value_t = 1000, value_parser = clap::value_parser!(i32).range(1..=1_000_000))]
    pub lambda_concurrency: i32,

    /// Zipped code of all functions and layers of an account, in MB.
    #[arg(long, value_name = "MB", default_value_t = 76_800, value_parser = clap::value_parser!(i64).range(1..=1_000_000_000))]
    pub lambda_code_storage_mb: i64,

    /// Rules of an event bus; AWS raises the same quota on request.
    #[arg(long, value_name = "COUNT", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub events_rules_per_bus: u32,

    /// What functions reach besides the platform.
    #[arg(long, value_enum, default_value_t = LambdaNetwork::Outbound)]
    pub lambda_network: LambdaNetwork,
}

#[derive(Debug, Args)]
pub struct Up {
    /// The application's folder, or its template.
    #[arg(default_value = ".")]
    pub app: PathBuf,

    /// Run the application's demonstration, show what happened, and exit.
    #[arg(long, conflicts_with = "watch")]
    pub demo: bool,

    /// Take changes of code and template over as they are saved.
    #[arg(short, long)]
    pub watch: bool,

    #[command(flatten)]
    pub stack: StackOptions,

    #[command(flatten)]
    pub serve: Serve,
}

/// How an application becomes a stack. What is not said here is taken from `samconfig.toml` beside the template.
#[derive(Debug, Clone, Default, Args)]
pub struct StackOptions {
    /// The stack's name; samconfig.toml's or the folder's by default.
    #[arg(long = "stack-name", visible_alias = "stack", value_name = "NAME")]
    pub stack: Option<String>,

    /// A value for a parameter of the template.
    #[arg(short, long = "parameter", value_name = "NAME=VALUE", value_parser = parameter)]
    pub parameters: Vec<(String, String)>,

    /// Values for parameters as `sam deploy` takes them; to be written after the folder.
    #[arg(long, value_name = "NAME=VALUE", num_args = 1..)]
    pub parameter_overrides: Vec<String>,

    /// The environment of samconfig.toml; `default` if it has one.
    #[arg(long, value_name = "NAME")]
    pub config_env: Option<String>,
}

#[derive(Debug, Args)]
pub struct Deploy {
    /// The application's folder, or its template.
    #[arg(default_value = ".")]
    pub app: PathBuf,

    #[command(flatten)]
    pub stack: StackOptions,
}

#[derive(Debug, Args)]
pub struct Delete {
    /// The application's folder, or its template.
    #[arg(default_value = ".")]
    pub app: PathBuf,

    /// The stack's name; samconfig.toml's or the folder's by default.
    #[arg(long = "stack-name", visible_alias = "stack", value_name = "NAME")]
    pub stack: Option<String>,

    /// The environment of samconfig.toml; `default` if it has one.
    #[arg(long, value_name = "NAME")]
    pub config_env: Option<String>,
}

fn parameter(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_string(), value.to_string()))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LambdaNetwork {
    /// The networks of this machine, and its own services as `host.tidemill.internal`.
    Outbound,
    /// Nothing: functions have the platform only.
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Auth {
    /// Any key and secret is taken at its word; loopback only.
    Dev,
    /// Signatures are checked against IAM's keys.
    Enforce,
}

#[derive(Debug, Args)]
pub struct Invoke {
    /// Name or ARN of the function.
    pub function: String,

    /// The event: JSON text, or `@file`.
    #[arg(default_value = "{}")]
    pub event: String,

    /// Run the function's code in a debugger on this machine, outside of its sandbox, and wait for an editor to attach.
    #[arg(long)]
    pub debug: bool,

    /// The port on loopback where the debugger listens: 5678 for Python, 9229 for Node.js.
    #[arg(long, value_name = "PORT", requires = "debug")]
    pub debug_port: Option<u16>,

    /// The application whose files are debugged; without one of that function, its deployed code is.
    #[arg(long, value_name = "FOLDER", default_value = ".", requires = "debug")]
    pub app: PathBuf,
}

#[derive(Debug, Args)]
pub struct Logs {
    /// A function's name, or a log group (`/aws/lambda/…`).
    pub name: String,

    /// Go on with what is written from now on.
    #[arg(short, long)]
    pub follow: bool,
}

#[derive(Debug, Subcommand)]
pub enum Events {
    /// Put an event on a bus.
    Put {
        /// A file, or JSON text: an entry as PutEvents takes it, or an event as targets get it.
        event: String,
        /// The bus.
        #[arg(long, default_value = "default")]
        bus: String,
    },
    /// Say for every rule of a bus whether it matches an event, and which fields kept it from doing so.
    Explain {
        /// A file, or JSON text: an entry as PutEvents takes it, or an event as targets get it.
        #[arg(long)]
        event: String,
        /// The bus.
        #[arg(long, default_value = "default")]
        bus: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum Clock {
    /// What time the platform has.
    Show,
    /// Move the clock forward: schedules, waits and timeouts on the way happen.
    Advance {
        /// Such as `90s`, `15m`, `2h`, `1d`.
        by: String,
    },
}

#[derive(Debug, Args)]
pub struct Doctor {
    /// Install what functions expect (the AWS SDKs) with this machine's pip and npm.
    #[arg(long)]
    pub install: bool,
}
