//! `tidemill up`: the platform, an application on it, and its logs; with `--demo` a run of what the application does.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result};
use tokio::sync::watch;

use super::{
    demo,
    deploy::print_outputs,
    logs,
    watch::{Watching, begin},
};
use crate::{
    app::{App, Settings, deploy::Deployment},
    cli::{self, Output, Up},
    client::Client,
    credentials,
    output::{bold, dim, green},
    serve,
};

/// How often new lines are asked for. The platform itself polls nothing; this is outside of it.
const ASK_EVERY: Duration = Duration::from_millis(250);

pub async fn run(mut options: Up, output: Output) -> Result<()> {
    let app = App::read(&options.app)?;
    let temporary = options.demo.then(|| demo::own_place(&mut options.serve)).transpose()?.flatten();
    let serving = serve::start(&options.serve).await?;
    let done = on_it(app, &options, serving.address, output).await;
    serving.stop().await;
    if let Some(folder) = temporary {
        let _ = std::fs::remove_dir_all(folder);
    }
    done
}

async fn on_it(app: App, options: &Up, address: std::net::SocketAddr, output: Output) -> Result<()> {
    let endpoint = format!("http://{address}");
    let settings = Settings::read(&app, &options.stack)?;
    let client = client(&endpoint, &options.serve, &settings)?;
    if !options.demo || output == Output::Text {
        println!("{} {endpoint}  {}", green("Ready."), dim(&format!("data in {}", options.serve.data)));
    }
    let watch = options.watch.then(|| begin(&app, &options.serve.data)).transpose()?;
    let quiet = output == Output::Json;
    let deployed = Deployment { client: &client, app: &app, settings: &settings, quiet }.run().await?;
    if options.demo {
        return demo::run(&client, &app, &deployed, output).await;
    }
    print_outputs(&deployed);
    println!(
        "\n{}",
        dim(&format!(
            "Use it with AWS_ENDPOINT_URL={endpoint} and any keys. Ctrl-C ends; what was acknowledged stays."
        ))
    );
    let (functions, named) = watch::channel(deployed.functions());
    let watching = Watching { client: &client, options, settings, app, deployed, output, functions };
    tokio::select! {
        () = serve::ended() => {}
        followed = follow(&client, named, output) => followed?,
        watched = async {
            match watch {
                Some(watch) => watching.run(watch).await,
                None => std::future::pending().await,
            }
        } => watched?,
    }
    eprintln!("{}", dim("Finishing what runs."));
    Ok(())
}

/// Talks to the platform of this process as the one whose keys are found, in the region the application is for.
fn client(endpoint: &str, serve: &cli::Serve, settings: &Settings) -> Result<Client> {
    let mut found = credentials::find()?;
    let region = settings.region.clone().or(found.region.take()).unwrap_or_else(|| serve.region.clone());
    Ok(Client::new(endpoint, found).in_region(Some(&region)))
}

/// Prints what the functions write (name → logical id), in order of time, until it is dropped.
async fn follow(
    client: &Client,
    mut functions: watch::Receiver<BTreeMap<String, String>>,
    output: Output,
) -> Result<()> {
    let now =
        client.get("/_tidemill/clock").await?["now_ms"].as_i64().context("the platform has no clock")?;
    let mut followers: BTreeMap<String, logs::Follower> = BTreeMap::new();
    loop {
        let functions = functions.borrow_and_update().clone();
        let mut lines = Vec::new();
        for (name, logical) in &functions {
            let group = format!("/aws/lambda/{name}");
            let fresh = || logs::Follower { group, after: now, seen: Vec::new() };
            let follower = followers.entry(name.clone()).or_insert_with(fresh);
            lines.extend(follower.next(client).await?.into_iter().map(|line| (logical, line)));
        }
        lines.sort_by_key(|(_, line)| line["timestamp"].as_i64());
        let width = functions.values().map(String::len).max().unwrap_or(0);
        for (logical, line) in lines {
            if output == Output::Text {
                print!("{} ", bold(&format!("{logical:<width$}")));
            }
            logs::print(&line, output);
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}
