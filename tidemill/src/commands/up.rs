//! `tidemill up`: the platform, an application on it, and its logs; with `--demo` a run of what the application does.

use std::time::Duration;

use anyhow::{Context, Result};

use super::{demo, deploy::print_outputs, logs};
use crate::{
    app::{
        App,
        deploy::{Deployed, Deployment},
    },
    cli::{Output, Up},
    client::Client,
    output::{bold, dim, green},
    serve,
};

/// How often new lines are asked for. The platform itself polls nothing; this is outside of it.
const ASK_EVERY: Duration = Duration::from_millis(250);

pub async fn run(mut options: Up, output: Output) -> Result<()> {
    let app = App::read(&options.app)?;
    let temporary = options.demo.then(|| demo::own_place(&mut options.serve)).transpose()?.flatten();
    let serving = serve::start(&options.serve).await?;
    let done = on_it(&app, &options, serving.address, output).await;
    serving.stop().await;
    if let Some(folder) = temporary {
        let _ = std::fs::remove_dir_all(folder);
    }
    done
}

async fn on_it(app: &App, options: &Up, address: std::net::SocketAddr, output: Output) -> Result<()> {
    let endpoint = format!("http://{address}");
    let client = Client::new(&endpoint);
    if !options.demo || output == Output::Text {
        println!("{} {endpoint}  {}", green("Ready."), dim(&format!("data in {}", options.serve.data)));
    }
    let stack = options.stack.clone().unwrap_or_else(|| app.name.clone());
    let quiet = output == Output::Json;
    let deployment =
        Deployment { client: &client, app, stack: &stack, parameters: &options.parameters, quiet };
    let deployed = deployment.run().await?;
    if options.demo {
        return demo::run(&client, app, &deployed, output).await;
    }
    print_outputs(&deployed);
    println!(
        "\n{}",
        dim(&format!(
            "Use it with AWS_ENDPOINT_URL={endpoint} and any keys. Ctrl-C ends; what was acknowledged stays."
        ))
    );
    tokio::select! {
        () = serve::ended() => {}
        followed = follow(&client, &deployed, output) => followed?,
    }
    eprintln!("{}", dim("Finishing what runs."));
    Ok(())
}

/// Prints what the application's functions write, until it is dropped.
async fn follow(client: &Client, deployed: &Deployed, output: Output) -> Result<()> {
    let now =
        client.get("/_tidemill/clock").await?["now_ms"].as_i64().context("the platform has no clock")?;
    let mut followers: Vec<(String, logs::Follower)> = deployed
        .of_type("AWS::Lambda::Function")
        .map(|name| {
            let group = format!("/aws/lambda/{name}");
            (name.to_string(), logs::Follower { group, after: now, seen: Vec::new() })
        })
        .collect();
    loop {
        for (name, follower) in &mut followers {
            for line in follower.next(client).await? {
                if output == Output::Text {
                    print!("{} ", bold(name));
                }
                logs::print(&line, output);
            }
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}
